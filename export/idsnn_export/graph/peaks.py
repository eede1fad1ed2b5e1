"""How large the whole numbers are that a node is given, where it is given nothing else: 1 where they are spikes.

    neurons and Threshold    give 0 or 1
    SumPool2d                gives at most the window's size times what it is given
    ports, Flatten           give what they are given
    everything else          gives numbers that need not be whole

It follows from the graph alone, not from the step or from where a time axis is unrolled: a sum has a late summand even
at the first step, when it is 0. So every ONNX model of a graph decides alike which layers may compute in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter

import nir
import numpy as np

from .plan import SPIKING, Plan
from .shapes import pool_window
from .soft_reset import SoftReset

Peak = int | None  # None: not whole numbers

# What a node gives, from what it is given; these remember nothing, so that no cycle is made of them alone.
KEPT: dict[type[nir.NIRNode], Callable[[nir.NIRNode, int], int]] = {
    nir.Input: lambda node, peak: peak,
    nir.Output: lambda node, peak: peak,
    nir.Flatten: lambda node, peak: peak,
    nir.SumPool2d: lambda node, peak: peak * int(np.prod(pool_window(node).kernel)),
}


def peaks(plan: Plan) -> dict[str, Peak]:
    """The largest whole number that each node can be given, all of it in 0..peak; None where it need not be whole."""
    steps = {step.name: step for step in plan.steps}
    sources = {name: [source.name for source in step.sources] for name, step in steps.items()}
    gives: dict[str, Peak] = {}
    for name in TopologicalSorter({n: sources[n] if type(steps[n].node) in KEPT else () for n in steps}).static_order():
        node, given = steps[name].node, None
        if type(node) in KEPT:
            given = _total(gives[source] for source in sources[name])
        gives[name] = (
            1 if isinstance(node, (*SPIKING, SoftReset)) else None if given is None else KEPT[type(node)](node, given)
        )
    return {name: _total(gives[source] for source in given) for name, given in sources.items()}


def _total(peaks: Iterable[Peak]) -> Peak:
    """Of a sum; the graph's own input, which has no sources, is not whole."""
    known = list(peaks)
    return None if None in known or not known else sum(peak for peak in known if peak is not None)
