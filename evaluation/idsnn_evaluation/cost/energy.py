r"""Three readings of the same counts, side by side, and what published figures of platforms add to them.

(A) arithmetic alone, 45 nm           E = ACs e_ac + MACs e_mac
(B) with memory traffic               E = arithmetic + accesses (b / 64) e_tier
(C) against an ANN of as many bits    bits = ceil(log2(T + 1)): what a neuron of T steps can say

They answer different questions, and which network wins may differ; no single figure is "the" energy. Units: picojoules
per sample. Every figure is a range [least, most]; the two are equal where the sources agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from idsnn_deploy.manifest import Precision

from ..counts import Number, Totals
from ..document import (
    ArithmeticRow,
    Baselines,
    BitMatched,
    ConstantRow,
    Energy,
    MemoryRow,
    Network,
    PlatformRow,
    Standing,
)
from ..quantities import ann_of, percent
from .platforms import Constant, Platform, Range, constants, platforms, without_figure

PRECISIONS: dict[Precision, int] = {"fp32": 32, "int8": 8}  # bits of a weight
POTENTIAL_BITS = 32  # membrane potentials, addresses and partial sums stay this wide
TIERS = {"sram_8k": "8 KiB SRAM", "sram_32k": "32 KiB SRAM", "sram_1m": "1 MiB SRAM", "dram": "off-chip DRAM"}
REFERENCE_TIER = "sram_32k"


def estimate(totals: Totals, baselines: Baselines, timesteps: int, extra: Sequence[Platform] = ()) -> Energy:
    """The report's `energy`: the readings A, B and C, and the platforms; every constant used is listed.

    Args:
        totals: counts and ratios per sample.
        baselines: the same network as an ANN, and the teacher where there was one.
        timesteps: T.
        extra: the user's platforms, beside the shipped ones.
    """
    known = constants()
    return {
        "unit": "pJ per sample",
        "arithmetic": arithmetic(totals, baselines, known),
        "memory": memory(totals, baselines, known),
        "bit_matched": bit_matched(totals, baselines, timesteps, known),
        "platforms": [on_platform(totals, platform) for platform in (*platforms(), *extra)],
        "no_figure": list(without_figure()),
        "constants": {name: _row(constant) for name, constant in known.items()},
    }


def arithmetic(totals: Totals, baselines: Baselines, known: Mapping[str, Constant]) -> list[ArithmeticRow]:
    """Reading A: E = ACs e_ac + MACs e_mac, for the spiking network, the same network as an ANN, and the teacher.

    The spiking network's MACs are those of its stem, once. `with_neurons` adds what the neurons do: a leak
    (a MAC) and a comparison (an AC) per update, and the additions of biases, residuals and pools.
    """
    rows: list[ArithmeticRow] = []
    teacher = _teacher_macs(baselines)
    for precision in PRECISIONS:
        ac, mac = known[f"{precision}_ac"].value, known[f"{precision}_mac"].value
        networks: dict[Network, tuple[Number, Number]] = {
            "spiking network": (_acs(totals), totals["stem_macs"]),
            "spiking network with neurons": (
                _acs(totals) + _other_adds(totals),
                totals["stem_macs"] + _updates(totals),
            ),
            "same network as an ANN": (0, baselines["ann"]["macs"]),
        }
        if teacher is not None:
            networks["teacher"] = (0, teacher)
        for network, (acs, macs) in networks.items():
            pj = _sum(_times(acs, ac), _times(macs, mac))
            rows.append({"network": network, "precision": precision, "acs": acs, "macs": macs, "pj": list(pj)})
    return rows


def memory(totals: Totals, baselines: Baselines, known: Mapping[str, Constant]) -> list[MemoryRow]:
    """Reading B: arithmetic plus memory traffic, every word from one tier of memory, nothing reused.

        spiking   weights: ACs + stem MACs          potentials: 2 ACs + 2 updates      (read and written)
                  events: arriving + stem MACs + spikes            biases: bias adds
        ANN       weights: MACs     inputs: MACs     outputs and biases: one each per output
        E = arithmetic + (weights b_w + others b_p) / 64 * e_tier

    After Lemaire et al., ICONIP 2022 (arXiv 2210.13107), with the exact fan-out in place of its ceil(k / stride)^2;
    b_w is 32 or 8 bits, b_p 32; 64-bit accesses are packed full. An ANN that reuses what it has read costs less.
    """
    rows: list[MemoryRow] = []
    macs, outputs = baselines["ann"]["macs"], baselines["ann"]["outputs"]
    stem = totals["stem_macs"]
    potentials = 2 * _acs(totals) + 2 * _updates(totals)
    events = totals["events"] + stem + totals["spikes"]
    for precision, bits in PRECISIONS.items():
        ac, mac = known[f"{precision}_ac"].value, known[f"{precision}_mac"].value
        spiking = _sum(_times(_acs(totals) + _other_adds(totals), ac), _times(stem + _updates(totals), mac))
        ann = _times(macs, mac)
        spiking_words = (
            (_acs(totals) + stem + totals["bias_adds"]) * bits + (potentials + events) * POTENTIAL_BITS
        ) / 64
        # An ANN of 8 bits reads 8-bit inputs too; its sums leave as words of `bits`.
        ann_words = (2 * macs + 2 * outputs) * bits / 64
        for tier, name in TIERS.items():
            cost = known[tier].value
            snn_pj, ann_pj = _sum(spiking, _times(spiking_words, cost)), _sum(ann, _times(ann_words, cost))
            rows.append(
                {
                    "tier": name,
                    "reference": tier == REFERENCE_TIER,
                    "precision": precision,
                    "spiking_pj": list(snn_pj),
                    "ann_pj": list(ann_pj),
                    "ratio": _ratio(snn_pj, ann_pj),
                }
            )
    return rows


def bit_matched(totals: Totals, baselines: Baselines, timesteps: int, known: Mapping[str, Constant]) -> BitMatched:
    """Reading C: against an ANN whose activations have bits = ceil(log2(T + 1)), weights 8 bits in both.

        e_mac(bits) = (bits / 8) e_multiply + e_ac          a multiplier's energy grows with its width
        E_ann = MACs e_mac(bits)         E_spiking = ACs e_ac + stem MACs e_mac(8)

    The arithmetic says little by itself, so the published break-even points, which include memory, are applied too:
    the mean spike rate (Yan et al., arXiv 2409.08290) and the spikes per synapse (Dampfhoffer et al., TETCI 2023).
    """
    bits = math.ceil(math.log2(timesteps + 1))
    multiply, ac = known["int8_multiply"].value, known["int8_ac"].value
    mac = _sum(_times(bits / 8, multiply), ac)
    spiking = _sum(_times(_acs(totals), ac), _times(totals["stem_macs"], known["int8_mac"].value))
    rate = compare(totals["firing_rate"], known["break_even_rate"].value)
    synapse = compare(totals["spikes_per_synapse"], known["break_even_synapse"].value)
    return {
        "bits": bits,
        "ann_pj": list(_times(baselines["ann"]["macs"], mac)),
        "spiking_pj": list(spiking),
        "firing_rate": totals["firing_rate"],
        "break_even_rate": list(known["break_even_rate"].value),
        "rate_is": rate,
        "spikes_per_synapse": totals["spikes_per_synapse"],
        "break_even_synapse": list(known["break_even_synapse"].value),
        "synapse_is": synapse,
        "verdict": verdict(totals, bits, rate, synapse, known),
    }


def compare(value: float | None, limits: Range) -> Standing:
    """Where a value lies: "below", "within" or "above" the published range; "unknown" without one."""
    if value is None:
        return "unknown"
    low, high = limits
    return "below" if value < low else "above" if value > high else "within"


def verdict(totals: Totals, bits: int, rate: Standing, synapse: Standing, known: Mapping[str, Constant]) -> str:
    """One sentence on reading C."""
    if "unknown" in (rate, synapse):
        return "No spiking neurons read spikes here, so the published break-even points do not apply."
    low, high = known["break_even_rate"].value
    least, most = known["break_even_synapse"].value
    found = (
        f"The mean spike rate of {percent(totals['firing_rate'])} is {rate} the published break-even of "
        f"{100 * low:.3g} to {percent(high)} and {totals['spikes_per_synapse']:.2f} spikes per synapse are {synapse} "
        f"the published {least} to {most}"
    )
    outcome = {
        ("below", "below"): f"on neuromorphic hardware this network should need less energy than an {ann_of(bits)}",
        ("above", "above"): f"an {ann_of(bits)} should need less energy, even on neuromorphic hardware",
    }
    return f"{found}: {outcome.get((rate, synapse), f'against an {ann_of(bits)} the sources leave it open')}."


def on_platform(totals: Totals, platform: Platform) -> PlatformRow:
    """What published figures of a platform give: E = operations e_synop + updates e_update.

    Operations are the accumulates where only events cost, every dense operation of every step elsewhere. The stem is
    left out where only events cost: something else must run it. Nothing here says that the network fits the platform.
    """
    operations = _acs(totals) if platform.counts == "events" else totals["dense_each_step"]
    synops = _times(operations, platform.synop_pj)
    updates = (0.0, 0.0) if platform.update_pj is None else _times(_updates(totals), platform.update_pj)
    return {
        "name": platform.name,
        "counts": platform.counts,
        "synop_pj": list(platform.synop_pj),
        "update_pj": None if platform.update_pj is None else list(platform.update_pj),
        "node": platform.node,
        "year": platform.year,
        "includes": platform.includes,
        "source": platform.source,
        "pj": list(_sum(synops, updates)),
    }


def _row(constant: Constant) -> ConstantRow:
    return {
        "value": list(constant.value),
        "unit": constant.unit,
        "node": constant.node,
        "year": constant.year,
        "includes": constant.includes,
        "source": constant.source,
    }


def _acs(totals: Totals) -> float:
    return float(totals["conv_acs"] + totals["head_acs"])


def _updates(totals: Totals) -> float:
    return float(totals["neuron_updates"])


def _other_adds(totals: Totals) -> float:
    return float(totals["threshold_compares"] + totals["bias_adds"] + totals["residual_adds"] + totals["pool_adds"])


def _teacher_macs(baselines: Baselines) -> float | None:
    teacher = baselines["teacher"]
    return None if not teacher else teacher.get("dense_macs")


def _times(count: float, pj: Range) -> Range:
    return count * pj[0], count * pj[1]


def _sum(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _ratio(a: Range, b: Range) -> float | None:
    """a / b at the least of both; the tier's range scales both alike."""
    return a[0] / b[0] if b[0] else None
