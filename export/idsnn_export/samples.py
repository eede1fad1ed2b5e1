"""Inputs that an export is held to: the first of a data set's, or random ones where nobody knows any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.datasets import RECORDED, Reading, load_split
from idsnn_deploy.errors import DataError, RunError, UsageError


class Labelled:
    """The first samples of a data set's parts, read once each.

    Args:
        name, data: of the data set, and where its files are.
        reading: how it is read.
        classes: the labels' names; None: those that are found.

    Raises:
        RunError: (as it is read) other classes.
    """

    def __init__(
        self, name: str, data: str | Path | None, reading: Reading, classes: tuple[str, ...] | None = None
    ) -> None:
        self.name, self.data, self.reading, self.classes = name, data, reading, classes
        self._read: dict[tuple[int, str], tuple[Array, Array]] = {}

    def images(self, count: int, split: str) -> Array:
        """Float32 (n, C, H, W) in 0..1, or (T, n, ...) frames: at most `count`."""
        return self._part(count, split)[0]

    def labels(self, count: int, split: str) -> Array:
        """The same samples' classes, (n,)."""
        return self._part(count, split)[1]

    def _part(self, count: int, split: str) -> tuple[Array, Array]:
        if (count, split) not in self._read:
            found = load_split(self.name, split, self.data, None, count, self.reading)
            if self.classes is None:
                self.classes = found.classes
            if found.classes != self.classes:
                raise RunError(f"{self.data}: other classes than the run was trained on; name its data with --data DIR")
            self._read[count, split] = found.pixels(), found.labels
        return self._read[count, split]


def labelled(name: str, data: Path | None, shape: tuple[int, ...], timesteps: int, frames: bool) -> Labelled:
    """A data set for a network of whose training nothing is known.

    Raises:
        UsageError: images for a network that takes frames, or recordings for one that takes images.
        DataError: files that are missing, or samples of another shape.
    """
    if (name in RECORDED) != frames:
        takes = (
            "frames; give nmnist or events" if frames else "one image for all steps; recordings are --encoding frames"
        )
        raise UsageError(f"--dataset {name}: the network takes {takes}")
    size = (shape[0], shape[1], shape[2]) if len(shape) == 3 else None
    found = Labelled(name, data, Reading(shape=size, timesteps=timesteps))
    seen = found.images(1, "test").shape[1 + frames :]
    if seen != shape:
        raise DataError(f"--dataset {name}: samples of shape {seen}, where --input-shape says {shape}")
    return found


def random_inputs(count: int, split: str, shape: tuple[int, ...], timesteps: int | None, pixels: bool) -> Array:
    """Float32 (count, *shape), or (T, count, *shape) where `timesteps` is given; the same ones every time.

    Uniform in 0..1 where inputs are pixels; else half of them 1, the others 0.
    """
    leading = () if timesteps is None else (timesteps,)
    draw = np.random.default_rng(0 if split == "test" else 1).random((*leading, count, *shape), dtype=np.float32)
    return draw if pixels else (draw < 0.5).astype(np.float32)
