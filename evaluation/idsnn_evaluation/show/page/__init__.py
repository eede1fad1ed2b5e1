"""The report as one self-contained page: no script, no request, light and dark, from phone to laptop."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources

from idsnn_deploy.printable import printable

from ...document import ComparisonRow, Document
from ...quantities import count, percent
from ...report import Report
from ..terminal import COMPARED
from ..words import estimator, readings, subject, summary
from . import charts
from .answers import answers, steps
from .charts import Bar, Line
from .energy import energy
from .examples import examples
from .layers import operations, rates
from .sources import counts, provenance

_COLOURS = ("spiking", "ann", "teacher", "other")


def render_html(report: Report) -> str:
    """Returns the page of one report."""
    body = report.to_dict()
    classes = body["provenance"]["classes"]
    parts = [_head(body), energy(body), rates(body), operations(body), answers(body)]
    parts += [examples(report.examples, classes), counts(body), provenance(body)]
    return _page(f"Spikes and energy: {body['provenance']['dataset'] or body['provenance']['bundle']}", "".join(parts))


def render_comparison(rows: Sequence[ComparisonRow], reports: Sequence[Document]) -> str:
    """Returns the page of several reports side by side: their rows of `comparison`, and the reports."""
    names = [str(each["name"]) for each in rows]
    figures = {
        "Accuracy": [_bar(each["name"], each["accuracy"], percent(each["accuracy"], 2)) for each in rows],
        "Firing rate": [_bar(each["name"], each["firing_rate"] or 0.0, percent(each["firing_rate"])) for each in rows],
        "Accumulates per sample": [_bar(each["name"], each["conv_acs"], count(each["conv_acs"])) for each in rows],
    }
    panels = [f'<div class="card narrow"><h3>{title}</h3>{charts.bars(bars)}</div>' for title, bars in figures.items()]
    curves = [
        Line(name, steps(body), body["accuracy"]["by_step"], _COLOURS[i % len(_COLOURS)])
        for i, (name, body) in enumerate(zip(names, reports, strict=True))
    ]
    chart = charts.lines(curves, "time step", "accuracy after each step")
    panels.append(f'<div class="card"><h3>Accuracy after each step</h3>{chart}</div>')
    table = charts.table(["", *names], [[words, *map(shown, rows)] for words, shown in COMPARED])
    about = [
        f"<li>{escape(name)}: {escape(subject(body))}; {escape(estimator(body))}</li>"
        for name, body in zip(names, reports, strict=True)
    ]
    return _page(
        "Side by side",
        f'<h1>Side by side</h1><div class="grid">{"".join(panels)}</div>'
        f'<h2>Figures, per sample</h2><div class="card">{table}</div>'
        f'<h2>What was measured</h2><ul class="note">{"".join(about)}</ul>',
    )


def _head(body: Document) -> str:
    totals, about = body["totals"], body["provenance"]
    against = "\u2009·\u2009".join(map(_factor, readings(body).values()))
    bits = body["energy"]["bit_matched"]["bits"]
    tiles = {
        f"accuracy on {about['samples']:,} samples": percent(body["accuracy"]["top1"]),
        "firing rate: neurons that spike in a step": percent(totals["firing_rate"]),
        "accumulates per sample, caused by spikes": count(totals["conv_acs"] + totals["head_acs"]),
        f"times an ANN's energy: A arithmetic, B with memory, C an ANN of {bits} bits": against,
    }
    cards = [
        f'<div class="card"><b>{escape(value)}</b><span>{escape(words)}</span></div>' for words, value in tiles.items()
    ]
    torch = body["accuracy"]["torch"]
    beside = "" if torch is None else f" In training it scored {percent(torch)} on its whole test split."
    return (
        f"<h1>Spikes and energy of a spiking network</h1>"
        f"<p class=soft>{escape(subject(body))} · {escape(estimator(body))}</p>"
        f'<div class="tiles">{"".join(cards)}</div>'
        f'<p class="lead">{_prose(summary(body) + beside)}</p>'
        f"<p>{_prose(body['energy']['bit_matched']['verdict'])}</p>"
        + "".join(f"<p>Warning: {_prose(printable(warning))}</p>" for warning in body.get("warnings", ()))
    )


def _prose(text: str) -> str:
    """No line ends between a number and its percent sign."""
    return escape(text).replace(" %", "\u00a0%")


def _factor(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2g}"


def _bar(label: str, value: float, text: str) -> Bar:
    return Bar(label, (value, value), text)


def _page(title: str, body: str) -> str:
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    # The policy makes "no network" a promise that the browser keeps.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )
    return printable(page, lines=True)
