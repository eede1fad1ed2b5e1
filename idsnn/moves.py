"""What an epoch varies: how each image is shifted, turned and mirrored, and how many of its events are dropped.

source = R(angle) M (target - centre) + centre + shift      M mirrors columns; nearest pixel, black outside
kept   ~ Binomial(events, 1 - drop)                         each event on its own
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Augment:
    """What is varied.

    Attributes:
        pad: shift by up to so many pixels; black comes in.
        flip: mirror half of the images.
        alternate: mirror each in every second epoch, instead of half of them drawn anew.
        turn: turn by up to so many degrees.
        drop: part of the events that is left out.
    """

    pad: int = 0
    flip: bool = False
    turn: float = 0.0
    drop: float = 0.0
    alternate: bool = False


AUGMENTS = {
    "none": Augment(),
    "shift": Augment(2),
    "crop-flip": Augment(4, flip=True),
    "events": Augment(2, turn=10.0, drop=0.1),
    "events-flip": Augment(2, flip=True, turn=10.0, drop=0.1),
}


@dataclass(frozen=True)
class Moves:
    """How each of n images is moved: `shift` (2, n) from 0 to 2 pad, `mirrored` (n,), `angle` (n,) in radians."""

    augment: Augment
    shift: Tensor
    mirrored: Tensor
    angle: Tensor

    @classmethod
    def drawn(cls, augment: Augment, count: int, generator: torch.Generator, device: torch.device) -> Moves:
        """An epoch's moves, drawn on the CPU: the same on every device."""
        shift = torch.randint(2 * augment.pad + 1, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < (0.5 if augment.flip else 0.0)
        angle = torch.zeros(count)
        if augment.turn:
            angle = (2 * torch.rand(count, generator=generator) - 1) * math.radians(augment.turn)
        return cls(augment, *(each.to(device, non_blocking=True) for each in (shift, mirrored, angle)))

    def in_turn(self, seed: int, epoch: int) -> Moves:
        """With each image mirrored in every second epoch, the first or the second as `seed` draws it."""
        first = torch.rand(len(self.mirrored), generator=torch.Generator().manual_seed(seed)) < 0.5
        mirrored = (first ^ bool(epoch % 2)).to(self.mirrored.device)
        return Moves(self.augment, self.shift, mirrored, self.angle)

    def at(self, index: Tensor) -> Moves:
        """Those of the images at `index`."""
        return Moves(self.augment, self.shift[:, index], self.mirrored[index], self.angle[index])

    def applied(self, images: Tensor) -> Tensor:
        """`images` (n, H, W, C), moved."""
        return self._turned(images) if self.augment.turn else self._shifted(images)

    def _shifted(self, images: Tensor) -> Tensor:
        n, height, width, _ = images.shape
        (top, left), padding = self.shift, self.augment.pad
        rows = top[:, None] + torch.arange(height, device=images.device)
        across = torch.arange(width, device=images.device)
        columns = left[:, None] + torch.where(self.mirrored[:, None], width - 1 - across, across)
        padded = pad(images, (0, 0, padding, padding, padding, padding))
        each = torch.arange(n, device=images.device)[:, None, None]
        return padded[each, rows[:, :, None], columns[:, None, :]]

    def _turned(self, images: Tensor) -> Tensor:
        n, height, width, _ = images.shape
        y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2  # (H, 1), from the centre
        x = torch.arange(width, device=images.device) - (width - 1) / 2  # (W,)
        x = torch.where(self.mirrored[:, None, None], -x, x)  # (n, 1, W)
        cos, sin = self.angle.cos()[:, None, None], self.angle.sin()[:, None, None]
        top, left = (self.shift - self.augment.pad)[:, :, None, None]
        rows = (cos * y - sin * x + (height - 1) / 2).round().long() + top  # (n, H, W)
        columns = (sin * y + cos * x + (width - 1) / 2).round().long() + left
        outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
        each = torch.arange(n, device=images.device)[:, None, None]
        moved = images[each, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        return moved.masked_fill(outside[..., None], 0)


def thinned(counts: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """`counts` of events with each event left out with probability `drop`, float32."""
    return torch.binomial(counts.float(), torch.full_like(counts, 1 - drop, dtype=torch.float32), generator=generator)
