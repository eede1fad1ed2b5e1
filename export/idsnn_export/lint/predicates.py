"""What rules ask of a graph's nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import nir
import numpy as np

from ..graph.plan import SPIKING, Step
from ..graph.shapes import conv_window, pool_window
from ..graph.soft_reset import SoftReset
from ..graph.timing import leak
from .rule import Facts, Find

NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)
CONVS = (nir.Conv1d, nir.Conv2d)
AFFINE = (nir.Affine, nir.Conv1d, nir.Conv2d)


def nodes(*kinds: type[nir.NIRNode], that: Callable[[Step, Facts], bool] = lambda step, facts: True) -> Find:
    """The nodes of these types, or of any type, for which `that` holds."""
    return lambda facts: (
        step.name for step in facts.plan.steps if (not kinds or isinstance(step.node, kinds)) and that(step, facts)
    )


def other_types(*known: type[nir.NIRNode]) -> Find:
    """The nodes of types that are not listed; ports are always known, and reset by subtraction has rules of its own."""
    return nodes(that=lambda step, facts: not isinstance(step.node, (nir.Input, nir.Output, SoftReset, *known)))


def nested_graphs(facts: Facts) -> Iterator[str]:
    """Graphs within the graph."""
    return (name for name, node in facts.graph.nodes.items() if isinstance(node, nir.NIRGraph))


def other_dt(facts: Facts) -> Iterator[str]:
    """A step other than 1e-4 s, where something spikes."""
    return iter(["graph"] if not np.isclose(facts.dt, 1e-4) and facts.plan.neurons else [])


def varied(*names: str) -> Callable[[Step, Facts], bool]:
    """Whether a parameter differs within the layer."""
    return lambda step, facts: any(np.unique(getattr(step.node, name, 0)).size > 1 for name in names)


def differs(name: str, value: float) -> Callable[[Step, Facts], bool]:
    """Whether a parameter is anything but `value`."""
    return lambda step, facts: bool(np.any(getattr(step.node, name, value) != value))


def merges(step: Step, facts: Facts) -> bool:
    """Whether several sources are added up."""
    return len(step.sources) > 1


def late(step: Step, facts: Facts) -> bool:
    """Whether an edge delivers what its source gave a step before."""
    return any(source.delayed for source in step.sources)


def grouped(step: Step, facts: Facts) -> bool:
    """Whether a convolution is split into groups."""
    return int(step.node.groups) != 1


def uneven(step: Step, facts: Facts) -> bool:
    """Whether a kernel is not square."""
    return len(set(conv_window(step.node).kernel)) > 1


def padded(step: Step, facts: Facts) -> bool:
    """Whether a pool pads."""
    return any(map(any, pool_window(step.node).padding))


def biased(step: Step, facts: Facts) -> bool:
    """Whether a bias is not 0."""
    return bool(np.any(step.node.bias))


def negative_into(step: Step, facts: Facts) -> bool:
    """Whether something other than spikes comes in, whose sign matters."""
    return any(not isinstance(facts.plan[source.name].node, (*SPIKING, SoftReset)) for source in step.sources)


def r_neither(step: Step, facts: Facts) -> bool:
    """Whether r is neither 1 nor tau/dt."""
    r, product = np.asarray(step.node.r, np.float64), np.asarray(step.node.r * leak(step.node.tau, facts.dt))
    return not (np.allclose(r, 1, rtol=1e-6) or np.allclose(product, 1, rtol=1e-6))


def cuba_scaled(step: Step, facts: Facts) -> bool:
    """Whether r is not tau_mem/dt or w_in not tau_syn/dt."""
    node = step.node
    return not (
        np.allclose(node.r * leak(node.tau_mem, facts.dt), 1)
        and np.allclose(node.w_in * leak(node.tau_syn, facts.dt), 1)
    )


def from_batch(step: Step, facts: Facts) -> bool:
    """Whether axes are counted from the start, where torch has the batch."""
    return int(step.node.start_dim) >= 0


def without_weights(step: Step, facts: Facts) -> bool:
    """Whether something comes in that is no layer with weights."""
    weighted = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
    return any(not isinstance(facts.plan[source.name].node, weighted) for source in step.sources)
