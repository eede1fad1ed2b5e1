"""Image folders as arrays: a tree of files, each by the rule of `images`, at one size."""

from __future__ import annotations

import os

import numpy as np

from .class_trees import class_files
from .images import load_image
from .progress import track
from .reading import Division
from .split import Split

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def read_folder(
    split: str,
    root: str | os.PathLike[str],
    division: Division | None = None,
    shape: tuple[int, int, int] | None = None,
    limit: int | None = None,
) -> Split:
    """One part of a tree of images.

    Raises:
        DataError: a broken tree, or an image that cannot be read.
    """
    found = class_files(root, split, IMAGE_SUFFIXES, division, limit)
    height, width, channels = load_image(found.files[0], shape).shape
    images = np.empty((len(found.files), height, width, channels), dtype=np.uint8)
    for i, file in enumerate(track(found.files, f"reading {split} images")):
        images[i] = load_image(file, (channels, height, width))
    return Split(images, found.labels, found.classes, 255.0, tuple(map(str, found.files)), notes=found.notes)
