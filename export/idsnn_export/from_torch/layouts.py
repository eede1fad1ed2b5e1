"""Torch's functions that keep the numbers and move them: reshaping, and axes that change places.

Of a sample's axes whole ones may run together, which is a Flatten; time and batch may run together and change places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Several
from dataclasses import replace
from typing import Any

from torch import nn

from ..graph.shapes import Shape
from .values import Axes, Grouped, Joined, Layers, NotOneStepError, ReasonError, Sequence, Sum, Total, Value, full_shape


def same(r: Layers, x: Any, *_: Any, **__: Any) -> Any:
    """What does nothing to the numbers."""
    return x


def zeros_like(r: Layers, x: Value, *_: Any, **__: Any) -> Sum:
    """Nothing, in the shape of x."""
    return Sum((), x.shape)


def reshape(r: Layers, x: Value, *shape: Any, **given: Any) -> Value:
    """x.view(...), x.reshape(...), torch.reshape(x, shape)"""
    wanted = given.get("shape", given.get("size", shape))
    wanted = tuple(wanted[0]) if len(wanted) == 1 and not isinstance(wanted[0], int) else tuple(wanted)
    return reshaped(r, x, _resolved(wanted, full_shape(x, r.batch)))


def flatten(r: Layers, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """torch.flatten"""
    old = full_shape(x, r.batch)
    first, last = start_dim % len(old), end_dim % len(old)
    if first == 0 and not (isinstance(x, Sequence) and last == 1):
        raise ReasonError(f"start_dim={start_dim} reaches into the batch axis; use nn.Flatten()")
    return reshaped(r, x, (*old[:first], math.prod(old[first : last + 1]), *old[last + 1 :]))


def unflatten(r: Layers, x: Value, dim: int, sizes: Several[int]) -> Value:
    """The way back."""
    old = full_shape(x, r.batch)
    dim %= len(old)
    return reshaped(r, x, (*old[:dim], *_resolved(tuple(sizes), (old[dim],)), *old[dim + 1 :]))


def squeeze(r: Layers, x: Value, dim: Any = None) -> Value:
    """Without axes of one entry."""
    old = full_shape(x, r.batch)
    dims = range(len(old)) if dim is None else [d % len(old) for d in (dim if isinstance(dim, tuple) else (dim,))]
    return reshaped(r, x, tuple(n for i, n in enumerate(old) if i not in dims or n != 1))


def unsqueeze(r: Layers, x: Value, dim: int) -> Value:
    """With an axis of one entry; before the batch it is time."""
    if isinstance(x, Sum) and dim == 0:
        return Sequence((x,))
    raise ReasonError("adds an axis, which has no NIR form; give the input with the shape that the layers take")


def repeat(r: Layers, x: Value, *times: Any) -> Value:
    """x.unsqueeze(0).repeat(T, 1, ...), and expand: the same at every step."""
    counts = tuple(times[0]) if len(times) == 1 and not isinstance(times[0], int) else times
    still = isinstance(x, Sequence) and len(x.steps) == 1 and x.axes == "TN"
    rest = full_shape(x, r.batch)[1:]
    if still and all(n in (1, -1, size) for n, size in zip(counts[1:], rest, strict=True)):
        return Sequence(x.steps * counts[0])  # type: ignore[union-attr]
    if isinstance(x, Sum) and len(counts) == len(x.shape) + 2 and all(n == 1 for n in counts[1:]):
        return Sequence((x,) * counts[0])
    raise ReasonError("repeats along an axis that is not time; x.unsqueeze(0).repeat(T, 1, ...) is understood")


def permute(r: Layers, x: Value, *dims: Any) -> Value:
    """Time before batch or behind it; axes of one entry anywhere."""
    order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    old = full_shape(x, r.batch)
    order = tuple(d % len(old) for d in order)
    if isinstance(x, Sequence) and x.axes != "folded" and order[:2] == (1, 0) and order[2:] == (*range(2, len(old)),):
        return replace(x, axes="NT" if x.axes == "TN" else "TN")
    if isinstance(x, Sum) and 0 in order[1:]:
        raise NotOneStepError("moves the batch axis")
    if [d for d in order if old[d] != 1] != [d for d in range(len(old)) if old[d] != 1]:
        raise ReasonError("moves axes, which has no NIR form; only time and batch may change places")
    return reshaped(r, x, tuple(old[d] for d in order))


def transpose(r: Layers, x: Value, dim0: int, dim1: int) -> Value:
    """Two axes change places."""
    order = list(range(len(full_shape(x, r.batch))))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(r, x, *order)


def _resolved(wanted: tuple[int, ...], old: tuple[int, ...]) -> tuple[int, ...]:
    known = math.prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and known and math.prod(old) % known == 0:
        wanted = tuple(math.prod(old) // known if n == -1 else n for n in wanted)
    if math.prod(wanted) != math.prod(old):
        raise ReasonError(f"{wanted} does not hold {old[1:]} for every batch; write x.size(0) for the batch")
    return wanted


def reshaped(r: Layers, x: Value, new: tuple[int, ...]) -> Value:
    """A value in another shape, of which only a sample's axes, or time and batch, may run together."""
    if isinstance(x, Sequence):
        steps, batch = len(x.steps), r.batch
        layouts: tuple[tuple[Axes, tuple[int, ...]], ...] = (
            ("TN", (steps, batch)), ("NT", (batch, steps)), ("folded", (steps * batch,)),
        )  # fmt: skip
        for axes, leading in layouts:
            if new[: len(leading)] == leading and ("NT" in (x.axes, axes)) == (x.axes == axes == "NT"):
                shape = new[len(leading) :]
                return Sequence(tuple(_sample(r, step, shape) for step in x.steps), axes)
    elif new[:1] == (r.batch,):
        kept: Value = _sample(r, x, new[1:])
        return kept
    raise ReasonError(
        f"makes {_words(new, r.batch)} of {_words(full_shape(x, r.batch), r.batch)}: batch and time must stay whole; "
        "write x.size(0) for them"
    )


def _words(shape: tuple[int, ...], batch: int) -> str:
    """A shape with N for the batch, wherever it is a factor."""
    sizes = [f"{n // batch} N" if n % batch == 0 and n > batch else "N" if n == batch else str(n) for n in shape]
    return f"({', '.join(sizes)})"


def _sample(r: Layers, x: Any, new: Shape) -> Any:
    """One step in another shape: axes of a sample that run together are a Flatten."""
    if x.shape == new:
        return x
    if isinstance(x, Grouped):
        return _sample(r, x.value, new)
    run = _together(x.shape, new)
    if run is None and len(x.shape) == 1 and len(new) == 2 and isinstance(x, (Sum, Total)):
        return Grouped(x, new)
    if run is None:
        raise ReasonError(
            f"makes {new} of {x.shape}; NIR can only let axes run together, from a whole axis to a whole axis"
        )
    if isinstance(x, Joined) and run[0] == 0:
        return Joined(tuple(_sample(r, part, (math.prod(part.shape[: run[1] + 1]), *new[1:])) for part in x.parts))
    path, module = r.made("flatten", run, lambda: nn.Flatten(run[0] + 1, run[1] + 1))
    return _sample(r, r.layer(path, module, x), new)


def _together(old: Shape, new: Shape) -> tuple[int, int] | None:
    """The first run of axes of `old` that is one axis of `new`; None where there is no such thing."""
    i = 0
    while i < min(len(old), len(new)) and old[i] == new[i]:
        i += 1
    if i == len(old):
        return None
    if i == len(new):  # what is left over are ones
        return (i - 1, len(old) - 1) if i and set(old[i:]) == {1} else None
    for j in range(i + 1, len(old)):
        if math.prod(old[i : j + 1]) == new[i]:
            return i, j
    return (i - 1, i) if old[i] == 1 and i else None
