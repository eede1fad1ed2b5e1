"""Image folders as arrays: one size and one number of channels for files that come in many.

    size      what is asked for; else the median height and width, made smaller until the longer side is at most 64
    channels  3 if any file is in colour, else 1; `gray`: 1

Each file is read by the rule of `images` (EXIF orientation, palettes, 16 bits, transparency over white). What was
decoded is kept in one file, if a cache is given, which holds as long as names, sizes and times of the files do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .arrays import Array
from .class_trees import ClassFiles, class_files
from .decoding import decoded
from .errors import DataError, ImageError
from .files import replacing
from .reading import Reading
from .split import Split

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LONGEST_SIDE = 64
_NAMED = 5


def read_folder(split: str, root: str | os.PathLike[str], reading: Reading | None = None) -> Split:
    """One part of a tree of images, by what `reading` says of shape, limit, division, gray, image_size and cache.

    Raises:
        DataError: a broken tree, or an image that cannot be read.
    """
    reading = reading or Reading()
    found = class_files(root, split, IMAGE_SUFFIXES, reading.division, reading.limit)
    cache = None if reading.cache is None else reading.cache / _cache_name(Path(root), split)
    key = _key(found.files, reading)
    held = _kept(cache, key, len(found.files))
    images, kept, notes = held or _decoded(split, root, found, reading)
    if cache is not None and held is None:
        with replacing(cache) as file:
            np.savez(file, key=key, images=images, kept=kept, notes=np.array(notes, dtype=np.str_))
    files = tuple(str(found.files[i]) for i in kept)
    return Split(images, found.labels[kept], found.classes, 255.0, files, notes=found.notes + notes)


def _decoded(
    split: str, root: str | os.PathLike[str], found: ClassFiles[Path], reading: Reading
) -> tuple[Array, Array, tuple[str, ...]]:
    """The images, which of the files they are, and what a person should know."""
    names, notes = [str(file) for file in found.files], []
    shape, ready = reading.shape, dict[int, Array]()
    if shape is None:
        shape, ready, note = _looked_at(names, reading, f"{Path(root)}, {split}")
        notes.append(note)
    images = np.empty((len(names), *shape[1:], shape[0]), dtype=np.uint8)
    for i, image in ready.items():
        images[i] = image
    broken: dict[int, str] = {}
    rest = [i for i in range(len(names)) if i not in ready]
    for i, image in decoded([names[i] for i in rest], f"reading {split} images", shape):
        if isinstance(image, ImageError):
            broken[rest[i]] = _refused(image, reading)
        else:
            images[rest[i]] = image
    if broken:
        more = f", and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        notes.append(f"{len(broken)} unreadable files are left out: {'; '.join([*broken.values()][:_NAMED])}{more}")
    kept = np.array([i for i in range(len(names)) if i not in broken], dtype=np.int64)
    _check_classes(found, kept)
    return images[kept] if broken else images, kept, tuple(notes)


def _looked_at(
    names: Sequence[str], reading: Reading, where: str
) -> tuple[tuple[int, int, int], dict[int, Array], str]:
    """The `(C, H, W)` of all, the images that have it already, and the line that says what was found."""
    found = {i: each for i, each in decoded(names, "looking at images") if not _is_broken(each, reading)}
    if not found:
        raise DataError(f"{where}: none of the {len(names)} images can be read")
    sizes = np.array([each.shape if isinstance(each, np.ndarray) else each for each in found.values()])
    colour = int((sizes[:, 2] == 3).sum())
    height, width = _median(sizes) if reading.image_size is None else (reading.image_size,) * 2
    channels = 3 if colour and not reading.gray else 1
    low, high = sizes[:, 1::-1].min(axis=0), sizes[:, 1::-1].max(axis=0)
    span = f"{low[0]}x{low[1]}" + ("" if (low == high).all() else f" to {high[0]}x{high[1]}")
    note = (
        f"{where}: {len(sizes):,} images of {span} pixels, {colour:,} of them in colour; "
        f"taken as {width}x{height} {'RGB' if channels == 3 else 'grey'} (--image-size, --gray say otherwise)"
    )
    wanted = (height, width, channels)
    ready = {i: each for i, each in found.items() if isinstance(each, np.ndarray) and each.shape == wanted}
    return (channels, height, width), ready, note


def _median(sizes: Array) -> tuple[int, int]:
    """The median height and width, made smaller until the longer side is at most 64."""
    height, width = (float(np.median(sizes[:, axis])) for axis in (0, 1))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _is_broken(shape: object, reading: Reading) -> bool:
    if isinstance(shape, ImageError):
        _refused(shape, reading)
        return True
    return False


def _refused(error: ImageError, reading: Reading) -> str:
    """The error in words, where broken files may be left out; else raises it."""
    if not reading.division.skip_broken:
        raise ImageError(f"{error}; --skip-broken leaves such files out") from error
    return str(error)


def _check_classes(found: ClassFiles[Path], kept: Array) -> None:
    left = set(found.labels[kept].tolist())
    for label in sorted(set(found.labels.tolist()) - left):
        first = next(file for file, each in zip(found.files, found.labels, strict=True) if each == label)
        raise DataError(f"{first.parent}: no image in it can be read")


# what was decoded, kept


def _cache_name(root: Path, split: str) -> str:
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return f".{root.name}-{split}-{place}.cache.npz"


def _key(files: Sequence[Path], reading: Reading) -> str:
    """Changes with any file's name, size or time, and with what is asked of them."""
    asked = (reading.shape, reading.gray, reading.image_size, reading.division.skip_broken)
    digest = hashlib.sha256(json.dumps(asked).encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _kept(cache: Path | None, key: str, count: int) -> tuple[Array, Array, tuple[str, ...]] | None:
    """What a cache holds of `count` files; None where there is none, or one of other files, or a broken one."""
    if cache is None or not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as held:
            if str(held["key"]) != key:
                return None
            images, kept, notes = held["images"], held["kept"], tuple(map(str, held["notes"]))
        numbered = kept.dtype.kind == "i" and kept.shape == images.shape[:1] and len(kept) > 0
        fits = numbered and images.dtype == np.uint8 and images.ndim == 4 and 0 <= kept.min() <= kept.max() < count
    except Exception:  # zipfile, zlib and numpy raise a dozen kinds
        return None
    return (images, kept, notes) if fits else None
