"""Torch's functions and methods on recorded values: the table, by their names.

What is in no row has no form in NIR and is refused with the line that calls it. Most rows keep values as they are, or
move them (`layouts`, `over_time`); those that compute become a layer, as if the model had the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import layouts, over_time
from .cells import Weigh
from .values import Grouped, Joined, Largest, Layers, ReasonError, Sequence, Sum, Total, Value, full_shape

# ---- arithmetic ------------------------------------------------------------------------------------------------------


def add(r: Layers, a: Any, b: Any, alpha: float = 1, out: Any = None) -> Value:
    """a + alpha b"""
    if alpha != 1:
        b = mul(r, b, alpha)
    if not isinstance(b, Value):
        return _plus_constant(r, a, b)
    if not isinstance(a, Value):
        return _plus_constant(r, b, a)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and a.axes == b.axes and len(a.steps) == len(b.steps):
        return replace(a, steps=tuple(_plus(x, y) for x, y in zip(a.steps, b.steps, strict=True)))
    if isinstance(a, Total) and isinstance(b, Total):
        return a.summed().plus(b.summed())
    return _plus(a, b)


def _plus(a: Any, b: Any) -> Sum:
    if not isinstance(a, Sum) or not isinstance(b, Sum):
        raise ReasonError(
            "adds values of different kinds (one step, all steps, what came of them); add them step by step"
        )
    if a.shape != b.shape:
        raise ReasonError(f"its sources differ in shape, {a.shape} and {b.shape}; NIR does not broadcast")
    return a.plus(b)


def _plus_constant(r: Layers, value: Value, constant: Any) -> Value:
    given = np.asarray(constant.detach().cpu() if isinstance(constant, Tensor) else constant)
    shape = full_shape(value, r.batch)
    if given.any() or (given.size and np.broadcast_shapes(given.shape, shape) != shape):
        raise ReasonError("adds a constant, or numbers that the forward draws; put a constant into a bias")
    return value


def sub(r: Layers, a: Any, b: Any, alpha: float = 1) -> Value:
    """a - alpha b"""
    return add(r, a, mul(r, b, -alpha))


def mul(r: Layers, a: Any, b: Any, out: Any = None) -> Any:
    """A value times a number, or times a tensor that does not vary."""
    if isinstance(a, Value) and isinstance(b, Value):
        raise ReasonError("a product of two branches has no NIR form; add them")
    if not isinstance(a, Value) and not isinstance(b, Value):
        return a * b
    value, factor = (a, b) if isinstance(a, Value) else (b, a)
    if isinstance(factor, Tensor) and factor.numel() > 1:
        return _elementwise(r, value, factor)
    return scaled(value, float(factor))


def truediv(r: Layers, a: Any, b: Any, rounding_mode: None = None) -> Any:
    """A value by a number."""
    if isinstance(b, Value) or rounding_mode is not None:
        raise ReasonError("a division has no NIR form; divide by a number")
    return mul(r, a, 1 / b)


def neg(r: Layers, a: Value) -> Value:
    """-a"""
    return scaled(a, -1.0)


def scaled(value: Any, factor: float) -> Value:
    """A value times a number."""
    if not math.isfinite(factor):
        raise ReasonError(f"a factor of {factor} has no NIR form")
    if isinstance(value, Sum):
        return value.times(factor)
    if isinstance(value, Grouped):
        return Grouped(scaled(value.value, factor), value.shape)  # type: ignore[arg-type]  # of its own kind
    if isinstance(value, Joined):
        return Joined(tuple(part.times(factor) for part in value.parts))
    if isinstance(value, Sequence):
        return value.map(lambda step: scaled(step, factor))
    if isinstance(value, Total):
        return replace(value, factor=value.factor * factor)
    if isinstance(value, Largest) and factor > 0:
        return Largest(tuple(step.times(factor) for step in value.steps))
    raise ReasonError("scales a state; only what layers give can be scaled")


def _elementwise(r: Layers, value: Value, factor: Tensor) -> Value:
    weights = factor.detach().float().cpu().numpy()
    path, module = r.made("mul", (weights.shape, weights.tobytes()), lambda: Weigh(weights))
    return r.layer(path, module, value)


# ---- functions that are layers ---------------------------------------------------------------------------------------


def _as_module(make: Callable[..., nn.Module]) -> Callable[..., Value]:
    """A function whose arguments after the first are those of the module."""

    def call(r: Layers, input: Value, *args: Any, **kwargs: Any) -> Value:
        options = (*args, *sorted(kwargs.items()))
        path, module = r.made(make.__name__, tuple(map(str, options)), lambda: make(*args, **kwargs))
        return r.layer(path, module, input)

    return call


def dropout(r: Layers, input: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    """Nothing, where it is told so."""
    if training and p > 0:
        raise ReasonError("drops at random whenever it is called; pass training=self.training, or use nn.Dropout")
    return input


def feature_dropout(r: Layers, input: Value, p: float = 0.5, training: bool = False, inplace: bool = False) -> Value:
    """The same for F.alpha_dropout and F.feature_alpha_dropout, which do nothing by default."""
    return dropout(r, input, p, training)


@dataclass(frozen=True)
class _Weighted:
    """F.linear, F.conv1d and F.conv2d: a layer around the given weights."""

    kind: type[nn.Module]

    def __call__(
        self, r: Layers, input: Value, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Value:  # fmt: skip
        if isinstance(weight, Value) or isinstance(bias, Value):
            raise ReasonError("has weights that vary, which has no NIR form")
        options = (_content(weight), _content(bias), str((stride, padding, dilation, groups)))
        name = r.named(self.kind.__name__.lower(), weight)
        path, module = r.made(name, options, lambda: self._made(weight, bias, (stride, padding, dilation, groups)))
        return r.layer(path, module, input)

    def _made(self, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> nn.Module:
        outputs, inputs, has_bias = weight.shape[0], weight.shape[1], bias is not None
        with torch.device("meta"):
            if self.kind is nn.Linear:
                module: Any = nn.Linear(inputs, outputs, bias=has_bias)
            else:
                kernel, groups = tuple(weight.shape[2:]), options[3]
                module = self.kind(inputs * groups, outputs, kernel, *options, bias=has_bias)
        for name, values in (("weight", weight), ("bias", bias)):
            if values is not None:
                setattr(module, name, nn.Parameter(values.detach(), requires_grad=False))
        return module.eval()  # type: ignore[no-any-return]


def _content(values: Tensor | None) -> Any:
    return None if values is None else (values.shape, values.detach().cpu().numpy().tobytes())


def max_pool2d(
    r: Layers, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Value:  # fmt: skip
    """F.max_pool2d"""
    options = (kernel_size, stride or kernel_size, padding, dilation, return_indices, ceil_mode)
    path, module = r.made("max_pool2d", tuple(map(str, options)), lambda: nn.MaxPool2d(*options))
    return r.layer(path, module, input)


SAME = ("detach", "clone", "contiguous", "float", "to", "cpu", "cuda", "type", "type_as", "requires_grad")

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(SAME, layouts.same),
    "add": add,
    **dict.fromkeys(("sub", "subtract"), sub),
    "rsub": lambda r, a, b: sub(r, b, a),
    **dict.fromkeys(("mul", "multiply"), mul),
    **dict.fromkeys(("truediv", "div", "divide", "true_divide"), truediv),
    **dict.fromkeys(("neg", "negative"), neg),
    "zeros_like": layouts.zeros_like,
    "new_zeros": lambda r, x, *_, **__: torch.zeros(0),
    **dict.fromkeys(("reshape", "view"), layouts.reshape),
    **dict.fromkeys(("repeat", "expand"), layouts.repeat),
    **dict.fromkeys(("transpose", "swapaxes"), layouts.transpose),
    **{name: getattr(layouts, name) for name in ("flatten", "unflatten", "squeeze", "unsqueeze", "permute")},
    **{name: getattr(over_time, name) for name in ("stack", "unbind", "getitem", "select", "mean", "amax")},
    **dict.fromkeys(("cat", "concat", "concatenate"), over_time.cat),
    "sum": over_time.total,
    "max": over_time.maximum,
    "avg_pool2d": _as_module(nn.AvgPool2d),
    "adaptive_avg_pool2d": _as_module(nn.AdaptiveAvgPool2d),
    "max_pool2d": max_pool2d,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), dropout),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), feature_dropout),
    "linear": _Weighted(nn.Linear),
    "conv1d": _Weighted(nn.Conv1d),
    "conv2d": _Weighted(nn.Conv2d),
}

# What to do instead of a function that is in no row.
INSTEAD = {
    **dict.fromkeys(
        ("relu", "relu_", "leaky_relu", "gelu", "elu", "silu", "sigmoid", "tanh", "hardtanh", "clamp"),
        "it gives other values than 0 and 1; a spiking layer stands in its place",
    ),
    **dict.fromkeys(("softmax", "log_softmax"), "return what goes into it, and put it into the loss"),
    **dict.fromkeys(("rand_like", "randn_like", "bernoulli"), "noise is drawn anew at every call; leave it out"),
    **dict.fromkeys(
        ("interpolate", "upsample"),
        "NIR has no layer that enlarges a map; do it outside the network, or train without it",
    ),
    "batch_norm": "use nn.BatchNorm2d or nn.BatchNorm1d",
    "argmax": "return the outputs, and take it outside",
    "matmul": "use nn.Linear",
    "adaptive_max_pool2d": "use nn.MaxPool2d with its window",
}
