"""Images and labels as numpy arrays, by one reader for training, export and evaluation.

| name | what | pixels |
|---|---|---|
| digits | scikit-learn's 1,797 scanned digits, 1x8x8; 360 stratified test images (random_state 0) | 0..16 |
| mnist, fashion-mnist, cifar10, cifar100 | torchvision's, downloaded into `data` on demand | 0..255 |
| folder | `train/CLASS/*` and `test/CLASS/*` image files under `data`, any size | 0..255 |
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .commands import require_extra
from .errors import DataError, UsageError
from .images import load_image
from .progress import track

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
DATASETS = ("digits", *_TORCHVISION, "folder")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
DIGITS_TEST_IMAGES = 360


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8 `(N, H, W, C)`.
        labels: int64 `(N,)`, indices into `classes`.
        classes: the labels' names, in order.
        scale: the value of a full pixel; a pixel in 0..1 is `images / scale`.
        files: the image files, for `folder`.
    """

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...]
    scale: float = 255.0
    files: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image's `(C, H, W)`."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def pixels(self, index: Any = slice(None)) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The chosen images as float32 `(n, C, H, W)` in 0..1."""
        chosen = self.images[index].astype(np.float32) / np.float32(self.scale)
        return np.ascontiguousarray(chosen.transpose(0, 3, 1, 2))

    def subset(self, index: np.ndarray[Any, Any]) -> Split:
        """The images at `index`, in that order."""
        files = tuple(self.files[i] for i in index) if self.files else ()
        return Split(self.images[index], self.labels[index], self.classes, self.scale, files)


def load_split(
    name: str,
    split: str = "train",
    data: str | os.PathLike[str] | None = None,
    shape: tuple[int, int, int] | None = None,
    limit: int | None = None,
) -> Split:
    """Returns the `train` or `test` part of a data set.

    Args:
        name: one of `DATASETS`.
        split: "train" or "test".
        data: the folder of the files: for `folder` the one with train/ and test/, else torchvision's (default `data`).
        shape: `(C, H, W)` to bring folder images to; None takes the first image's.
        limit: at most this many images, classes in turn, always the same ones.

    Raises:
        UsageError: an unknown name, or `folder` without `data`.
        DataError: files that are missing or are no such data set.
    """
    if split not in ("train", "test"):
        raise ValueError(f"a split is 'train' or 'test', not {split!r}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} images; give at least 1")
    if name == "folder":
        if data is None:
            raise UsageError("--dataset folder needs --data DIR, a folder with train/CLASS/ and test/CLASS/ in it")
        return _read_folder(Path(data), split, shape, limit)
    if name == "digits":
        whole = _read_digits(split)
    elif name in _TORCHVISION:
        whole = _read_torchvision(name, split, Path(data or "data"))
    else:
        raise UsageError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return whole if limit is None else whole.subset(balanced_subset(whole.labels, limit))


def balanced_subset(labels: np.ndarray[Any, Any] | Sequence[int], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices of at most `count` samples that take the classes in turn, each class in its given order."""
    labels = np.asarray(labels)
    rank = np.empty(len(labels), dtype=np.int64)  # the rank of each sample within its class
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, rank))[:count])


def _read_digits(split: str) -> Split:
    require_extra("the digits data set", "evaluation", "sklearn")
    load_digits = importlib.import_module("sklearn.datasets").load_digits
    train_test_split = importlib.import_module("sklearn.model_selection").train_test_split
    digits = load_digits()
    parts = train_test_split(
        digits.images.astype(np.uint8)[..., None],
        digits.target.astype(np.int64),
        test_size=DIGITS_TEST_IMAGES,
        stratify=digits.target,
        random_state=0,
    )
    images, labels = (parts[1], parts[3]) if split == "test" else (parts[0], parts[2])
    return Split(images, labels, tuple(str(digit) for digit in range(10)), 16.0)


def _read_torchvision(name: str, split: str, root: Path) -> Split:
    # By name and only here: the floor itself runs without torch.
    require_extra(f"the {name} data set", "train", "torchvision")
    kind = getattr(importlib.import_module("torchvision.datasets"), _TORCHVISION[name])
    try:
        found = kind(str(root), train=split == "train", download=True)
    except (OSError, RuntimeError) as cause:
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise DataError(
            f"{root}: {name} is not there and could not be downloaded ({reason}); "
            f"put torchvision's files there, or name their folder with --data"
        ) from cause
    images = np.asarray(found.data)
    images = images[..., None] if images.ndim == 3 else images
    return Split(images, np.asarray(found.targets, dtype=np.int64), tuple(found.classes))


def folder_classes(root: str | os.PathLike[str], split: str) -> tuple[str, ...]:
    """The class names of one part of an image folder, sorted.

    Raises:
        DataError: the part is missing or has no class folders.
    """
    part = Path(root) / split
    if not part.is_dir():
        raise DataError(f"{part}: no such folder; --dataset folder reads {split}/CLASS/*.jpg under --data")
    classes = tuple(sorted(entry.name for entry in part.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if not classes:
        raise DataError(f"{part}: no class folders in it; put each class's images into {split}/CLASS/")
    return classes


def folder_files(
    root: str | os.PathLike[str], split: str, limit: int | None = None
) -> tuple[tuple[Path, ...], np.ndarray[Any, np.dtype[np.int64]], tuple[str, ...]]:
    """The image files of one part of an image folder, their labels and the class names; no file is opened.

    Raises:
        DataError: the part or a class is missing or empty, or train and test have different classes.
    """
    root = Path(root)
    classes = folder_classes(root, split)
    other = "test" if split == "train" else "train"
    if (root / other).is_dir() and folder_classes(root, other) != classes:
        odd = sorted(set(classes) ^ set(folder_classes(root, other)))
        raise DataError(f"{root}: train and test have different classes ({', '.join(odd[:5])} in one of them only)")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        members = sorted(
            f for f in (root / split / name).iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.name[0] != "."
        )
        if not members:
            raise DataError(
                f"{root / split / name}: no images in it (known endings: {' '.join(sorted(IMAGE_SUFFIXES))})"
            )
        files += members
        labels += [label] * len(members)
    chosen = balanced_subset(labels, len(labels) if limit is None else limit)
    return tuple(files[i] for i in chosen), np.asarray(labels, dtype=np.int64)[chosen], classes


def _read_folder(root: Path, split: str, shape: tuple[int, int, int] | None, limit: int | None) -> Split:
    files, labels, classes = folder_files(root, split, limit)
    height, width, channels = load_image(files[0], shape).shape
    images = np.empty((len(files), height, width, channels), dtype=np.uint8)
    for i, file in enumerate(track(files, f"reading {split} images")):
        images[i] = load_image(file, (channels, height, width))
    return Split(images, labels, classes, 255.0, tuple(map(str, files)))
