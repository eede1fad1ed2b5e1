"""The page of several reports: accuracy against cost, the front of the best, and every figure in one table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...document import ComparisonRow, Document
from ...quantities import count, percent
from ..comparison import COSTS, Cost, front, placed
from ..terminal import COMPARED
from ..words import estimator, flow, subject
from . import charts, plots
from .answers import spoken, steps
from .charts import Bar
from .plots import Line, Point

_KINDS = ("spiking", "ann", "teacher", "other")


def side_by_side(rows: Sequence[ComparisonRow], reports: Sequence[Document]) -> str:
    """The body of the page."""
    names = [f"{i}. {row['name']}" for i, row in enumerate(rows, 1)]
    table = charts.table(["", *names], [[words, *map(shown, rows)] for words, shown in COMPARED], says="all figures")
    about = [
        f"<li>{escape(str(row['name']))}: {escape(subject(body))}; {escape(estimator(body))}</li>"
        for row, body in zip(rows, reports, strict=True)
    ]
    return (
        f"<h1>Side by side</h1>{_fronts(rows, names)}"
        f'<h2>Figures, per sample</h2><div class="card">{table}</div>'
        f'<h2>Spikes and answers</h2><div class="grid">{_bars(rows, names)}{_by_step(names, reports)}</div>'
        f'<h2>What was measured</h2><ol class="note">{"".join(about)}</ol>'
    )


def _fronts(rows: Sequence[ComparisonRow], names: Sequence[str]) -> str:
    """Accuracy against every cost that all networks have, with the names of the numbers."""
    text = flow("""
        Up is right more often, left is cheaper; the scales of cost are logarithmic. A full mark is on the front: no
        other network is at least as right for as little and better in one of the two. The networks are:
    """)
    listed = "".join(f"<li>{escape(str(row['name']))}</li>" for row in rows)
    cards = "".join(_card(cost, rows, names) for cost in COSTS)
    return f'<h2>Accuracy against cost</h2><p>{text}</p><ol>{listed}</ol><div class="grid pairs">{cards}</div>'


def _card(cost: Cost, rows: Sequence[ComparisonRow], names: Sequence[str]) -> str:
    at = placed(rows, cost)
    if not at:
        return ""
    best = front([(x, rows[i]["accuracy"]) for i, x in at.items()])
    found = [Point(i + 1, x, rows[i]["accuracy"], good) for (i, x), good in zip(at.items(), best, strict=True)]
    said = ", ".join(f"{names[p.number - 1]} {percent(p.y, 2)} for {cost.shown(p.x)}" for p in found)
    on_it = ", ".join(names[p.number - 1] for p in found if p.best)
    ends = [cost.shown(each(at.values())) for each in (min, max)]
    plot = plots.points(found, cost.axis, f"accuracy against {cost.title}: {said}; on the front: {on_it}", ends)
    return f'<div class="card"><h3>{escape(cost.title)}</h3><p class=note>{escape(cost.note)}</p>{plot}</div>'


def _bars(rows: Sequence[ComparisonRow], names: Sequence[str]) -> str:
    figures = {
        "Firing rate": [(each["firing_rate"] or 0.0, percent(each["firing_rate"])) for each in rows],
        "Accumulates per sample, hidden layers": [(each["conv_acs"], count(each["conv_acs"])) for each in rows],
    }
    return "".join(
        f'<div class="card narrow"><h3>{title}</h3>'
        + charts.bars([Bar(name, (x, x), shown) for name, (x, shown) in zip(names, values, strict=True)])
        + "</div>"
        for title, values in figures.items()
    )


def _by_step(names: Sequence[str], reports: Sequence[Document]) -> str:
    kinds = len(_KINDS)  # neighbours differ in colour and dash, so that curves that coincide are both seen
    looks = [(_KINDS[i % kinds], (i + i // kinds) % 4) for i in range(len(names))]
    curves = [
        Line(name, steps(body), body["accuracy"]["by_step"], *look)
        for name, body, look in zip(names, reports, looks, strict=True)
    ]
    said = "; ".join(spoken(curve.label, curve.x, curve.y) for curve in curves)
    chart = plots.lines(curves, "time step", f"accuracy after each step of {said}") + charts.legend(curves)
    return f'<div class="card"><h3>Accuracy after each step</h3>{chart}</div>'
