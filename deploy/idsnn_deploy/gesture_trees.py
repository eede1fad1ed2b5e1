"""DVS128 Gesture (Amir et al., CVPR 2017): eleven gestures, a dozen of them in each of its authors' recordings.

| tree | a sample |
|---|---|
| trials_to_train.txt, trials_to_test.txt, NAME.aedat, NAME_labels.csv | a row of the table: class 1..11, start, end |
| ibmGestureTrain/*/0..10.npy, ibmGestureTest/*/0..10.npy, as tonic has it | a file: columns x, y, p, t, in ms |
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .array_file import read_npy
from .class_trees import ClassFiles
from .errors import DataError
from .event_files import MAX_BYTES, Events, from_fields, read, reading
from .files import read_bytes
from .reading import Division
from .split import balanced_subset

GESTURES = (
    *("hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counterclockwise"),
    *("left arm clockwise", "left arm counterclockwise", "arm roll", "air drums", "air guitar", "other gestures"),
)


@dataclass(frozen=True)
class Gesture:
    """A sample: a part of a recording, or a file of its own where `start` is None."""

    file: Path
    label: int
    start: int | None = None
    end: int = 0

    def __str__(self) -> str:
        return str(self.file) if self.start is None else f"{self.file}, {self.start} to {self.end} µs"


def gesture_files(
    root: str | os.PathLike[str], split: str, division: Division | None = None, limit: int | None = None
) -> ClassFiles[Gesture]:
    """The gestures of one part, at most `limit` of them, classes in turn. The authors divided them, not `division`.

    Raises:
        DataError: neither of the two trees, or a table that names no gesture.
    """
    folder = Path(root)
    trials, cut = folder / f"trials_to_{split}.txt", folder / f"ibmGesture{split.capitalize()}"
    if not (trials.is_file() or cut.is_dir()):
        raise DataError(f"{folder}: neither {trials.name} nor {cut.name}/ in it; unpack DVS128 Gesture there")
    found = list(_cut(cut) if cut.is_dir() else _trials(trials))
    if not found:
        raise DataError(f"{cut if cut.is_dir() else trials}: names no gesture")
    labels = np.array([each.label for each in found], dtype=np.int64)
    chosen = balanced_subset(labels, len(found) if limit is None else limit)
    return ClassFiles(tuple(found[i] for i in chosen), labels[chosen], GESTURES)


def read_gesture(gesture: Gesture) -> Events:
    """The events of a gesture.

    Raises:
        DataError: a file that is missing or broken, or a part of it without events.
    """
    if gesture.start is None:
        return _milliseconds(gesture.file)
    events = _recording(gesture.file)
    t = np.ascontiguousarray(events["t"])
    first, last = np.searchsorted(t, (gesture.start, gesture.end))
    return events[first:last]


@lru_cache(maxsize=1)  # the gestures of a recording come one after the other
def _recording(file: Path) -> Events:
    return read(file)


def _milliseconds(file: Path) -> Events:
    data = read_bytes(file, MAX_BYTES, DataError)
    with reading(file, "numpy"):
        columns = read_npy(data, MAX_BYTES)
        if columns.ndim != 2 or columns.shape[1] != 4:
            raise ValueError(f"has the shape {columns.shape}; DVS128 Gesture has columns x, y, p, t")
        x, y, p, t = columns.T.astype(np.float64)
        return from_fields({"x": x, "y": y, "p": p, "t": 1000 * t})


def _cut(folder: Path) -> Iterator[Gesture]:
    for file in sorted(folder.glob("*/*.npy")):
        if not file.stem.isdecimal() or int(file.stem) >= len(GESTURES):
            raise DataError(f"{file}: a gesture's file is called 0.npy to {len(GESTURES) - 1}.npy")
        yield Gesture(file, int(file.stem))


def _trials(table: Path) -> Iterator[Gesture]:
    for name in filter(None, map(str.strip, _text(table).splitlines())):
        yield from _rows(table.with_name(name))


def _rows(recording: Path) -> Iterator[Gesture]:
    table = recording.with_name(f"{recording.stem}_labels.csv")
    for number, row in enumerate(csv.reader(_text(table).splitlines()[1:]), start=2):
        try:
            label, start, end = map(int, row)
        except ValueError:
            label, start, end = 0, 0, 0
        if not (0 < label <= len(GESTURES) and 0 <= start < end):
            raise DataError(f"{table}: line {number} is no class of 1 to {len(GESTURES)}, start and end: {row}")
        yield Gesture(recording, label - 1, start, end)


def _text(file: Path) -> str:
    return read_bytes(file, 1 << 20, DataError).decode(errors="replace")
