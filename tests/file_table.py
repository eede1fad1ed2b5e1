"""The file table of docs/architecture.md, from the first sentence of every module; run me to renew it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "idsnn": "torch: neuron, networks, initialization, distillation, training",
    "export/idsnn_export": "torch → NIR → ONNX, the gates, the linter",
    "deploy/idsnn_deploy": "the floor: bundle format, images, edge runtime; never torch",
    "evaluation/idsnn_evaluation": "spikes, SynOps, energy, report; never torch",
}
BEGIN, END = "<!-- files: python tests/file_table.py -->", "<!-- end of files -->"


def table() -> str:
    """One heading a package, one row a file; a wing's rooms stand together."""
    parts = []
    for folder, words in PACKAGES.items():
        rows = [f"| `{file.relative_to(ROOT / folder).as_posix()}` | {_first(file)} |" for file in _modules(folder)]
        parts.append("\n".join([f"**`{folder}/`** {words}\n", "| file | what is in it |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def page(text: str) -> str:
    """docs/architecture.md with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def _modules(folder: str) -> list[Path]:
    files = [f for f in (ROOT / folder).rglob("*.py") if f.name != "__init__.py" or f.parent != ROOT / folder]
    return sorted(files, key=lambda f: (f.parent != ROOT / folder, f.parent, f.name != "__init__.py", f.name))


def _first(file: Path) -> str:
    """The docstring's first paragraph up to its first full stop, on one line."""
    words = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")[0].split())
    return re.split(r"(?<!Eq)(?<!Fig)\. ", words)[0].removesuffix(".").replace("|", "\\|")


if __name__ == "__main__":
    place = ROOT / "docs" / "architecture.md"
    place.write_text(page(place.read_text()))
