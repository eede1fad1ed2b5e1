"""The sections on layers: firing rates by step, operations against the same network as an ANN."""

from __future__ import annotations

from ...counts import Totals
from ...document import Document, SynapticLayer
from ...quantities import count, percent
from ..words import flow, neurons, synapses
from . import charts
from .charts import Bar

_HEAD = ("layer", "role", "input rate", "ACs", "stem MACs", "NeuroBench ACs", "NeuroBench MACs", "dense", "ANN MACs")


def rates(body: Document) -> str:
    """Firing rate by layer and step, as a heat map."""
    layers = neurons(body)
    if not layers:
        return ""
    steps = [f"{t}" for t in range(1, body["provenance"]["timesteps"] + 1)]
    heat = charts.heat([each["name"] for each in layers], [each["firing_rate_by_step"] for each in layers], steps)
    text = flow("""
        Of a layer's neurons, how many percent spike at step 1, 2, ... Silent layers carry nothing on; busy ones cost
        most.
    """)
    return f'<h2>Firing rate by layer and step</h2><p>{text}</p><div class="card scroll">{heat}</div>'


def operations(body: Document) -> str:
    """Operations by layer against the ANN, and how others count them."""
    layers = synapses(body)
    bars = [bar for each in layers for bar in _pair(each)]
    rows = [[each["name"], each["role"], *_figures(each)] for each in layers]
    rows.append(["total", "", *_figures(body["totals"])])
    key = charts.key(
        {
            "spiking": "accumulates (ACs)",
            "other": "the stem's MACs: it reads pixels, not spikes",
            "ann": "the same layer in the ANN (MACs)",
        }
    )
    text = flow("""
        All steps of the spiking network against one pass of the same network as an ANN, whose operations are MACs,
        about five times as costly as ACs in fp32.
    """)
    note = flow("""
        “NeuroBench” follows NeuroBench 2.3: a layer whose inputs are all 0 or 1 makes ACs, any other one MACs; zero
        weights and values are skipped. “rate × MAC” is the literature's estimate, firing rate × steps × nominal MACs;
        the last column says how far it lies from the exact count.
    """)
    return (
        f'<h2>Operations by layer</h2><p>{text}</p>{key}<div class="card">{charts.bars(bars)}</div>'
        "<details><summary>The figures, and how others count</summary>"
        f"{charts.table([*_HEAD, 'rate × MAC is off by'], rows, 2)}<p class=note>{note}</p></details>"
    )


def _pair(layer: SynapticLayer) -> tuple[Bar, Bar]:
    acs, macs, ann = layer["conv_acs"] + layer["head_acs"], layer["stem_macs"], layer["ann_macs"]
    text = f"{count(macs)} MAC" if macs else f"{count(acs)} AC"
    own = Bar(layer["name"], (acs + macs, acs + macs), text, "other" if macs else "spiking")
    return own, Bar("", (ann, ann), f"{count(ann)} MAC", "ann")


def _figures(found: Totals) -> list[str]:
    over = found["rate_overcount_percent"]
    return [
        percent(found["firing_rate"]),
        count(found["conv_acs"] + found["head_acs"]),
        count(found["stem_macs"]),
        count(found["effective_acs"]),
        count(found["effective_macs"]),
        count(found["dense"]),
        count(found["ann_macs"]),
        "–" if over is None else f"{over:+.1f} %",
    ]
