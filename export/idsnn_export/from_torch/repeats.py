"""All steps of a run shown to be one step, and that one kept.

What a call computes is written as a tree of layers down to the spiking layers and the input, with times relative to
the call's own. Equal trees compute the same, one step later. So the forward repeats one step if, for every spiking
layer and for the answer, the trees of all steps are equal; of the first, without what it hears from the step before
it. Where two differ, the error names the first layer that does, both steps, and the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Several
from dataclasses import dataclass, field, replace
from typing import Any

from idsnn_deploy.errors import UnsupportedError
from idsnn_deploy.readout import Readout

from .cells import Weigh, single
from .network import INPUT, OUTPUT, Layer, Network
from .recording import Recorded
from .snntorch_neurons import Readout as Membrane
from .values import Largest, Op, Sequence, Sum, Total, Value

Terms = tuple[tuple[Op, float], ...]
Tree = tuple[Any, ...]


def one_step(recorded: Recorded, timesteps: int | None, *, frames: bool) -> Network:
    """The step that a recorded forward repeats.

    Args:
        recorded: what the forward did.
        timesteps: T, if it was asked for; a forward that runs another number of steps is refused.
        frames: the forward was given one input per step.

    Raises:
        UnsupportedError: the steps differ, or the answer is not the mean, sum, last or maximum over them.
    """
    steps, at = _steps(recorded), recorded.origin and f" at {recorded.origin}"
    whole = frames or recorded.whole or steps > 1 or not isinstance(recorded.answer, Sum)
    for calls in recorded.calls.values():
        _refuse_change(calls, [op.inputs for op in calls])
    if whole and timesteps not in (None, steps):
        raise UnsupportedError(
            f"the forward{at} runs {steps} steps itself, and {timesteps} are asked for; ask for {steps}, or build the "
            "network with the other number"
        )
    outputs, readout = _answer(f"the answer{at}", recorded.answer, steps)
    network = _Step(_kept(steps)).network(recorded.calls, outputs)
    axis = {"TN": 0, "NT": 1}.get(getattr(recorded.answer, "axes", ""))
    known = steps if whole else None
    return replace(network, readout=readout, timesteps=known, frames=frames, time_axis=axis).pruned()


def _steps(recorded: Recorded) -> int:
    """T: how often every spiking layer is called."""
    counts = {name: len(calls) for name, calls in recorded.calls.items()}
    values = recorded.answer
    steps = max([*counts.values(), len(getattr(values, "steps", ())), 1])
    for name, count in counts.items():
        if count < steps:
            most = max(counts, key=lambda each: counts[each])
            last = recorded.calls[most][-1]
            raise UnsupportedError(
                f"{last}: called {steps} times, {name} {count} times; a spiking layer has one state, and every one "
                "takes one step at a time"
            )
    return steps


def _kept(steps: int) -> int:
    """The step that is kept: one whose step before is not the first."""
    return min(2, steps - 1)


# ---- trees -----------------------------------------------------------------------------------------------------------


def _lag(op: Op, now: int | None) -> int:
    return 0 if op.time is None or now is None else now - op.time


def _tree(op: Op, memo: dict[tuple[Op, bool], int], interned: dict[Tree, int], first: bool) -> int:
    """The number of a call's tree; with `first` without what it hears from the step before."""
    if (op, first) not in memo:
        if op.spiking or op.module is None:
            found: Tree = (op.path,)
        else:
            found = (id(op.module), op.path, _branch(op.inputs, op.time, memo, interned, first))
        memo[op, first] = interned.setdefault(found, len(interned))
    return memo[op, first]


def _branch(
    terms: Terms, now: int | None, memo: dict[tuple[Op, bool], int], interned: dict[Tree, int], first: bool
) -> Tree:
    heard = [(op, c) for op, c in terms if not (first and _silent(op, now))]
    return tuple((_tree(op, memo, interned, first), _lag(op, now), c) for op, c in heard)


def _silent(op: Op, now: int | None) -> bool:
    """Whether a call gives nothing at the first step: it hears only what is late."""
    if _lag(op, now) > 0:
        return True
    return (
        not op.spiking
        and op.module is not None
        and bool(op.inputs)
        and all(_silent(each, op.time) for each, _ in op.inputs)
    )


def _refuse_change(names: Several[object], heard: Several[Terms], what: str = "hears") -> None:
    """Raises where a step differs from the one before it, with the step's name."""
    memo: dict[tuple[Op, bool], int] = {}
    interned: dict[Tree, int] = {}
    for t in range(1, len(heard)):
        first = t == 1
        before = _branch(heard[t - 1], t - 1, memo, interned, False)
        now = _branch(heard[t], t, memo, interned, first)
        if before != now:
            if heard[t] and all(_lag(op, t) > 0 for op, _ in heard[t]):
                raise UnsupportedError(f"{names[t]}: is called twice in one time step; a spiking layer has one state")
            old, new = _first_difference(heard[t - 1], t - 1, heard[t], t)
            raise UnsupportedError(
                f"{names[t]}: step {t} is not step {t - 1}: it {what} {_words(new, t)}, and before "
                f"{_words(old, t - 1)}; one step that repeats can be exported"
            )


def _first_difference(old: Terms, then: int, new: Terms, now: int) -> tuple[Terms, Terms]:
    """The deepest sums that differ while all above them are equal."""
    alike = len(old) == len(new) and all(
        a.path == b.path and a.module is b.module and c == d and _lag(a, then) == _lag(b, now)
        for (a, c), (b, d) in zip(old, new, strict=True)
    )
    if not alike:
        return old, new
    memo: dict[tuple[Op, bool], int] = {}
    interned: dict[Tree, int] = {}
    for (a, _), (b, _) in zip(old, new, strict=True):
        if _tree(a, memo, interned, False) != _tree(b, memo, interned, now == 1):
            return _first_difference(a.inputs, a.time or 0, b.inputs, b.time or 0)
    return old, new


def _words(terms: Terms, now: int) -> str:
    def one(op: Op, c: float) -> str:
        lag = _lag(op, now)
        late = "" if lag == 0 else f" of {lag} step{'s' * (abs(lag) > 1)} {'before' if lag > 0 else 'later'}"
        return f"{'' if c == 1 else f'{c:g} x '}{op}{late}"

    return " + ".join(one(op, c) for op, c in terms) or "nothing"


# ---- the answer ------------------------------------------------------------------------------------------------------


def _answer(what: str, answer: Value, steps: int) -> tuple[dict[Op, float], Readout]:
    """What one step gives, and what becomes of it over the steps."""
    if isinstance(answer, (Sequence, Largest)):
        if not all(isinstance(step, Sum) for step in answer.steps):
            raise UnsupportedError(f"{what}: is joined of several layers, or in groups; give it one layer of weights")
        if len(answer.steps) != steps:
            raise UnsupportedError(f"{what}: has {len(answer.steps)} of {steps} steps; return all of them")
        each: list[Sum] = list(answer.steps)  # type: ignore[arg-type]
        _refuse_late(what, each)
        _refuse_change([what] * steps, [step.terms for step in each], "is")
        last = each[_kept(steps)]
        return dict(last.terms), "max" if isinstance(answer, Largest) and steps > 1 else "mean"
    if isinstance(answer, Total):
        answer = answer.summed()
    if not isinstance(answer, Sum):
        raise UnsupportedError(
            f"{what}: is no output of a layer; return spikes, membranes or what weights make of them"
        )
    return _of_terms(what, answer.terms, steps)


def _refuse_late(what: str, each: list[Sum]) -> None:
    for t, step in enumerate(each):
        late = next((op for op, _ in step.terms if _lag(op, t)), None)
        if late is not None:
            raise UnsupportedError(f"{what}: entry {t} is not of step {t}, but of {late.time}; return all steps")


def _of_terms(what: str, terms: Terms, steps: int) -> tuple[dict[Op, float], Readout]:
    """Sums over calls of several steps: a factor for each call, the same at every step."""
    by_step: dict[int | None, list[tuple[Op, float]]] = {}
    for op, c in terms:
        by_step.setdefault(op.time, []).append((op, c))
    if set(by_step) <= {steps - 1, None}:
        return dict(terms), "last" if steps > 1 and steps - 1 in by_step else "mean"
    still = tuple((op, c / steps) for op, c in by_step.pop(None, ()))  # what does not vary was added at every step
    if set(by_step) != set(range(steps)):
        seen = ", ".join(map(str, by_step))
        raise UnsupportedError(
            f"{what}: is a sum over steps {seen} of {steps}; return the mean, sum, last or maximum of all"
        )
    heard = [(*by_step[t], *still) for t in range(steps)]
    _refuse_change([what] * steps, heard, "adds")
    kept = heard[_kept(steps)]
    if all(math.isclose(c * steps, 1, rel_tol=1e-6) for _, c in kept):
        return {op: 1.0 for op, _ in kept}, "mean"
    return dict(kept), "sum"


# ---- the step that is kept -------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """Layers for the calls of one step; a tree becomes one layer, whichever step it was recorded at."""

    at: int
    layers: dict[str, Layer] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    memo: dict[tuple[Op, bool], int] = field(default_factory=dict)
    interned: dict[Tree, int] = field(default_factory=dict)
    late: list[tuple[str, Op]] = field(default_factory=list)

    def network(self, calls: dict[str, list[Op]], outputs: dict[Op, float]) -> Network:
        """All that spiking layers and outputs need."""
        wanted = sorted([each[self.at] for each in calls.values()] + list(outputs), key=lambda op: op.index)
        for op in sorted(_now(wanted), key=lambda op: op.index):
            self._add(op)
        while self.late:
            self._hear_late(*self.late.pop(0))
        ends = self._sources(list(outputs.items()))
        return Network(tuple(self.layers.values()), ends)

    def _add(self, op: Op) -> str:
        """The name of the layer that stands for a call."""
        key = _tree(op, self.memo, self.interned, False)
        if key in self.names:
            return self.names[key]
        if op.module is None:
            self.names[key] = INPUT
            return INPUT
        sources = self._sources([(each, c) for each, c in op.inputs if not _lag(each, op.time)])
        self.names[key] = name = self._free(op)
        self.layers[name] = Layer(name, op.path, op.module, sources, line=op.line, shape=op.shape)
        self.late.append((name, op))
        return name

    def _hear_late(self, name: str, op: Op) -> None:
        late = [(each, c) for each, c in op.inputs if _lag(each, op.time)]
        for each, _ in late:
            if _lag(each, op.time) != 1:
                raise UnsupportedError(
                    f"{op}: hears {each} of {_lag(each, op.time)} steps before; one step can be exported"
                )
        self.layers[name] = replace(self.layers[name], late=self._sources(late))

    def _sources(self, terms: Several[tuple[Op, float]]) -> tuple[str, ...]:
        """The names of what gives factor x a call's output; equal calls are one."""
        total: dict[str, tuple[Op, float]] = {}
        for op, c in terms:
            name = self._add(op)
            total[name] = (op, c + (total[name][1] if name in total else 0))
        return tuple(self._times(name, op, c) for name, (op, c) in total.items())

    def _times(self, name: str, op: Op, factor: float) -> str:
        if factor == 1:
            return name
        scale = float(single(factor))
        scaled = f"{name}_times_{scale:g}".replace(".", "_").replace("-", "minus_").replace("+", "")
        self.layers.setdefault(
            scaled, Layer(scaled, op.path, Weigh(single(factor)), (name,), line=op.line, shape=op.shape)
        )
        return scaled

    def _free(self, op: Op) -> str:
        base = op.path.replace(".", "_")
        if isinstance(op.module, Membrane):
            if base in self.layers:
                raise UnsupportedError(
                    f"{self.layers[base]}: has the name that the membrane of {op.path} needs; rename it"
                )
            return base
        name, count = base, 0
        while name in self.layers or name in (INPUT, OUTPUT):
            count += 1
            name = f"{base}_{count}"
        return name


def _now(ops: Several[Op]) -> set[Op]:
    """Calls, and all of the same step that they need."""
    seen, stack = set(ops), list(ops)
    while stack:
        op = stack.pop()
        new = [each for each, _ in op.inputs if not _lag(each, op.time) and each not in seen]
        seen.update(new)
        stack.extend(new)
    return seen
