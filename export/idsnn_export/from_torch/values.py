"""What a forward computes with while it is recorded: values that remember the layers that they come from.

    Sum        at one step, the sum of layers' outputs, each times a number
    Grouped    features seen as groups, `view(N, K, P)`; only a sum over one of the two axes can read it
    Joined     several sums side by side, `torch.cat`; only weights can read it
    Sequence   a sum for every step: frames, or what was appended to a list and stacked
    Total      a factor times the sum over the steps of a sequence: its mean, its sum
    Largest    the maximum over the steps of a sequence
    State      what a spiking layer remembers, or what stands for it before the first step

Shapes are those of one sample at one step. Nothing here has numbers of a tensor in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from idsnn_deploy.errors import UnsupportedError

from ..graph.shapes import Shape

Axes = Literal["TN", "NT", "folded"]  # time first, batch first, or time folded into the batch


@dataclass(frozen=True, eq=False)
class Op:
    """One call of a layer while the forward ran over all its steps.

    Attributes:
        path: of the layer; of a function the path of the module that calls it, and its name.
        module: the layer; None stands for the network's input.
        inputs: what it was given, as (call, factor).
        time: of a spiking layer how often it was called before; else the latest time of the inputs. None: it does
            not vary.
        shape: of what it gives.
        line: where the model's code calls it, `file.py:12`.
        spiking: it remembers the step before.
        index: counts all calls.
    """

    path: str
    module: Any
    inputs: tuple[tuple[Op, float], ...]
    time: int | None
    shape: Shape
    line: str = ""
    spiking: bool = False
    index: int = 0

    def __str__(self) -> str:
        kind = "" if self.module is None else f" ({type(self.module).__name__})"
        return f"{self.path}{kind}{self.line and f' at {self.line}'}"


@dataclass(frozen=True)
class Sum:
    """Calls, each times a number; of no calls, zeros."""

    terms: tuple[tuple[Op, float], ...]
    shape: Shape

    @property
    def time(self) -> int | None:
        """The latest time of the calls."""
        return latest(self.terms)

    def times(self, factor: float) -> Sum:
        """Every term times a number."""
        return Sum(tuple((op, c * factor) for op, c in self.terms if c * factor), self.shape)

    def plus(self, other: Sum) -> Sum:
        """All terms of both, those of one call as one; shapes are equal."""
        total: dict[Op, float] = {}
        for op, c in (*self.terms, *other.terms):
            total[op] = total.get(op, 0.0) + c
        return Sum(tuple((op, c) for op, c in total.items() if c), self.shape)


@dataclass(frozen=True)
class Joined:
    """Sums side by side along the first axis of a sample."""

    parts: tuple[Sum, ...]

    @property
    def shape(self) -> Shape:
        """(C1 + C2 + ..., ...)"""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])


@dataclass(frozen=True)
class Grouped:
    """One axis of features seen as two, (K, P)."""

    value: Sum | Total
    shape: Shape


Step = Sum | Joined | Grouped


@dataclass(frozen=True)
class Sequence:
    """One value for every step."""

    steps: tuple[Step, ...]
    axes: Axes = "TN"

    @property
    def shape(self) -> Shape:
        """Of one sample at one step."""
        return self.steps[0].shape

    def map(self, function: Callable[[Any], Any]) -> Sequence:
        """A function of every step."""
        return replace(self, steps=tuple(map(function, self.steps)))


@dataclass(frozen=True)
class Total:
    """factor x the sum over the steps."""

    steps: tuple[Sum, ...]
    factor: float

    @property
    def shape(self) -> Shape:
        """Of one sample."""
        return self.steps[0].shape

    @property
    def mean(self) -> bool:
        """Whether this is the mean over the steps."""
        return math.isclose(self.factor * len(self.steps), 1, rel_tol=1e-6)

    def summed(self) -> Sum:
        """The same as terms."""
        total = Sum((), self.shape)
        for step in self.steps:
            total = total.plus(step.times(self.factor))
        return total


@dataclass(frozen=True)
class Largest:
    """The maximum over the steps."""

    steps: tuple[Sum, ...]

    @property
    def shape(self) -> Shape:
        """Of one sample."""
        return self.steps[0].shape


@dataclass(frozen=True)
class State:
    """What a spiking layer remembers after a call; of no call, what the caller hands in before the first one.

    Attributes:
        op: the call.
        index: which of the layer's states.
        membrane: it is the one that is compared with the threshold.
        shape: of one sample.
    """

    op: Op | None
    index: int = 0
    membrane: bool = False
    shape: Shape = ()


Value = Sum | Joined | Grouped | Sequence | Total | Largest | State


def latest(terms: tuple[tuple[Op, float], ...]) -> int | None:
    """The latest time of calls that vary."""
    return max((op.time for op, _ in terms if op.time is not None), default=None)


def full_shape(value: Value, batch: int) -> tuple[int, ...]:
    """The shape that a tensor in its place would have."""
    if not isinstance(value, Sequence):
        return (batch, *value.shape)
    steps = len(value.steps)
    leading = {"TN": (steps, batch), "NT": (batch, steps), "folded": (steps * batch,)}[value.axes]
    return (*leading, *value.shape)


class ReasonError(UnsupportedError):
    """Why something has no form; who records puts layer, or function, and line before it."""


class NotOneStepError(ReasonError):
    """The forward takes an axis of its input for time that is the batch: it wants all steps at once."""


class Layers(Protocol):
    """What a function may ask of whoever records."""

    batch: int

    def layer(self, path: str, module: nn.Module, value: Value) -> Value:
        """A module applied."""

    def made(self, name: str, options: tuple[Any, ...], make: Callable[[], nn.Module]) -> tuple[str, nn.Module]:
        """A module that stands for a function, the same for the same options, and its path."""

    def named(self, name: str, weight: Tensor) -> str:
        """The path of the module whose weight it is, else of the function."""
