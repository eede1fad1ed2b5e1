"""Which layers can compute in integers, and over what range of currents: measured on images of the training set.

A range that holds every current ever seen wastes most of its 255 steps on outliers, which spike or stay silent
whatever their exact size. Taken is, among ranges cut at both ends by the same share of the currents, the one with the
least E |Q(I) - I|, Q(I) = clip(round(I / scale)) scale, where currents of more than `FAR` times the current at which a
neuron at rest fires count as that many. Squares cut too little; roots cut away the rare currents of a layer where most
neurons hear nothing but their bias.

    theta = (k + 1/2) scale,  k a whole number

is then made true by widening the range a little, theta being that current: Q(I) > theta exactly where I > theta, so
that rounding changes no spike of a neuron at rest, as every neuron is at first and after a reset to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import nir
import numpy as np
import onnxruntime

from idsnn_deploy.arrays import Array
from idsnn_deploy.progress import track

from ..graph.plan import Plan, plan
from ..graph.timing import gain, leak, resolve_dt
from .compiler import to_onnx
from .int8 import Range, integer_layers

CUTS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2)  # shares of the currents cut off at either end
BATCH = 16  # images run at once; their currents at every step are in memory together
PREFIX = "current."
FAR = 8.0


def calibrate(
    graph: nir.NIRGraph | Plan,
    timesteps: int,
    images: Array,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dt: float | None = None,
    static: bool = True,
    share: float = 1.0,
) -> dict[str, Range]:
    """The range of the currents of every layer that can compute in integers; what `to_onnx(int8=...)` takes.

    Args:
        graph, timesteps, mean, std, dt, static: as for `to_onnx`.
        images: float32 (N, ...), or frames (T, N, ...); from the training set, a few hundred are enough.
        share: of their multiply-accumulates, counted from the output; the layers before stay float32.

    Raises:
        ValueError: no images.
    """
    axis = 0 if static else 1
    count = images.shape[axis]
    if not count:
        raise ValueError("no images to calibrate with")
    model = to_onnx(graph, timesteps, kind="currents", mean=mean, std=std, dt=dt, static=static)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    steps = plan(graph)
    dt = resolve_dt(steps.graph, dt)
    names = [PREFIX + step.name for step in integer_layers(steps, share)]
    feed = session.get_inputs()[0].name
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for start in track(range(0, count if names else 0, BATCH), "8 bits: currents"):
        part = np.take(images, np.arange(start, min(start + BATCH, count)), axis).astype(np.float32)
        for name, values in zip(names, session.run(names, {feed: part}), strict=True):
            seen[name].append(values)
    layers = {name.removeprefix(PREFIX): np.concatenate(values) for name, values in seen.items()}
    return {
        name: best_range(values, firing_currents(steps, name, dt))
        for name, values in track(layers.items(), "8 bits: ranges")
    }


def integer_weights(graph: nir.NIRGraph | Plan) -> dict[str, None]:
    """The same layers, with nothing but their weights as int8; also for `to_onnx(int8=...)`."""
    return dict.fromkeys(step.name for step in integer_layers(plan(graph)))


def best_range(currents: Array, firing: Array | None = None) -> Range:
    """The range with the least mean absolute error over the currents.

    Args:
        currents: of one layer, any shape.
        firing: the currents at which its neurons fire from rest; None where nobody knows.
    """
    far = 1e30 if firing is None else FAR * float(np.abs(firing).max()) or 1e30
    currents = np.clip(np.nan_to_num(currents), -far, far)
    lows, highs = np.quantile(currents, CUTS), np.quantile(currents, [1 - cut for cut in CUTS])
    candidates = [Range(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
    if firing is not None and firing.size == 1:
        candidates = [_halfway(each, abs(float(firing.item()))) for each in candidates]
    return min(candidates, key=lambda r: float(np.abs(r.rounded(currents) - currents).mean()))


def _halfway(reach: Range, theta: float) -> Range:
    """The range widened until theta lies in it, halfway between two steps; as it is where theta is less than half."""
    reach = Range(reach.low, max(reach.high, theta))
    halves = np.floor(theta / float(reach.scale) - 0.5) + 0.5
    if halves < 0:
        return reach
    scale, zero = theta / halves, min(float(reach.zero), 255 - (halves + 0.5))
    return Range(-zero * scale, (255 - zero) * scale)


# The input that takes a neuron from 0 to its threshold in one step.
FIRING: dict[type[nir.NIRNode], Callable[[Any, float], Array]] = {
    nir.Threshold: lambda node, dt: node.threshold,
    nir.IF: lambda node, dt: node.v_threshold / gain(node.r, dt),
    nir.LIF: lambda node, dt: (node.v_threshold / leak(node.tau, dt) - node.v_leak) / node.r,
    nir.CubaLIF: lambda node, dt: (
        (node.v_threshold / leak(node.tau_mem, dt) - node.v_leak) / node.r / (leak(node.tau_syn, dt) * node.w_in)
    ),
}


def firing_currents(steps: Plan, name: str, dt: float) -> Array | None:
    """The different currents at which the neurons that read a layer fire from rest; None where others read it too."""
    readers = [step.node for step in steps.steps if any(source.name == name for source in step.sources)]
    if not all(type(node) in FIRING for node in readers):
        return None
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        each = [np.asarray(FIRING[type(node)](node, dt), np.float64).ravel() for node in readers]
        found = np.unique(np.float32(np.concatenate(each)))
    return found if found.size and np.isfinite(found).all() else None
