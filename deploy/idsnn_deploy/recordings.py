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
from .class_trees import class_files
from .event_files import READERS, Events, read
from .events import to_frames
from .manifest import Manifest
from .progress import track
from .reading import Binning, Division
from .split import Split

SENSORS = {"nmnist": (34, 34)}  # height, width


def clip(recording: Any, manifest: Manifest) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A recording as the frames of a bundle, float32 `(T, 2, H, W)`, binned as in training.

    Args:
        recording: a path, or a structured array of events.
        manifest: of a bundle that takes events.

    Raises:
        DataError: a broken recording, or events outside the sensor; the line begins with the file's name.
    """
    file = isinstance(recording, (str, os.PathLike))
    if not (file or isinstance(recording, np.ndarray)):
        raise TypeError(f"a recording is a path or a structured array of events, not a {type(recording).__name__}")
    channels, height, width = manifest.input_shape
    binning, where = vars(manifest.events or Binning()), os.fspath(recording) if file else "events"
    events = read(recording) if file else recording
    return to_frames(events, (channels, height, width), manifest.timesteps, **binning, where=str(where))


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
