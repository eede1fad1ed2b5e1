"""A user's own snnTorch module, whose forward is one time step, as a network that the trainer knows.

    state = rest;   for t in 0 ... T-1:   output[t], state = net(x[t], state)

The state is where snnTorch has it: in layers with `init_hidden=True`, or handed in and out, `net(x, *states) →
(output, *states)`; each run starts with every layer reset.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from ..neuron import LIF


class Stepped(nn.Module):
    """A `SpikingNetwork` around `net`; its state dict is that of `net`, name for name.

    Attributes:
        net: the user's module.
        timesteps: T for static images; frames bring their own.

    Raises:
        UsageError: no layer of `net` is one of snnTorch's.
    """

    def __init__(self, net: nn.Module, timesteps: int) -> None:
        super().__init__()
        self.net, self.timesteps = net, timesteps
        self.states = _positional(net) - 1
        if not self.neurons():
            raise UsageError(
                f"{type(net).__name__}: has no spiking layer of snnTorch to step, and is no SpikingNetwork "
                "(step_logits, forward_step, neurons, timesteps)"
            )
        for name, layer in self.neurons().items():
            if isinstance(layer, LIF):
                layer.register_forward_pre_hook(_refuse_sequence(name))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, C, H, W)` or of frames `(T, B, C, H, W)`: the mean over the steps."""
        return self.step_logits(x).mean(0)

    def step_logits(self, x: Tensor) -> Tensor:
        """The first output of each step, `(T, B, K)`."""
        frames = x.unbind(0) if x.dim() == 5 else [x] * self.timesteps
        states = self.rest(x)
        outputs = []
        for frame in frames:
            output, states = self._step(frame, states)
            outputs.append(output)
        return torch.stack(outputs)

    def forward_step(self, x: Tensor) -> Tensor:
        """One step from rest, `(B, C, H, W)` → `(B, K)`."""
        return self._step(x, self.rest(x))[0]

    def try_step(self, x: Tensor) -> None:
        """Runs one step, and fails where it resets a layer: every step would start from rest.

        Raises:
            ValueError: names the layer.
        """
        states = self.rest(x)
        for name, neuron in self.neurons().items():
            vars(neuron)["reset_mem"] = _refuse_reset(name)
        try:
            self._step(x, states)
        finally:
            for neuron in self.neurons().values():
                del vars(neuron)["reset_mem"]

    def neurons(self) -> dict[str, Any]:
        """The layers of snnTorch by their dotted names in `net`, in order."""
        return {name: module for name, module in self.net.named_modules() if isinstance(module, SpikingNeuron)}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # of two overloads
        """That of `net`."""
        return self.net.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into `net`."""
        return self.net.load_state_dict(*args, **kwargs)

    def rest(self, x: Tensor) -> list[Tensor]:
        """Resets every layer, and returns the states to hand in: of no size, as snnTorch's layers start."""
        for neuron in self.neurons().values():
            neuron.reset_mem()
        return [x.new_zeros(0)] * self.states

    def _step(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        found = self.net(x, *states)
        output, *after = found if isinstance(found, (tuple, list)) else (found,)
        if self.states and len(after) < self.states:
            raise ValueError(f"takes {self.states} states and returns {len(after)} after its output")
        return output, list(after[: self.states])


def own_module(network: nn.Module) -> nn.Module:
    """What the user made of a network: the module inside, or the network itself."""
    return network.net if isinstance(network, Stepped) else network


def _positional(net: nn.Module) -> int:
    """How many arguments the forward must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(net.forward).parameters.values()
    return sum(each.kind in kinds and each.default is inspect.Parameter.empty for each in parameters)


def _refuse_reset(name: str) -> Callable[[], None]:
    def refuse() -> None:
        raise ValueError(
            f"forward resets {name}, but must be one step and leave time to the trainer: take the membrane "
            "as an argument without a default, or make the layer with init_hidden=True"
        )

    return refuse


def _refuse_sequence(name: str):  # type: ignore[no-untyped-def]  # a hook's type is torch's affair
    def check(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs) < 2:
            raise ValueError(
                f"{name}: idsnn's LIF without a membrane takes a whole sequence; in one step call lif(x, mem)"
            )

    return check
