"""What is refused before anything is written: images, stages and networks that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from .config import TrainConfig
from .data import Data, resized
from .networks.import_path import reason
from .networks.over_time import answers_of
from .networks.protocol import SpikingNetwork
from .networks.table import NETWORKS, network_name
from .side_heads import beside


def check_sizes(config: TrainConfig, data: Data, names: Mapping[str, str]) -> None:
    """Compares the images' size with what stages ask for and networks can pool.

    Args:
        config: the settings.
        data: the images.
        names: {"student": its `--network`, "teacher": likewise, where there is one}.

    Raises:
        UsageError: images that are too small, stages that are larger than the images, or recordings where images
            are asked for.
    """
    _, height, width = data.train.shape
    if data.train.events is not None and (config.stages or config.teacher_stages):
        raise UsageError("--stages: are for images; recordings keep the size and the number of their frames")
    if data.train.events is not None and config.views:
        raise UsageError(f"--views {config.views}: are of images; events are dropped anew in every epoch")
    for phase, name in names.items():
        least = NETWORKS[name].least_pixels if name in NETWORKS else 1
        needs = f"--network {name}: needs images of {least}x{least} pixels or more"
        if min(height, width) < least:
            raise UsageError(f"{needs}, got {height}x{width}")
        for stage in _seen(config, phase):
            if stage.pixels < least:
                raise UsageError(f"{needs}, got a stage of {stage.pixels}")
            if stage.pixels > min(height, width):
                raise UsageError(f"--stages: one of {stage.pixels} pixels, but the images have {height}x{width}")


def try_stages(config: TrainConfig, data: Data, networks: Mapping[str, nn.Module], resolved: Mapping[str, Any]) -> None:
    """Runs two black images of every stage's size through throw-away networks, with its number of steps.

    Raises:
        UsageError: a network that cannot see them, with the stage and the reason.
        RunError: a student that has nothing for `--side-heads` to hear.
    """
    if config.side_heads:
        beside(networks["student"], torch.zeros(2, *data.train.shape), 0)
    for phase, network in networks.items():
        for stage in _seen(config, phase):
            images = resized(torch.zeros(2, *data.train.shape), stage.pixels)
            try:
                _try(network.eval(), images, stage)
            except Exception as error:  # whatever a user's network does
                size, who = "x".join(map(str, images.shape[-2:])), network_name(resolved, phase)
                at = f"{size} pixels at T {stage.timesteps}"
                raise UsageError(f"--stages: {who} fails on {at}: {reason(error)}") from error


class _Seen(NamedTuple):
    pixels: int
    timesteps: int


def _seen(config: TrainConfig, phase: str) -> Iterator[_Seen]:
    """The stages whose images a network sees, to learn from them or to teach on them."""
    phases = {phase: None, "student": None} if config.distils else {phase: None}
    for each in phases:
        for stage in config.curriculum(each):
            if stage.pixels and stage.timesteps:
                for timesteps in dict.fromkeys((stage.fewest or stage.timesteps, stage.timesteps)):
                    yield _Seen(stage.pixels, timesteps)


@torch.no_grad()
def _try(network: nn.Module, images: Tensor, stage: _Seen) -> None:
    if not isinstance(network, SpikingNetwork):
        network(images)
        return
    network.timesteps = stage.timesteps
    if len(network.step_logits(images)) != answers_of(network, stage.timesteps):
        raise ValueError("answers at another number of steps than its timesteps say")
