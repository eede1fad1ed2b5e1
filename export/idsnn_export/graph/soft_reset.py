"""Reset by subtraction: three NIR nodes that are one neuron.

    I ──▶ LI (or I) ──▶ Threshold ──▶ s            v[t] = k v[t-1] + g (I[t] + scale s[t-1]) + c
              ▲            │                       s[t] = v[t] > threshold
              └── Scale ◀──┘   scale < 0           k = 1 - a, g = a r, c = a v_leak, a = dt/tau;  of I: k = 1, g = dt r

NIR's LIF and IF reset to one value; this is how a graph says that a spike takes something away instead. The nodes mean
what they say, and the interpreter runs them one by one. Whoever emits or counts neurons asks for `fused(plan)`, where
the three are one step, `SoftReset`, under the Threshold's name. The pattern is narrow, so that nothing is lost with
it: nobody but the Threshold reads the membrane, nobody but the membrane reads the Scale, and that late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import nir
import numpy as np

from idsnn_deploy.arrays import Array

from .plan import Incoming, Plan, Step
from .timing import gain, leak


@dataclass(eq=False)
class SoftReset(nir.NIRNode):  # type: ignore[misc]  # nir has no types
    """A neuron whose spikes are taken off its membrane.

    Attributes:
        membrane: the LI or I.
        threshold: what the membrane is compared with.
        scale: below 0; what a spike adds to the input of the next step.
    """

    membrane: nir.I | nir.LI
    threshold: Array
    scale: Array

    def constants(self, dt: float) -> tuple[Array, Array, Array]:
        """(k, g, c) of the equation above, each of the layer's shape."""
        node = self.membrane
        if isinstance(node, nir.I):
            g = gain(node.r, dt)
            return np.ones_like(g), g, np.zeros_like(g)
        a = leak(node.tau, dt)
        return 1 - a, a * node.r, a * node.v_leak


def fused(plan: Plan) -> Plan:
    """The plan with one step for every triple, or the plan itself; what it computes is the same."""
    readers: dict[str, list[Step]] = {step.name: [] for step in plan.steps}
    for step in plan.steps:
        for source in step.sources:
            readers[source.name].append(step)
    steps = {step.name: step for step in plan.steps}
    for threshold in plan.steps:
        triple = _triple(plan, threshold, readers)
        if triple is not None:
            membrane, scale = triple
            node = SoftReset(membrane.node, threshold.node.threshold, scale.node.scale)
            sources = tuple(source for source in membrane.sources if source.name != scale.name)
            steps[threshold.name] = replace(threshold, node=node, sources=sources)
            del steps[membrane.name], steps[scale.name]
    return plan if len(steps) == len(plan.steps) else replace(plan, steps=tuple(steps.values()))


def _triple(plan: Plan, threshold: Step, readers: dict[str, list[Step]]) -> tuple[Step, Step] | None:
    """The membrane and the Scale of the neuron that a Threshold belongs to."""
    if not isinstance(threshold.node, nir.Threshold) or len(threshold.sources) != 1 or threshold.sources[0].delayed:
        return None
    membrane = plan[threshold.sources[0].name]
    if not isinstance(membrane.node, (nir.I, nir.LI)) or len(readers[membrane.name]) != 1:
        return None
    scales = [step for step in readers[threshold.name] if _subtracts(step, threshold, membrane, readers)]
    if len(scales) != 1 or len(membrane.sources) < 2 or not (np.asarray(membrane.node.r) > 0).all():
        return None
    return membrane, scales[0]


def _subtracts(step: Step, threshold: Step, membrane: Step, readers: dict[str, list[Step]]) -> bool:
    """Whether a step carries a neuron's spikes back, and does nothing else."""
    return (
        isinstance(step.node, nir.Scale)
        and bool((np.asarray(step.node.scale) < 0).all())
        and step.sources == (Incoming(threshold.name),)
        and [reader.name for reader in readers[step.name]] == [membrane.name]
        and Incoming(step.name, delayed=True) in membrane.sources
    )
