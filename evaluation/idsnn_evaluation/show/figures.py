"""The report's figures as PNG and SVG files, for papers and slides."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from idsnn_deploy.printable import each_text

from ..document import ComparisonRow, Document
from ..quantities import ann_of, count
from .comparison import COSTS, Cost, front, placed
from .words import estimator, neurons, subject, synapses

SPIKING, ANN, TEACHER = "#0b7a75", "#b4651a", "#7a5cc0"


def write_figures(report: Document, folder: Path) -> None:
    """Writes every figure of `FIGURES` into `folder` as NAME.png and NAME.svg, the same bytes for the same report."""
    report = each_text(report, _no_formula)
    note = f"{subject(report)}; {estimator(report)}"
    for name, draw in FIGURES.items():
        with _figure(folder / name, note, _height(report) if name in ("firing_rate", "operations") else 4.0) as figure:
            draw(report, figure.subplots())


def write_fronts(rows: Sequence[ComparisonRow], folder: Path) -> None:
    """Writes accuracy against every cost as pareto.png and pareto.svg."""
    rows = each_text(list(rows), _no_formula)
    about = rows[0]
    note = f"{about['dataset']}, {about['split']} split, {about['samples']:,} samples"
    costs = [cost for cost in COSTS if placed(rows, cost)]
    with _figure(folder / "pareto", note, 6.0 + 0.16 * len(rows)) as figure:
        panels = figure.subplots(-(-len(costs) // 2), 2, squeeze=False).flat
        for axes, cost in itertools.zip_longest(panels, costs):
            if cost is None:
                axes.axis("off")
            else:
                _front(rows, cost, axes)
        names = "\n".join(f"{i}  {row['name']}" for i, row in enumerate(rows, 1))
        figure.supxlabel(names, x=0.02, ha="left", fontsize=8)


def _front(rows: Sequence[ComparisonRow], cost: Cost, axes: Any) -> None:
    at = placed(rows, cost)
    found = [(x / cost.scale, 100 * rows[i]["accuracy"]) for i, x in at.items()]
    best = front(found)
    for (x, y), good in zip(found, best, strict=True):
        axes.plot(x, y, "o", color=SPIKING, markerfacecolor=SPIKING if good else "white", zorder=3)
    along = _scaled(axes, [x for x, _ in found])
    for numbers, (x, y) in _together(found, list(at), along):
        axes.annotate(numbers, (x, y), (5, 4), textcoords="offset points", fontsize=8)
    line = sorted(point for point, good in zip(found, best, strict=True) if good)
    axes.step(*zip(*line, strict=True), where="post", color=SPIKING, linestyle="--", linewidth=1)
    axes.margins(0.12)
    axes.set(title=cost.title, xlabel=f"{cost.axis}{cost.unit}", ylabel="accuracy, %")


def _scaled(axes: Any, costs: Sequence[float]) -> Callable[[float], float]:
    """Makes the axis of cost logarithmic where costs lie over ten times apart; returns where a cost lies along it."""
    apart = max(costs) / min(costs)
    if apart <= 10:
        return float
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if apart > 1000 else (1.0, 3.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return math.log


def _together(
    found: Sequence[tuple[float, float]], rows: Sequence[int], along: Callable[[float], float]
) -> list[tuple[str, tuple[float, float]]]:
    """The numbers of points, those that lie on one another in one text."""
    places = [(along(x), y) for x, y in found]
    wide, tall = (max(each) - min(each) for each in zip(*places, strict=True))
    groups: list[tuple[list[str], tuple[float, float], tuple[float, float]]] = []
    for row, (x, y), point in sorted(zip(rows, places, found, strict=True)):
        near = (each for each, (a, b), _ in groups if abs(a - x) <= 0.03 * wide and abs(b - y) <= 0.05 * tall)
        mine = next(near, None)
        if mine is None:
            groups.append(([str(row + 1)], (x, y), point))
        else:
            mine.append(str(row + 1))
    return [(", ".join(numbers), point) for numbers, _, point in groups]


@contextmanager
def _figure(path: Path, note: str, height: float) -> Iterator[Figure]:
    """A figure to draw in, written as PNG and SVG with a line on what was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    style = {"svg.hashsalt": "idsnn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of names in scripts that the font has not: boxes
        below = 0.14 / height  # of the figure, for the line
        layout = ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below))
        figure = Figure(figsize=(7.2, height), layout=layout)
        yield figure
        figure.text(0.995, 0.02 / height, note, ha="right", fontsize=6, color="#566175")
        # Laid out once for both files: that is most of the drawing's time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=160, metadata={"Software": None})
        figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})


def _no_formula(text: str) -> str:
    """What stands between two dollars would be set as a formula."""
    return text.replace("$", r"\$")


def _height(report: Document) -> float:
    """Inches for one row per layer."""
    return max(4.0, 1.2 + 0.17 * max(len(neurons(report)), len(synapses(report))))


def _rates(report: Document, axes: Any) -> None:
    layers = neurons(report)
    if not layers:
        axes.text(0.5, 0.5, "no spiking neurons", ha="center")
        return
    rates = [[100 * value for value in each["firing_rate_by_step"]] for each in layers]
    image = axes.imshow(rates, aspect="auto", cmap="viridis", vmin=0)
    axes.images[0].set_extent((0.5, len(rates[0]) + 0.5, len(layers) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_yticks(range(len(layers)), [each["name"] for each in layers])
    axes.set(xlabel="time step", title="Firing rate by layer and step")
    axes.figure.colorbar(image, ax=axes, label="% of neurons")


def _operations(report: Document, axes: Any) -> None:
    layers = synapses(report)
    places = range(len(layers))
    own = [each["conv_acs"] + each["head_acs"] + each["stem_macs"] for each in layers]
    axes.barh(
        [p - 0.2 for p in places], own, height=0.38, color=SPIKING, label="spiking network, all steps (ACs; stem: MACs)"
    )
    axes.barh(
        [p + 0.2 for p in places],
        [each["ann_macs"] for each in layers],
        height=0.38,
        color=ANN,
        label="as an ANN (MACs)",
    )
    axes.set_yticks(places, [each["name"] for each in layers])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: count(value))
    axes.set(xlabel="operations per sample", title="Operations by layer")
    axes.legend(frameon=False)


def _accuracy(report: Document, axes: Any) -> None:
    by_step, samples = report["accuracy"]["by_step"], report["provenance"]["samples"]
    every = f"all {samples:,} samples run t steps"
    axes.plot(range(1, len(by_step) + 1), [100 * y for y in by_step], "o-", color=SPIKING, label=every)
    early = report["early_exit"]
    if early is not None and len(by_step) > 1:
        points = sorted({(p["average_steps"], 100 * p["accuracy"]) for p in early["curve"]})
        judged = f"each of {early['rest']['samples']:,} of them stops at a margin"  # the others chose the margin
        axes.plot(*zip(*points, strict=True), "-", color=ANN, label=judged)
        axes.plot(
            early["rest"]["average_steps"], 100 * early["rest"]["accuracy"], "D", color=ANN, label="the margin chosen"
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="time steps (average)", ylabel="accuracy, %", title="Accuracy against time steps")
    axes.legend(frameon=False)


def _energy(report: Document, axes: Any) -> None:
    rows = [each for each in report["energy"]["arithmetic"] if each["precision"] == "fp32"]
    bars = [(f"A: {each['network']}", each["pj"], _colour(each["network"])) for each in rows]
    for each in report["energy"]["memory"]:
        if each["precision"] == "fp32":
            bars.append((f"B: spiking, {each['tier']}", each["spiking_pj"], SPIKING))
            bars.append((f"B: ANN, {each['tier']}", each["ann_pj"], ANN))
    matched = report["energy"]["bit_matched"]
    bars.append(("C: spiking network", matched["spiking_pj"], SPIKING))
    bars.append((f"C: {ann_of(matched['bits'])}", matched["ann_pj"], ANN))
    for place, (_, (low, high), colour) in enumerate(bars):
        axes.barh(place, low / 1e3, color=colour)
        axes.barh(place, (high - low) / 1e3, left=low / 1e3, color=colour, alpha=0.4)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.invert_yaxis()
    if any(high > 0 for _, (_, high), _ in bars):  # a network without weights costs nothing
        axes.set_xscale("log")
    axes.set_xlim(left=min((low for _, (low, _), _ in bars if low > 0), default=1.0) / 3e3)
    axes.set(xlabel="nJ per sample (logarithmic)", title="Energy in three readings: A and B in fp32, C in int8")


def _colour(network: str) -> str:
    return {"same network as an ANN": ANN, "teacher": TEACHER}.get(network, SPIKING)


FIGURES: dict[str, Callable[[Document, Any], None]] = {
    "firing_rate": _rates,
    "operations": _operations,
    "accuracy": _accuracy,
    "energy": _energy,
}
