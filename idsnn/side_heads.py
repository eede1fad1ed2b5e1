"""Heads beside the network's own, which answer from the ends of its stages and are gone after training.

    L = L(z) + w sum_i L(z_i)        z_i = W_i pool_4x4(x_i) + b_i        x_i: what stage i gives, for all but the last

A spiking network's gradient passes a surrogate at every layer; a head at the end of a stage spares its layers those
behind it (deeply-supervised nets, Lee et al., AISTATS 2015; with a teacher's answers, Zhang et al., ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from idsnn_deploy.errors import RunError

GRID = 4
"""Rows and columns of what a head sees of a map."""


@contextmanager
def listening(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """{stage: what it gives in the forward inside}, for all stages but the last; all steps at once, or T times one."""
    heard: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda block, inputs, output: heard.setdefault(name, []).append(output)

    parts = {name: network.get_submodule(name) for name in getattr(network, "stages", ())}
    blocks = {name: part[-1] for name, part in parts.items() if isinstance(part, nn.Sequential)}
    hooks = [block.register_forward_hook(keep(name)) for name, block in [*blocks.items()][:-1]]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


class SideHeads(nn.Module):
    """A linear layer for each stage that `listening` hears.

    Args:
        channels: of each stage.
        classes: K.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(count * GRID * GRID, classes) for count in channels)

    def forward(self, heard: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
        """Logits `(T*B, K)` of each stage, time first."""
        maps = [torch.cat([*found]) for found in heard.values()]
        pooled = [adaptive_avg_pool2d(each, GRID).flatten(1) for each in maps]
        return [head(each) for head, each in zip(self.heads, pooled, strict=True)]


@torch.no_grad()
def beside(network: nn.Module, images: Tensor, seed: int) -> SideHeads:
    """Heads for the stages of `network`, which is shown a few `images` as in training to see their channels.

    Raises:
        RunError: it has no stage before its last, or one that gives no maps.
    """
    training = network.training
    with listening(network) as heard:
        classes = network.eval()(images).shape[-1]
    network.train(training)
    shapes = [found[0].shape for found in heard.values()]
    if not shapes or any(len(shape) != 4 for shape in shapes):
        raise RunError(
            f"--side-heads: {type(network).__name__} has no two `stages` of blocks that give maps (N, C, H, W); "
            "leave it out"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SideHeads([shape[1] for shape in shapes], classes)
