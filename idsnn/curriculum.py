"""What the epochs of a training show: stages of (epochs, image size, time steps), from quick to what is deployed.

    2x24@1 4x32@1 2x32@4        2 epochs of images of 24 pixels at T 1, 4 of 32 pixels at T 1, then 2 at T 4

No torch here, so that flags are checked at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from idsnn_deploy.errors import UsageError

_WORD = re.compile(r"([0-9]{1,6})x([0-9]{1,6})@([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class Stage:
    """Some epochs that are alike.

    Attributes:
        epochs: how many.
        pixels: the shorter side of an image; None leaves images as they are.
        timesteps: T of a spiking network; None leaves it as the network has it.
    """

    epochs: int
    pixels: int | None = None
    timesteps: int | None = None


def read_stages(words: Sequence[str], flag: str = "--stages") -> tuple[Stage, ...]:
    """The stages that `words` say, each EPOCHSxPIXELS@T.

    Raises:
        UsageError: a word of another form, or a zero in it.
    """
    return tuple(_read(word, flag) for word in words)


def _read(word: str, flag: str) -> Stage:
    found = _WORD.fullmatch(word)
    if found is None:
        raise UsageError(f"{flag} {word}: is no stage; write EPOCHSxPIXELS@T, such as 2x24@1")
    epochs, pixels, timesteps = map(int, found.groups())
    if min(epochs, pixels, timesteps) < 1:
        raise UsageError(f"{flag} {word}: epochs, pixels and T are at least 1 each")
    return Stage(epochs, pixels, timesteps)


def total_epochs(stages: Sequence[Stage]) -> int:
    """Epochs of all stages together."""
    return sum(stage.epochs for stage in stages)


def stage_at(stages: Sequence[Stage], epoch: int) -> Stage:
    """The stage of an epoch, counted from 0."""
    for stage in stages:
        if epoch < stage.epochs:
            return stage
        epoch -= stage.epochs
    raise IndexError(f"epoch {epoch} after the last stage")
