"""The sections on layers: firing rates by step, operations against the same network as an ANN."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...counts import Totals
from ...document import Document, SynapticLayer
from ...quantities import count, percent
from ..words import flow, neurons, synapses
from . import charts, plots
from .charts import Bar
from .plots import Column

_HEAD = (
    "",
    "layer",
    "role",
    "input rate",
    "ACs",
    "stem MACs",
    "NeuroBench ACs",
    "NeuroBench MACs",
    "dense",
    "ANN MACs",
)


_BUSIEST = 6


def rates(body: Document) -> str:
    """Firing rate by layer and step, as a heat map."""
    layers = neurons(body)
    if not layers:
        return ""
    heat = charts.heat([each["name"] for each in layers], [each["firing_rate_by_step"] for each in layers])
    text = flow("""
        Of a layer's neurons, how many percent spike at step 1, 2, ... Silent layers carry nothing on; busy ones cost
        most.
    """)
    return f'<h2 id="rates">Firing rate by layer and step</h2><p>{text}</p><div class="card">{heat}</div>'


def operations(body: Document) -> str:
    """Operations by layer against the ANN, and how others count them."""
    layers = synapses(body)
    rows = [[str(i), each["name"], each["role"], *_figures(each)] for i, each in enumerate(layers, 1)]
    rows.append(["", "total", "", *_figures(body["totals"])])
    dense = {"other": "MACs where no spikes arrive, as in the stem"} if body["totals"]["stem_macs"] else {}
    key = charts.key({"spiking": "accumulates (ACs), all steps", **dense, "ann": "the same layer in the ANN (MACs)"})
    text = flow("""
        All steps of the spiking network against one pass of the same network as an ANN, whose operations are MACs,
        about five times as costly as ACs in fp32.
    """)
    note = flow("""
        “NeuroBench” follows NeuroBench 2.3: a layer whose inputs are all 0 or 1 makes ACs, any other one MACs; zero
        weights and values are skipped. “rate × MAC” is the literature's estimate, firing rate × steps × nominal MACs;
        the last column says how far it lies from the exact count.
    """)
    table = charts.table([*_HEAD, "rate × MAC is off by"], rows, 3, "operations by layer")
    figures = charts.details("The figures, and how others count", f"{table}<p class=note>{note}</p>")
    cards = (
        f'<div class="card"><h3>From the first layer to the last</h3>{_profile(layers)}</div>{_busiest(body, layers)}'
    )
    return (
        f'<h2 id="operations">Operations by layer</h2><p>{text}</p>{key}<div class="grid pairs">{cards}</div>{figures}'
    )


def _profile(layers: Sequence[SynapticLayer]) -> str:
    """A pair of columns for each layer, the network's and the ANN's."""
    found = [(_own(each), each["ann_macs"]) for each in layers]
    most = max((value for pair in found for value in pair), default=0)
    columns = [
        Column(own, ann, _kind(each), f"{each['name']}: {_said(each)}, as an ANN {count(ann)} MAC")
        for each, (own, ann) in zip(layers, found, strict=True)
    ]
    names = f"operations of {len(layers)} layers, from {layers[0]['name']} to {layers[-1]['name']}" if layers else ""
    plot = plots.columns(columns, f"{names}; the table below has the figures", f"{count(most)} operations")
    ends = "".join(f"<span>{escape(each['name'])}</span>" for each in (*layers[:1], *layers[1:][-1:]))
    return f'{plot}<div class="from-to">{ends}</div>'


def _busiest(body: Document, layers: Sequence[SynapticLayer]) -> str:
    """The layers with the most operations."""
    order = sorted(range(len(layers)), key=lambda i: -_own(layers[i]))[:_BUSIEST]
    every = sum(map(_own, layers))
    if not every:
        return ""
    bars = [
        Bar(f"{i + 1}. {layers[i]['name']}", (_own(layers[i]),) * 2, _said(layers[i]), _kind(layers[i])) for i in order
    ]
    share = sum(_own(layers[i]) for i in order) / every
    words = f"{len(order)} of {len(layers)} layers make {percent(share, 0)} of all operations."
    return f'<div class="card narrow"><h3>The busiest layers</h3><p class=note>{words}</p>{charts.bars(bars)}</div>'


def _own(layer: SynapticLayer) -> float:
    return layer["conv_acs"] + layer["head_acs"] + layer["stem_macs"]


def _kind(layer: SynapticLayer) -> str:
    return "other" if layer["stem_macs"] else "spiking"


def _said(layer: SynapticLayer) -> str:
    return f"{count(_own(layer))} {'MAC' if layer['stem_macs'] else 'AC'}"


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
