"""The report: what a network answered, what it did and what that costs, as one plain object."""

from __future__ import annotations

from dataclasses import dataclass, field

from idsnn_deploy.arrays import Array

from .counts import Counts, Totals
from .document import (
    FORMAT_VERSION,
    Accuracy,
    Baselines,
    Document,
    EarlyExit,
    Energy,
    Layer,
    Measured,
    Provenance,
    Spreads,
)


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
    """A report; the attributes are report.json's keys (`document.Document`) and docs/report.md their meaning."""

    provenance: Provenance
    accuracy: Accuracy
    totals: Totals
    split: Counts
    spread: Spreads
    layers: list[Layer]
    baselines: Baselines
    energy: Energy
    early_exit: EarlyExit | None
    measured: Measured | None = None
    warnings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = field(default=(), repr=False)  # for the HTML page; not in report.json

    def to_dict(self) -> Document:
        """The object that report.json holds."""
        return {
            "format_version": FORMAT_VERSION,
            "provenance": self.provenance,
            "accuracy": self.accuracy,
            "totals": self.totals,
            "split": self.split,
            "spread": self.spread,
            "layers": self.layers,
            "baselines": self.baselines,
            "energy": self.energy,
            "early_exit": self.early_exit,
            "measured": self.measured,
            "warnings": list(self.warnings),
        }
