"""The last sections: every count with its meaning, and where everything comes from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ...counts import ADDED, RATIOS
from ...document import ConstantRow, Document, Interval
from ...quantities import count
from ..words import flow
from . import charts


def counts(body: Document) -> str:
    """Every key of the totals with its value and its meaning."""
    spread = body["spread"]["acs"]
    values: Mapping[str, object] = body["totals"]
    rows = "".join(
        f"<tr><td><code>{key}</code></td><td class=n>{_exact(values[key])}</td><td>{escape(meaning)}</td></tr>"
        for key, meaning in {**ADDED, **RATIOS}.items()
    )
    text = flow(f"""
        Per sample, over all steps. Samples differ: half of them take less than {count(spread["median"])} accumulates,
        and 90 % between {count(spread["p5"])} and {count(spread["p95"])}.
    """)
    return (
        f"<h2>Every count</h2><p>{text}</p>"
        "<details><summary>All counts and what they mean</summary><div "
        f'class="scroll"><table>{rows}</table></div></details>'
    )


def provenance(body: Document) -> str:
    """What was measured with what, and the sources of the energy constants."""
    about = {key: value for key, value in body["provenance"].items() if key != "classes"}
    shown = "".join(f"<dt>{key.replace('_', ' ')}</dt><dd>{escape(_flat(value))}</dd>" for key, value in about.items())
    rows = [_constant(name, each) for name, each in body["energy"]["constants"].items()]
    table = charts.table(["constant", "value", "unit", "node", "year", "includes", "source"], rows, 7)
    return (
        f'<h2>Where this comes from</h2><div class="card"><dl>{shown}</dl></div>'
        f"<details><summary>Energy constants and their sources</summary>{table}</details>"
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
