"""T steps of a plan as nodes.

Layers are taken one after another, each over all T steps; only the nodes on a cycle have to be taken step by step,
together, because their input at a step is what they gave at the step before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..graph.plan import Incoming, Plan, Step
from .emitter import Emitter, Value
from .neurons import StateTensors
from .table import LOWERINGS
from .time_layout import Signal, total


@dataclass
class Unrolled:
    """What came of it.

    Attributes:
        outputs: what each node gives.
        inputs: what each node is given: the sum of its sources.
        states: what each node with memory remembers after the last step.
        last: what the sources of delayed edges gave at the last step.
    """

    outputs: dict[str, Signal] = field(default_factory=dict)
    inputs: dict[str, Signal] = field(default_factory=dict)
    states: dict[str, StateTensors] = field(default_factory=dict)
    last: dict[str, Value] = field(default_factory=dict)


def unroll(
    e: Emitter,
    plan: Plan,
    signal: Signal,
    states: Mapping[str, StateTensors] | None = None,
    last: Mapping[str, Value] | None = None,
) -> Unrolled:
    """Emits the plan over the steps of its input.

    Args:
        e: where the nodes go.
        plan: what to do in one step.
        signal: the input.
        states: of the nodes with memory before the first step; where there is none, zeros.
        last: what the sources of delayed edges gave before the first step; where there is nothing, zeros.
    """
    done = Unrolled({plan.input: signal}, {}, dict(states or {}), dict(last or {}))
    cycles = _cycles(plan)

    def visit(step: Step) -> None:
        if step.name in done.outputs:
            return
        cycle = cycles.get(step.name, ())
        inside = {each.name for each in cycle} or {step.name}
        for source in (source for each in cycle or (step,) for source in each.sources):
            if source.name not in inside:
                visit(plan[source.name])
        if cycle:
            _take_cycle(e, cycle, signal.timesteps, done)
        else:
            _take(e, step, done)

    for step in plan.steps:
        visit(step)
    return done


def _take(e: Emitter, step: Step, done: Unrolled) -> None:
    """One node over all steps."""
    lowering = LOWERINGS[type(step.node)]
    x = total(e, [done.outputs[source.name] for source in step.sources], step.name)
    done.inputs[step.name] = x
    if lowering.states is None:
        done.outputs[step.name] = x.map(lambda value: lowering.cell(e, step, value, None)[0], step.name)
        return
    outputs, state = [], done.states.get(step.name)
    for t in range(x.timesteps):
        e.at(t if x.timesteps > 1 else None)
        y, state = lowering.cell(e, step, x.at(t), state)
        outputs.append(y)
    e.at(None)
    done.states[step.name] = state
    done.outputs[step.name] = Signal(e, x.timesteps, step.name, steps=outputs)


def _take_cycle(e: Emitter, cycle: Sequence[Step], timesteps: int, done: Unrolled) -> None:
    """All nodes of a cycle, step by step."""
    inside = {step.name for step in cycle}
    outputs: dict[str, list[Value]] = {step.name: [] for step in cycle}
    inputs: dict[str, list[Value]] = {step.name: [] for step in cycle}
    delayed = {source.name for step in cycle for source in step.sources if source.delayed}
    for t in range(timesteps):

        def value(source: Incoming, t: int = t) -> Value | None:
            if source.delayed:
                return done.last.get(source.name)
            return outputs[source.name][t] if source.name in inside else done.outputs[source.name].at(t)

        for step in cycle:
            parts = [part for part in map(value, step.sources) if part is not None]
            e.at(t if timesteps > 1 else None)
            x = e.sum(parts, f"{step.name}.sum")
            y, done.states[step.name] = LOWERINGS[type(step.node)].cell(e, step, x, done.states.get(step.name))
            e.at(None)
            inputs[step.name].append(x)
            outputs[step.name].append(y)
        done.last.update({name: outputs[name][t] for name in delayed})
    for step in cycle:
        done.inputs[step.name] = Signal(e, timesteps, f"{step.name}.input", steps=inputs[step.name])
        done.outputs[step.name] = Signal(e, timesteps, step.name, steps=outputs[step.name])


def _cycles(plan: Plan) -> dict[str, tuple[Step, ...]]:
    """For every node that lies on a cycle, all nodes that lie on cycles with it, in the plan's order."""
    backward = {step.name: [source.name for source in step.sources] for step in plan.steps}
    onward: dict[str, list[str]] = {step.name: [] for step in plan.steps}
    for step in plan.steps:
        for source in step.sources:
            onward[source.name].append(step.name)
    cycles: dict[str, tuple[Step, ...]] = {}
    for step in plan.steps:
        if step.name not in cycles and any(source.delayed for source in step.sources):
            members = _reached(step.name, onward) & _reached(step.name, backward)
            cycles.update(dict.fromkeys(members, tuple(each for each in plan.steps if each.name in members)))
    return cycles


def _reached(start: str, onward: Mapping[str, Sequence[str]]) -> set[str]:
    seen, stack = {start}, [start]
    while stack:
        new = [name for name in onward[stack.pop()] if name not in seen]
        seen.update(new)
        stack.extend(new)
    return seen
