"""Integer arithmetic for layers that read spikes.

    scale[o] = max(max|w[o]| / 127, |b[o]| / 2**22, y / 2**30)           one scale per output channel
    w_q[o]   = round(w[o] / scale[o])                                    int8
    b_q[o]   = round(b[o] / scale[o]),  rest[o] = 0                      int32, at most 2**22
    b_q[o]   = 0,                       rest[o] = b[o]                   where scale[o] > y
    I        = y (clip(round((w_q x + b_q) scale / y) + zero, 0, 255) - zero) + rest

y and zero are those of the layer's `Range`, one per tensor: QLinearConv knows no other. So a bias is kept whatever the
weights beside it: where they are 0 or tiny they are rounded to units of the bias, and where one of their units is more
than a step of the current the bias stays float32, added behind. What the bounds leave out is far less than what the
rounding of I leaves out.

A spike enters as uint8 with scale 1 and zero point 0: exact, and 0 or 1. That is why signed weights may use all of
-127..127: x86 processors without VNNI add pairs of uint8 x int8 products in 16 bits, and 2 * 127 * peak stays far from
saturation, where pixels or activations of up to 255 would need a bit of reserve.

An int8 layer needs the range of its currents, which `calibrate` measures; without one only the weights are stored so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.arrays import Array

from ..graph.layers import is_synaptic
from ..graph.peaks import peaks
from ..graph.plan import Plan, Step
from .emitter import UINT8, Emitter, Value

PEAK = 127  # the largest input that cannot saturate: 2 * 127 * 127 < 2**15
BIAS, FINEST = 2.0**-22, 2.0**-30  # a scale is at least so much of its channel's bias, and of a step of the current
LARGEST_SUM = 2**31 - 2**23  # of weights times inputs, with a bias below 2**22 beside it
SMALLEST = float(np.finfo(np.float32).tiny)  # runtimes may take smaller numbers for 0


@dataclass(frozen=True)
class Range:
    """The currents that an int8 layer can give; whatever lies outside is cut to it."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """What one unit of the quantized current is worth."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        return np.float32(max((high - low) / 255, SMALLEST) if high > low else 1.0)

    @property
    def zero(self) -> np.uint8:
        """The quantized current that means 0; 0 itself is always exact."""
        return np.uint8(np.clip(np.rint(-min(self.low, 0.0) / self.scale), 0, 255))

    def rounded(self, currents: Array) -> Array:
        """What is left of currents."""
        zero = float(self.zero)
        return np.asarray((np.clip(np.rint(currents / self.scale) + zero, 0, 255) - zero) * self.scale)


class Weights(NamedTuple):
    """w ~ values * scale, one scale per output channel (the first axis)."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


class Integers(NamedTuple):
    """A layer as QLinearConv computes it: the weights, the bias in units of their scale, and what is left of it."""

    weights: Weights
    bias: NDArray[np.int32]
    rest: NDArray[np.float32]


def whole_inputs(plan: Plan) -> set[str]:
    """The layers with weights that are given spikes or sums of few, whole numbers up to `PEAK`."""
    given = peaks(plan)
    found = set()
    for step in plan.steps:
        peak = given[step.name]
        if is_synaptic(step) and peak is not None and peak <= PEAK:
            weight = np.asarray(step.node.weight)
            if 127 * peak * (weight.size // len(weight)) < LARGEST_SUM:
                found.add(step.name)
    return found


def integer_layers(plan: Plan, share: float = 1.0) -> list[Step]:
    """The layers that can compute in integers: they are given whole numbers, and neurons hear them.

    Of these the last ones, with `share` of the multiply-accumulates of all of them.
    """
    heads, whole = _heads(plan), whole_inputs(plan)
    able = [step for step in plan.steps if step.name in whole - heads]
    macs = [int(np.prod(step.node.weight.shape)) * int(np.prod(step.shape[1:])) for step in able]
    return [step for i, step in enumerate(able) if sum(macs[i:]) <= share * sum(macs)]


def _heads(plan: Plan) -> set[str]:
    """Every node between the last spikes and the output: what makes the logits."""
    found, stack = {plan.output}, [plan.output]
    while stack:
        new = [s.name for s in plan[stack.pop()].sources if s.name not in found and s.name not in plan.neurons]
        found.update(new)
        stack.extend(new)
    return found


def quantize_weights(w: Array, least: Array | float = SMALLEST) -> Weights:
    """Signed, symmetric, one scale per output channel, none below `least`."""
    peak = np.abs(w.astype(np.float64)).reshape(len(w), -1).max(1)
    scale = np.maximum(peak / 127, np.maximum(least, SMALLEST)).astype(np.float32)
    values = np.rint(w / scale.astype(np.float64).reshape(-1, *(1,) * (w.ndim - 1)))
    return Weights(np.clip(values, -127, 127).astype(np.int8), scale)


def integers(w: Array, b: Array, reach: Range) -> Integers:
    """The layer in integers, as the equations above say it."""
    y, bias = float(reach.scale), b.astype(np.float64)
    values, scale = quantize_weights(w, np.maximum(BIAS * np.abs(bias), FINEST * y))
    coarse = scale > y
    inside = np.rint(np.where(coarse, 0, bias) / scale).astype(np.int32)
    # One unit of 256 y spans the range already; without that bound the factor scale / y could overflow.
    bounded = np.minimum(scale, 256 * y).astype(np.float32)
    return Integers(Weights(values, bounded), inside, np.where(coarse, bias, 0).astype(np.float32))


def stored_weight(e: Emitter, name: str, w: Array) -> str:
    """A float32 tensor that the model computes from int8 weights: a quarter of the size, no gain in speed."""
    return e.shared("DequantizeLinear", _weights(e, name, quantize_weights(w)), f"{name}.weight_float", axis=0)


def convolution(e: Emitter, name: str, x: Value, w: Array, b: Array, reach: Range, **attributes: object) -> str:
    """The currents of spikes through a convolution, summed in integers."""
    layer = integers(w, b, reach)
    write = _between_pairs if e.profile.pairs else _as_operator
    current = write(e, name, x, layer, reach, attributes)
    if not layer.rest.any():
        return current
    return e.op("Add", [current, e.constant(f"{name}.bias_rest", layer.rest.reshape(-1, *(1,) * (w.ndim - 2)))], name)


def _as_operator(
    e: Emitter, name: str, x: Value, layer: Integers, reach: Range, attributes: Mapping[str, object]
) -> str:
    """QLinearConv, which onnxruntime computes as it is written."""
    unit = _unit(e, f"{name}.current", reach.scale, reach.zero)
    inputs = [
        e.cast(x, UINT8),
        *_unit(e, "spike", np.float32(1), np.uint8(0)),
        *_weights(e, name, layer.weights),
        *unit,
    ]
    quantized = e.op("QLinearConv", [*inputs, e.constant(f"{name}.bias", layer.bias)], f"{name}.current", **attributes)
    return e.op("DequantizeLinear", [quantized, *unit], name)


def _between_pairs(
    e: Emitter, name: str, x: Value, layer: Integers, reach: Range, attributes: Mapping[str, object]
) -> str:
    """Conv between QuantizeLinear and DequantizeLinear, all int8, which runtimes join; its bias in whole units."""
    spikes = _unit(e, "spike", np.float32(1), np.int8(0))
    unit = _unit(e, f"{name}.current", reach.scale, np.int8(int(reach.zero) - 128))
    w = e.shared("DequantizeLinear", _weights(e, name, layer.weights), f"{name}.weight_float", axis=0)
    b = e.constant(f"{name}.bias", np.float32(layer.bias * layer.weights.scale.astype(np.float64)))
    taken = e.shared("QuantizeLinear", [e.float(x), *spikes], f"{x.name}.int8")
    given = e.shared("DequantizeLinear", [taken, *spikes], f"{x.name}.whole")
    summed = e.op("Conv", [given, w, b], f"{name}.sum", **attributes)
    quantized = e.op("QuantizeLinear", [summed, *unit], f"{name}.current")
    return e.op("DequantizeLinear", [quantized, *unit], name)


def _unit(e: Emitter, what: str, scale: Any, zero: Any) -> list[str]:
    """What one unit is worth, and which number means 0."""
    return [e.constant(f"{what}_scale", scale), e.constant(f"{what}_zero", zero)]


def _weights(e: Emitter, name: str, weights: Weights) -> list[str]:
    zero = np.zeros(len(weights.scale), np.int8)
    return [e.constant(f"{name}.weight", weights.values), *_unit(e, f"{name}.weight", weights.scale, zero)]
