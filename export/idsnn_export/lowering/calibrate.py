"""Which layers can compute in integers, and over what range of currents: measured on images of the training set.

A range that holds every current ever seen wastes most of its 255 steps on outliers, which spike or stay silent
whatever their exact size. Taken is, among ranges cut at both ends by the same share of the currents, the one with the
least E |Q(I) - I|, Q(I) = clip(round(I / scale)) scale. Squares cut too little; roots cut away the rare currents of a
layer where most neurons hear nothing but their bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import nir
import numpy as np
import onnx
import onnxruntime

from idsnn_deploy.arrays import Array

from ..graph.plan import plan
from .compiler import to_onnx
from .int8 import Range, integer_layers

CUTS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2)  # shares of the currents cut off at either end
BATCH = 16  # images run at once; their currents at every step are in memory together
PREFIX = "current."


def calibrate(
    graph: nir.NIRGraph,
    timesteps: int,
    images: Array,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dt: float | None = None,
    static: bool = True,
) -> dict[str, Range]:
    """The range of the currents of every layer that can compute in integers; what `to_onnx(int8=...)` takes.

    Args:
        graph, timesteps, mean, std, dt, static: as for `to_onnx`.
        images: float32 (N, ...), or frames (T, N, ...); from the training set, a few hundred are enough.

    Raises:
        ValueError: no images.
    """
    axis = 0 if static else 1
    count = images.shape[axis]
    if not count:
        raise ValueError("no images to calibrate with")
    model = to_onnx(graph, timesteps, kind="currents", mean=mean, std=std, dt=dt, static=static)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names, feed = _currents(model), session.get_inputs()[0].name
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for start in range(0, count if names else 0, BATCH):
        part = np.take(images, np.arange(start, min(start + BATCH, count)), axis).astype(np.float32)
        for name, values in zip(names, session.run(names, {feed: part}), strict=True):
            seen[name].append(values)
    return {name.removeprefix(PREFIX): best_range(np.concatenate(values)) for name, values in seen.items()}


def integer_weights(graph: nir.NIRGraph) -> dict[str, None]:
    """The same layers, with nothing but their weights as int8; also for `to_onnx(int8=...)`."""
    return dict.fromkeys(step.name for step in integer_layers(plan(graph)))


def best_range(currents: Array) -> Range:
    """The range with the least mean absolute error over the currents."""
    lows, highs = np.quantile(currents, CUTS), np.quantile(currents, [1 - cut for cut in CUTS])
    candidates = [Range(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
    return min(candidates, key=lambda r: float(np.abs(r.rounded(currents) - currents).mean()))


def _currents(model: onnx.ModelProto) -> list[str]:
    return [output.name for output in model.graph.output if output.name.startswith(PREFIX)]
