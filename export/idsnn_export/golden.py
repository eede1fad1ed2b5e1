"""Golden vectors: what the network must answer on any machine.

    margin(sample) = min over layers, steps and neurons of |v - theta| / max(1, |theta|)

Chosen are the samples with the largest margins: their spikes are the same whatever the order of summation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.files import replacing

from .interpreter import Trace

SAMPLES = 8

Array = np.ndarray[Any, np.dtype[Any]]


def margins(trace: Trace) -> Array:
    """Each sample's smallest distance from a threshold, `(N,)`, relative where |theta| is more than 1."""
    nearest = np.full(trace.outputs.shape[1], np.inf)
    for name, membranes in trace.membranes.items():
        theta = trace.thresholds[name]
        distance = np.abs(membranes - theta) / np.maximum(1, np.abs(theta))
        nearest = np.minimum(nearest, distance.min(axis=(0, *range(2, distance.ndim))))
    return nearest


def write_golden(path: Path, images: Array, trace: Trace, frames: bool = False, samples: int = SAMPLES) -> float:
    """Writes the vectors of the samples with the largest margins, and returns the smallest margin among them.

    Args:
        path: of golden.npz.
        images: float32 `(N, ...)` in 0..1 that `trace` was made from, or `(T, N, ...)` as they are.
        trace: the float64 reference.
        frames: the input varies in time.
        samples: how many to keep.
    """
    margin = margins(trace)
    chosen = np.sort(np.argsort(-margin, kind="stable")[:samples])
    counts = [spikes[:, chosen].sum(axis=(0, *range(2, spikes.ndim))) for spikes in trace.spikes.values()]
    with replacing(path) as beside, open(beside, "wb") as stream:
        np.savez(
            stream,
            images=np.take(images, chosen, axis=int(frames)).astype(np.float32),
            logits=trace.logits[chosen].astype(np.float32),
            step_logits=trace.outputs[:, chosen].astype(np.float32),
            spikes=np.stack(counts, axis=1).astype(np.int64) if counts else np.zeros((len(chosen), 0), np.int64),
        )
    return float(margin[chosen].min())
