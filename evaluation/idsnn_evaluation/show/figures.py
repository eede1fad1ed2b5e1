"""The report's figures as PNG and SVG files, for papers and slides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from idsnn_deploy.printable import each_text

from ..document import Document
from .words import estimator, neurons, subject, synapses

SPIKING, ANN, TEACHER = "#0b7a75", "#b4651a", "#7a5cc0"


def write_figures(report: Document, folder: Path) -> None:
    """Writes every figure of `FIGURES` into `folder` as NAME.png and NAME.svg, the same bytes for the same report."""
    folder.mkdir(parents=True, exist_ok=True)
    report = each_text(report, lambda text: text.replace("$", r"\$"))  # what stands between two is set as a formula
    style = {"svg.hashsalt": "idsnn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of names in scripts that the font has not: boxes
        for name, draw in FIGURES.items():
            figure = Figure(figsize=(7.2, 4.0), layout=ConstrainedLayoutEngine(rect=(0, 0.035, 1, 0.965)))
            draw(report, figure.subplots())
            figure.text(
                0.995, 0.005, f"{subject(report)}; {estimator(report)}", ha="right", fontsize=6, color="#566175"
            )
            # Laid out once for both files: that is most of the drawing's time.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            figure.savefig(folder / f"{name}.png", dpi=160, metadata={"Software": None})
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _rates(report: Document, axes: Any) -> None:
    layers = neurons(report)
    if not layers:
        axes.text(0.5, 0.5, "no spiking neurons", ha="center")
        return
    rates = [[100 * value for value in each["firing_rate_by_step"]] for each in layers]
    image = axes.imshow(rates, aspect="auto", cmap="viridis", vmin=0)
    axes.set_xticks(range(len(rates[0])), [str(t + 1) for t in range(len(rates[0]))])
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
    axes.set(xlabel="operations per sample", title="Operations by layer")
    axes.legend(frameon=False)


def _accuracy(report: Document, axes: Any) -> None:
    by_step = report["accuracy"]["by_step"]
    axes.plot(
        range(1, len(by_step) + 1), [100 * y for y in by_step], "o-", color=SPIKING, label="all samples run t steps"
    )
    early = report["early_exit"]
    if early is not None and len(by_step) > 1:
        points = sorted({(p["average_steps"], 100 * p["accuracy"]) for p in early["curve"]})
        axes.plot(*zip(*points, strict=True), "-", color=ANN, label="each sample stops at a margin")
        axes.plot(
            early["rest"]["average_steps"], 100 * early["rest"]["accuracy"], "D", color=ANN, label="the margin chosen"
        )
    axes.set_xticks(range(1, len(by_step) + 1))
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
    bars.append((f"C: ANN of {matched['bits']} bits", matched["ann_pj"], ANN))
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
