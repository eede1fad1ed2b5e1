"""Fewer spikes: a pull on the firing rate whose weight the training finds by itself.

    L = task + w log r        c = log(r / goal), within -1/2 to 1/2
    w = max(0, I + c)        I <- max(0, I + 15 c dp)

`r` spikes per neuron and step in a batch, over all neurons, `p` the part of the training that is done, `I` what has
added up while the rate was above its goal: the weight grows until the goal is kept, and falls to 0 where the task alone
stays below it (a dual variable, with a proportional part that damps it). The goal falls geometrically from the first
batch's rate to the wanted one, during the first half of the training:

    goal = first^(1 - q) wanted^q        q = min(1, 2 p)        wanted = 0.97 S / (T lean)

`S` spikes per neuron and sample (`--spikes`), of which a little is left for chance, `T` steps of the deployed network,
and `lean` its rate on training images as they are, over the rate in training, averaged over the epochs: there batches
are augmented, normalized by their own statistics, and shown for the steps of their stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .data import Frames, Images
from .rates import FiringRates

TOLERANCE, AIM = 0.05, 0.97
"""Share by which the spikes may lie above what was asked for, and how much of that the training aims at."""
_GAIN, _MOST, _FALL, _RECENT, _LEAST, _SAMPLE = 15.0, 0.5, 0.5, 0.9, 1e-6, 512


class Pull:
    """The pull of one training, from where its state left it.

    Args:
        wanted: spikes per neuron and step, 0.97 S / T.
        steps: of the whole training.
        state: what `state` gave before.
        mean: joins a scalar over the processes.

    Attributes:
        state: integral `I`, `rate` (a running mean of r), `first` and `lean`, scalars each; what a checkpoint keeps.
    """

    def __init__(
        self,
        wanted: float,
        steps: int,
        state: Mapping[str, Tensor] | None = None,
        mean: Callable[[Tensor], Tensor] = lambda rate: rate,
    ) -> None:
        self.wanted, self.steps, self.mean = wanted, steps, mean
        self.state = dict(state or {})

    def term(self, rates: FiringRates, step: int) -> Tensor:
        """What the loss of a batch gains, a scalar, in step 0, 1, ... of the training; the weight follows the rate."""
        kept = self.state
        now = self.mean(rates.total().detach()).clamp(min=_LEAST)
        if not kept:
            one = torch.ones_like(now)
            kept |= {"integral": 0 * one, "rate": now, "first": now.clamp(min=self.wanted), "lean": one}
        kept["rate"] = _RECENT * kept["rate"] + (1 - _RECENT) * now
        goal = self._goal(step / self.steps)
        above = (now / goal).log().clamp(-_MOST, _MOST)
        weight = (kept["integral"] + above).clamp(min=0)
        kept["integral"] = (kept["integral"] + _GAIN * above / self.steps).clamp(min=0)
        pulled = self.pulled(rates)
        return weight * pulled / pulled.detach().clamp(min=_LEAST)  # the gradient of w log r, and never below 0

    def pulled(self, rates: FiringRates) -> Tensor:
        """What the gradient lowers."""
        return rates.total()

    def _goal(self, done: float) -> Tensor:
        q = min(1.0, done / _FALL)
        first, wanted = self.state["first"], self.wanted / self.state["lean"]
        return first ** (1 - q) * wanted**q

    def learn(self, deployed: Tensor) -> None:
        """Takes in the firing rate of the network as it would be deployed now."""
        now = (self.mean(deployed) / self.state["rate"]).clamp(0.5, 2)
        self.state["lean"] = (self.state["lean"] * now).sqrt()  # one epoch alone is a noisy witness


def some(images: Images | Frames, seed: int) -> Images | Frames:
    """A few of the training images, the same for a seed, on which the deployed network's spikes are counted."""
    index = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    labels = images.labels[index.to(images.labels.device)]
    if isinstance(images, Frames):
        return replace(images, counts=images.counts[index.to(images.counts.device)], labels=labels)
    return replace(images, pixels=images.pixels[index.to(images.pixels.device)], labels=labels)


def outcome(asked: float, got: float) -> dict[str, float | bool]:
    """What summary.json says of spikes per neuron and sample."""
    return {"asked": asked, "got": got, "reached": got <= asked * (1 + TOLERANCE)}


def verdict(found: Mapping[str, Any]) -> str:
    """An outcome in one line."""
    missed = "" if found["reached"] else ": not reached"
    return f"spikes per neuron and sample: asked {found['asked']:g}, got {found['got']:.3g}{missed}"
