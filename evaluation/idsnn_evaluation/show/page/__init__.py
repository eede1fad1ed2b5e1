"""The report as one self-contained page: no script, no request, light and dark, from phone to laptop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib import resources

from idsnn_deploy.printable import printable

from ...document import ComparisonRow, Document
from ...quantities import percent
from ...report import Report
from ..glossary import anchor
from ..words import estimator, findings, neurons, subject, summary
from .answers import answers
from .energy import energy
from .examples import examples
from .layers import operations, rates
from .side_by_side import side_by_side
from .sources import counts, glossary, provenance


def render_html(report: Report) -> str:
    """Returns the page of one report."""
    body = report.to_dict()
    classes = body["provenance"]["classes"]
    parts = [_head(body, bool(report.examples)), energy(body), rates(body), operations(body), answers(body)]
    parts += [examples(report.examples, classes), counts(body), glossary(), provenance(body)]
    return _page(f"Spikes and energy: {body['provenance']['dataset'] or body['provenance']['bundle']}", "".join(parts))


def render_comparison(rows: Sequence[ComparisonRow], reports: Sequence[Document]) -> str:
    """Returns the page of several reports side by side: their rows of `comparison`, and the reports."""
    return _page("Side by side", side_by_side(rows, reports))


def _head(body: Document, sampled: bool) -> str:
    torch = body["accuracy"]["torch"]
    beside = "" if torch is None else f" In torch it scored {percent(torch)} on the test samples of its training."
    tiles = "".join(
        f'<a class="card" href="#{anchor(each.term)}"><b>{escape(each.value)}</b><span>{escape(each.words)}</span></a>'
        for each in findings(body)
    )
    return (
        f"<h1>Spikes and energy of a spiking network</h1>"
        f"<p class=soft>{escape(subject(body))}; {escape(estimator(body))}</p>"
        f'<p class="lead">{escape(summary(body) + beside)}</p>'
        f'<div class="tiles">{tiles}</div>'
        f"<p>{escape(body['energy']['bit_matched']['verdict'])}</p>"
        + "".join(f"<p>Warning: {escape(printable(warning))}</p>" for warning in body.get("warnings", ()))
        + _contents(body, sampled)
    )


def _contents(body: Document, sampled: bool) -> str:
    """The sections that the page has, as links."""
    sections = {
        "energy": "Energy",
        **({"rates": "Firing rates"} if neurons(body) else {}),
        "operations": "Operations",
        "answers": "Answers",
        **({"samples": "Samples"} if sampled else {}),
        "counts": "Every count",
        "glossary": "Glossary",
        "provenance": "Where this comes from",
    }
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in sections.items())
    return f'<nav aria-label="sections"><ul>{links}</ul></nav>'


def _unbroken(found: re.Match[str]) -> str:
    """No line ends between a number and its percent sign, nor within "T x" and "T ="."""
    return found[0].replace(" ", "\u00a0")


def _page(title: str, body: str) -> str:
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    body = re.sub(r"(?<=T) ([x=]) | (?=%)", _unbroken, body)
    # The policy makes "no network" a promise that the browser keeps.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )
    return printable(page, lines=True)
