"""Findings in words, the same in the terminal, the page and the figures."""

from __future__ import annotations

import re

from idsnn_deploy.manifest import Precision

from ..document import ArithmeticRow, Document, EarlyExit, MemoryRow, Network, NeuronLayer, SynapticLayer
from ..quantities import count, joules, percent, times


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


def summary(report: Document) -> str:
    """The report in two sentences."""
    totals, about = report["totals"], report["provenance"]
    split = about["split"].removesuffix(" (limited)")
    right = f"{percent(report['accuracy']['top1'])} of {about['samples']:,} {split} samples"
    spiking, twin = arithmetic_row(report, "spiking network"), arithmetic_row(report, "same network as an ANN")
    own, other = spiking["pj"][0], twin["pj"][0]
    acs = totals["conv_acs"] + totals["head_acs"]
    rate = "no spiking neurons" if totals["firing_rate"] is None else f"{percent(totals['firing_rate'])} of neurons"
    energy = f"{times(own / other)} energy ({joules(own)} against {joules(other)})" if other else ""
    compared = f": by 45 nm fp32 arithmetic alone {energy}" if energy else ""  # a network without weights has no twin
    return flow(f"""
        The network classifies {right} correctly. At each of its {about["timesteps"]} steps {rate} spike, which costs
        {count(acs)} accumulates and {count(totals["stem_macs"])} multiply-accumulates per sample, where the same
        network as an ANN needs {count(totals["ann_macs"])} multiply-accumulates{compared}. {_events(report)}
    """)


def _events(report: Document) -> str:
    """That the input is events, and how few; nothing for images."""
    stem = next((layer for layer in synapses(report) if layer["role"] == "stem"), None)
    if stem is None or stem["firing_rate"] is None or report["provenance"]["encoding"] != "frames":
        return ""
    return (
        f"Its input is events, so the first layer accumulates, {count(stem['conv_acs'])} per sample, and multiplies "
        f"nothing; {percent(1 - stem['firing_rate'])} of the input is zero."
    )
