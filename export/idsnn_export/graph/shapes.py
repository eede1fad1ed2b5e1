"""What comes out of each NIR node, given what goes in: one rule per node type.

Shapes are per sample and per time step: (C, H, W), (C, L) or (K,). NIR's own inference is wrong for grouped and for
non-square convolutions, which is why these rules exist. `conv_window` and `pool_window` turn NIR's loosely typed
fields (numbers, arrays, strings) into plain tuples; everything that runs or compiles a graph takes them from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import nir
import numpy as np

from idsnn_deploy.errors import GraphError, UnsupportedError

Shape = tuple[int, ...]


class Window(NamedTuple):
    """A sliding window, one entry per spatial axis; `padding` is (before, after) of zeros."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def slide(self, size: Shape) -> Shape:
        """floor((size + before + after - dilation (kernel - 1) - 1) / stride) + 1, along each axis."""
        out = tuple(
            (n + before + after - d * (k - 1) - 1) // s + 1
            for n, k, s, (before, after), d in zip(
                size, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        if min(out) < 1:
            raise GraphError(f"a window of {self.kernel} (dilation {self.dilation}) does not fit into {size}")
        return out


def conv_window(node: nir.NIRNode) -> Window:
    """The window of a Conv1d or Conv2d; `same` pads the odd zero after, as torch does, and needs stride 1."""
    kernel = tuple(int(k) for k in np.shape(node.weight)[2:])
    stride, dilation = _axes(node.stride, kernel, "stride", 1), _axes(node.dilation, kernel, "dilation", 1)
    text = _text(node.padding)
    if text is None:
        padding = tuple((p, p) for p in _axes(node.padding, kernel, "padding", 0))
    elif text == "valid":
        padding = ((0, 0),) * len(kernel)
    elif text == "same" and set(stride) == {1}:
        totals = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        padding = tuple((total // 2, total - total // 2) for total in totals)
    else:
        raise GraphError(f"padding {text!r} with stride {stride}: `same` needs stride 1, and `valid` is the other word")
    return Window(kernel, stride, padding, dilation)


def pool_window(node: nir.NIRNode) -> Window:
    """The window of a SumPool2d or AvgPool2d."""
    kernel = _axes(node.kernel_size, (0, 0), "kernel_size", 1)
    padding = _axes(node.padding, kernel, "padding", 0)
    if any(p >= k for p, k in zip(padding, kernel, strict=True)):
        raise GraphError(f"padding {padding} is not smaller than the pooling window {kernel}")
    return Window(kernel, _axes(node.stride, kernel, "stride", 1), tuple((p, p) for p in padding), (1, 1))


def infer_shape(node: nir.NIRNode, shape: Shape) -> Shape:
    """What `node` gives for an input of `shape`.

    Raises:
        UnsupportedError: a node type without a rule.
        GraphError: an input that the node cannot take.
    """
    rule = SHAPES.get(type(node))
    if rule is None:
        known = ", ".join(sorted(known.__name__ for known in SHAPES))
        raise UnsupportedError(f"{type(node).__name__} nodes are not supported; known are {known}")
    return rule(node, shape)


def declared(shape: Any) -> Shape | None:
    """A shape that the file states, as plain integers; None where it states none."""
    return None if shape is None else tuple(int(n) for n in np.atleast_1d(shape))


def elementwise_fields(node: nir.NIRNode) -> tuple[str, ...]:
    """The names of a neuron's, Scale's, Threshold's or Delay's parameters; none for other nodes."""
    if SHAPES.get(type(node)) is not _elementwise:
        return ()
    return tuple(f.name for f in fields(node) if f.name not in ("input_type", "output_type", "metadata"))


def _port(node: nir.NIRNode, shape: Shape) -> Shape:
    stated = declared((node.input_type or {}).get("input"))
    if stated is not None and stated != shape:
        raise GraphError(f"declared with shape {stated}, reached by {shape}")
    return shape


def _elementwise(node: nir.NIRNode, shape: Shape) -> Shape:
    for name in elementwise_fields(node):
        values = np.asarray(getattr(node, name))
        fits = values.size == 1 or (
            values.ndim == len(shape) and all(n in (1, m) for n, m in zip(values.shape, shape, strict=True))
        )
        if not fits:
            raise GraphError(f"`{name}` of shape {values.shape} does not fit an input of {shape}")
        if name.startswith("tau") and not (values > 0).all():
            raise GraphError(f"`{name}` must be above 0, got {values.min()}")
    return shape


def _dense(node: nir.NIRNode, shape: Shape) -> Shape:
    if node.weight.ndim != 2:
        raise UnsupportedError(f"a weight of {node.weight.ndim} dimensions is not supported; (out, in) is")
    out, inputs = node.weight.shape
    if shape != (inputs,):
        raise GraphError(f"a weight of {(out, inputs)} takes {(inputs,)}, reached by {shape}")
    if isinstance(node, nir.Affine) and np.shape(node.bias) != (out,):
        raise GraphError(f"a bias of {np.shape(node.bias)} does not fit a weight of {(out, inputs)}")
    return (out,)


def _conv(node: nir.NIRNode, shape: Shape) -> Shape:
    axes = 1 if isinstance(node, nir.Conv1d) else 2
    if node.weight.ndim != axes + 2:
        raise GraphError(f"a weight of {node.weight.ndim} dimensions; {axes + 2} are needed")
    out, per_group, groups = node.weight.shape[0], node.weight.shape[1], _whole(node.groups, "groups", 1)
    if len(shape) != axes + 1 or shape[0] != per_group * groups or out % groups:
        raise GraphError(f"a weight of {node.weight.shape} in {groups} groups cannot take {shape}")
    if np.shape(node.bias) != (out,):
        raise GraphError(f"a bias of {np.shape(node.bias)} does not fit {out} channels")
    stated = declared(node.input_shape)
    if stated is not None and stated != shape[1:]:
        raise GraphError(f"declared with input_shape {stated}, reached by {shape}")
    return (out, *conv_window(node).slide(shape[1:]))


def _pool(node: nir.NIRNode, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise GraphError(f"pooling takes (C, H, W), reached by {shape}")
    return (shape[0], *pool_window(node).slide(shape[1:]))


def _flatten(node: nir.NIRNode, shape: Shape) -> Shape:
    _port(node, shape)
    first, last = (
        n + len(shape) if n < 0 else n for n in (_whole(node.start_dim, "start_dim"), _whole(node.end_dim, "end_dim"))
    )
    if not 0 <= first <= last < len(shape):
        raise GraphError(f"flattening dimensions {node.start_dim} to {node.end_dim} of {shape}")
    return (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])


SHAPES: dict[type[nir.NIRNode], Callable[[nir.NIRNode, Shape], Shape]] = {
    nir.Input: _port,
    nir.Output: _port,
    nir.Affine: _dense,
    nir.Linear: _dense,
    nir.Conv1d: _conv,
    nir.Conv2d: _conv,
    nir.SumPool2d: _pool,
    nir.AvgPool2d: _pool,
    nir.Flatten: _flatten,
    nir.Scale: _elementwise,
    nir.Threshold: _elementwise,
    nir.Delay: _elementwise,
    nir.I: _elementwise,
    nir.LI: _elementwise,
    nir.IF: _elementwise,
    nir.LIF: _elementwise,
    nir.CubaLI: _elementwise,
    nir.CubaLIF: _elementwise,
}


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "SUO":
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf8", "replace")
    return value if isinstance(value, str) else None


def _axes(value: Any, like: Shape, name: str, least: int) -> tuple[int, ...]:
    """One whole number per axis, from a number or an array."""
    values = np.asarray(value)
    if values.dtype.kind not in "iuf" or values.size not in (1, len(like)):
        raise GraphError(f"{name} {value!r}: one whole number, or {len(like)} of them")
    whole = tuple(_whole(v, name, least) for v in values.ravel())
    return whole * len(like) if len(whole) == 1 else whole


def _whole(value: Any, name: str, least: int | None = None) -> int:
    number = np.asarray(value)
    limit = 2**31
    if number.dtype.kind not in "iuf" or number.size != 1 or number.item() != np.rint(number.item()):
        raise GraphError(f"{name} {value!r}: a whole number is needed")
    if not (-limit if least is None else least) <= number.item() < limit:
        raise GraphError(f"{name} {value!r} is out of range")
    return int(number.item())
