"""The figures of the rows that reproduce.py wrote; reproduce_tables.py calls this."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from reproduce_rows import METHODS, Row, of, present, spread

MARKS = "^osvDPX*<>"  # by T, so that equal T look alike in every figure
COLOURS = {"baseline": "#8a8f98", "init": "#c98a1b", "kd": "#7a5cc0", "idsnn": "#0b7a75"}


def draw_ablation(rows: list[Row], figure: Figure) -> None:
    """Bars from zero with error bars, each seed as a dot."""
    axes, arms = figure.subplots(), present(rows, "arm")
    for place, arm in enumerate(arms):
        values = [100 * row["best_val_test_accuracy"] for row in of(rows, arm=arm)]
        error = statistics.stdev(values) if len(values) > 1 else None
        axes.bar(place, statistics.fmean(values), yerr=error, color=COLOURS[arm], width=0.6, capsize=5)
        axes.plot([place] * len(values), values, "o", color="#1c2430", markersize=3)
        axes.annotate(spread(values), (place, max(values)), (0, 9), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(arms)), [f"{arm}\n{METHODS[arm]}" for arm in arms])
    axes.set(ylabel="test accuracy, %", title=f"Four arms, {_seeds(rows)}")
    axes.margins(y=0.12)


def draw_convergence(rows: list[Row], figure: Figure) -> None:
    """Accuracy against epoch, one panel an interval: mean over seeds, and from the lowest to the highest."""
    intervals = present(rows, "interval")
    panels = figure.subplots(1, len(intervals), sharey=True, squeeze=False)[0]
    for axes, interval in zip(panels, intervals, strict=True):
        for arm in present(rows, "arm"):
            curves = [[100 * value for value in row["test_accuracy"]] for row in of(rows, interval=interval, arm=arm)]
            if not curves:
                continue
            epochs = range(1, len(curves[0]) + 1)
            steps = list(zip(*curves, strict=True))
            axes.plot(epochs, [statistics.fmean(step) for step in steps], color=COLOURS[arm], label=arm)
            axes.fill_between(
                epochs, list(map(min, steps)), list(map(max, steps)), color=COLOURS[arm], alpha=0.18, lw=0
            )
        for fall in (interval, 2 * interval, 3 * interval):
            axes.axvline(fall + 0.5, color="#c9ced6", lw=0.8, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", title=f"interval {interval}, {_seeds(of(rows, interval=interval))}")
    panels[0].set(ylabel="test accuracy, %")
    panels[-1].legend(frameon=False, loc="lower right")


def draw_timesteps(rows: list[Row], figure: Figure) -> None:
    """Accuracy against T."""
    axes = figure.subplots()
    for arm in present(rows, "arm"):
        _points(axes, rows, arm, lambda mine: float(mine[0]["timesteps"]))
    axes.set_xticks(present(rows, "timesteps"))
    axes.set(xlabel="time steps T", ylabel="test accuracy, %", title=f"Accuracy against T, {_seeds(rows)}")
    axes.legend(frameon=False, loc="lower right")


def draw_energy(rows: list[Row], figure: Figure) -> None:
    """Accuracy against energy: arithmetic alone, and with the memory that it reads and writes."""
    readings = {"arithmetic_pj": "A: arithmetic", "memory_pj": f"B: with {rows[0]['memory_pj']['tier']}"}
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (reading, title) in zip(panels, readings.items(), strict=True):
        for arm in present(rows, "arm"):
            _points(axes, rows, arm, lambda mine, name=reading: _mean(mine, name) / 1e6, MARKS)
        ann = statistics.fmean(row[reading]["ann"][0] for row in rows) / 1e6
        axes.axvline(ann, color="#b4651a", ls="--", lw=1, label="the same network as an ANN")
        axes.set(xscale="log", xlabel="µJ per image, fp32", title=title)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set(ylabel="test accuracy, %")
    lines = panels[0].get_legend_handles_labels()[0]
    steps = [
        Line2D([], [], color="#1c2430", ls="", marker=_mark(t), ms=4, label=f"T {t}")
        for t in present(rows, "timesteps")
    ]
    figure.legend(handles=[*lines, *steps], frameon=False, fontsize=8, loc="outside lower center", ncols=8)


def _mean(rows: list[Row], reading: str) -> float:
    return statistics.fmean(row[reading]["snn"][0] for row in rows)


def _points(axes: Any, rows: list[Row], arm: str, place: Callable[[list[Row]], float], marks: str = "o") -> None:
    """An arm's points with their spread over seeds; their T shows in their marks, which no font lays over another."""
    groups = [of(rows, arm=arm, timesteps=t) for t in present(of(rows, arm=arm), "timesteps")]
    values = [[100 * row["best_val_test_accuracy"] for row in group] for group in groups]
    xs, ys = [place(group) for group in groups], [statistics.fmean(each) for each in values]
    errors = [statistics.stdev(each) if len(each) > 1 else math.nan for each in values]
    axes.errorbar(xs, ys, yerr=errors, fmt="-", color=COLOURS[arm], label=arm, capsize=3)
    for x, y, group in zip(xs, ys, groups, strict=True):
        axes.plot(x, y, color=COLOURS[arm], marker=_mark(group[0]["timesteps"], marks), markersize=4)


def _mark(timesteps: int, marks: str = MARKS) -> str:
    return marks[timesteps % len(marks)]


def _seeds(rows: list[Row]) -> str:
    """How many seeds a point has: "3 seeds", or "1 to 3 seeds" where points differ."""
    points = Counter((row["arm"], row["interval"], row["timesteps"]) for row in rows)
    low, high = min(points.values()), max(points.values())
    return f"{high} seed{'s' if high > 1 else ''}" if low == high else f"{low} to {high} seeds"


FIGURES: dict[str, tuple[str, tuple[float, float], Callable[[list[Row], Figure], None]]] = {
    "ablation": ("ablation", (6.4, 3.6), draw_ablation),
    "convergence": ("convergence", (9.6, 3.4), draw_convergence),
    "timesteps": ("timesteps", (5.2, 3.6), draw_timesteps),
    "energy": ("timesteps", (8.4, 3.6), draw_energy),
}
ALT = {
    "ablation": "test accuracy of the four arms",
    "convergence": "test accuracy against the epoch at each interval",
    "timesteps": "test accuracy against T",
    "energy": "test accuracy against energy an image",
}


def draw(name: str, rows: list[Row], path: Path) -> None:
    """Writes one of `FIGURES` as SVG, the same bytes for the same rows."""
    _, size, fill = FIGURES[name]
    style = {"svg.hashsalt": "idsnn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        fill(rows, figure)
        figure.savefig(path, metadata={"Date": None})
