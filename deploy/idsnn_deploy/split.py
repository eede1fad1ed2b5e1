"""One part of a data set: images or event frames in memory, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .arrays import Array
from .reading import Binning, Values


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8 `(N, H, W, C)`; counts of events `(N, T, H, W, 2)` for recordings, in the least type that holds
            them.
        labels: int64 `(N,)`, indices into `classes`.
        classes: the labels' names, in order.
        scale: the value of a full pixel; a pixel in 0..1 is `images / scale`. 1 for frames, which stay counts.
        files: the files, where every sample has one.
        events: how the frames were binned, for recordings.
        notes: what was found on the way and a person should know, one line each.
    """

    images: Array
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...]
    scale: float = 255.0
    files: tuple[str, ...] = field(default=(), repr=False)
    events: Binning | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The `(C, H, W)` of one image or frame."""
        height, width, channels = self.images.shape[-3:]
        return channels, height, width

    def pixels(self, index: Any = slice(None)) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The chosen images as float32 `(n, C, H, W)` in 0..1, or frames `(T, n, 2, H, W)`."""
        chosen = self.images[index]
        if self.events is not None:
            frames = np.moveaxis(chosen, (1, -1), (0, 2))
            return np.ascontiguousarray(as_values(frames, self.events.values), dtype=np.float32)
        scaled = chosen.astype(np.float32) / np.float32(self.scale)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def subset(self, index: Array) -> Split:
        """The images at `index`, in that order."""
        files = tuple(self.files[i] for i in index) if self.files else ()
        return replace(self, images=self.images[index], labels=self.labels[index], files=files)


class Pixels:
    """A split's samples as a network takes them, converted slice by slice."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: slice) -> Array:
        return self._split.pixels(index)


def as_values(counts: Array, values: Values) -> Array:
    """Counts of events as a network takes them: as they are, or 1 wherever there was one."""
    return np.minimum(counts, 1) if values == "binary" else counts


def balanced_subset(labels: Array | Sequence[int], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices of at most `count` samples that take the classes in turn, each class in its given order."""
    labels = np.asarray(labels)
    rank = np.empty(len(labels), dtype=np.int64)  # the rank of each sample within its class
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, rank))[:count])
