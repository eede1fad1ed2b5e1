"""A user's own module, whose forward is one time step, as a network that the trainer knows.

    state = rest;   for t in 0 ... T-1:   output[t], state = net(x[t], state)

The state is where its framework has it: in the layers (`init_hidden=True`, SpikingJelly's), or handed in and out,
`net(x, *states) → (output, *states)`; each run starts with every layer reset.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .wrapped import Wrapped, resetting


class Stepped(Wrapped):
    """A `SpikingNetwork` around a module of one step."""

    def __init__(self, net: nn.Module, timesteps: int) -> None:
        super().__init__(net, timesteps)
        self.states = _positional(net) - 1

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
            vars(neuron)[resetting(neuron)] = _refuse_reset(name)
        try:
            self._step(x, states)
        finally:
            for neuron in self.neurons().values():
                del vars(neuron)[resetting(neuron)]

    def rest(self, x: Tensor) -> list[Tensor]:
        """Resets every layer, and returns the states to hand in: of no size, as snnTorch's layers start."""
        self.reset()
        return [x.new_zeros(0)] * self.states

    def _step(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        found = self.net(x, *states)
        output, *after = found if isinstance(found, (tuple, list)) else (found,)
        if self.states and len(after) < self.states:
            raise ValueError(f"takes {self.states} states and returns {len(after)} after its output")
        return output, list(after[: self.states])


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
