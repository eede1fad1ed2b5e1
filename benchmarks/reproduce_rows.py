"""What is read from the rows that reproduce.py wrote, and how seeds become one figure."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from idsnn_deploy.errors import RunError

Row = dict[str, Any]
METHODS = {
    "baseline": "neither",
    "init": "initialized",
    "kd": "distilled",
    "idsnn": "initialized and distilled",
}
ARMS = tuple(METHODS)


def read(path: Path) -> list[Row]:
    """The rows of one file.

    Raises:
        RunError: a line that is no row.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError as cause:
            raise RunError(
                f"{path}, line {number}: is no row ({cause}); remove it, and its run is done again"
            ) from None
    return rows


def of(rows: Iterable[Row], **values: Any) -> list[Row]:
    """The rows with these values, by seed."""
    return sorted((r for r in rows if all(r[key] == value for key, value in values.items())), key=lambda r: r["seed"])


def present(rows: Iterable[Row], name: str) -> list[Any]:
    """The values of a column, ascending; the arms in their own order."""
    found = {row[name] for row in rows}
    return [arm for arm in ARMS if arm in found] if name == "arm" else sorted(found)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample standard deviation."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def percent(rows: Sequence[Row], name: str) -> str:
    """Mean ± std of a fraction, in percent."""
    return spread([100 * row[name] for row in rows])


def gain(rows: Sequence[Row], others: Sequence[Row], name: str) -> str:
    """Mean ± std of the difference in percentage points, seed by seed; the seeds that both have."""
    theirs = {row["seed"]: row for row in others}
    differences = [100 * (row[name] - theirs[row["seed"]][name]) for row in rows if row["seed"] in theirs]
    if not differences:
        return ""
    sign = "+" if statistics.fmean(differences) >= 0 else ""
    return sign + spread(differences)
