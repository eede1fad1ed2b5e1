"""Recordings of event cameras as data sets: a tree of files, binned into frames.

| name | tree | sensor |
|---|---|---|
| nmnist | Train/0..9/*.bin, Test/0..9/*.bin | 34x34 |
| events | train/CLASS/*, test/CLASS/*, or CLASS/* | `sensor`, or the least that holds every training event |
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .class_trees import Division, class_files
from .event_files import READERS, Events, read
from .events import Binning, to_frames
from .progress import track
from .split import Split

SENSORS = {"nmnist": (34, 34)}  # height, width


def frames_of(
    file: str | os.PathLike[str], shape: Sequence[int], timesteps: int, binning: Binning
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The frames of a recording, float32 `(T, 2, H, W)`; errors begin with the file's name.

    Raises:
        DataError: a broken recording, or events outside the sensor.
    """
    channels, height, width = shape
    return to_frames(read(file), (channels, height, width), timesteps, **vars(binning), where=str(file))


def read_recordings(
    name: str,
    split: str,
    root: str | os.PathLike[str],
    timesteps: int,
    binning: Binning,
    sensor: tuple[int, int] | None = None,
    division: Division | None = None,
    limit: int | None = None,
) -> Split:
    """One part of a tree of recordings, as counts of events in frames.

    Args:
        name: a row of the table above.
        split: "train" or "test".
        root: the tree.
        timesteps: T.
        binning: how; the counts are kept, and `Split.pixels` gives `binning.values`.
        sensor: height and width; None takes the data set's, or the least that holds the part's events.
        division: how a tree without test/ is divided.
        limit: at most this many recordings, classes in turn.

    Raises:
        DataError: a broken tree or recording, or events outside the sensor.
    """
    found = class_files(root, split, READERS, division, limit)
    notes, sensor = found.notes, sensor or SENSORS.get(name)
    recordings: list[Events] = [read(file) for file in track(found.files, f"reading {split} recordings")]
    if sensor is None:
        sensor = _least(recordings)
        notes += (f"{root}: a sensor of {sensor[1]}x{sensor[0]} pixels holds every event (say --sensor H W otherwise)",)
    frames = _binned(zip(found.files, recordings, strict=True), len(recordings), (2, *sensor), timesteps, binning)
    return Split(frames, found.labels, found.classes, 1.0, tuple(map(str, found.files)), binning, notes)


def _least(recordings: Sequence[Events]) -> tuple[int, int]:
    return 1 + max(int(each["y"].max()) for each in recordings), 1 + max(int(each["x"].max()) for each in recordings)


def _binned(
    recordings: Iterable[tuple[Path, Events]], count: int, shape: tuple[int, int, int], timesteps: int, binning: Binning
) -> Array:
    """Counts `(N, T, H, W, 2)` in the least of uint8, int16 and int32 that holds them."""
    counting = vars(replace(binning, values="counts"))
    held: Array = np.empty((count, timesteps, *shape[1:], 2), np.uint8)
    for i, (file, events) in enumerate(recordings):
        frames = to_frames(events, shape, timesteps, **counting, where=str(file)).transpose(0, 2, 3, 1)
        fitting = next(t for t in (np.uint8, np.int16, np.int32) if frames.max() <= np.iinfo(t).max)
        if np.iinfo(fitting).max > np.iinfo(held.dtype).max:
            held = held.astype(fitting)
        held[i] = frames
    return held
