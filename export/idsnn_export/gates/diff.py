"""Where two artefacts part: in what they say, and in what they do on the same inputs.

`diff` compares two runs, `compare` (in `compare.py`) opens two files and runs both. A run that shows spikes neuron by
neuron is compared neuron by neuron; one that shows only counts (a probe) or only outputs is compared by those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array

from ..reference.interpreter import Trace
from .parity import FLOAT_LOGITS, Divergence, divergences

SHOWN = 20  # lines of structure in the text


@dataclass(frozen=True)
class Difference:
    """What two artefacts do not share.

    Attributes:
        names: of the two.
        structure: what differs between their graphs, a line each; empty where one of them is no graph.
        unmatched: layers that only one of them shows.
        divergence: the first difference of spikes among all samples, in time; None where all agree.
        samples, flipped_samples: how many were compared, and how many of them have a difference of spikes.
        largest_difference: of the outputs, over the samples whose spikes agree.
    """

    names: tuple[str, str]
    structure: tuple[str, ...]
    unmatched: tuple[str, ...]
    divergence: Divergence | None
    samples: int
    flipped_samples: int
    largest_difference: float

    @property
    def agree(self) -> bool:
        """The same structure, spikes that differ by rounding alone, outputs within the float32 gate."""
        flips = self.divergence is not None and not self.divergence.excused
        return not self.structure and not flips and self.largest_difference <= FLOAT_LOGITS

    def to_dict(self) -> dict[str, Any]:
        """The attributes and `agree` as plain JSON types."""
        return {
            "names": list(self.names),
            "agree": self.agree,
            "structure": list(self.structure),
            "unmatched": list(self.unmatched),
            "divergence": self.divergence.to_dict() if self.divergence else None,
            "samples": self.samples,
            "flipped_samples": self.flipped_samples,
            "largest_difference": self.largest_difference,
        }

    def __str__(self) -> str:
        lines = [f"{self.names[0]} and {self.names[1]}: {'agree' if self.agree else 'differ'}"]
        lines += [f"  {line}" for line in self.structure[:SHOWN]]
        if len(self.structure) > SHOWN:
            lines.append(f"  and {len(self.structure) - SHOWN} more")
        if self.unmatched:
            lines.append(f"  shown by one of them only: {', '.join(self.unmatched)}")
        lines.append(f"  {self.flipped_samples} of {self.samples} samples differ in a spike")
        if self.divergence:
            why = "rounding" if self.divergence.excused else "not rounding"
            lines.append(f"  {self.divergence} ({why})")
        lines.append(f"  outputs of the others differ by at most {self.largest_difference:.3g}")
        return "\n".join(lines)


def diff(names: tuple[str, str], reference: Trace, other: Trace, structure: Sequence[str] = ()) -> Difference:
    """What two runs on the same inputs do not share.

    Args:
        names: how to call the two.
        reference: with membranes, in float64 if it can be.
        other: its spikes are (T, N, ...), or counts (T, N); its membranes may be empty.
        structure: what differs between the graphs, from `graph.equality.differences`.
    """
    structure = list(structure)
    common = {name: spikes for name, spikes in reference.spikes.items() if name in other.spikes}
    unmatched = sorted((reference.spikes.keys() ^ other.spikes.keys()) if other.spikes else ())
    for name, spikes in list(common.items()):
        if other.spikes[name].shape not in (spikes.shape, spikes.shape[:2]):
            structure.append(f"{name}: spikes of shapes {spikes.shape} and {other.spikes[name].shape}")
            del common[name]
    if not reference.membranes:  # two models: nothing says how near a threshold a neuron was
        structure += _unlike(common, other)
        common = {}
    reference, other = _flat(reference), _flat(other)
    seen = replace(reference, spikes=common)
    counted = {name for name, spikes in common.items() if other.spikes[name].ndim < spikes.ndim}
    found = _by_count(seen, other, counted) if counted else divergences(seen, other.spikes, other.membranes)
    flipped = [each.sample for each in found]
    if reference.outputs.shape != other.outputs.shape:
        structure.append(f"outputs of shapes {reference.outputs.shape} and {other.outputs.shape}")
        largest = 0.0
    else:
        same = np.setdiff1d(np.arange(reference.outputs.shape[1]), flipped)
        far = np.abs(reference.outputs[:, same] - other.outputs[:, same])
        largest = float(far.max()) if far.size else 0.0
    return Difference(
        names=names,
        structure=tuple(structure),
        unmatched=tuple(unmatched),
        divergence=_first(found),
        samples=reference.outputs.shape[1],
        flipped_samples=len(flipped),
        largest_difference=largest if np.isfinite(largest) else float("inf"),
    )


def _flat(run: Trace) -> Trace:
    """The run with outputs (T, N, K), in C order: an ONNX file knows no other shape."""
    return replace(run, outputs=run.outputs.reshape(*run.outputs.shape[:2], -1))


def _unlike(common: dict[str, Array], other: Trace) -> list[str]:
    """The layers whose spikes or counts are not equal, in words."""
    lines = []
    for name, spikes in common.items():
        unequal = (spikes != other.spikes[name]).reshape(*spikes.shape[:2], -1).any(axis=(0, 2))
        if unequal.any():
            lines.append(f"{name}: spikes differ in {unequal.sum()} samples; compare with the graph to see why")
    return lines


def _first(found: Sequence[Divergence]) -> Divergence | None:
    """The one to show: what rounding does not explain comes first, then time."""
    return min(found, key=lambda each: (each.excused, each.step), default=None)


def _by_count(reference: Trace, other: Trace, counted: set[str]) -> list[Divergence]:
    """Where the numbers of spikes part; the suspect is the neuron whose membrane lies nearest to its threshold."""
    flipped: dict[str, Array] = {}
    for name, spikes in reference.spikes.items():
        counts = spikes.reshape(*spikes.shape[:2], -1).sum(2)
        theirs = np.asarray(other.spikes[name])
        theirs = theirs if name in counted else theirs.reshape(*theirs.shape[:2], -1).sum(2)
        distance = np.abs(reference.membranes[name] - reference.thresholds[name]).reshape(*counts.shape, -1)
        nearest = np.arange(distance.shape[2]) == distance.argmin(2)[..., None]
        flips = nearest & (counts != theirs)[..., None]
        flipped[name] = spikes ^ flips.reshape(spikes.shape)
    return divergences(reference, flipped)
