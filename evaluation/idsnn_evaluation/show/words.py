"""Findings in words, the same in the terminal, the page and the figures."""

from __future__ import annotations

import re
from typing import NamedTuple

from idsnn_deploy.manifest import Precision

from ..document import ArithmeticRow, Document, EarlyExit, Measured, MemoryRow, Network, NeuronLayer, SynapticLayer
from ..quantities import ann_of, count, fixed, percent, times


class Finding(NamedTuple):
    """A value, what it is, and the term of the glossary that says what that means."""

    value: str
    words: str
    term: str


def flow(text: str) -> str:
    """A text that is written over several lines of the source, as one line."""
    return re.sub(r"\s*\n\s*", " ", text.strip())


def subject(report: Document) -> str:
    """What was measured: "digits, test split, 360 samples, T = 4, same image at every step, fp32"."""
    about = report["provenance"]
    encoding = {"static": "the same image at every step", "frames": "one frame per step"}[about["encoding"]]
    return (
        f"{about['dataset'] or 'unnamed data'}, {about['split']} split, {about['samples']:,} samples, "
        f"T = {about['timesteps']}, {encoding}, {about['variant']}"
    )


def too_few(early: EarlyExit) -> str:
    """Why a margin that few samples chose is not to be relied on."""
    samples = early["validation"]["samples"]
    return flow(f"""
        {samples:,} samples are too few to choose a margin on: each weighs {percent(1 / samples)} of their accuracy,
        more than the {percent(early["tolerance"])} that may be lost.
    """)


def estimator(report: Document) -> str:
    """Who counted: "idsnn_evaluation 0.1.0"."""
    return f"{report['provenance']['estimator']} {report['provenance']['version']}"


def neurons(report: Document) -> list[NeuronLayer]:
    """The layers of spiking neurons, in order."""
    return [layer for layer in report["layers"] if layer["role"] == "neurons"]


def synapses(report: Document) -> list[SynapticLayer]:
    """The layers with weights, in order."""
    return [layer for layer in report["layers"] if layer["role"] != "neurons"]


def arithmetic_row(report: Document, network: Network, precision: Precision = "fp32") -> ArithmeticRow:
    """A row of energy reading A; every network but a teacher has one in every precision."""
    rows = report["energy"]["arithmetic"]
    return next(row for row in rows if row["network"] == network and row["precision"] == precision)


def memory_row(report: Document, precision: Precision = "fp32") -> MemoryRow:
    """The row of energy reading B whose memory is the reference."""
    rows = report["energy"]["memory"]
    return next(row for row in rows if row["reference"] and row["precision"] == precision)


def readings(report: Document) -> dict[str, float | None]:
    """The spiking network's energy over the same network's as an ANN, least over least, by reading."""
    spiking, twin = arithmetic_row(report, "spiking network"), arithmetic_row(report, "same network as an ANN")
    memory = memory_row(report)
    matched = report["energy"]["bit_matched"]
    pairs = {
        "A": (spiking["pj"][0], twin["pj"][0]),
        "B": (memory["spiking_pj"][0], memory["ann_pj"][0]),
        "C": (matched["spiking_pj"][0], matched["ann_pj"][0]),
    }
    return {letter: own / other if other else None for letter, (own, other) in pairs.items()}


def findings(report: Document) -> list[Finding]:
    """What a reader wants to know first, each with the term of the glossary that says what it means."""
    about, totals, matched = report["provenance"], report["totals"], report["energy"]["bit_matched"]
    split = about["split"].removesuffix(" (limited)")
    found = [Finding(percent(report["accuracy"]["top1"]), f"of {about['samples']:,} {split} samples right", "accuracy")]
    if totals["firing_rate"] is not None:
        rate = f"spikes per neuron and sample: T = {about['timesteps']} steps x {percent(totals['firing_rate'])}"
        found.append(Finding(fixed(spikes_per_neuron(report)), rate, "T x firing rate"))
    against = {
        "A": "energy than the same network as an ANN, by arithmetic alone (A)",
        "B": "energy than that ANN, with memory traffic (B)",
        "C": f"energy than an {ann_of(matched['bits'])} (C)",
    }
    for letter, ratio in readings(report).items():
        if ratio is not None:
            found.append(Finding(times(ratio), against[letter], f"reading {letter}"))
    if report["measured"] is not None:
        latency = report["measured"]["latency_ms"]["p50"]
        found.append(Finding(f"{latency:.3g} ms", f"per sample on this machine{_steps(report['measured'])}", "latency"))
    return found


def summary(report: Document) -> str:
    """The report in one breath: accuracy, T x firing rate, cost against an ANN in three readings and here."""
    about, totals = report["provenance"], report["totals"]
    split = about["split"].removesuffix(" (limited)")
    right = f"{percent(report['accuracy']['top1'])} of {about['samples']:,} {split} samples are classified correctly"
    if totals["firing_rate"] is None:
        spikes = "the network has no spiking neurons"
    else:
        rate = f"{about['timesteps']} steps at {percent(totals['firing_rate'])}"
        spikes = f"a neuron spikes {fixed(spikes_per_neuron(report))} times per sample (T x firing rate: {rate})"
    return f"{right}, and {spikes}. {_cost(report)} {_events(report)}".rstrip()


def _cost(report: Document) -> str:
    ratios = {letter: times(ratio) for letter, ratio in readings(report).items() if ratio is not None}
    if len(ratios) < 3:
        found = "It has no weights, so there is no ANN to compare it with"
    else:
        found = flow(f"""
            By estimate it needs {ratios["A"]} energy than the same network as an ANN for arithmetic alone (A),
            {ratios["B"]} with memory traffic (B), and {ratios["C"]} than an
            {ann_of(report["energy"]["bit_matched"]["bits"])} (C)
        """)
    measured = report["measured"]
    if measured is None:
        return f"{found}."
    return f"{found}; on this machine a sample takes {measured['latency_ms']['p50']:.3g} ms{_steps(measured)}."


def spikes_per_neuron(report: Document) -> float | None:
    """T x firing rate: how often a neuron spikes per sample, on average."""
    rate = report["totals"]["firing_rate"]
    return None if rate is None else report["provenance"]["timesteps"] * rate


def _steps(measured: Measured) -> str:
    """How the latency compares with that of one step, which multiplies as much as an ANN; nothing where unmeasured."""
    step = measured.get("one_step_ms")
    return (
        "" if not step else f", {measured['latency_ms']['p50'] / step:.1f} times one step, which is about an ANN's work"
    )


def in_c(measured: Measured) -> str:
    """How long the bundle's C takes beside the model and one step of it, or why that is not known; nothing unasked."""
    found = measured.get("c")
    if found is None:
        return ""
    if found["latency_ms"] is None:
        return f"Its C was not measured: {found['note']}."
    own, step = found["latency_ms"]["p50"], measured.get("one_step_ms")
    of_step = f" and {own / step:.2g} times one step's" if step else ""
    times_model = f"{own / measured['latency_ms']['p50']:.2g} times {measured['model']}'s"
    return f"Its C takes {own:.3g} ms ({found['note']}), {times_model}{of_step}."


def _events(report: Document) -> str:
    """That the input is events, and how few; nothing for images."""
    stem = next((layer for layer in synapses(report) if layer["role"] == "stem"), None)
    if stem is None or stem["firing_rate"] is None or report["provenance"]["encoding"] != "frames":
        return ""
    return (
        f"Its input is events, so the first layer accumulates, {count(stem['conv_acs'])} per sample, and multiplies "
        f"nothing; {percent(1 - stem['firing_rate'])} of the input is zero."
    )
