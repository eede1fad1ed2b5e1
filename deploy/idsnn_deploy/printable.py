"""Text from outside, made safe to show.

Class names, layer names, file names and error messages come from files, and what shows them obeys what is in them: a
terminal its escape sequences, every reader of bidirectional text the marks that turn a line round. All text that a
command shows passes `printable`; what is not printed is written as Python would write it, `\\x1b` or `\\u202e`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")


def printable(text: str, lines: bool = False) -> str:
    """The text without control characters, marks of direction and halves of characters.

    Args:
        text: any text.
        lines: line ends stay, for text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char, lines) else char.encode("unicode_escape").decode() for char in text)


def _is_shown(char: str, lines: bool) -> bool:
    return char.isprintable() or (lines and char == "\n") or unicodedata.category(char) == "Zs"


def each_text(value: Value, change: Callable[[str], str] = printable) -> Value:
    """A JSON value with every text in it changed, keys too; its type stays."""
    found: Any = value
    if isinstance(value, str):
        found = change(value)
    elif isinstance(value, dict):
        found = {each_text(key, change): each_text(item, change) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [each_text(item, change) for item in value]
    return found  # type: ignore[no-any-return]
