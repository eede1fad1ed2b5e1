"""What a comparison, a choice, a mean and 8 bits are written with: two profiles, the same spikes.

                                       default                   portable
    s = v > theta                      Greater, bool             clip(ceil(v - theta), 0, 1)
    m = v_reset where s, else v        Where                     v - v s + v_reset s
    m = v + b where s, else v          Add, Where                v + b s
    y = past[k] where the delay is k   Where                     sum over k of past[k] [delay = k]
    x != 0                             Cast to bool              clip(ceil(|x|), 0, 1)
    mean over T                        ReduceMean                (x[0] + ... + x[T-1]) / T
    layers without memory              T folded into the batch   T times
    8 bits                             QLinearConv of uint8      Conv of int8 between Quantize- and DequantizeLinear

The default is what onnxruntime runs fastest. The portable profile keeps to what phones' runtimes and converters have:
no Greater, Where, bool or ReduceMean, and a first axis that is the samples' alone, as many as the file says. Spikes are
the same: with gradual underflow a difference of float32 numbers is 0 only where they are equal, and the smallest number
above 0 is rounded up to 1; products with 0 or 1 and sums with 0 are exact, where nothing has overflowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.manifest import ProfileName

from .emitter import BOOL, Emitter, Profile, Value


class Default:
    """For onnxruntime: spikes are booleans, a byte each, until a layer reads them."""

    folds, pairs = True, False

    def fires(self, e: Emitter, node: str, v: str, theta: Any) -> Value:
        """Greater."""
        return Value(e.op("Greater", [v, e.parameter(node, "theta", theta)], node), BOOL)

    def reset(self, e: Emitter, node: str, s: Value, v: str, to: Any) -> str:
        """Where."""
        return e.op("Where", [s.name, e.parameter(node, "reset", to), v], f"{node}.m")

    def moved(self, e: Emitter, node: str, s: Value, v: str, by: Any) -> str:
        """Add and Where."""
        less = e.op("Add", [v, e.parameter(node, "reset", by)], f"{node}.less")
        return e.op("Where", [s.name, less, v], f"{node}.m")

    def arrived(self, e: Emitter, node: str, past: Sequence[str], delays: Array) -> str:
        """A Where for each delay but the first."""

        def at(k: int) -> str:
            return past[k] if k < len(past) else e.zeros(past[0], node)

        first, *others = np.unique(delays)
        y = at(int(first))
        for k in others:
            y = e.op("Where", [e.constant(f"{node}.is_{k}", delays == k), at(int(k)), y], node)
        return y

    def nonzero(self, e: Emitter, x: Value) -> Value:
        """Cast to bool."""
        return Value(e.op("Cast", [x.name], f"{x.name}.nonzero", to=BOOL), BOOL)


class Portable:
    """For phones' runtimes and converters: spikes are float32 numbers, 0 or 1."""

    folds, pairs = False, True

    def fires(self, e: Emitter, node: str, v: str, theta: Any) -> Value:
        """clip(ceil(v - theta), 0, 1)"""
        above = e.op("Sub", [v, e.parameter(node, "theta", theta)], f"{node}.above")
        return _step(e, above, node)

    def reset(self, e: Emitter, node: str, s: Value, v: str, to: Any) -> str:
        """v - v s + to s, without the last where `to` is 0."""
        lost = e.op("Mul", [v, s.name], f"{node}.lost")
        m = e.op("Sub", [v, lost], f"{node}.m")
        return self.moved(e, node, s, m, to) if np.any(to) else m

    def moved(self, e: Emitter, node: str, s: Value, v: str, by: Any) -> str:
        """v + by s"""
        put = e.op("Mul", [s.name, e.parameter(node, "reset", by)], f"{node}.put")
        return e.op("Add", [v, put], f"{node}.m")

    def arrived(self, e: Emitter, node: str, past: Sequence[str], delays: Array) -> str:
        """The sum over k of past[k] [delay = k]."""
        parts = [
            Value(e.op("Mul", [x, e.constant(f"{node}.is_{k}", np.float32(delays == k))], f"{node}.of_{k}"))
            for k, x in enumerate(past)
            if k == 0 or (delays == k).any()
        ]
        return e.sum(parts, node).name

    def nonzero(self, e: Emitter, x: Value) -> Value:
        """clip(ceil(|x|), 0, 1)"""
        return _step(e, e.op("Abs", [e.float(x)], f"{x.name}.size"), f"{x.name}.nonzero")


def _step(e: Emitter, x: str, name: str) -> Value:
    """1 where x > 0, else 0: clip(ceil(x), 0, 1)."""
    up = e.op("Ceil", [x], f"{name}.up")
    bounds = [e.constant("zero", np.float32(0)), e.constant("one", np.float32(1))]
    return Value(e.op("Clip", [up, *bounds], name))


PROFILES: Mapping[ProfileName, Profile] = {"default": Default(), "portable": Portable()}
