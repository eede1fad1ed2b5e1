"""From whatever a caller has to the batches that a network takes.

| given | is |
|---|---|
| float array `(N, C, H, W)` or `(C, H, W)` | pixels in 0..1, taken as they are |
| uint8 array `(N, H, W, C)` or `(H, W, C)` | 0..255; brought to the network's size and channels as files are |
| path, encoded bytes, Pillow image | read by the rule of `images` |
| list or tuple | any of these, one after the other |

A network whose input varies in time takes float arrays `(T, N, ...)`, and where it was trained on events

| given | is |
|---|---|
| structured array of events, path of a recording | one sample, binned as in training (`recordings.clip`) |
| list or tuple of these | samples, one after the other |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .arrays import Array
from .errors import UsageError
from .images import ImageSource, load_image
from .manifest import Manifest
from .recordings import clip

Images = Array | ImageSource | Sequence[Any]


def batches(images: Images, manifest: Manifest, size: int) -> Iterator[Array]:
    """Yields float32 batches of at most `size` samples, `(n, *input_shape)`, or `(T, n, *input_shape)` for frames.

    Image files are decoded batch by batch, so that a long list of paths needs no more memory than a short one.

    Raises:
        ImageError: an image that does not decode or is refused.
        UsageError: image files for a network that takes no images.
        ValueError, TypeError: an array of another shape, range or type.
    """
    if manifest.sample_axis:
        for part in _recorded(images, manifest, size):
            yield from _chunks(_clip(part, manifest), size, manifest.sample_axis)
    elif isinstance(images, (list, tuple)):
        if not images:
            raise ValueError("no images were given")
        for start in range(0, len(images), size):
            yield from _chunks(np.concatenate([_samples(i, manifest) for i in images[start : start + size]]), size)
    elif isinstance(images, np.ndarray) and images.ndim > len(manifest.input_shape):
        if not len(images):
            raise ValueError("no images were given")
        for chunk in _chunks(images, size):
            yield _samples(chunk, manifest)
    else:
        yield _samples(images, manifest)


def _chunks(batch: Array, size: int, axis: int = 0) -> Iterator[Array]:
    for start in range(0, batch.shape[axis], size):
        yield batch[(slice(None),) * axis + (slice(start, start + size),)]


def _samples(item: Any, manifest: Manifest) -> Array:
    """One item of the table as float32 `(n, *input_shape)`."""
    if not isinstance(item, np.ndarray):
        if not isinstance(item, (str, os.PathLike, bytes, Image.Image)):
            raise TypeError(f"an image is an array, a path, bytes or a Pillow image, not a {type(item).__name__}")
        return _scaled(load_image(item, manifest.image_shape)[None])
    if item.dtype == np.uint8:
        return _pixels(item, manifest.image_shape)
    return _floats(item, manifest)


def _pixels(images: Array, shape: tuple[int, int, int]) -> Array:
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"uint8 images are (N, H, W, C) with C 1 or 3, not {images.shape}; float images are (N, C, H, W)"
        )
    channels, height, width = shape
    if images.shape[1:] != (height, width, channels):
        flat = images[..., 0] if images.shape[-1] == 1 else images
        images = np.stack([load_image(Image.fromarray(image), shape) for image in flat])
    return _scaled(images)


def _scaled(images: Array) -> Array:
    """uint8 `(n, H, W, C)` as float32 `(n, C, H, W)` in 0..1: the arithmetic of `Split.pixels`."""
    return np.ascontiguousarray((images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2))


def _floats(values: Array, manifest: Manifest) -> Array:
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"images are float arrays in 0..1 or uint8 arrays, not {values.dtype}")
    shape = tuple(manifest.input_shape)
    values = values[None] if values.shape == shape else values
    if values.shape[1:] != shape:
        raise ValueError(
            f"the network takes float inputs of shape (N, {', '.join(map(str, shape))}), not {values.shape}"
        )
    low, high = float(values.min()), float(values.max())
    # NaN fails both comparisons. Without a normalization the values may be anything finite.
    bounds = (0.0, 1.0) if manifest.mean is not None else (-3e38, 3e38)
    if not (low >= bounds[0] and high <= bounds[1]):
        words = "in 0..1" if manifest.mean is not None else "finite"
        raise ValueError(f"float inputs must be {words}; these reach from {low:g} to {high:g}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _recorded(images: Images, manifest: Manifest, size: int) -> Iterator[Images]:
    """Recordings as frames `(T, n, ...)`, at most `size` at a time; anything else as it is."""
    plain = isinstance(images, np.ndarray) and images.dtype.names is None
    if manifest.events is None or plain:
        yield images
        return
    each: Sequence[Any] = images if isinstance(images, (list, tuple)) else [images]
    for start in range(0, len(each), size):
        yield np.stack([clip(one, manifest) for one in each[start : start + size]], axis=1)


def _clip(frames: Images, manifest: Manifest) -> Array:
    shape = tuple(manifest.input_shape)
    if not isinstance(frames, np.ndarray):
        raise UsageError(
            "the network's input varies in time: pass a float array (T, N, ...), or frames to Session.step"
        )
    if frames.ndim != len(shape) + 2 or frames.shape[0] != manifest.timesteps or frames.shape[2:] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"the network takes frames of shape ({manifest.timesteps}, N, {wanted}), not {frames.shape}")
    if not frames.shape[1]:
        raise ValueError("no samples were given")
    if not np.isfinite(frames).all():
        raise ValueError("frames must be finite")
    return np.ascontiguousarray(frames, dtype=np.float32)
