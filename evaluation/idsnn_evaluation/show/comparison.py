"""Several reports as rows of one table: arms, numbers of steps, int8 against fp32."""

from __future__ import annotations

from collections.abc import Sequence

from ..document import ComparisonRow, Document
from .words import arithmetic_row, memory_row


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
        "conv_acs": totals["conv_acs"],
        "head_acs": totals["head_acs"],
        "stem_macs": totals["stem_macs"],
        "ann_macs": totals["ann_macs"],
        "effective_acs": totals["effective_acs"],
        "effective_macs": totals["effective_macs"],
        "spikes_per_synapse": totals["spikes_per_synapse"],
        "arithmetic_fp32_pj": arithmetic_row(report, "spiking network", "fp32")["pj"][0],
        "arithmetic_int8_pj": arithmetic_row(report, "spiking network", "int8")["pj"][0],
        "memory_ratio": memory_row(report, about["variant"])["ratio"],
        "rate_is": report["energy"]["bit_matched"]["rate_is"],
        "early_exit_steps": None if early is None else early["rest"]["average_steps"],
        "latency_ms": None if measured is None else measured["latency_ms"]["p50"],
    }
