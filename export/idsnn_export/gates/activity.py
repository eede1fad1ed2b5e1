"""What passes every gate and may be wrong all the same: layers that never or always fire, steps too long or too short.

Two forms of a network that is silent agree in every spike. A network read at another dt than it was made for is silent
more often than not, so what its time constants become at this dt is looked at too:

    leak = dt / tau     below 2**-24: 1 - leak is 1 in float32;  above 1: a membrane overshoots its target
    gain                what a unit of input adds to the membrane in one step; the threshold is `HOPELESS` times that
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import nir
import numpy as np

from idsnn_deploy.arrays import Array

from ..graph.plan import Plan
from ..graph.timing import gain, leak
from ..reference.interpreter import Trace

NO_LEAK, HOPELESS = 2.0**-24, 1e4

TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")
GAINS: dict[type[nir.NIRNode], Callable[[nir.NIRNode, float], Array]] = {
    nir.IF: lambda node, dt: gain(node.r, dt),
    nir.LIF: lambda node, dt: leak(node.tau, dt) * node.r,
    nir.CubaLIF: lambda node, dt: leak(node.tau_mem, dt) * node.r * node.w_in,  # of a current that has settled
}


class Activity:
    """Counts how often the layers of a network fire, over several runs."""

    def __init__(self) -> None:
        self._samples = 0
        self._fired: dict[str, tuple[int, int]] = {}  # spikes, and how many there could be

    def add(self, trace: Trace) -> None:
        """Counts a run's spikes."""
        self._samples += trace.outputs.shape[1]
        for name, spikes in trace.spikes.items():
            fired, possible = self._fired.get(name, (0, 0))
            self._fired[name] = fired + int(spikes.sum()), possible + spikes.size

    def warnings(self) -> list[str]:
        """Layers that never fire, and that always do: a line each; one line where none ever fires."""
        on = f"on the {self._samples} samples of the gates"
        if not self._fired:
            return ["no layer of this network spikes"]
        if not any(fired for fired, _ in self._fired.values()):
            return [f"no neuron fires {on}; the gates compared silence. Is dt the one that the network was made for?"]
        silent = [f"layer {name} never fires {on}" for name, (fired, _) in self._fired.items() if not fired]
        full = [
            f"layer {name}: every neuron fires at every step {on}"
            for name, (fired, n) in self._fired.items()
            if fired == n
        ]
        return silent + full


def timing_warnings(plan: Plan, dt: float) -> list[str]:
    """What dt makes of the neurons' time constants, where it leaves little of them: a line for each layer."""
    return [f"layer {step.name}: {said}" for step in plan.steps for said in _timing(step.node, dt)]


def _timing(node: nir.NIRNode, dt: float) -> Iterator[str]:
    for name in TIME_CONSTANTS:
        if hasattr(node, name):
            shares = leak(getattr(node, name), dt)
            if (shares < NO_LEAK).any():
                longest = np.max(getattr(node, name))
                yield f"`{name}` of {longest:g} s does not leak in steps of {dt:g} s; give another dt"
            if (shares > 1).any():
                yield (
                    f"`{name}` of {np.min(getattr(node, name)):g} s is shorter than a step of {dt:g} s, "
                    f"so that the membrane overshoots; give a shorter dt"
                )
    if type(node) in GAINS:
        gains = np.abs(GAINS[type(node)](node, dt))
        if (np.abs(node.v_threshold) > HOPELESS * gains).any():
            yield f"one unit of input adds {gains.min():.3g} to the membrane in a step of {dt:g} s; give another dt"
