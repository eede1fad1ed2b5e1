"""Accuracy against spikes, from rows: python benchmarks/curve.py NAME [REPORT.json ...]

Each report of `idsnn-evaluate BUNDLE --out DIR` becomes a row of `benchmarks/results/curve/NAME.jsonl`, in the place of
an earlier row of the same bundle, then all are drawn: `NAME.svg`, accuracy against T x firing rate, accumulates, energy
and milliseconds, and `NAME.md`, a table with all three readings. The same reports give the same bytes. `--label WORDS`,
once a report, says how a row is called; its folder's name where none is given.

| column | is |
|---|---|
| T x rate | spikes per neuron and sample, over all neurons and steps |
| with early exit | accuracy at mean steps x rate, at the report's margin, on the part that did not choose the margin |
| ACs | accumulates of a sample, without the stem's MACs |
| A, B, C | energy over that of the same network as an ANN (C: of an ANN of few bits), docs/report.md |
| ms | median milliseconds of a sample in onnxruntime where the report was made; empty where not measured |
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from idsnn_evaluation.show.words import readings, spikes_per_neuron
from reproduce_rows import Row, read
from reproduce_tables import table

RESULTS = Path(__file__).parent / "results" / "curve"
COLOURS = ("#0b7a75", "#b4651a", "#7a5cc0", "#c2410c", "#1f6feb", "#8a8f98")
SHAPES = ("^:", "o-", "s--")
READINGS = {"A": "A, arithmetic alone", "B": "B, with memory", "C": "C, against an ANN of few bits"}
# Title, unit, and what is drawn: accuracy against x as a shape of matplotlib's.
PANELS: tuple[tuple[str, str, dict[tuple[str, str], str]], ...] = (
    (
        "T x firing rate",
        "spikes per neuron and sample",
        {("spikes", "accuracy"): "o-", ("exit_spikes", "exit_accuracy"): "D"},
    ),
    ("Accumulates", "millions per sample", {("acs", "accuracy"): "o-"}),
    ("Energy", "times the ANN's", {(letter, "accuracy"): shape for letter, shape in zip("ABC", SHAPES, strict=True)}),
    ("onnxruntime", "milliseconds per sample", {("ms", "accuracy"): "o-"}),
)


def row_of(report: Any, label: str) -> Row:
    """What the curve takes from a report (`idsnn_evaluation.document.Document`)."""
    about, totals, early, measured = (report[key] for key in ("provenance", "totals", "early_exit", "measured"))
    rate = totals["firing_rate"]
    if about["timesteps"] == 1:  # there is nothing to leave early
        early = None
    return {
        **{"label": label, "bundle_digest": about["bundle_digest"], "samples": about["samples"]},
        **{"dataset": about["dataset"], "split": about["split"], "timesteps": about["timesteps"]},
        **{"accuracy": report["accuracy"]["top1"], "by_step": report["accuracy"]["by_step"]},
        **{"firing_rate": rate, "spikes": spikes_per_neuron(report), "acs": totals["effective_acs"] / 1e6},
        **readings(report),
        "break_even_rate": report["energy"]["bit_matched"]["break_even_rate"],
        "ms": None if measured is None else measured["latency_ms"]["p50"],
        "machine": None if measured is None else measured["machine"],
        "exit_spikes": None if early is None else early["rest"]["average_steps"] * rate,
        "exit_accuracy": None if early is None else early["rest"]["accuracy"],
        **{"version": about["version"], "exported_with": about["exported_with"]},
    }


def take_up(file: Path, rows: Sequence[Row]) -> list[Row]:
    """Writes the rows beside those that the file has, each bundle once, and returns all of them by their spikes."""
    before = read(file) if file.exists() else []
    new = {row["bundle_digest"] for row in rows}
    found = [row for row in before if row["bundle_digest"] not in new] + list(rows)
    found.sort(key=lambda row: (row["spikes"], row["label"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    return found


def as_table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    header = ["network", "T", "accuracy, %", "T x rate", "with early exit", "ACs, M", "A", "B", "C", "ms"]
    return table(header, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    leaving = "" if row["exit_spikes"] is None else f"{100 * row['exit_accuracy']:.1f} at {row['exit_spikes']:.3f}"
    energy = ["" if row[letter] is None else f"{row[letter]:.2f}" for letter in "ABC"]
    ms = "" if row["ms"] is None else f"{row['ms']:.2f}"
    own = [row["label"], str(row["timesteps"]), f"{100 * row['accuracy']:.1f}", f"{row['spikes']:.3f}"]
    return [*own, leaving, f"{row['acs']:.2f}", *energy, ms]


def draw(rows: Sequence[Row], file: Path) -> None:
    """The figure: a panel for each of `PANELS`, a colour for each T."""
    style = {"svg.hashsalt": "idsnn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(9.6, 6.4), layout="constrained")
        for axes, (title, unit, lines) in zip(figure.subplots(2, 2, sharey=True).flat, PANELS, strict=True):
            for colour, steps in zip(COLOURS, sorted({row["timesteps"] for row in rows}), strict=False):
                mine = [row for row in rows if row["timesteps"] == steps]
                for (x, y), shape in lines.items():
                    points = sorted((row[x], 100 * row[y]) for row in mine if row[x] is not None)
                    axes.plot(*zip(*points, strict=True), shape, color=colour, markersize=5) if points else None
            axes.set(title=title, xlabel=unit)
            axes.set_xlim(left=0)
            axes.grid(alpha=0.3)
        _explain(figure.axes, rows)
        figure.supylabel("accuracy, %")
        figure.savefig(file, metadata={"Date": None})


def _explain(panels: Sequence[Any], rows: Sequence[Row]) -> None:
    """Names beside the points of the first panel, and what colours, shapes and the line of an ANN mean."""
    first, _, energy, _ = panels
    for row in rows:
        place = (row["spikes"], 100 * row["accuracy"])
        first.annotate(row["label"], place, (5, -9), textcoords="offset points", fontsize=7)
    for colour, steps in zip(COLOURS, sorted({row["timesteps"] for row in rows}), strict=False):
        first.plot([], [], "o-", color=colour, label=f"T {steps}")
    first.plot([], [], "D", color="#566175", label="with early exit: mean steps x rate")
    for letter, shape in zip("ABC", SHAPES, strict=True):
        energy.plot([], [], shape, color="#566175", label=READINGS[letter])
    energy.axvline(1, color="#566175", lw=1)
    for axes in (first, energy):
        axes.legend(frameon=False, fontsize=7, loc="lower right")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the curve")
    parser.add_argument("reports", nargs="*", type=Path, metavar="REPORT.json")
    parser.add_argument("--label", action="append", default=[], metavar="WORDS", help="of each report, in order")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    if given.label and len(given.label) != len(given.reports):
        parser.error(f"--label: {len(given.label)} for {len(given.reports)} reports")
    labels = given.label or [report.resolve().parent.name for report in given.reports]
    new = [row_of(json.loads(file.read_text()), label) for file, label in zip(given.reports, labels, strict=True)]
    rows = take_up(given.results / f"{given.name}.jsonl", new)
    if not rows:
        parser.error(f"{given.name}: has no rows yet; give reports")
    draw(rows, given.results / f"{given.name}.svg")
    (given.results / f"{given.name}.md").write_text(as_table(rows) + "\n", encoding="utf-8")
    print(as_table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
