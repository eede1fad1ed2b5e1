"""What the trainer knows of a spiking network, whatever its class.

step_logits(x)[t]       the network's answer at step t, from rest at t = 0
network(x)              their mean over t
forward_step(x)         step_logits(x)[0], in the form that is exported
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from idsnn_deploy.errors import RunError


@runtime_checkable
class SpikingNetwork(Protocol):
    """A `torch.nn.Module` that learns with `fit`, whose firing `rates` counts and that a run folder holds.

    For arms that start from a teacher it has `stages` as well (`initialize`).

    Attributes:
        timesteps: T, the steps that a static image is shown.
    """

    timesteps: int

    def __call__(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, C, H, W)` or frames `(T, B, C, H, W)`: the mean of `step_logits`."""

    def step_logits(self, x: Tensor) -> Tensor:
        """The output at each step from rest, `(T, B, K)`; `(1, B, K)` of a network that answers once, after all."""

    def forward_step(self, x: Tensor) -> Tensor:
        """One step from rest, `(B, C, H, W)` → `(B, K)`, traceable by torch.fx: calls of layers and sums."""

    def neurons(self) -> Mapping[str, nn.Module]:
        """The spiking layers by their dotted names, in order; each gives its spikes, of all steps or of one."""


def spiking(network: nn.Module) -> SpikingNetwork:
    """The network as what this file knows of it.

    Raises:
        RunError: something of the protocol is missing.
    """
    if isinstance(network, SpikingNetwork):
        return network
    members = ("timesteps", "step_logits", "forward_step", "neurons")
    missing = ", ".join(name for name in members if not hasattr(network, name))
    raise RunError(f"{type(network).__name__}: is no spiking network, it has no {missing} (idsnn/networks/protocol.py)")
