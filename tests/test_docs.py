"""What README and docs/ say: links lead somewhere, commands parse, Python runs, public names have a place."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomllib

from idsnn.config import TrainConfig
from idsnn_evaluation.cost.platforms import read_platforms

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# Pages whose Python stands by itself, block after block; other pages speak of a model or frames that the reader has.
WHOLE = ("docs/concepts.md", "docs/tutorials/one-hour.md", "docs/tutorials/events.md",
         "docs/tutorials/your-network.md", "docs/howto/add-a-data-set.md")  # fmt: skip


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by, as GitHub and the site make it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)):
        if not target.startswith(("http://", "https://")):
            file, _, anchor = target.partition("#")
            yield (page.parent / file if file else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for file, anchor in links(page):
        if file.name == "commands.md" and file.parent.name == "reference":
            continue  # made from the parsers when the site is built
        assert file.exists(), f"{file} does not exist"
        assert not anchor or anchor in anchors(file), f"{file.name} has no heading #{anchor}"


def commands() -> list[tuple[str, str]]:
    """Command lines of the pages, without their remarks; those with `...` or a pipe are not for typing."""
    found = []
    for page, name in zip(PAGES, NAMES, strict=True):
        for line in page.read_text().splitlines():
            words = re.sub(r"\s{2,}.*|\s#.*", "", line.removeprefix("    ").strip())
            for part in words.split(" && "):
                if line.startswith("    idsnn-") and part.startswith("idsnn-") and not re.search(r"\.\.\.|\[|\|", part):
                    found.append((name, part.removesuffix("\\").strip()))
    return found


def parsers() -> dict[str, Callable[[list[str]], Any]]:
    from idsnn.cli import _parser as train
    from idsnn_deploy.cli import _parser as deploy
    from idsnn_evaluation.cli import _parser as evaluation
    from idsnn_export.cli import _parser as export

    return {
        "idsnn-train": train(TrainConfig()).parse_args,
        "idsnn-export": export().parse_args,
        "idsnn-evaluate": evaluation().parse_intermixed_args,
        "idsnn-deploy": deploy().parse_args,
    }


def test_every_command_of_the_pages_has_the_flags_that_it_is_given() -> None:
    known, lines = parsers(), commands()
    assert len(lines) > 50
    for page, line in lines:
        program, *arguments = shlex.split(re.sub(r" [KN]$| [KN] ", " 3 ", line))  # any number
        with suppress(SystemExit) if "--help" in line or "--version" in line else nullcontext():
            print(f"{page}: {line}")  # shown where it fails
            known[program](arguments)


@pytest.mark.parametrize("name", WHOLE)
def test_python_that_stands_by_itself_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(ROOT / name, "python"):
        exec(compile(block, name, "exec"), names)


def test_python_of_every_page_compiles_and_imports_what_there_is() -> None:
    count = 0
    for page, name in zip(PAGES, NAMES, strict=True):
        for block in blocks(page, "python"):
            count += 1
            for node in ast.walk(ast.parse(block, name)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("idsnn"):
                    module = importlib.import_module(str(node.module))
                    assert all(hasattr(module, alias.name) for alias in node.names), f"{name}: {ast.unparse(node)}"
    assert count > 10


def test_a_platform_of_the_how_to_is_read(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "howto" / "add-an-energy-platform.md", "toml")
    (tmp_path / "mine.toml").write_text(block)
    assert read_platforms(tmp_path / "mine.toml")[0].synop_pj == (1.2, 2.0)


@pytest.mark.parametrize("package", ["idsnn", "idsnn_export", "idsnn_deploy", "idsnn_evaluation"])
def test_every_public_name_has_its_place_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    told = set(re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "reference" / "python.md").read_text(), re.MULTILINE))
    for name in module.__all__:
        value = getattr(module, name)
        assert f"{value.__module__}.{name}" in told or any(
            each.startswith(f"{package}.") and each.endswith(f".{name}") for each in told
        ), name


def test_every_page_of_the_documentation_is_in_its_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in menu


def test_the_readme_is_short_and_the_index_s_page_has_no_picture_and_no_dead_link() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 1300
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    for change in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert "![" not in text
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)]*)\)", text))


def test_the_notebook_runs_from_images_to_a_report(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "examples" / "whole_path.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)  # outputs are not kept
    (settings,) = (cell for cell in code if "parameters" in cell.metadata.get("tags", ()))
    settings.source += (
        "\nsettings |= dict(width=2, teacher_width=2, teacher_depth=18, epochs=1, limit_train=64, limit_test=20)"
    )
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (shown,) = code[-1].outputs
    assert "<h2" in shown["data"]["text/html"]
    assert np.all([(tmp_path / "runs/notebook" / name).exists() for name in ("summary.json", "bundle/manifest.json")])
