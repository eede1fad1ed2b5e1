"""Several reports as rows of one table: arms, numbers of steps, int8 against fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .words import Report, memory_row, row


def comparison(reports: Sequence[Report], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row a report, in their order; figures are per sample, energies in picojoules."""
    return [_row(report, name) for report, name in zip(reports, names, strict=True)]


def short_names(paths: Sequence[str], variants: Sequence[str]) -> list[str]:
    """The parts of the paths that tell them apart, with the variant where a path comes twice."""
    parts = [path.split("/") for path in paths]
    distinct = [depth for depth in range(max(map(len, parts))) if len({tuple(p[depth : depth + 1]) for p in parts}) > 1]
    names = ["/".join(part[depth] for depth in distinct if depth < len(part)) or part[-1] for part in parts]
    many = len(set(variants)) > 1 or len(set(names)) < len(names)
    return [f"{name} {variant}" if many else name for name, variant in zip(names, variants, strict=True)]


def _row(report: Report, name: str) -> dict[str, Any]:
    about, totals, energy = report["provenance"], report["totals"], report["energy"]
    arithmetic = {p: row(report, "spiking network", p) for p in ("fp32", "int8")}
    own = "int8" if about["variant"] == "int8" else "fp32"
    tier = memory_row(report, own)
    keys = ("firing_rate", "conv_acs", "head_acs", "stem_macs", "ann_macs", "effective_acs", "effective_macs")
    return {
        "name": name,
        **{key: about[key] for key in ("dataset", "split", "samples", "timesteps", "variant")},
        "accuracy": report["accuracy"]["top1"],
        "accuracy_first_step": report["accuracy"]["by_step"][0],
        **{key: totals[key] for key in (*keys, "spikes_per_synapse")},
        **{f"arithmetic_{p}_pj": found["pj"][0] for p, found in arithmetic.items() if found},
        "memory_ratio": tier["ratio"],
        "rate_is": energy["bit_matched"]["rate_is"],
        "early_exit_steps": report["early_exit"] and report["early_exit"]["rest"]["average_steps"],
        "latency_ms": report["measured"] and report["measured"]["latency_ms"]["p50"],
    }
