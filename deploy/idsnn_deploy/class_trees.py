"""Files sorted into folders by class, and which of them are for training.

| under the root | train | test |
|---|---|---|
| train/CLASS/*, test/CLASS/* (Train, Test) | the one | the other |
| train/CLASS/* alone | all but the test part | by seed, `test_fraction` of each class |
| CLASS/* alone | all but the test part | by seed, `test_fraction` of each class |

The seed of that split is a setting of its own: runs that differ in their seed of training have the same test part.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from .arrays import Array
from .errors import DataError
from .reading import Division
from .split import balanced_subset

PARTS = ("train", "test")


Sample = TypeVar("Sample")


@dataclass(frozen=True)
class ClassFiles(Generic[Sample]):
    """The files of one part of a tree, or what lies in them, with what was passed over on the way."""

    files: tuple[Sample, ...]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def class_files(
    root: str | os.PathLike[str],
    split: str,
    suffixes: Collection[str],
    division: Division | None = None,
    limit: int | None = None,
) -> ClassFiles[Path]:
    """The files of one part, at most `limit` of them, classes in turn; none is opened.

    Raises:
        DataError: a part or class that is missing or empty, classes that differ between the parts or in case alone.
    """
    root, division = Path(root), division or Division()
    parts = _parts(root)
    if split not in parts and parts.keys() - {"train"}:
        raise DataError(f"{root}: no such folder {split}/ beside {'/, '.join(parts)}/")
    top = parts.get(split, parts.get("train", root))
    classes = _classes(top, split)
    for other in parts.values():
        if other != top and _classes(other, split) != classes:
            odd = sorted(set(classes) ^ set(_classes(other, split)))
            raise DataError(f"{root}: train and test have different classes ({', '.join(odd[:5])} in one of them only)")
    passed: Counter[str] = Counter()
    members = [_members(top / name, suffixes, passed) for name in classes]
    notes = [_passed_over(top, passed)] if passed else []
    if "test" not in parts:
        members = [_divided(each, split, division) for each in members]
        notes.append(
            f"{root}: no test/; {division.test_fraction:.0%} of each class are for testing (seed {division.split_seed})"
        )
    labels = np.repeat(np.arange(len(classes)), [len(each) for each in members])
    chosen = balanced_subset(labels, len(labels) if limit is None else limit)
    files = [file for each in members for file in each]
    return ClassFiles(tuple(files[i] for i in chosen), labels[chosen].astype(np.int64), classes, tuple(notes))


def _parts(root: Path) -> dict[str, Path]:
    """The folders of train and test, whatever their case."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data names one with train/CLASS/ and test/CLASS/, or CLASS/, in it")
    found = [entry for entry in sorted(root.iterdir()) if entry.name.lower() in PARTS and entry.is_dir()]
    if len({entry.name.lower() for entry in found}) < len(found):
        raise DataError(f"{root}: {' and '.join(entry.name for entry in found)} differ in case only; keep one of them")
    return {entry.name.lower(): entry for entry in found}


def _classes(part: Path, split: str) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in part.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not classes:
        raise DataError(f"{part}: no class folders in it; put each class's files into {split}/CLASS/")
    odd = next((name for name in classes if not _is_text(name)), None)
    if odd is not None:
        raise DataError(f"{part}: the class folder {odd!r} has a name that is not UTF-8; rename it")
    names = {name.casefold(): name for name in classes}
    for name in classes:
        if names[name.casefold()] != name:
            raise DataError(f"{part}: classes {name} and {names[name.casefold()]} differ in case only; join or rename")
    return classes


def _is_text(name: str) -> bool:
    """Whether a name is text; what is no UTF-8 in it Python stands in for with halves of characters."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _members(folder: Path, suffixes: Collection[str], passed: Counter[str]) -> list[Path]:
    members = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            passed["hidden"] += 1
        elif entry.suffix.lower() in suffixes:
            members.append(entry)
        else:
            passed[entry.suffix or "without an ending"] += 1
    if not members:
        raise DataError(f"{folder}: no files of a known ending in it ({' '.join(sorted(suffixes))})")
    return members


def _passed_over(top: Path, passed: Counter[str]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
    return f"{top}: {sum(passed.values())} files of other kinds are passed over ({kinds})"


def _divided(files: list[Path], split: str, division: Division) -> list[Path]:
    """The part of a class's files that is `split`'s, in their order; at least one is on either side."""
    if len(files) < 2:
        raise DataError(
            f"{files[0].parent}: one file, which cannot be both for training and for testing; "
            f"add another, or a test/ folder"
        )
    return [files[i] for i in divided(len(files), files[0].parent.name, split, division)]


def divided(count: int, name: str, split: str, division: Division) -> Array:
    """Which of a class's `count` samples are `split`'s, in order; of two or more, at least one is on either side."""
    # By the class's name, so that another class changes nothing in this one.
    order = np.random.default_rng([division.split_seed, zlib.crc32(name.encode())]).permutation(count)
    tested = min(count - 1, max(1, round(division.test_fraction * count)))
    return np.sort(order[:tested] if split == "test" else order[tested:])
