"""A node's output over all T steps, in one of three layouts; the others are emitted on first use.

    still      one tensor (N, ...)       the same at every step: a static image and what follows from it alone
    steps      T tensors (N, ...)        what neurons take and give
    folded     one tensor (T*N, ...)     what layers without memory take and give: one convolution for all steps

Folding time into the batch is what makes an unrolled graph as fast as a feed-forward one: T times fewer nodes, and
convolutions large enough to keep every core busy. Runtimes that take the first axis for samples cannot have it; for
them (`Profile.folds`) layers without memory are emitted T times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .emitter import FLOAT, Emitter, Value


class Signal:
    """One node's output over T steps; at least one of the three layouts is given, the others follow from it."""

    def __init__(
        self,
        e: Emitter,
        timesteps: int,
        name: str,
        still: Value | None = None,
        steps: Sequence[Value] | None = None,
        folded: Value | None = None,
    ) -> None:
        self._e, self.timesteps, self.name = e, timesteps, name
        self.still, self._steps, self._folded = still, steps, folded

    def at(self, t: int) -> Value:
        """(N, ...) at step t."""
        if self.still is not None:
            return self.still
        if self._steps is None:
            self._steps = self._split()
        return self._steps[t]

    @property
    def folded(self) -> Value:
        """(T*N, ...): row t N + n is sample n at step t."""
        if self._folded is None:
            self._folded = self._concatenated()
        return self._folded

    def map(self, function: Callable[[Value], Value], name: str) -> Signal:
        """A function without memory of this signal, computed once."""
        if self.still is not None:
            return Signal(self._e, self.timesteps, name, still=function(self.still))
        if self._e.profile.folds:
            return Signal(self._e, self.timesteps, name, folded=function(self.folded))
        return Signal(
            self._e, self.timesteps, name, steps=each(self._e, self.timesteps, lambda t: function(self.at(t)))
        )

    def _split(self) -> list[Value]:
        assert self._folded is not None
        if self.timesteps == 1:
            return [self._folded]
        names = [f"{self.name}.t{t}" for t in range(self.timesteps)]
        parts = self._e.ops("Split", [self._e.float(self._folded)], names, axis=0)
        return [Value(part) for part in parts]

    def _concatenated(self) -> Value:
        values = [self.at(t) for t in range(self.timesteps)]
        if len(values) == 1:
            return values[0]
        # On a cycle the first step may lack a summand: spikes at first, sums of spikes later.
        dtype = values[0].dtype if len({value.dtype for value in values}) == 1 else FLOAT
        folded = self._e.ops("Concat", [self._e.cast(value, dtype) for value in values], [self.name], axis=0)[0]
        return Value(folded, dtype)


def total(e: Emitter, signals: Sequence[Signal], name: str) -> Signal:
    """Their sum; a single one is itself."""
    if len(signals) == 1:
        return signals[0]
    timesteps = signals[0].timesteps
    stills = [signal.still for signal in signals if signal.still is not None]
    if len(stills) == len(signals):
        return Signal(e, timesteps, name, still=e.sum(stills, f"{name}.sum"))
    if e.profile.folds:
        return Signal(e, timesteps, f"{name}.sum", folded=e.sum([signal.folded for signal in signals], f"{name}.sum"))
    steps = each(e, timesteps, lambda t: e.sum([signal.at(t) for signal in signals], f"{name}.sum"))
    return Signal(e, timesteps, f"{name}.sum", steps=steps)


def each(e: Emitter, timesteps: int, function: Callable[[int], Value]) -> list[Value]:
    """What a function emits at every step."""
    found = []
    for t in range(timesteps):
        e.at(t if timesteps > 1 else None)
        found.append(function(t))
    e.at(None)
    return found
