"""The last sections: every count with its meaning, and where everything comes from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ...counts import ADDED, RATIOS
from ...document import ConstantRow, Document, Interval
from ...quantities import count
from ..glossary import GLOSSARY, anchor
from ..words import flow
from . import charts


def counts(body: Document) -> str:
    """Every key of the totals with its value and its meaning."""
    spread = body["spread"]["acs"]
    values: Mapping[str, object] = body["totals"]
    rows = "".join(
        f"<tr><th scope=row><code>{key}</code></th><td class=n>{_exact(values[key])}</td>"
        f"<td>{escape(meaning)}</td></tr>"
        for key, meaning in {**ADDED, **RATIOS}.items()
    )
    text = flow(f"""
        Per sample, over all steps. Samples differ: half of them take less than {count(spread["median"])} accumulates,
        and 90 % between {count(spread["p5"])} and {count(spread["p95"])}.
    """)
    table = f'<div class="scroll" tabindex="0" role="region" aria-label="all counts"><table>{rows}</table></div>'
    return f'<h2 id="counts">Every count</h2><p>{text}</p>{charts.details("All counts and what they mean", table)}'


def glossary() -> str:
    """Every term, in the order of the alphabet, with a link to where the page shows it."""
    entries = "".join(
        f'<dt id="{anchor(term)}">{escape(term)}</dt><dd>{escape(entry.meaning)}'
        + (f' <a href="#{entry.section}">Shown here.</a>' if entry.section else "")
        + "</dd>"
        for term, entry in GLOSSARY.items()
    )
    return f'<h2 id="glossary">Glossary</h2><dl class="glossary">{entries}</dl>'


def provenance(body: Document) -> str:
    """What was measured with what, and the sources of the energy constants."""
    about = {key: value for key, value in body["provenance"].items() if key != "classes"}
    shown = "".join(f"<dt>{key.replace('_', ' ')}</dt><dd>{escape(_flat(value))}</dd>" for key, value in about.items())
    rows = [_constant(name, each) for name, each in body["energy"]["constants"].items()]
    table = charts.table(["constant", "value", "unit", "node", "year", "includes", "source"], rows, 7)
    return f'<h2 id="provenance">Where this comes from</h2><div class="card"><dl>{shown}</dl></div>' + charts.details(
        "Energy constants and their sources", table
    )


def _constant(name: str, found: ConstantRow) -> list[str]:
    about = [found["unit"], found["node"], str(found["year"]), found["includes"], found["source"]]
    return [name, _span(found["value"]), *about]


def _exact(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if value >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "–"


def _flat(value: object) -> str:
    return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else str(value)


def _span(limits: Interval) -> str:
    low, high = (f"{value:.4g}" for value in limits)
    return low if low == high else f"{low} to {high}"
