"""What it costs to reach an accuracy: python benchmarks/time_to_accuracy.py RUN [RUN ...] --marks 75 80 85

    cost(mark) = sum over epochs of the teacher, all of them, and of the student up to the first that reaches the mark

of minutes, of images x T, and of images x T x area, the last two of which no machine changes: an epoch shows
`train_images` images for T steps (T 1 for a teacher; the mean where T is drawn) of (pixels / deployed pixels)^2 of the
deployed area. A teacher that another run trained, or tuned, counts in whole, as far back as its run folders are there.

Each run's `metrics.csv` says when; held-out accuracies decide where a run has any (`--val-fraction`), else test ones,
and the table says which. The first run is what the others are compared with: a ratio below 1 is cheaper.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idsnn_deploy.errors import RunError
from reproduce_tables import table

MARKS = (75.0, 80.0, 85.0)


@dataclass(frozen=True)
class Cost:
    """Of some epochs: minutes, and millions of images x T, as they are and by area."""

    minutes: float = 0.0
    steps: float = 0.0
    by_area: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.minutes + other.minutes, self.steps + other.steps, self.by_area + other.by_area)


@dataclass(frozen=True)
class Reached:
    """Where a run first reached a mark.

    Attributes:
        epoch: of the student, from 1.
        cost: up to there.
    """

    epoch: int
    cost: Cost


def read(run: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Settings and rows of a run folder.

    Raises:
        RunError: it is none.
    """
    try:
        config = json.loads((run / "config.json").read_text())
        return config, list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    except OSError as cause:
        raise RunError(f"{run}: is no run folder ({cause.strerror})") from cause


def cost(row: dict[str, str], config: dict[str, Any]) -> Cost:
    """Of one epoch."""
    shown = row.get("timesteps") or config["timesteps"]
    fewest, _, most = str(shown).partition("-")
    steps = (int(fewest) + int(most or fewest)) / 2 if row["phase"] == "student" else 1
    whole = min(config["input_shape"][-2:])
    area = (int(row["pixels"]) / whole) ** 2 if row.get("pixels") else 1
    shows = config["train_images"] * steps / 1e6
    return Cost(float(row["seconds"]) / 60, shows, shows * area)


def teachers(run: Path) -> Iterator[Cost]:
    """Every epoch that made the run's teacher, here and before."""
    config, rows = read(run)
    yield from (cost(row, config) for row in rows if row["phase"] == "teacher")
    if config["teacher"] is not None and config["arm"] != "baseline":
        source = Path(config["teacher"])
        source = source if source.is_absolute() else run.parent / source
        yield from teachers(source if source.is_dir() else source.parent)


def reached(run: Path, marks: Sequence[float]) -> tuple[str, dict[float, Reached]]:
    """Which accuracies decided, and where each mark in percent was first reached; a mark that was not is left out."""
    config, rows = read(run)
    mine = [row for row in rows if row["phase"] == "student"]
    part = "held-out" if any(row["val_accuracy"] for row in mine) else "test"
    key, spent, found = "val_accuracy" if part == "held-out" else "test_accuracy", Cost(), {}
    for each in teachers(run):
        spent += each
    for row in mine:
        spent += cost(row, config)
        for mark in marks:
            if mark not in found and 100 * float(row[key]) >= mark:
                found[mark] = Reached(int(row["epoch"]), spent)
    return part, found


def as_table(runs: Sequence[Path], marks: Sequence[float]) -> str:
    """A line for each run and mark."""
    found = {run: reached(run, marks) for run in runs}
    first, lines = found[runs[0]][1], []
    for run, (part, where) in found.items():
        for mark in marks:
            here, there = where.get(mark), first.get(mark)
            line = [run.name, f"{mark:g} % {part}"]
            if here is None:
                lines.append([*line, "not reached", "", "", "", ""])
                continue
            ratio = "" if there is None or run == runs[0] else f"{here.cost.by_area / there.cost.by_area:.2f}"
            figures = (here.cost.minutes, here.cost.steps, here.cost.by_area)
            lines.append([*line, str(here.epoch), *(f"{each:.2f}" for each in figures), ratio])
    return table(["run", "mark", "epoch", "minutes", "images x T, M", "by area, M", "of the first run's"], lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--marks", nargs="+", type=float, default=MARKS, metavar="PERCENT")
    given = parser.parse_args(argv)
    print(as_table(given.runs, given.marks))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
