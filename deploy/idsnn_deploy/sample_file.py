"""Inputs of a network as numpy files, one or several samples each: what no image can say.

| file | shape |
|---|---|
| `.npy`, or the one array of an `.npz` (of several the one named `input`) | one sample: `(*input_shape)` |
| the same, where the input varies in time | `(T, *input_shape)` |
| several samples | `(N, *input_shape)`, `(T, N, *input_shape)` |
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .array_file import MAX_BYTES, read_npy, read_npz
from .arrays import Array
from .errors import DataError
from .files import read_bytes
from .manifest import Manifest

SUFFIXES = (".npy", ".npz")


def is_sample_file(path: str) -> bool:
    """Whether a file is read here, by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def read_samples(path: str, manifest: Manifest) -> Array:
    """The samples of a file: float32 `(N, *input_shape)`, or `(T, N, *input_shape)` where the input varies in time.

    Raises:
        DataError: no such file, no numbers in it, several arrays and none named `input`, another shape or range; the
            line begins with the file's name and says which are taken.
    """
    data = read_bytes(path, MAX_BYTES, error=DataError)
    try:
        values = read_npy(data) if path.lower().endswith(".npy") else _only(read_npz(data))
    except ValueError as cause:
        raise DataError(f"{path}: no array that can be read ({cause})") from cause
    return _shaped(values, path, manifest)


def _only(arrays: dict[str, Array]) -> Array:
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if "input" not in arrays:
        raise ValueError(f"arrays {', '.join(sorted(arrays)) or 'none'}; one, or one named input, is read")
    return arrays["input"]


def _shaped(values: Array, path: str, manifest: Manifest) -> Array:
    axis, shape = manifest.sample_axis, tuple(manifest.input_shape)
    one = (manifest.timesteps,) * axis + shape
    if values.dtype.names is not None or values.dtype.kind not in "fiub":
        named = ", ".join(values.dtype.names or ())
        held = f"fields {named}: a recording, say, which a bundle for events takes" if named else f"{values.dtype}"
        raise DataError(f"{path}: not plain numbers; it holds {held}")
    if values.shape == one:
        values = np.expand_dims(values, axis)
    if values.shape[:axis] + values.shape[axis + 1 :] != one or not values.size:
        several = (*one[:axis], "N", *one[axis:])
        takes = f"({', '.join(map(str, one))}) or ({', '.join(map(str, several))})"
        raise DataError(f"{path}: an array of {values.shape}; the network takes {takes}")
    return _within(values, path, manifest).astype(np.float32)


def _within(values: Array, path: str, manifest: Manifest) -> Array:
    images = manifest.mean is not None and not manifest.sample_axis
    low, high = (0, 1) if images else (-3e38, 3e38)
    if not (values.min() >= low and values.max() <= high):  # NaN fails both
        words = "in 0..1" if images else "finite"
        raise DataError(f"{path}: from {values.min():g} to {values.max():g}; the network takes values that are {words}")
    return values
