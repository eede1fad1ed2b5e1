"""What one pass over the training images adds up to, kept on the device until somebody looks."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from .rates import FiringRates

_POLL_SECONDS = 0.25


class Meter:
    """Losses, hits and speed of one epoch in this process; `add` never waits for the device, the rest do.

    Args:
        steps: of the epoch.
        device: where losses are.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.losses, self.hits = torch.zeros(steps, device=device), torch.zeros((), device=device)
        self.rate: Tensor | None = None
        self.steps = self.images = 0
        self.begun = self.polled = time.monotonic()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, rates: FiringRates | None) -> None:
        """One step: its loss, `(B, K)` logits, `(B,)` labels, and the firing rates where they were watched."""
        self.losses[self.steps] = loss.detach()
        self.hits += (logits.detach().argmax(1) == labels).sum()
        self.rate = self.rate if rates is None else rates.total().detach()
        self.steps, self.images = self.steps + 1, self.images + len(labels)

    def due(self) -> bool:
        """Whether it is time to show something; True at most four times per second."""
        now = time.monotonic()
        if now - self.polled <= _POLL_SECONDS:
            return False
        self.polled = now
        return True

    def first_not_finite(self) -> tuple[int, float] | None:
        """The first step whose loss is no finite number, and that loss."""
        wrong = (~self.losses[: self.steps].isfinite()).nonzero()
        return (int(wrong[0]), float(self.losses[wrong[0]])) if len(wrong) else None

    def means(self) -> Tensor:
        """Mean loss, and accuracy on the images as they were augmented, `(2,)`."""
        return torch.stack([self.losses.mean(), self.hits / self.images])

    def speed(self, processes: int) -> float:
        """Images per second, in all processes."""
        return self.images * processes / (time.monotonic() - self.begun)

    def shown(self, processes: int) -> tuple[float, float, float | None, float]:
        """What the bar says: last loss, accuracy so far, last firing rate, images per second."""
        rate = None if self.rate is None else self.rate.item()
        return self.losses[self.steps - 1].item(), self.hits.item() / self.images, rate, self.speed(processes)
