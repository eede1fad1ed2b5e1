"""Plain text tables, for terminals and logs alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .printable import printable

_NUMBER = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?%?")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns aligned columns under `header`; columns of numbers are set right."""
    columns = [_aligned([printable(str(cell)) for cell in column]) for column in zip(header, *rows, strict=True)]
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _aligned(column: list[str]) -> list[str]:
    width = max(map(len, column))
    numbers = all(_NUMBER.fullmatch(cell) for cell in column[1:] if cell)
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in column]
