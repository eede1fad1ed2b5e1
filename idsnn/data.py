"""Training images on the device: normalized, shuffled and augmented one batch at a time, with no per-image Python.

Order and augmentation are functions of (seed, phase, epoch) alone, so a resumed run sees what the first one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from idsnn_deploy.datasets import RECORDED, Reading, Split, load_split
from idsnn_deploy.errors import DataError, UsageError
from idsnn_deploy.reading import Values

from .config import TrainConfig, settings
from .moves import AUGMENTS as AUGMENTS
from .moves import Augment as Augment
from .moves import Moves, thinned

# Per channel, over the training images, pixels in 0..1; digits and folders are computed.
STATISTICS: dict[str, tuple[list[float], list[float]]] = {
    "mnist": ([0.1307], [0.3081]),
    "fashion-mnist": ([0.2860], [0.3530]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "cifar100": ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
}
FramesSeen = Literal["mean", "each"]  # by an ordinary network
_ON_DEVICE_BYTES = 8 << 30


# Digits of 8x8 pixels: unmoved. A quarter of the training images held out, 15 epochs at width 16, seed 0: the student
# is right on 98.1 % of them without moving and on 88.6 % with moves by one pixel.
_AUTO = {"digits": "none", "mnist": "shift", "kmnist": "shift", "svhn": "shift", **dict.fromkeys(RECORDED, "events")}


@dataclass(frozen=True)
class Images:
    """Images and labels on a device.

    Attributes:
        pixels: uint8 `(N, H, W, C)`.
        labels: int64 `(N,)`.
        mean, std: of a pixel in 0..1, `(C,)`.
        scale: value of a full pixel.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    scale: float

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, moves: Moves | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Normalized images at `index` (n,), moved, float32 `(n, C, H, W)` in channels_last."""
        chosen = self.pixels[index.to(self.pixels.device)].to(self.labels.device, non_blocking=True)
        if moves is not None:
            chosen = moves.applied(chosen)
        normal = (chosen.float() / self.scale - self.mean) / self.std
        return normal.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Frames:
    """Recordings as counts of events, and labels, on a device.

    Attributes:
        counts: `(N, T, H, W, C)` of a type of integers.
        labels: int64 `(N,)`.
        values: what a network sees of the counts.
    """

    counts: Tensor
    labels: Tensor
    values: Values

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, moves: Moves | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Frames at `index` (n,), moved and thinned, float32 `(T, n, C, H, W)`."""
        chosen = self.counts[index.to(self.counts.device)].to(self.labels.device, non_blocking=True)
        if moves is not None:
            n, steps, height, width, _ = chosen.shape
            flat = chosen.permute(0, 2, 3, 1, 4).reshape(n, height, width, -1)  # a recording's frames move together
            chosen = moves.applied(flat).unflatten(-1, (steps, -1)).permute(0, 3, 1, 2, 4)
            if moves.augment.drop and generator is not None:
                chosen = thinned(chosen, moves.augment.drop, generator)
        frames = chosen.float().clamp(max=1) if self.values == "binary" else chosen.float()
        return frames.permute(1, 0, 4, 2, 3)


def ordinary(network: Callable[[Tensor], Tensor], images: Tensor, seen: FramesSeen = "mean") -> Tensor:
    """An ordinary network's logits `(n, K)` of images, or of the mean over time of frames `(T, n, C, H, W)`.

    With `seen` "each" it sees every frame, and its logits are `(T, n, K)`.
    """
    if images.dim() < 5:
        return network(images)
    return network(images.mean(0)) if seen == "mean" else network(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def resized(images: Tensor, pixels: int | None) -> Tensor:
    """Images `(n, C, H, W)` brought to a shorter side of `pixels`; as they are where that is None or theirs already."""
    side = min(images.shape[-2:])
    if pixels is None or pixels == side:
        return images
    size = [round(each * pixels / side) for each in images.shape[-2:]]
    return interpolate(images, size, mode="bilinear", antialias=True)


class Batch(NamedTuple):
    """Images `(n, C, H, W)` or frames `(T, n, C, H, W)`, labels `(n,)`, and `which` of the training images they are."""

    images: Tensor
    labels: Tensor
    which: Tensor


@dataclass(frozen=True)
class Loader:
    """Batches of training images for one process of several.

    Attributes:
        images: the training images.
        batch_size: images per step over all processes.
        augment: what is varied.
        seed: of order and augmentation.
        rank, world: this process, and how many there are; each takes its consecutive part of every batch.
    """

    images: Images | Frames
    batch_size: int
    augment: Augment
    seed: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return max(1, len(self.images) // self.batch_size)

    def epoch(self, phase: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """Yields each step's images. The last incomplete batch is dropped; each epoch reshuffles.

        Args:
            phase, epoch: which draw the order, and where there is no `view` the moves.
            view: images move in every epoch that shows it alike.
        """
        generator = torch.Generator().manual_seed(seed_of(self.seed, phase, epoch))
        count, device = len(self.images), self.images.labels.device
        order = torch.randperm(count, generator=generator).to(device, non_blocking=True)
        if view is not None:
            generator = torch.Generator().manual_seed(seed_of(self.seed, phase, "view", view))
        moves = Moves.drawn(self.augment, count, generator, device)
        if self.augment.alternate:
            moves = moves.in_turn(seed_of(self.seed, phase, "flip"), epoch if view is None else view)
        size = min(self.batch_size, count)
        for step in range(len(self)):
            start = step * size + self.rank * size // self.world
            index = order[start : step * size + (self.rank + 1) * size // self.world]
            mine = None if self.augment == Augment() else moves.at(index)
            drops = torch.Generator(device).manual_seed(seed_of(self.seed, phase, epoch, step, self.rank))
            yield Batch(self.images.batch(index, mine, drops), self.images.labels[index], index)


def seed_of(*parts: Any) -> int:
    """A seed that is the same on every machine and differs wherever one of `parts` does."""
    words = [int.from_bytes(str(part).encode(), "little") % (1 << 61) for part in parts]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Data:
    """What a config names, read: the parts, and what the networks need to know about them."""

    train: Split
    validation: Split | None
    test: Split
    mean: list[float] | None
    std: list[float] | None
    augment: Augment

    def facts(self) -> dict[str, Any]:
        """What config.json holds besides the settings."""
        return {
            "labels": list(self.train.classes),
            "input_shape": list(self.train.shape),
            "mean": self.mean,
            "std": self.std,
            "encoding": "static" if self.train.events is None else "frames",
            **({} if self.train.events is None else {"events_sensor": self.train.events.sensor}),
            "train_images": len(self.train),
            "validation_images": len(self.validation) if self.validation else 0,
            "test_images": len(self.test),
        }

    def on(self, part: Split, device: torch.device) -> Images | Frames:
        """A part's samples, on the device where they fit."""
        home = device if part.images.nbytes < _ON_DEVICE_BYTES else torch.device("cpu")
        values, labels = torch.from_numpy(part.images).to(home), torch.from_numpy(part.labels).to(device)
        if part.events is not None:
            return Frames(values, labels, part.events.values)
        mean, std = (torch.tensor(each, dtype=torch.float32, device=device) for each in (self.mean, self.std))
        return Images(values, labels, mean, std, part.scale)


def load_data(config: TrainConfig, cache: Path | None = None) -> Data:
    """Reads what the config names; what was decoded is kept in the folder `cache`.

    Raises:
        DataError: files missing or unfit, classes without enough images.
    """
    reading = Reading.of(settings(config), cache=cache)
    if config.sensor:
        height, width = config.sensor
        reading = replace(reading, binning=replace(reading.binning, sensor=(height, width)))
    whole = load_split(config.dataset, "train", config.data, None, config.limit_train, reading)
    if whole.events is not None:
        reading = replace(reading, binning=whole.events)
    test = load_split(config.dataset, "test", config.data, whole.shape, config.limit_test, reading)
    if test.classes != whole.classes:
        raise DataError(f"{config.dataset}: train and test have different classes")
    train, validation = split_off(whole, config.val_fraction, config.seed)
    if len(train) < 2:
        raise DataError(f"{config.dataset}: {len(train)} training images; batch normalization needs at least 2")
    mean, std = (None, None) if whole.events else STATISTICS.get(config.dataset) or statistics(whole)
    name = _AUTO.get(config.dataset, "crop-flip") if config.augment == "auto" else config.augment
    return Data(train, validation, test, mean, std, _augment(name, config))


def _augment(name: str, config: TrainConfig) -> Augment:
    augment = AUGMENTS[name]
    if config.flip == "alternate" and not augment.flip:
        raise UsageError(f"--flip alternate: --augment {name} mirrors nothing")
    return replace(augment, alternate=config.flip == "alternate")


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split | None]:
    """The training and the validation part, class by class, chosen by `seed`."""
    if fraction == 0:
        return split, None
    order = np.random.default_rng(seed).permutation(len(split))
    held = np.zeros(len(split), dtype=bool)
    for label in range(len(split.classes)):
        members = order[split.labels[order] == label]
        held[members[: round(fraction * len(members))]] = True
    if not held.any():
        raise DataError(f"--val-fraction {fraction:g} of {len(split)} images holds none out")
    return split.subset(np.flatnonzero(~held)), split.subset(np.flatnonzero(held))


def statistics(split: Split) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, pixels in 0..1, of uint8 exact by way of a histogram."""
    if split.images.dtype != np.uint8:
        flat = split.images.reshape(-1, split.images.shape[-1]).astype(np.float64) / split.scale
        return flat.mean(axis=0).tolist(), [each or 1.0 for each in flat.std(axis=0).tolist()]
    values = np.arange(256) / split.scale
    mean, std = [], []
    for channel in range(split.images.shape[-1]):
        weights = np.bincount(split.images[..., channel].ravel(), minlength=256) / split.images[..., channel].size
        mean.append(float(weights @ values))
        std.append(float(np.sqrt(weights @ (values - mean[-1]) ** 2)) or 1.0)
    return mean, std
