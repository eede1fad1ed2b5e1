"""Hooks of `make docs`: the page of all flags, made from the parsers, and links to files beside docs/ as plain text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from idsnn.cli import _parser as train
from idsnn.config import TrainConfig
from idsnn_deploy.cli import _parser as deploy
from idsnn_evaluation.cli import _parser as evaluation
from idsnn_export.cli import _parser as export

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds reference/commands.md: what every command says with --help."""
    parsers = {each.prog: each for each in (train(TrainConfig()), export(), evaluation(), *_with_commands(deploy()))}
    texts = [f"## {name}\n\n```text\n{parser.format_help()}```" for name, parser in parsers.items()]
    page = "# Commands\n\n`python -m idsnn` lists them.\n\n" + "\n\n".join(texts)
    files.append(File.generated(config, "reference/commands.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """The project has no address, so what lies beside docs/ is named, and must be there."""

    def named(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / page.file.src_uri).parent.joinpath(link[2]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {link[2]}")
        return f"{link[1]} (`{target.relative_to(ROOT)}`)"

    return LINK.sub(named, markdown)


def _with_commands(parser: Any) -> list[Any]:
    return [parser, *(below for action in parser._subparsers._group_actions for below in action.choices.values())]
