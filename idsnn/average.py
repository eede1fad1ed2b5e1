"""An average of the weights over the steps, which answers better than the last of them.

    a[n] = d a[n-1] + (1 - d) w[n]        d = min(decay, (1 + n) / (10 + n))

`w[n]` weights and batch statistics after step n from 0; the decay grows, so that the first steps are soon forgotten.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """The average of a network's state, from what it is now.

    Attributes:
        values: the averaged state dict.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = copied(network)

    @torch.no_grad()
    def update(self, network: nn.Module, n: int) -> None:
        """Takes in the weights after step n."""
        decay = min(self.decay, (1 + n) / (10 + n))
        for name, own in network.state_dict().items():
            if own.is_floating_point():
                self.values[name].lerp_(own, 1 - decay)
            else:
                self.values[name].copy_(own)


def copied(network: nn.Module) -> dict[str, Tensor]:
    """The network's state dict, which later steps leave as it is."""
    return {name: each.detach().clone() for name, each in network.state_dict().items()}
