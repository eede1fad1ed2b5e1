"""Torch's functions along time: lists that become sequences, steps of them, and what is read out over the steps."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Any, NamedTuple

import torch
from torch import nn

from .layouts import reshaped
from .sum_pooling import SumPool2d
from .values import Joined, Largest, Layers, NotOneStepError, ReasonError, Sequence, Sum, Total, Value, full_shape


class Maximum(NamedTuple):
    """What torch.max returns over an axis."""

    values: Any
    indices: Any


def stack(r: Layers, tensors: Several[Any], dim: int = 0) -> Sequence:
    """A list with an entry for every step."""
    if not all(isinstance(each, (Sum, Joined)) for each in tensors) or dim not in (0, 1):
        raise ReasonError("stacks something else than one step's values along time; torch.stack(list) is understood")
    return Sequence(tuple(tensors), "TN" if dim == 0 else "NT")


def cat(r: Layers, tensors: Several[Any], dim: int = 0) -> Value:
    """Branches side by side before weights; sequences one after the other."""
    if all(isinstance(each, Sequence) and each.axes == "TN" for each in tensors) and dim == 0:
        return Sequence(tuple(step for each in tensors for step in each.steps))
    sums = all(isinstance(each, (Sum, Joined)) for each in tensors)
    if not sums or dim % (len(tensors[0].shape) + 1) != 1 or len({each.shape[1:] for each in tensors}) > 1:
        raise ReasonError("joins tensors along another axis than the channels; join them along dim=1")
    parts = [part for each in tensors for part in (each.parts if isinstance(each, Joined) else (each,))]
    return Joined(tuple(parts))


def unbind(r: Layers, x: Value, dim: int = 0) -> tuple[Value, ...]:
    """The steps of a sequence."""
    if isinstance(x, Sequence) and x.axes == ("TN" if dim == 0 else "NT"):
        return x.steps
    raise NotOneStepError("takes the entries along an axis that is not time one by one")


def getitem(r: Layers, x: Value, index: Any) -> Value:
    """A step, or steps, of a sequence."""
    parts = index if isinstance(index, tuple) else (index,)
    axis = {"TN": 0, "NT": 1}.get(getattr(x, "axes", ""), -1)
    others = [part for i, part in enumerate(parts) if i != axis and part is not Ellipsis]
    if not isinstance(x, Sequence) or len(parts) <= axis or axis < 0 or any(part != slice(None) for part in others):
        raise NotOneStepError(
            "takes a part of a tensor along an axis that is not time; frames come as (T, N, ...), so that x[step] is a "
            "step: where the forward wants the batch first, begin it with x = x.transpose(0, 1)"
        )
    steps = x.steps[parts[axis]]
    return Sequence(steps, x.axes) if isinstance(steps, tuple) else steps


def select(r: Layers, x: Value, dim: int, index: int) -> Value:
    """x[index] along an axis."""
    return getitem(r, x, (slice(None),) * dim + (index,))


# ---- reductions ------------------------------------------------------------------------------------------------------


def mean(r: Layers, x: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Over time, or over a whole map."""
    return _reduced(r, x, dim, keepdim, nn.AvgPool2d, lambda steps: Total(steps, 1 / len(steps)))


def total(r: Layers, x: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Over time, or over a whole map."""
    return _reduced(r, x, dim, keepdim, SumPool2d, lambda steps: Total(steps, 1.0))


def amax(r: Layers, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Over time."""
    return _reduced(r, x, dim, keepdim, None, Largest)


def maximum(r: Layers, x: Value, dim: Any = None, keepdim: bool = False) -> Maximum:
    """torch.max over time, with its two results."""
    return Maximum(amax(r, x, dim, keepdim), None)


def _reduced(
    r: Layers, x: Value, dim: Any, keepdim: bool, pool: type[nn.Module] | None, over_time: Callable[[Any], Value]
) -> Value:
    old = full_shape(x, r.batch)
    dims = {
        d % len(old) for d in (range(len(old)) if dim is None else dim if isinstance(dim, (tuple, list)) else [dim])
    }
    axis = {"TN": 0, "NT": 1}.get(getattr(x, "axes", ""), -1)
    if isinstance(x, Sequence) and dims == {axis}:
        if keepdim or not all(isinstance(step, Sum) for step in x.steps):
            raise ReasonError("reduces over time with keepdim=True, or what is side by side; reduce one sum per step")
        return over_time(x.steps)
    if isinstance(x, Sum) and dims == {0}:
        raise NotOneStepError("reduces over the batch; samples must not hear each other")
    if 0 in dims:
        raise ReasonError("reduces over the batch; samples must not hear each other")
    axis = min(dims) - (len(old) - len(x.shape))
    if pool is not None and len(x.shape) == 2 and len(dims) == 1 and axis >= 0 and not keepdim:
        return _over_features(r, x, axis, pool is nn.AvgPool2d)
    maps = dims == {len(old) - 2, len(old) - 1} and len(x.shape) == 3
    if pool is None or not maps:
        raise ReasonError(
            "reduces over axes that are neither time nor a whole map; let weights do it, or average over (2, 3)"
        )
    path, module = r.made("pool", (pool.__name__, *x.shape[1:]), lambda: pool(x.shape[1:]))
    pooled = r.layer(path, module, x)
    return pooled if keepdim else reshaped(r, pooled, old[:-2])


def _over_features(r: Layers, x: Any, axis: int, mean: bool) -> Value:
    """(K, P) → (K,) or (P,): weights of 1, or 1/n, on the n features of each group, as votes for a class count."""
    if isinstance(x, Sequence):
        return x.map(lambda step: _over_features(r, step, axis, mean))
    groups, size = x.shape[1 - axis], x.shape[axis]
    flat = reshaped(r, x, (r.batch, groups * size))

    def make() -> nn.Module:
        weight = torch.eye(groups).repeat(1, size) if axis == 0 else torch.eye(groups).repeat_interleave(size, 1)
        linear = nn.Linear(groups * size, groups, bias=False)
        linear.weight = nn.Parameter(weight / size if mean else weight, requires_grad=False)
        return linear

    path, module = r.made("votes", (groups, size, axis, mean), make)
    return r.layer(path, module, flat)
