"""Labelled images in an .npz file as a data set.

| arrays | part |
|---|---|
| `train_images`, `train_labels`, `test_images`, `test_labels` | as they are called |
| `images`, `labels` | divided by seed, class by class, as a tree without a test folder is |

Images are uint8 `(N, H, W, C)` or `(N, H, W)`, or floats `(N, C, H, W)` in 0..1; labels are integers from 0.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from .array_file import read_npz
from .arrays import Array
from .class_trees import divided
from .errors import DataError
from .files import read_bytes
from .reading import Division
from .split import Split

MAX_BYTES = 2**33


def read_array_set(split: str, path: str | os.PathLike[str], division: Division | None = None) -> Split:
    """One part of the labelled images in a file.

    Raises:
        DataError: no such file or arrays, labels that are no integers or too many, images of another shape or range.
    """
    try:
        arrays = read_npz(read_bytes(path, MAX_BYTES, DataError), most=MAX_BYTES)
    except ValueError as cause:
        raise DataError(f"{path}: not an .npz file of arrays ({cause})") from cause
    whole = not {f"{split}_images", f"{split}_labels"} <= arrays.keys()
    names = ("images", "labels") if whole else (f"{split}_images", f"{split}_labels")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no {', '.join(missing)}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    found = labelled(arrays[names[0]], arrays[names[1]], str(path), names)
    most = max((_most(arrays[name], name, str(path)) for name in arrays if name.endswith("labels")), default=0)
    found = replace(found, classes=tuple(map(str, range(most + 1))))
    return _part(found, split, division or Division(), path) if whole else found


def labelled(images: Array, labels: Array, where: str, names: tuple[str, str] = ("images", "labels")) -> Split:
    """Images and their labels; the classes are as many as the labels say.

    Raises:
        DataError: arrays that are neither, in a line that begins with `where`.
    """
    most = _most(labels, names[1], where)
    if labels.shape != images.shape[:1]:
        raise DataError(f"{where}: {names[0]} of shape {images.shape} with {names[1]} of shape {labels.shape}")
    pixels, scale = _pixels(images, f"{where}: {names[0]}")
    return Split(pixels, labels.astype(np.int64), tuple(map(str, range(most + 1))), scale)


def _most(labels: Array, name: str, where: str) -> int:
    """The largest label of an array of labels."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
        raise DataError(f"{where}: {name} is {labels.dtype} of shape {labels.shape}; give integers (N,) from 0")
    return int(labels.max())


def _pixels(images: Array, where: str) -> tuple[Array, float]:
    """Images `(N, H, W, C)`, and the value of a full pixel."""
    if images.dtype == np.uint8 and images.ndim in (3, 4):
        return (images[..., None] if images.ndim == 3 else images), 255.0
    if images.dtype.kind != "f" or images.ndim != 4:
        raise DataError(
            f"{where} is {images.dtype} of shape {images.shape}; give uint8 (N, H, W, C) or float (N, C, H, W)"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise DataError(f"{where} reaches from {images.min():g} to {images.max():g}; floats lie in 0..1")
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1), dtype=np.float32), 1.0


def _part(whole: Split, split: str, division: Division, path: object) -> Split:
    chosen = []
    for label in np.unique(whole.labels).tolist():
        members = np.flatnonzero(whole.labels == label)
        if len(members) < 2:
            raise DataError(f"{path}: one image of class {label}, which cannot be both for training and for testing")
        chosen.append(members[divided(len(members), str(label), split, division)])
    return whole.subset(np.sort(np.concatenate(chosen)))
