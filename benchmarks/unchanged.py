"""Whether two versions of the source make the same artefacts: bundles, reports, answers, byte for byte.

    git worktree add ../before COMMIT
    python benchmarks/unchanged.py ../before .                  # trains one small run, then makes everything twice

Compared as bytes are NIR, ONNX and figures; JSON, pages and texts without what must differ: versions, digests, times,
and the paths of the two trees. Exit code 1 where anything else differs, with the first differing lines.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMES = {
    "versions",
    "digest",
    "bundle_digest",
    "seconds",
    "exported_with",
    "commit",
    "measured",
    "sha256",
    "latency_ms",
    "ms",
}
TEXTS = {".html", ".txt", ".svg"}
TRAIN = ("idsnn", "--dataset", "digits", "--width", "8", "--epochs", "30", "--teacher-epochs", "12", "--seed", "0")
# Command and its arguments; `> FILE` keeps what it prints. RUN and TREE are the run's folder and the source's.
MADE: tuple[tuple[str, ...], ...] = (
    ("idsnn_export", "RUN", "--int8", "--out", "bundle"),
    (
        "idsnn_evaluation",
        "TREE/examples/digits/bundle",
        "--limit",
        "100",
        "--early-exit",
        "--out",
        "report",
        "> report.txt",
    ),
    ("idsnn_evaluation", "bundle", "--limit", "100", "--variant", "int8", "--out", "report8", "> report8.txt"),
    ("idsnn_deploy", "info", "bundle", "> info.txt"),
    ("idsnn_deploy", "check", "bundle", "> check.txt"),
    (
        "idsnn_deploy",
        "run",
        "TREE/examples/digits/bundle",
        "TREE/examples/digits/images/digit-0.png",
        "--json",
        "> run.json",
    ),
    ("idsnn_export", "--diff", "bundle", "TREE/examples/digits/bundle", "> diff.txt"),
    ("idsnn_export", "bundle", "--lint", "norse", "> lint.txt"),
)


def make(tree: Path, folder: Path, run: Path) -> None:
    """Everything of `MADE`, by the source in `tree`."""
    for package, *words in MADE:
        target = next((word[2:] for word in words if word.startswith("> ")), os.devnull)
        given = [w.replace("RUN", str(run)).replace("TREE", str(tree)) for w in words if not w.startswith("> ")]
        with open(folder / target, "w") as stream:
            call(tree, folder, package, given, stream)


def call(tree: Path, folder: Path, package: str, words: list[str], stream: Any) -> None:
    """One command of the source in `tree`, in `folder`; a command that says no (exit code 1) has said something."""
    places = os.pathsep.join(str(tree / part) for part in (".", "export", "deploy", "evaluation"))
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    code = f"import sys; from {package}.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=environment, stdout=stream, check=False)
    if done.returncode > 1:
        sys.exit(f"{tree}: {package} {' '.join(words)} ended with {done.returncode}")


def content(file: Path, folders: tuple[Path, ...]) -> list[str]:
    """What of a file must not change, as lines."""
    if file.suffix == ".json":
        return json.dumps(timeless(json.loads(file.read_text())), indent=1).splitlines()
    if file.suffix in TEXTS:
        text = file.read_text()
        for folder in folders:
            text = text.replace(str(folder), "FOLDER")
        text = re.sub(r"[0-9a-f]{64}", "HASH", text)
        return re.sub(r"[\d.]+ ms|median of \d+", "TIME", text).splitlines()
    return [hashlib.sha256(file.read_bytes()).hexdigest()]


def timeless(value: Any) -> Any:
    """A JSON value without what differs from run to run."""
    if isinstance(value, dict):
        return {key: timeless(v) for key, v in value.items() if key not in TIMES and key not in ("bundle", "image")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    trees = tuple(tree.resolve() for tree in vars(parser.parse_args()).values())
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        call(trees[0], root, TRAIN[0], [*TRAIN[1:], "--out", "run"], subprocess.DEVNULL)
        folders = (root / "before", root / "after")
        for tree, folder in zip(trees, folders, strict=True):
            folder.mkdir()
            make(tree, folder, root / "run")
        names = [sorted(str(f.relative_to(each)) for f in each.rglob("*") if f.is_file()) for each in folders]
        different = sorted(set(names[0]) ^ set(names[1]))
        for name in sorted(set(names[0]) & set(names[1])):
            before, after = (content(folder / name, (*folders, *trees)) for folder in folders)
            if before != after:
                different.append(name)
                print("\n".join(line[:200] for line in list(difflib.unified_diff(before, after, n=0, lineterm=""))[:8]))
    print(f"{len(names[0])} files; different: {', '.join(different) or 'none'}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
