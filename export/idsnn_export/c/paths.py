"""The ways through a plan: from each layer of neurons back to the spikes that reach it, without memory in between.

spikes ─▶ pooling, flattening, scaling ─▶ one layer with weights, or none ─▶ pooling, scaling ─▶ neurons
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import nir

from idsnn_deploy.errors import UnsupportedError

from ..graph.layers import is_synaptic
from ..graph.plan import Plan, Step
from .dynamics import DYNAMICS

MEMBRANES = tuple(DYNAMICS)
BETWEEN = (nir.AvgPool2d, nir.SumPool2d, nir.Flatten, nir.Scale)


@dataclass(frozen=True)
class Way:
    """One way into a layer, in the order of the signal.

    Attributes:
        source: where it begins: a layer of neurons, or the input.
        before: what lies between it and the weights.
        weights: the layer with weights; None where spikes enter as they are.
        after: what lies behind the weights.
        delayed: whether an edge on it delivers what was given a step before.
        late: whether that edge lies behind the weights, so that their bias arrives late, too.
    """

    source: str
    before: tuple[Step, ...] = ()
    weights: Step | None = None
    after: tuple[Step, ...] = ()
    delayed: bool = False
    late: bool = False


def ways(plan: Plan, into: Step) -> tuple[Way, ...]:
    """All ways into a layer of neurons or the output, in the order of the plan's sources.

    Raises:
        UnsupportedError: a node on the way that whole numbers have no form for, named.
    """
    found: list[Way] = []
    _extend(plan, into, Way(""), found)
    return tuple(found)


def _extend(plan: Plan, step: Step, way: Way, found: list[Way]) -> None:
    for incoming in step.sources:
        source = plan[incoming.name]
        if incoming.delayed and way.delayed:
            raise UnsupportedError(f"{source.name}: delayed twice on its way to {step.name}; C knows one step of delay")
        longer = way
        if incoming.delayed:
            longer = replace(way, delayed=True, late=way.weights is None)
        if isinstance(source.node, (*MEMBRANES, nir.Input)):
            found.append(replace(longer, source=source.name, late=longer.late and longer.weights is not None))
        else:
            _extend(plan, source, _through(source, longer), found)


def _through(step: Step, way: Way) -> Way:
    if is_synaptic(step):
        if way.weights is not None:
            raise UnsupportedError(
                f"{step.name}: feeds {way.weights.name} with no neuron between; C adds up spikes, put a neuron there"
            )
        return replace(way, weights=step)
    if not isinstance(step.node, BETWEEN):
        kind = type(step.node).__name__
        raise UnsupportedError(f"{step.name} ({kind}): has no form in C yet; weights, pooling and neurons have")
    if way.weights is None:
        # Nothing with weights behind it yet: it may turn out to lie before them.
        return replace(way, after=(step, *way.after))
    return replace(way, before=(step, *way.before))
