"""A user's own module as a network that the trainer knows: what modules of one step and of all steps have in common."""

from __future__ import annotations

from typing import Any

from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from ..neuron import LIF
from .spikingjelly import is_neuron


class Wrapped(nn.Module):
    """A `SpikingNetwork` around `net`; its state dict is that of `net`, name for name.

    Attributes:
        net: the user's module.
        timesteps: T for static images; frames bring their own.

    Raises:
        UsageError: no layer of `net` is one of snnTorch's or SpikingJelly's.
    """

    timesteps: int

    def __init__(self, net: nn.Module, timesteps: int) -> None:
        super().__init__()
        self.net, self.timesteps = net, timesteps
        if not self.neurons():
            raise UsageError(
                f"{type(net).__name__}: has no spiking layer of snnTorch or SpikingJelly to step, and is no "
                "SpikingNetwork (step_logits, forward_step, neurons, timesteps)"
            )
        for name, layer in self.neurons().items():
            if isinstance(layer, LIF):
                layer.register_forward_pre_hook(_refuse_sequence(name))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, C, H, W)` or of frames `(T, B, C, H, W)`: the mean over the steps."""
        return self.step_logits(x).mean(0)

    def step_logits(self, x: Tensor) -> Tensor:
        """The first output of each step, `(T, B, K)`."""
        raise NotImplementedError

    def neurons(self) -> dict[str, Any]:
        """The spiking layers by their dotted names in `net`, in order."""
        return {
            name: module
            for name, module in self.net.named_modules()
            if isinstance(module, SpikingNeuron) or is_neuron(module)
        }

    def reset(self) -> None:
        """Every spiking layer at rest."""
        for neuron in self.neurons().values():
            getattr(neuron, resetting(neuron))()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # of two overloads
        """That of `net`."""
        return self.net.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into `net`."""
        return self.net.load_state_dict(*args, **kwargs)


def own_module(network: nn.Module) -> nn.Module:
    """What the user made of a network: the module inside, or the network itself."""
    return network.net if isinstance(network, Wrapped) else network


def resetting(neuron: nn.Module) -> str:
    """The name of the method that sets a spiking layer to rest."""
    return "reset_mem" if isinstance(neuron, SpikingNeuron) else "reset"


def _refuse_sequence(name: str):  # type: ignore[no-untyped-def]  # a hook's type is torch's affair
    def check(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs) < 2:
            raise ValueError(
                f"{name}: idsnn's LIF without a membrane takes a whole sequence; in one step call lif(x, mem)"
            )

    return check
