"""What our spiking networks share: time folded into the batch.

Layers without memory see all steps at once, `(T*B, C, H, W)`, time first; only the neurons look across steps.

    step_logits(x) = head(currents(x[0]), ..., currents(x[T-1]))        frames
    step_logits(x) = head(currents(x), ..., currents(x))                a static image: its currents are computed once
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..neuron import LIF

Activation = Callable[..., nn.Module]
"""Makes a layer's activation, in place where nothing else is said: a neuron, or a ReLU in the ordinary twin."""


class TimeFolded(nn.Module):
    """A `SpikingNetwork` of two parts: what comes before the first neuron, and the rest.

    Attributes:
        timesteps: T for static images; frames bring their own.
    """

    timesteps: int

    def currents(self, x: Tensor) -> Tensor:
        """The first neuron's input, `(N, C, H, W)` of images `(N, C, H, W)`: no layer in it has memory."""
        raise NotImplementedError

    def head(self, currents: Tensor) -> Tensor:
        """The first neuron and everything after it, `(T*B, C, H, W)` → `(T*B, K)`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, C, H, W)` or of frames `(T, B, C, H, W)`: the mean over the steps."""
        return self.step_logits(x).mean(0)

    def step_logits(self, x: Tensor) -> Tensor:
        """The output at each step, `(T, B, K)`."""
        frames = x.dim() == 5
        steps = x.shape[0] if frames else self.timesteps
        self._fold(steps)
        currents = self.currents(x.flatten(0, 1) if frames else x)
        if not frames:
            currents = torch.cat([currents] * steps)
        return self.head(currents).unflatten(0, (steps, -1))

    def forward_step(self, x: Tensor) -> Tensor:
        """One step from rest, `(B, C, H, W)` → `(B, K)`, in the form that torch.fx traces: calls and sums."""
        self._fold(1)
        return self.head(self.currents(x))

    def neurons(self) -> dict[str, LIF]:
        """The neuron layers by their dotted names, in order."""
        return {name: module for name, module in self.named_modules() if isinstance(module, LIF)}

    def _fold(self, steps: int) -> None:
        for neuron in self.neurons().values():
            neuron.timesteps = steps


def start(network: nn.Module, scale: float = 1.0) -> None:
    """Kaiming's start for convolutions, and `scale` for what batch normalizations give: theta where neurons follow."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, scale)
