"""A block of code killed before each of its file operations, as Python announces them; apart, because it forks.

`python tests/kill_points.py CASE` prints how many points it tried and fails where a law does not hold.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idsnn.run_folder import CONFIG, LAST, METRICS, STUDENT, SUMMARY, TEACHER, begin, begun, finished
from idsnn.run_folder import held as held_folder
from idsnn_deploy import files
from idsnn_deploy.errors import UsageError
from idsnn_deploy.files import replacing_folder, write_bytes
from idsnn_deploy.manifest import ALWAYS, Bundle, Manifest, listing, read_bundle, write_manifest

EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "fcntl.flock"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OLD, NEW = {"manifest.json": "old"}, {"manifest.json": "new", "model": "new"}


def die_before(operation: int) -> None:
    """Arms this process: SIGKILL when it is about to do its `operation`-th file operation from now."""
    left = operation

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS or (event == "open" and arguments[2] & WRITES):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_everywhere(act: Callable[[Path], None], begin: Callable[[Path], None], law: Callable[[Path], None]) -> int:
    """Kills `act` before each of its file operations, each time in a fresh folder, and holds what is left to `law`."""
    points = 0
    while True:
        with tempfile.TemporaryDirectory() as scratch:
            begin(Path(scratch))
            child = os.fork()
            if child == 0:
                die_before(points)
                act(Path(scratch))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            law(Path(scratch))
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                return points
        points += 1


def held(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()} if folder.exists() else {}


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def earlier(scratch: Path) -> None:
    (scratch / "out").mkdir()
    (scratch / "out" / "manifest.json").write_text("old")


def export(scratch: Path) -> None:
    with replacing_folder(scratch / "out", force=True) as new:
        for name, text in NEW.items():
            (new / name).write_text(text)


def whole_after_another_try(scratch: Path) -> None:
    export(scratch)
    assert (held(scratch / "out"), names(scratch)) == (NEW, {"out"})


def first() -> int:
    def law(scratch: Path) -> None:
        assert held(scratch / "out") in ({}, NEW)
        whole_after_another_try(scratch)

    return killed_everywhere(export, lambda scratch: None, law)


def exchanged() -> int:
    def law(scratch: Path) -> None:
        assert held(scratch / "out") in (OLD, NEW)
        whole_after_another_try(scratch)

    return killed_everywhere(export, earlier, law)


def aside() -> int:
    """Without exchange the old folder may lie aside; the next call puts it back, even one that is refused."""
    files.exchange = lambda a, b: False

    def law(scratch: Path) -> None:
        try:
            with replacing_folder(scratch / "out"):
                raise AssertionError("an existing folder was replaced without force")
        except UsageError:
            assert held(scratch / "out") in (OLD, NEW)
            assert held(scratch / "out") == NEW or names(scratch) <= {"out", ".out.tmp"}
        whole_after_another_try(scratch)

    return killed_everywhere(export, earlier, law)


def file() -> int:
    def law(scratch: Path) -> None:
        assert (scratch / "last.ckpt").read_text() in ("old", "new")
        write_bytes(scratch / "last.ckpt", b"new")
        assert names(scratch) == {"last.ckpt"}

    return killed_everywhere(
        lambda scratch: write_bytes(scratch / "last.ckpt", b"new"),
        lambda scratch: write_bytes(scratch / "last.ckpt", b"old"),
        law,
    )


def run() -> int:
    """A run folder that another run takes over, with a file of the user's in it."""
    old = dict.fromkeys((CONFIG, SUMMARY, LAST, STUDENT, TEACHER, METRICS, "notes.txt"), "old")
    new = {CONFIG: '{\n  "seed": 1\n}\n', "notes.txt": "old"}

    def begin_again(scratch: Path) -> None:
        with held_folder(scratch / "run", resume=False, force=True):
            begin(scratch / "run", {"seed": 1})

    def first_run(scratch: Path) -> None:
        (scratch / "run").mkdir()
        for name, text in old.items():
            (scratch / "run" / name).write_text(text)

    def law(scratch: Path) -> None:
        is_new = (begun(scratch / "run") or Path()).read_text() != "old"
        assert (finished(scratch / "run") is None) == is_new
        with held_folder(scratch / "run", resume=True, force=False):
            pass
        assert held(scratch / "run") == (new if is_new else old)
        begin_again(scratch)
        assert held(scratch / "run") == new

    return killed_everywhere(begin_again, first_run, law)


def race(force: bool) -> int:
    """Five processes at once: without force one wins; with it whoever is last; the folder is always one process's."""
    rounds = 25
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            out, start = Path(scratch) / "out", time.monotonic() + 0.02
            children = [_racer(out, force, start) for _ in range(5)]
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            assert set(codes) <= {0, 2}, codes
            winners = [child for child, code in zip(children, codes, strict=True) if code == 0]
            assert len(winners) == 1 or (force and winners)
            assert len(texts := set(held(out).values())) == 1
            assert texts <= {str(child) for child in winners}
            assert names(Path(scratch)) == {"out"}
    return rounds


def _racer(out: Path, force: bool, start: float) -> int:
    child = os.fork()
    if child:
        return child
    try:
        time.sleep(max(0, start - time.monotonic()) + random.Random(os.getpid()).random() * 0.004)
        with replacing_folder(out, force) as new:
            for name in ("manifest.json", "model"):
                time.sleep(0.001)
                (new / name).write_text(str(os.getpid()))
        os._exit(0)
    except UsageError:
        os._exit(2)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(3)


def readers() -> int:
    """A process replaces a bundle as fast as it can; whoever reads it meanwhile gets a whole one, ever newer ones."""
    reads = 200
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "bundle"
        _export_bundle(out, 1)
        writer = os.fork()
        if writer == 0:
            for version in itertools.count(2):
                _export_bundle(out, version)
        try:
            found = [_version(read_bundle(out)) for _ in range(reads)]
        finally:
            os.kill(writer, signal.SIGKILL)
        assert os.waitpid(writer, 0)[1] == signal.SIGKILL
        assert found == sorted(found)
        assert len(set(found)) > 2
    return reads


def _export_bundle(out: Path, version: int) -> None:
    with replacing_folder(out, force=True) as new:
        for name in ALWAYS:
            write_bytes(new / name, f"{name} of {version}".encode() * 1000)
        write_manifest(new, Manifest(None, version, 1e-4, None, None, ["a"], [1, 1, 1], [], files=listing(new)))


def _version(bundle: Bundle) -> int:
    time.sleep(0.002)  # whatever is put in its place now, the opened bundle stays what it is
    bundle.verify()
    return bundle.manifest.timesteps


CASES: dict[str, Callable[[], int]] = {
    "first": first,
    "exchanged": exchanged,
    "aside": aside,
    "file": file,
    "run": run,
    "race": lambda: race(force=False),
    "forced race": lambda: race(force=True),
    "readers": readers,
}

if __name__ == "__main__":
    print(CASES[sys.argv[1]]())
