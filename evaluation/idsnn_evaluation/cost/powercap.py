"""Energy from the processor's own counters, where the kernel exposes them (RAPL through powercap).

    E = sum over packages of (after - before) mod range          microjoules

A package's counter covers the cores, caches and memory controller, and everything else that ran meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/class/powercap")


class Reading(NamedTuple):
    """A counter of one package at one moment, and where it wraps around, in microjoules."""

    microjoules: int
    wraps_at: int


def read_counters(root: Path = ROOT) -> dict[str, Reading]:
    """Every package's counter by its folder's name; empty where the kernel shows none or forbids reading."""
    found = {}
    for zone in sorted(root.glob("*-rapl:*")):
        if zone.name.count(":") != 1:  # "intel-rapl:0:0" is a part of "intel-rapl:0"
            continue
        try:
            energy, limit = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
        except (OSError, ValueError):
            continue
        found[zone.name] = Reading(energy, limit)
    return found


def joules(before: dict[str, Reading], after: dict[str, Reading]) -> float | None:
    """Joules between two readings; None without a counter that both have."""
    shared = before.keys() & after.keys()
    if not shared:
        return None
    microjoules = (
        (after[zone].microjoules - before[zone].microjoules) % (before[zone].wraps_at + 1) for zone in sorted(shared)
    )
    return sum(microjoules) / 1e6
