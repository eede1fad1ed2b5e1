"""Data sets by name, read into arrays by one reader for training, export and evaluation.

| name | what | a sample |
|---|---|---|
| digits | 1,797 scanned digits, 1x8x8 (Alpaydin and Kaynak, UCI, CC BY 4.0); 360 test images, stratified | 0..16 |
| mnist, kmnist, fashion-mnist, cifar10, cifar100, svhn | torchvision's, downloaded into `data` on demand | 0..255 |
| folder | image files sorted by class (`class_trees`), any size | 0..255 |
| npz | labelled arrays in a file (`array_sets`) | 0..255, or 0..1 |
| nmnist, n-caltech101, cifar10-dvs, dvs128-gesture, events | recordings (`recordings`) | counts of events in T frames |

Another one is a row of `DATASETS`, and its name one of `reading.DataSet`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from .array_sets import read_array_set
from .closest import known_are
from .commands import require_extra
from .errors import DataError, UsageError, first_line
from .event_files import READERS
from .image_folders import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from .image_folders import read_folder
from .reading import Reading as Reading
from .recordings import LAYOUTS, by_class, read_recordings
from .split import Split as Split
from .split import balanced_subset as balanced_subset

# As scikit-learn's load_digits and train_test_split (random_state 0) give them; they take a second to import.
DIGITS = Path(__file__).with_name("digits.npz")

Reader = Callable[[str, "Path | None", Reading], Split]


def load_split(
    name: str,
    split: str = "train",
    data: str | os.PathLike[str] | None = None,
    shape: tuple[int, int, int] | None = None,
    limit: int | None = None,
    reading: Reading | None = None,
) -> Split:
    """Returns the `train` or `test` part of a data set.

    Args:
        name: a row of `DATASETS`.
        split: "train" or "test".
        data: where the files are; torchvision's are in `data` where it is not given.
        shape: as in `Reading`, over what `reading` says.
        limit: likewise.
        reading: how; None has `Reading`'s defaults.

    Raises:
        UsageError: an unknown name, or no `data` where it is needed.
        DataError: files that are missing or are no such data set.
    """
    if split not in ("train", "test"):
        raise ValueError(f"a split is 'train' or 'test', not {split!r}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} images; give at least 1")
    if name not in DATASETS:
        raise UsageError(f"unknown data set {name!r}; {known_are(name, DATASETS)}")
    reading = reading or Reading()
    reading = replace(reading, shape=shape or reading.shape, limit=limit or reading.limit)
    found = DATASETS[name](split, None if data is None else Path(data), reading)
    most = reading.limit
    return found if most is None or len(found) <= most else found.subset(balanced_subset(found.labels, most))


def _digits(split: str, data: Path | None, reading: Reading) -> Split:
    with np.load(DIGITS, allow_pickle=False) as held:
        images, labels = held[f"{split}_images"][..., None], held[f"{split}_labels"].astype(np.int64)
    return Split(images, labels, tuple(str(digit) for digit in range(10)), 16.0)


def _torchvision(kind: str, split: str, data: Path | None, reading: Reading, by_name: bool = False) -> Split:
    """A data set of torchvision's; `by_name` where it is asked for a split by name, and gives channels first."""
    # By name and only here: the floor itself runs without torch.
    require_extra(f"the data set {kind}", "train", "torchvision")
    make, root = getattr(importlib.import_module("torchvision.datasets"), kind), data or Path("data")
    part = {"split": split} if by_name else {"train": split == "train"}
    try:
        found = make(str(root), **part, download=True)
    except Exception as cause:  # its files are pickles, archives and texts; and a version may take other arguments
        reason = first_line(cause)
        raise DataError(
            f"{root}: {kind} is not there and could not be downloaded ({reason}); "
            f"put torchvision's files there, or name their folder with --data"
        ) from cause
    images = np.asarray(found.data)
    images = images.transpose(0, 2, 3, 1) if by_name else images[..., None] if images.ndim == 3 else images
    labels = np.asarray(found.labels if by_name else found.targets, dtype=np.int64)
    return Split(images, labels, tuple(getattr(found, "classes", map(str, range(10)))))


def _folder(split: str, data: Path | None, reading: Reading) -> Split:
    return read_folder(split, needed("folder", data), reading)


def _npz(split: str, data: Path | None, reading: Reading) -> Split:
    if data is None:
        raise UsageError("--dataset npz needs --data FILE.npz with `images` and `labels`")
    return read_array_set(split, data, reading.division)


def _recordings(name: str, split: str, data: Path | None, reading: Reading) -> Split:
    return read_recordings(name, split, needed(name, data), reading)


def needed(name: str, data: Path | None) -> Path:
    """`data`, which this data set cannot do without; `UsageError` where it is None."""
    if data is None:
        raise UsageError(f"--dataset {name} needs --data DIR, a folder with train/CLASS/ and test/CLASS/ in it")
    return data


DATASETS: dict[str, Reader] = {
    "digits": _digits,
    "mnist": partial(_torchvision, "MNIST"),
    "kmnist": partial(_torchvision, "KMNIST"),
    "fashion-mnist": partial(_torchvision, "FashionMNIST"),
    "cifar10": partial(_torchvision, "CIFAR10"),
    "cifar100": partial(_torchvision, "CIFAR100"),
    "svhn": partial(_torchvision, "SVHN", by_name=True),
    "folder": _folder,
    "npz": _npz,
    **{name: partial(_recordings, name) for name in LAYOUTS},
}
# Sets of the user's own files, with the endings that count; they may come without a test part.
FILES: dict[str, Collection[str]] = {
    "folder": IMAGE_SUFFIXES,
    **{name: READERS for name, layout in LAYOUTS.items() if layout.files is by_class},
}
DIVIDED = frozenset({*FILES, "npz"})
RECORDED = frozenset(LAYOUTS)
