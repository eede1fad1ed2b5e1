"""The one table from NIR node type to its ONNX form; every graph (unrolled, step, probe, int8) is made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import nir

from ..graph.plan import Step
from ..graph.soft_reset import SoftReset
from . import memoryless, neurons
from .emitter import Emitter, Value
from .memoryless import without_state
from .neurons import Emitted, StateTensors


class Lowering(NamedTuple):
    """How a node type becomes ONNX.

    Attributes:
        cell: emits one time step; `(emitter, step, input, state) → (output, next state)`.
        states: the names of the state's tensors, `(step, dt) → names`; None for layers without memory.
    """

    cell: Callable[[Emitter, Step, Value, StateTensors], Emitted]
    states: Callable[[Step, float], tuple[str, ...]] | None = None


LOWERINGS: dict[type[nir.NIRNode], Lowering] = {
    nir.Input: Lowering(without_state(memoryless.port)),
    nir.Output: Lowering(without_state(memoryless.port)),
    nir.Affine: Lowering(without_state(memoryless.dense)),
    nir.Linear: Lowering(without_state(memoryless.dense)),
    nir.Conv1d: Lowering(without_state(memoryless.convolution)),
    nir.Conv2d: Lowering(without_state(memoryless.convolution)),
    nir.Scale: Lowering(without_state(memoryless.scale)),
    nir.AvgPool2d: Lowering(without_state(memoryless.average_pool)),
    nir.SumPool2d: Lowering(without_state(memoryless.sum_pool)),
    nir.Flatten: Lowering(without_state(memoryless.flatten)),
    nir.Threshold: Lowering(without_state(neurons.threshold)),
    nir.I: Lowering(neurons.integrator, neurons.membrane),
    nir.IF: Lowering(neurons.integrate_and_fire, neurons.membrane),
    nir.LI: Lowering(neurons.leaky_integrator, neurons.membrane),
    nir.LIF: Lowering(neurons.leaky_integrate_and_fire, neurons.membrane),
    SoftReset: Lowering(neurons.soft_reset, neurons.membrane),
    nir.CubaLI: Lowering(neurons.current_based_integrator, neurons.current_and_membrane),
    nir.CubaLIF: Lowering(neurons.current_based_lif, neurons.current_and_membrane),
    nir.Delay: Lowering(neurons.delay, neurons.past_inputs),
}
