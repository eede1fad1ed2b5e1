"""The report: what a network answered, what it did and what that costs, as one plain object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
REPORT_VERSION = 1


@dataclass(frozen=True)
class Example:
    """One image as the network saw it.

    Attributes:
        pixels: float32 `(C, H, W)` in 0..1, or one sample's frames `(T, ...)`.
        label: the true class.
        evidence: probabilities after each step, `(T, K)`.
        rasters: neuron layer → its traced neurons' spikes, bool `(T, R)`.
    """

    pixels: Array
    label: int
    evidence: Array
    rasters: dict[str, Array]


@dataclass(frozen=True)
class Report:
    """A report; the attributes are report.json's keys and docs/report.md their meaning."""

    provenance: dict[str, Any]
    accuracy: dict[str, Any]
    totals: dict[str, Any]
    split: dict[str, Any]
    spread: dict[str, Any]
    layers: list[dict[str, Any]]
    baselines: dict[str, Any]
    energy: dict[str, Any]
    early_exit: dict[str, Any] | None
    measured: dict[str, Any] | None = None
    examples: tuple[Example, ...] = field(default=(), repr=False)  # for the HTML page; not in report.json

    def to_dict(self) -> dict[str, Any]:
        """The object that report.json holds."""
        keys = [key for key in self.__dataclass_fields__ if key != "examples"]
        return {"format_version": REPORT_VERSION, **{key: getattr(self, key) for key in keys}}
