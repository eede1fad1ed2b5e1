"""The samples for the golden vectors: what a network must answer on any machine is asked of them.

    margin(sample) = min over layers, steps and neurons of |v - theta| / max(1, |theta|)

Chosen are the samples with the largest margins: their spikes are the same whatever the order of summation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.golden import Golden

from ..reference.interpreter import Trace

SAMPLES = 8


def margins(trace: Trace) -> Array:
    """Each sample's smallest distance from a threshold, `(N,)`, relative where |theta| is more than 1."""
    nearest = np.full(trace.outputs.shape[1], np.inf)
    for name, membranes in trace.membranes.items():
        theta = trace.thresholds[name]
        distance = np.abs(membranes - theta) / np.maximum(1, np.abs(theta))
        nearest = np.minimum(nearest, distance.min(axis=(0, *range(2, distance.ndim))))
    return nearest


def farthest(
    images: Array, found: Trace, best: tuple[Array, Trace] | None = None, axis: int = 0, samples: int = SAMPLES
) -> tuple[Array, Trace]:
    """The samples with the largest margins of `best` (what an earlier call returned) and of `found`, and their trace.

    Args:
        images: float32 that `found` was made from, samples along `axis`.
        found: the float64 reference.
        best: the samples so far.
        axis: 0, or 1 where the input varies in time.
        samples: how many to keep.
    """
    parts = [found] if best is None else [best[1], found]
    pictures = images if best is None else np.concatenate([best[0], images], axis)
    margin = np.concatenate([margins(part) for part in parts])
    keep = np.sort(np.argsort(-margin, kind="stable")[:samples])

    def kept(values: Sequence[Array]) -> Array:
        return np.concatenate(values, axis=1)[:, keep]

    chosen = Trace(
        kept([part.outputs for part in parts]),
        {name: kept([part.spikes[name] for part in parts]) for name in found.spikes},
        {name: kept([part.membranes[name] for part in parts]) for name in found.membranes},
        found.thresholds,
        found.readout,
    )
    return np.take(pictures, keep, axis), chosen


def golden_of(images: Array, found: Trace) -> Golden:
    """The golden vectors of the samples that a trace was made from.

    Args:
        images: float32 `(N, ...)` in 0..1, or `(T, N, ...)` where they vary in time.
        found: the float64 reference.
    """
    counts = [spikes.sum(axis=(0, *range(2, spikes.ndim))) for spikes in found.spikes.values()]
    none = np.zeros((found.outputs.shape[1], 0))
    steps, samples = found.outputs.shape[:2]
    logits, by_step = found.logits.reshape(samples, -1), found.outputs.reshape(steps, samples, -1)
    return Golden(images, logits, by_step, np.stack(counts, axis=1) if counts else none)
