"""Tensors that a forward writes its steps into, `out[t] = spk` or `out[:, t] = spk`: once all are written, a sequence.

A tensor that is written into gets another class, so that whoever reads it is told of here, and no numbers, so that
nobody takes what a view of it still holds for a constant. When the recording ends it is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .stand_in import Listener, StandIn
from .values import Axes, ReasonError, Sequence, State, Sum, full_shape

LOOKS = ("__get__", "size", "dim", "numel", "__len__", "is_floating_point")  # at its shape, not at its numbers


class WrittenTensor(Tensor):
    """A tensor of the forward's own that holds outputs of layers."""

    listener: Listener

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Tells whoever records."""
        if function.__name__ in LOOKS:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **(kwargs or {}))
        listener = next(each for each in _flat(args) if isinstance(each, (WrittenTensor, StandIn)))
        named: Any = listener.listener if isinstance(listener, WrittenTensor) else listener._listener
        return named.function(function.__name__, *args, **(kwargs or {}))


class Written:
    """All such tensors of one recording, and what was written into them."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._entries: dict[int, dict[int, Sum]] = {}
        self._tensors: dict[int, tuple[Tensor, type, int]] = {}
        self._numbers: dict[int, Tensor] = {}

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Afterwards every tensor is what it was."""
        try:
            yield
        finally:
            for tensor, kind, _ in self._tensors.values():
                tensor.__class__ = kind
                tensor.data.copy_(self._numbers[id(tensor)])

    def write(self, target: Any, index: Any, value: Any) -> None:
        """target[index] = value

        Raises:
            ReasonError: anything but one step's value at one place along time.
        """
        axis, step = _place(index)
        step_value = value._value if isinstance(value, StandIn) else None
        if isinstance(step_value, State):
            step_value = self._listener._readable(step_value)
        known = isinstance(target, Tensor) and target.is_floating_point()
        if not known or not isinstance(step_value, Sum) or step is None:
            raise ReasonError(
                "writes something else than a step at its place, out[t] = spk; append to a list and torch.stack it"
            )
        steps = target.shape[axis]
        others = (*target.shape[:axis], *target.shape[axis + 1 :])
        if others != full_shape(step_value, self._listener.batch) or not -steps <= step < steps:
            raise ReasonError(
                f"writes {step_value.shape} into {tuple(others[1:])}; make the tensor with the output's shape"
            )
        if id(target) not in self._tensors:
            self._tensors[id(target)] = target, type(target), axis
            self._numbers[id(target)] = target.data.clone()
            target.data.fill_(torch.nan)
            target.__class__ = WrittenTensor
            vars(target)["listener"] = self._listener
        if self._tensors[id(target)][2] != axis:
            raise ReasonError("writes along another axis than before; write out[t] = spk")
        self._entries.setdefault(id(target), {})[step % steps] = step_value

    def read(self, tensor: Tensor) -> Sequence:
        """What was written, in the order of the steps.

        Raises:
            ReasonError: some steps were not.
        """
        axis, entries = self._tensors[id(tensor)][2], self._entries[id(tensor)]
        with torch._C.DisableTorchFunctionSubclass():
            steps = tensor.shape[axis]
        if len(entries) < steps:
            raise ReasonError(f"reads a tensor of which {len(entries)} of {steps} steps are written; write all of them")
        axes: Axes = "NT" if axis else "TN"
        return Sequence(tuple(entries[step] for step in range(steps)), axes)


def _place(index: Any) -> tuple[int, int | None]:
    """The axis and the step of out[t], out[t, ...] and out[:, t]; no step for anything else."""
    parts = [part for part in (index if isinstance(index, tuple) else (index,)) if part is not Ellipsis]
    axis = next((i for i, part in enumerate(parts) if part != slice(None)), 0)
    rest = [part for i, part in enumerate(parts) if i != axis]
    known = axis < 2 and type(parts[axis]) is int and all(part == slice(None) for part in rest)
    return axis, parts[axis] if known else None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _flat(each)
    else:
        yield value
