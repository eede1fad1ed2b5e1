"""Layers without memory as ONNX nodes; what they do to one sample they do to a whole batch, or to all steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array

from ..graph.plan import Step
from ..graph.shapes import Window, conv_window, pool_window
from . import int8
from .emitter import UINT8, Emitter, Value, collapse
from .neurons import Emitted, StateTensors

Memoryless = Callable[[Emitter, Step, Value], Value]


def without_state(layer: Memoryless) -> Callable[[Emitter, Step, Value, StateTensors], Emitted]:
    """A layer as a cell that has nothing to remember."""
    return lambda e, step, x, state: (layer(e, step, x), None)


def port(e: Emitter, step: Step, x: Value) -> Value:
    """Input and Output change nothing."""
    return x


def dense(e: Emitter, step: Step, x: Value) -> Value:
    """W x + b; Linear has no b."""
    w, b = np.asarray(step.node.weight, np.float32), _bias(step)
    reach = e.formats.get(step.name)
    if reach is not None:  # a convolution of one pixel: QLinearConv takes a bias, QLinearMatMul does not
        whole = x if e.profile.pairs else Value(e.cast(x, UINT8), UINT8)
        pixel = Value(e.op("Unsqueeze", [whole.name, e.axes(2, 3)], f"{step.name}.pixel"), whole.dtype)
        y = int8.convolution(e, step.name, pixel, w[:, :, None, None], b, reach)
        return Value(e.op("Squeeze", [y, e.axes(2, 3)], step.name))
    inputs = [e.float(x), _weight(e, step, w)]
    inputs += [e.constant(f"{step.name}.bias", b)] if hasattr(step.node, "bias") else []
    return Value(e.op("Gemm", inputs, step.name, transB=1))


def convolution(e: Emitter, step: Step, x: Value) -> Value:
    """One or two spatial axes, with groups, stride, dilation, and zeros on either side."""
    w, b = np.asarray(step.node.weight, np.float32), _bias(step)
    attributes = {**_window(conv_window(step.node)), "group": int(step.node.groups)}
    reach = e.formats.get(step.name)
    if reach is not None:
        return Value(int8.convolution(e, step.name, x, w, b, reach, **attributes))
    inputs = [e.float(x), _weight(e, step, w), e.constant(f"{step.name}.bias", b)]
    return Value(e.op("Conv", inputs, step.name, **attributes))


def scale(e: Emitter, step: Step, x: Value) -> Value:
    """s x, elementwise."""
    s = collapse(np.asarray(step.node.scale, np.float32))
    return Value(e.op("Mul", [e.float(x), e.constant(f"{step.name}.scale", s)], step.name))


def average_pool(e: Emitter, step: Step, x: Value) -> Value:
    """The mean over a window; padding counts as zeros."""
    attributes = _window(pool_window(step.node))
    del attributes["dilations"]
    return Value(e.op("AveragePool", [e.float(x)], step.name, count_include_pad=1, **attributes))


def sum_pool(e: Emitter, step: Step, x: Value) -> Value:
    """The sum over a window, as a convolution with ones: ONNX has no pooling that sums, and k² times a mean rounds."""
    window, channels = pool_window(step.node), step.in_shape[0]
    ones = e.constant(f"{step.name}.ones", np.ones((channels, 1, *window.kernel), np.float32))
    y = e.op("Conv", [e.float(x), ones], step.name, group=channels, **_window(window))
    return Value(y)


def flatten(e: Emitter, step: Step, x: Value) -> Value:
    """A view of another shape; spikes stay spikes."""
    return Value(e.op("Reshape", [x.name, e.axes(-1, *step.shape)], step.name), x.dtype)


def _window(window: Window) -> dict[str, Any]:
    before, after = zip(*window.padding, strict=True)
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": (*before, *after),
        "dilations": window.dilation,
    }


def _bias(step: Step) -> Array:
    return np.asarray(getattr(step.node, "bias", np.zeros(len(step.node.weight))), np.float32)


def _weight(e: Emitter, step: Step, w: Array) -> str:
    if step.name in e.formats:
        return int8.stored_weight(e, step.name, w)
    return e.constant(f"{step.name}.weight", w)
