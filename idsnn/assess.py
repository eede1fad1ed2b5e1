"""How a network answers images that it did not learn from: accuracy after each step, and firing rates.

    accuracy[t] = share of images where argmax_k (z[1] + ... + z[t])_k is the label        z[t] the logits of step t

What is deployed with fewer steps stops earlier, so `accuracy[t]` is the accuracy of the same network at T = t.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from .data import Frames, FramesSeen, Images, ordinary
from .networks.protocol import SpikingNetwork
from .rates import FiringRates

_BATCH = 256


@torch.no_grad()
def assess(
    network: nn.Module, images: Images | Frames, fabric: Fabric, seen: FramesSeen = "mean"
) -> tuple[list[float], FiringRates | None]:
    """Accuracy on `images`, shared out among the processes, after each step (an ordinary network has one).

    With it a spiking network's firing rates, of all steps, in this process. An ordinary one sees of frames what `seen`
    says.
    """
    network.eval()
    rates = FiringRates(network) if isinstance(network, SpikingNetwork) else None
    mine = torch.arange(fabric.global_rank, len(images), fabric.world_size, device=fabric.device)
    hits = torch.zeros((), device=fabric.device)
    channels_last = getattr(network, "channels_last", False)
    with rates or nullcontext(), fabric.autocast():
        for index in mine.split(_BATCH):
            batch = images.batch(index)
            answers = _answers(network, batch if channels_last else batch.contiguous(), seen)
            hits = hits + (answers.argmax(2) == images.labels[index]).sum(1)
    return [right / len(images) for right in reduced(fabric, hits, "sum").tolist()], rates


def _answers(network: nn.Module, images: Tensor, seen: FramesSeen) -> Tensor:
    """What the network would answer after each step, `(T, B, K)`; one step of an ordinary one."""
    if not isinstance(network, SpikingNetwork):
        logits = ordinary(network, images, seen)
        return logits.mean(0, keepdim=True) if logits.dim() == 3 else logits[None]
    steps = network.step_logits(images)
    return torch.stack([steps[: t + 1].mean(0) for t in range(len(steps))])


def reduced(fabric: Fabric, value: Tensor, how: str) -> Tensor:
    """`value` joined over the processes, "sum" or "mean"."""
    joined = fabric.all_reduce(value, reduce_op=how)
    assert isinstance(joined, Tensor)
    return joined
