"""Integer arithmetic for layers that read spikes.

A spike enters as uint8 with scale 1 and zero point 0: exact, and 0 or 1. That is why signed weights may use all of
-127..127: x86 processors without VNNI add pairs of uint8 x int8 products in 16 bits, and 2 * 127 * peak stays far from
saturation, where pixels or activations of up to 255 would need a bit of reserve.

    w_q[o] = round(w[o] / scale[o]),  scale[o] = max|w[o]| / 127         one scale an output channel
    I      = y_scale (I_q - y_zero),  I_q in 0..255                      one scale a tensor: the only new rounding

An int8 layer needs the range of its currents, which `calibrate` measures; without one only the weights are stored so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.arrays import Array

from ..graph.layers import is_synaptic
from ..graph.peaks import peaks
from ..graph.plan import Plan, Step
from .emitter import UINT8, Emitter, Value

PEAK = 127  # the largest input that cannot saturate: 2 * 127 * 127 < 2**15


@dataclass(frozen=True)
class Range:
    """The currents that an int8 layer can give; whatever lies outside is cut to it."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """What one unit of the quantized current is worth."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        return np.float32((high - low) / 255 or 1.0)

    @property
    def zero(self) -> np.uint8:
        """The quantized current that means 0; 0 itself is always exact."""
        return np.uint8(np.clip(np.rint(-min(self.low, 0.0) / self.scale), 0, 255))

    def rounded(self, currents: Array) -> Array:
        """What is left of currents."""
        zero = float(self.zero)
        return np.asarray((np.clip(np.rint(currents / self.scale) + zero, 0, 255) - zero) * self.scale)


class Weights(NamedTuple):
    """w ~ values * scale, one scale an output channel (the first axis)."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


def whole_inputs(plan: Plan) -> set[str]:
    """The layers with weights that are given spikes or sums of few, whole numbers up to `PEAK`."""
    given = peaks(plan)
    found = set()
    for step in plan.steps:
        peak = given[step.name]
        if is_synaptic(step) and peak is not None and peak <= PEAK:
            found.add(step.name)
    return found


def integer_layers(plan: Plan) -> list[Step]:
    """The layers that can compute in integers: they are given whole numbers, and neurons hear them."""
    heads, whole = _heads(plan), whole_inputs(plan)
    return [step for step in plan.steps if step.name in whole - heads]


def _heads(plan: Plan) -> set[str]:
    """Every node between the last spikes and the output: what makes the logits."""
    found, stack = {plan.output}, [plan.output]
    while stack:
        new = [s.name for s in plan[stack.pop()].sources if s.name not in found and s.name not in plan.neurons]
        found.update(new)
        stack.extend(new)
    return found


def quantize_weights(w: Array) -> Weights:
    """Signed, symmetric, per output channel; a channel of zeros has scale 1."""
    peak = np.abs(w).reshape(len(w), -1).max(1).astype(np.float64)
    scale = np.where(peak > 0, peak / 127, 1).astype(np.float32)
    values = np.rint(w / scale.reshape(-1, *(1,) * (w.ndim - 1)))
    return Weights(np.clip(values, -127, 127).astype(np.int8), scale)


def stored_weight(e: Emitter, name: str, w: Array) -> str:
    """A float32 tensor that the model computes from int8 weights: a quarter of the size, no gain in speed."""
    values, scale = quantize_weights(w)
    inputs = [
        e.constant(f"{name}.weight", values),
        e.constant(f"{name}.weight_scale", scale),
        e.constant(f"{name}.weight_zero", np.zeros(len(w), np.int8)),
    ]
    return e.op("DequantizeLinear", inputs, f"{name}.weight_float", axis=0)


def convolution(e: Emitter, name: str, x: Value, w: Array, b: Array, reach: Range, **attributes: object) -> str:
    """The currents of spikes through a convolution, summed in integers."""
    values, scale = quantize_weights(w)
    y_scale = e.constant(f"{name}.current_scale", reach.scale)
    y_zero = e.constant(f"{name}.current_zero", reach.zero)
    inputs = [
        e.cast(x, UINT8),
        e.constant("spike_scale", np.float32(1)),
        e.constant("spike_zero", np.uint8(0)),
        e.constant(f"{name}.weight", values),
        e.constant(f"{name}.weight_scale", scale),
        e.constant(f"{name}.weight_zero", np.zeros(len(w), np.int8)),
        y_scale,
        y_zero,
        e.constant(f"{name}.bias", np.rint(b / scale.astype(np.float64)).astype(np.int32)),
    ]
    current = e.op("QLinearConv", inputs, f"{name}.current", **attributes)
    return e.op("DequantizeLinear", [current, y_scale, y_zero], name)
