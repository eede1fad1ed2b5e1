"""Findings in words, the same in the terminal, the page and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..quantities import count, joules, percent, times

Report = Mapping[str, Any]


def subject(report: Report) -> str:
    """What was measured: "digits, test split, 360 samples, T = 4, same image at every step, fp32"."""
    about = report["provenance"]
    encoding = {"static": "the same image at every step", "frames": "one frame a step"}[about["encoding"]]
    return (
        f"{about['dataset'] or 'unnamed data'}, {about['split']} split, {about['samples']:,} samples, "
        f"T = {about['timesteps']}, {encoding}, {about['variant']}"
    )


def estimator(report: Report) -> str:
    """Who counted: "idsnn_evaluation 0.1.0"."""
    return f"{report['provenance']['estimator']} {report['provenance']['version']}"


def row(report: Report, network: str, precision: str = "fp32") -> dict[str, Any] | None:
    """A row of energy reading A, or None where the network is not known."""
    rows = report["energy"]["arithmetic"]
    return next((r for r in rows if r["network"] == network and r["precision"] == precision), None)


def memory_row(report: Report, precision: str = "fp32") -> dict[str, Any]:
    """The row of energy reading B whose memory is the reference."""
    rows: list[dict[str, Any]] = report["energy"]["memory"]
    return next(r for r in rows if r["reference"] and r["precision"] == precision)


def readings(report: Report) -> dict[str, float | None]:
    """The spiking network's energy over the same network's as an ANN, least over least, by reading."""
    spiking, twin = row(report, "spiking network"), row(report, "same network as an ANN")
    memory = memory_row(report)
    matched = report["energy"]["bit_matched"]
    pairs = {
        "A": (spiking["pj"][0], twin["pj"][0]) if spiking and twin else (0.0, 0.0),
        "B": (memory["spiking_pj"][0], memory["ann_pj"][0]),
        "C": (matched["spiking_pj"][0], matched["ann_pj"][0]),
    }
    return {letter: own / other if other else None for letter, (own, other) in pairs.items()}


def summary(report: Report) -> str:
    """The report in two sentences."""
    totals, about = report["totals"], report["provenance"]
    split = about["split"].removesuffix(" (limited)")
    right = f"{percent(report['accuracy']['top1'])} of {about['samples']:,} {split} samples"
    spiking, twin = row(report, "spiking network"), row(report, "same network as an ANN")
    assert spiking
    assert twin
    own, other = spiking["pj"][0], twin["pj"][0]
    acs = totals["conv_acs"] + totals["head_acs"]
    rate = "no spiking neurons" if totals["firing_rate"] is None else f"{percent(totals['firing_rate'])} of neurons"
    return (
        f"The network classifies {right} correctly. At each of its {about['timesteps']} steps {rate} spike, which "
        f"costs {count(acs)} accumulates and {count(totals['stem_macs'])} multiply-accumulates a sample, where the "
        "same "
        f"network as an ANN needs {count(totals['ann_macs'])} multiply-accumulates: by 45 nm fp32 arithmetic alone "
        f"{times(own / other)} energy ({joules(own)} against {joules(other)})."
    )
