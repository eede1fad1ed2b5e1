"""What the epochs of a training show: stages of (epochs, image size, time steps), from quick to what is deployed.

    2x24@1 4x32@1 2x32@4        2 epochs of images of 24 pixels at T 1, 4 of 32 pixels at T 1, then 2 at T 4
    2x32@1-4                    2 epochs in which each batch is shown for 1, 2, 3 or 4 steps, drawn anew

No torch here, so that flags are checked at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from idsnn_deploy.errors import UsageError

_WORD = re.compile(r"([0-9]{1,6})x([0-9]{1,6})@([0-9]{1,6})(?:-([0-9]{1,6}))?", re.ASCII)
MOST_STEPS = 1000


@dataclass(frozen=True)
class Stage:
    """Some epochs that are alike.

    Attributes:
        epochs: how many.
        pixels: the shorter side of an image; None leaves images as they are.
        timesteps: T of a spiking network; None leaves it as the network has it.
        fewest: where each batch has a T of its own, from `fewest` to `timesteps`; None gives all of them the same.
    """

    epochs: int
    pixels: int | None = None
    timesteps: int | None = None
    fewest: int | None = None

    def steps(self, draw: int) -> int | None:
        """T of a batch, the `draw`th of those that there are, counted around."""
        if self.fewest is None or self.timesteps is None:
            return self.timesteps
        return self.fewest + draw % (self.timesteps - self.fewest + 1)

    @property
    def shown(self) -> str:
        """T in words."""
        return f"{self.timesteps}" if self.fewest is None else f"{self.fewest}-{self.timesteps}"


def read_stages(words: Sequence[str], flag: str = "--stages") -> tuple[Stage, ...]:
    """The stages that `words` say, each EPOCHSxPIXELS@T or EPOCHSxPIXELS@FEWEST-MOST.

    Raises:
        UsageError: a word of another form, a zero in it, or steps that are too many or fall.
    """
    return tuple(_read(word, flag) for word in words)


def _read(word: str, flag: str) -> Stage:
    found = _WORD.fullmatch(word)
    if found is None:
        raise UsageError(f"{flag} {word}: is no stage; write EPOCHSxPIXELS@T, such as 2x24@1 or 2x32@1-4")
    epochs, pixels, fewest, timesteps = map(int, found.groups(default=found[3]))
    if min(epochs, pixels, fewest, timesteps) < 1:
        raise UsageError(f"{flag} {word}: epochs, pixels and T are at least 1 each")
    if not fewest <= timesteps <= MOST_STEPS:
        raise UsageError(f"{flag} {word}: T goes from the fewest steps to the most, and to {MOST_STEPS} at most")
    return Stage(epochs, pixels, timesteps, fewest if "-" in word else None)


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
