"""The energy section: three readings side by side, published platforms, this machine."""

from __future__ import annotations

from html import escape

from ... import quantities
from ...document import ArithmeticRow, BitMatched, Document, Energy, Interval, Measured, MemoryRow, Network
from ...quantities import ann_of, fixed, of_bits, percent
from ..words import flow, in_c
from . import charts
from .charts import Bar

_KINDS: dict[Network, str] = {"same network as an ANN": "ann", "teacher": "teacher"}


def energy(body: Document) -> str:
    """The whole section."""
    found = body["energy"]
    bits, steps = found["bit_matched"]["bits"], body["provenance"]["timesteps"]
    names = {"spiking": "spiking network", "ann": "same network as an ANN"}
    if any(each["network"] == "teacher" for each in found["arithmetic"]):
        names["teacher"] = "teacher"
    cards = (
        _card(
            "reading-a",
            "A. Arithmetic alone",
            """An accumulate (AC) is one addition, a multiply-accumulate (MAC) a multiplication and an addition, in
            45 nm silicon. Memory is free here, which flatters everybody.""",
            _arithmetic(found["arithmetic"]),
        ),
        _card(
            "reading-b",
            "B. With memory traffic",
            """Every weight, input and membrane potential is fetched from one kind of memory and nothing is reused;
            fp32, logarithmic scale.""",
            _memory(found["memory"]),
        ),
        _card(
            "reading-c",
            "C. Against an ANN of as many bits",
            f"""A neuron that may spike at each of {steps} steps says as much as an activation of
            {of_bits(bits)}. The shaded bands are published break-even points, memory included: left of them
            spiking wins.""",
            _matched(found["bit_matched"]),
        ),
    )
    text = flow("""
        They answer different questions and may disagree; none of them is <em>the</em> energy. All are estimates
        per sample, from published constants; a range is shown where the sources differ.
    """)
    return (
        f'<h2 id="energy">Energy: three readings</h2><p>{text}</p>'
        f'{charts.key(names)}<div class="grid">{"".join(cards)}</div>'
        f"{_platforms(found)}{_measured(body['measured'])}"
    )


def _card(name: str, title: str, note: str, content: str) -> str:
    return f'<div class="card narrow" id="{name}"><h3>{title}</h3><p class=note>{flow(note)}</p>{content}</div>'


def _arithmetic(rows: list[ArithmeticRow]) -> str:
    parts = []
    for precision, name in (("fp32", "32-bit floating point"), ("int8", "8-bit integers")):
        bars = [
            _bar(r["network"], r["pj"], _KINDS.get(r["network"], "spiking"))
            for r in rows
            if r["precision"] == precision
        ]
        parts.append(f"<p class=note>{name}</p>{charts.bars(bars)}")
    return "".join(parts)


def _memory(rows: list[MemoryRow]) -> str:
    shown = []
    for each in rows:
        if each["precision"] == "fp32":
            shown.append(_bar(f"spiking, {each['tier']}", each["spiking_pj"]))
            shown.append(_bar(f"ANN, {each['tier']}", each["ann_pj"], "ann"))
    return charts.bars(shown, logarithmic=True)


def _matched(found: BitMatched) -> str:
    low, high = (f"{100 * limit:.3g}" for limit in found["break_even_rate"])
    least, most = found["break_even_synapse"]
    synapse = found["spikes_per_synapse"]
    return (
        charts.bars([_bar("spiking network", found["spiking_pj"]), _bar(ann_of(found["bits"]), found["ann_pj"], "ann")])
        + charts.gauge(
            found["firing_rate"],
            found["break_even_rate"],
            percent(found["firing_rate"]),
            f"Firing rate, break-even at {low} to {high} % (Yan et al.)",
        )
        + charts.gauge(
            synapse,
            found["break_even_synapse"],
            fixed(synapse),
            f"Spikes per synapse, break-even at {least} to {most} (Dampfhoffer et al.)",
        )
    )


def _bar(label: str, interval: Interval, kind: str = "spiking") -> Bar:
    return Bar(label, (interval[0], interval[1]), quantities.energy(interval), kind)


def _platforms(found: Energy) -> str:
    rows = found["platforms"]
    bars = [_bar(each["name"], each["pj"], "spiking" if each["counts"] == "events" else "other") for each in rows]
    head = ["platform", "node", "year", "what the figure includes", "source"]
    about = [[each["name"], each["node"], str(each["year"]), each["includes"], each["source"]] for each in rows]
    sources = charts.table(head, about, len(head))
    note = flow(f"""
        Operations times the energy that was published for one, logarithmic scale; the lighter end of a bar reaches to
        the highest figure. Event-driven chips (green) pay for spikes; a stem that multiplies is left out there, because
        something else must run it, and nothing here says that the network fits. Processors (blue) pay for every dense
        operation of every step. No published figure, so no estimate: {escape(", ".join(found["no_figure"]))}.
    """)
    return (
        f'<div class="card apart" id="platforms"><h3>On published platforms</h3><p class=note>{note}</p>'
        f"{charts.bars(bars, logarithmic=True)}"
        f"{charts.details('Where the figures are from', sources)}</div>"
    )


def _measured(found: Measured | None) -> str:
    if found is None:
        return ""
    note, latency = found["energy_note"], found["latency_ms"]
    cost = note if found["energy_mj"] is None else f"{found['energy_mj']:.2f} mJ per sample ({note})"
    text = flow(f"""
        {escape(found["machine"]["processor"])}, {escape(found["model"])}, batch {found["batch"]}:
        <b>{latency["p50"]:.3g} ms</b> per sample (median of {found["runs"]}; 90 % are under {latency["p90"]:.3g} ms).
        {_beside_one_step(found)} {escape(in_c(found))} Energy: {escape(cost)}.
    """)
    return (
        f'<div class="card apart" id="machine"><h3>Measured on this machine</h3><p>{text}</p>'
        f"<p class=note>{escape(found['note'])}</p></div>"
    )


def _beside_one_step(found: Measured) -> str:
    step = found.get("one_step_ms")
    if not step:
        return ""
    return f"One step of it, which computes every layer once as an ANN does, takes {step:.3g} ms."
