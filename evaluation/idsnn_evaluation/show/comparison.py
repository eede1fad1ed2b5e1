"""Several reports as rows of one table: arms, numbers of steps, int8 against fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..document import ComparisonRow, Document, Measured
from ..quantities import joules
from .words import arithmetic_row, memory_row, spikes_per_neuron


class Cost(NamedTuple):
    """What accuracy is drawn against: how it is called, what its axis says, where a row has it, and how it reads.

    Axes with numbers divide by `scale` to have it in `unit`.
    """

    title: str
    note: str
    axis: str
    of: Callable[[ComparisonRow], float | None]
    shown: Callable[[float], str]
    scale: float = 1.0
    unit: str = ""


COSTS = (
    Cost(
        "Energy, arithmetic alone (reading A)",
        "Estimated in 45 nm, in each network's own precision.",
        "energy per sample",
        lambda row: row["arithmetic_fp32_pj" if row["variant"] == "fp32" else "arithmetic_int8_pj"],
        joules,
        1e6,
        ", µJ",
    ),
    Cost(
        "Energy with memory traffic (reading B)",
        "Estimated with 32 KiB SRAM, in each network's own precision.",
        "energy per sample",
        lambda row: row.get("memory_pj"),
        joules,
        1e6,
        ", µJ",
    ),
    Cost(
        "T x firing rate",
        "How often a neuron spikes per sample, on average.",
        "spikes per neuron and sample",
        lambda row: row.get("spikes_per_neuron"),
        lambda value: f"{value:.3g}",
    ),
    Cost(
        "Latency",
        "Measured on this machine, one sample at a time; dense kernels gain nothing from zeros.",
        "time per sample",
        lambda row: row["latency_ms"],
        lambda value: f"{value:.3g} ms",
        unit=", ms",
    ),
    Cost(
        "Latency in C",
        "Measured on this machine by --measure-c, one sample at a time; the accuracy is that of ONNX.",
        "time per sample",
        lambda row: row.get("c_latency_ms"),
        lambda value: f"{value:.3g} ms",
        unit=", ms",
    ),
)


def placed(rows: Sequence[ComparisonRow], cost: Cost) -> dict[int, float]:
    """The costs of the rows that have one above 0, by index: a logarithmic axis has no place for the others."""
    found = {i: cost.of(row) for i, row in enumerate(rows)}
    return {i: value for i, value in found.items() if value}


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, accuracy) are on the Pareto front: no other is as good in both and better in one.

    >>> front([(1, 0.8), (2, 0.9), (3, 0.9)])
    [True, True, False]
    """
    return [
        not any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)
        for cost, accuracy in points
    ]


def comparison(reports: Sequence[Document], names: Sequence[str]) -> list[ComparisonRow]:
    """One row per report, in their order; figures are per sample, energies in picojoules."""
    return [_row(report, name) for report, name in zip(reports, names, strict=True)]


def short_names(paths: Sequence[str], variants: Sequence[str]) -> list[str]:
    """The parts of the paths that tell them apart, with the variant where a path comes twice."""
    parts = [path.split("/") for path in paths]
    distinct = [depth for depth in range(max(map(len, parts))) if len({tuple(p[depth : depth + 1]) for p in parts}) > 1]
    names = ["/".join(part[depth] for depth in distinct if depth < len(part)) or part[-1] for part in parts]
    many = len(set(variants)) > 1 or len(set(names)) < len(names)
    return [f"{name} {variant}" if many else name for name, variant in zip(names, variants, strict=True)]


def _row(report: Document, name: str) -> ComparisonRow:
    about, totals = report["provenance"], report["totals"]
    early, measured = report["early_exit"], report["measured"]
    return {
        "name": name,
        "dataset": about["dataset"],
        "split": about["split"],
        "samples": about["samples"],
        "timesteps": about["timesteps"],
        "variant": about["variant"],
        "accuracy": report["accuracy"]["top1"],
        "accuracy_first_step": report["accuracy"]["by_step"][0],
        "firing_rate": totals["firing_rate"],
        "spikes_per_neuron": spikes_per_neuron(report),
        "conv_acs": totals["conv_acs"],
        "head_acs": totals["head_acs"],
        "stem_macs": totals["stem_macs"],
        "ann_macs": totals["ann_macs"],
        "effective_acs": totals["effective_acs"],
        "effective_macs": totals["effective_macs"],
        "spikes_per_synapse": totals["spikes_per_synapse"],
        "arithmetic_fp32_pj": arithmetic_row(report, "spiking network", "fp32")["pj"][0],
        "arithmetic_int8_pj": arithmetic_row(report, "spiking network", "int8")["pj"][0],
        "memory_pj": memory_row(report, about["variant"])["spiking_pj"][0],
        "memory_ratio": memory_row(report, about["variant"])["ratio"],
        "rate_is": report["energy"]["bit_matched"]["rate_is"],
        "early_exit_steps": None if early is None else early["rest"]["average_steps"],
        "latency_ms": None if measured is None else measured["latency_ms"]["p50"],
        "c_latency_ms": _in_c(measured),
    }


def _in_c(measured: Measured | None) -> float | None:
    if measured is None or "c" not in measured or measured["c"]["latency_ms"] is None:
        return None
    return measured["c"]["latency_ms"]["p50"]
