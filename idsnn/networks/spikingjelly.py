"""SpikingJelly's modules, known by name: nothing is imported that the model did not import."""

from __future__ import annotations

from torch import nn

NEURONS = "spikingjelly.activation_based.neuron"
LAYERS = "spikingjelly.activation_based.layer"


def is_neuron(module: nn.Module) -> bool:
    """Whether it is a neuron of SpikingJelly, or derived from one."""
    return any(kind.__module__ == NEURONS or kind.__module__.startswith(f"{NEURONS}.") for kind in type(module).__mro__)
