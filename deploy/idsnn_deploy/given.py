"""Data sets that a program already holds: arrays, torch Datasets, Hugging Face's; and as one .npz file beside a run.

| given | is |
|---|---|
| `(images, labels)` | arrays or tensors: uint8 `(N, H, W[, C])` or float `(N, C, H, W)` in 0..1; integers `(N,)` |
| anything with a length and items | samples `(image, label)`, or objects with `image` or `img`, and `label` |
| a tuple of two of these | the training and the test part; one alone is divided by seed |

An image of a sample is a Pillow image, a uint8 array `(H, W[, C])`, or a tensor or float array `(C, H, W)`. Tensors
are known by their `detach`, for no torch is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .array_sets import labelled, read_array_set
from .arrays import Array
from .errors import DataError
from .files import replacing
from .images import load_image
from .reading import Division
from .split import Split


def write_given(data: Any, file: Path, division: Division) -> None:
    """Writes `data` as the .npz that `--dataset npz` reads.

    Raises:
        DataError: what is no data set of the table above; nothing is written.
    """
    arrays: dict[str, Array] = {}
    for name, part in _parts(data).items():
        prefix = f"{name}_" if name else ""
        arrays[f"{prefix}images"], arrays[f"{prefix}labels"] = _arrays(part, _where(name))
    with replacing(file) as beside:
        np.savez(beside, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the names for its own options
        for split in ("train", "test"):
            read_array_set(split, beside, division)


def read_given(data: Any, split: str) -> Split:
    """The `split` part of two, or all of one data set, as `--dataset npz` reads it.

    Raises:
        DataError: what is no data set of the table above.
    """
    parts = _parts(data)
    name = split if split in parts else ""
    return labelled(*_arrays(parts[name], _where(name)), _where(name))


def _parts(data: Any) -> dict[str, Any]:
    """What is given, by the names of its parts; one alone has none."""
    two = isinstance(data, tuple) and len(data) == 2 and not _is_arrays(data)
    return dict(zip(("train", "test"), data, strict=True)) if two else {"": data}


def _where(name: str) -> str:
    return f"data, {name or 'whole'}"


def _is_arrays(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and all(isinstance(x, np.ndarray) or _is_tensor(x) for x in data)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach")


def _array(value: Any) -> Array:
    return np.asarray(value.detach().cpu() if _is_tensor(value) else value)


def _arrays(part: Any, where: str) -> tuple[Array, Array]:
    """Images and labels of one part."""
    if _is_arrays(part):
        return _array(part[0]), _array(part[1])
    if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise DataError(f"{where}: a {type(part).__name__} is neither (images, labels) nor a data set with a length")
    images, labels = [], []
    for i in range(len(part)):
        try:
            image, label = _sample(part[i])
        except (IndexError, KeyError, TypeError, ValueError) as cause:
            raise DataError(
                f"{where}: says that it has {len(part)} samples, and sample {i} is no (image, label) ({cause!r})"
            ) from cause
        images.append(_pixels(image, f"{where}, sample {i}"))
        labels.append(_label(label, f"{where}, sample {i}"))
    return _stacked(images, where), np.array(labels, dtype=np.int64)


def _sample(sample: Any) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        return sample["image"] if "image" in sample else sample["img"], sample["label"]
    image, label = sample
    return image, label


def _pixels(image: Any, where: str) -> Array:
    """uint8 `(H, W, C)`, or float32 `(C, H, W)`."""
    if isinstance(image, Image.Image):
        return load_image(image)
    values = _array(image)
    if values.dtype == np.uint8 and values.ndim in (2, 3):
        if _is_tensor(image) and values.ndim == 3:
            return values.transpose(1, 2, 0)
        return values[..., None] if values.ndim == 2 else values
    if values.dtype.kind != "f" or values.ndim != 3:
        raise DataError(
            f"{where}: an image of {values.dtype} and shape {values.shape}; "
            f"give a Pillow image, uint8 (H, W[, C]) or float (C, H, W)"
        )
    return values.astype(np.float32)


def _label(label: Any, where: str) -> int:
    value = _array(label)
    if value.shape != () or value.dtype.kind not in "iu":
        raise DataError(f"{where}: the label is {label!r}, not an integer")
    return int(value)


def _stacked(images: list[Array], where: str) -> Array:
    """All images in one array; grey ones among colours get three channels."""
    if not images:
        raise DataError(f"{where}: holds no samples")
    colour = max(image.shape[-1] for image in images) if images[0].dtype == np.uint8 else 1
    even = [
        np.repeat(image, 3, axis=-1) if colour == 3 and image.dtype == np.uint8 and image.shape[-1] == 1 else image
        for image in images
    ]
    for i, image in enumerate(even):
        if (image.shape, image.dtype) != (even[0].shape, even[0].dtype):
            raise DataError(
                f"{where}, sample {i}: {image.dtype} of shape {image.shape} where the first is {even[0].dtype} of "
                f"{even[0].shape}; bring them to one size and type"
            )
    return np.stack(even)
