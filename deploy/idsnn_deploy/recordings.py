"""Recordings of event cameras as data sets: a tree of files, binned into frames.

| name | tree | sensor |
|---|---|---|
| nmnist | Train/0..9/*.bin, Test/0..9/*.bin | 34x34 |
| n-caltech101 | CLASS/*.bin | 240x180 |
| cifar10-dvs | CLASS/*.aedat, or tonic's *.aedat4 | 128x128 |
| dvs128-gesture | its authors' or tonic's (`gesture_trees`) | 128x128 |
| events | train/CLASS/*, test/CLASS/*, or CLASS/* of any files that are read | the least that holds every event |

Files of any kind that is read may stand for those of the first three, sorted by class in either way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .class_trees import ClassFiles, class_files
from .event_files import READERS, Events, read
from .events import to_frames
from .gesture_trees import gesture_files, read_gesture
from .manifest import Manifest
from .progress import track
from .reading import Binning, Division, Reading
from .split import Split


def by_class(
    root: str | os.PathLike[str], split: str, division: Division | None = None, limit: int | None = None
) -> ClassFiles[Path]:
    """Recordings sorted into folders by class."""
    return class_files(root, split, READERS, division, limit)


class Layout(NamedTuple):
    """How a data set lies on a disk.

    Attributes:
        sensor: height and width of its camera, where one took all of it.
        files: (root, part, division, limit) → the samples of a part.
        read: a sample's events.
    """

    sensor: tuple[int, int] | None = None
    files: Callable[..., ClassFiles[Any]] = by_class
    read: Callable[[Any], Events] = read


LAYOUTS = {
    "nmnist": Layout((34, 34)),
    "n-caltech101": Layout((180, 240)),
    "cifar10-dvs": Layout((128, 128)),
    "dvs128-gesture": Layout((128, 128), gesture_files, read_gesture),
    "events": Layout(),
}


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
    binning, where = vars(manifest.events or Binning()), os.fspath(recording) if file else "events"
    events = read(recording) if file else recording
    return to_frames(events, manifest.image_shape, manifest.timesteps, **binning, where=str(where))


def read_recordings(name: str, split: str, root: str | os.PathLike[str], reading: Reading | None = None) -> Split:
    """One part of a tree of recordings, as counts of events in frames.

    Args:
        name: a row of the table above.
        split: "train" or "test".
        root: the tree.
        reading: T, binning (the counts are kept, and `Split.pixels` gives its `values`), shape of a frame or
            `image_size`, sensor, division and limit.

    Raises:
        DataError: a broken tree or recording, or events outside the sensor.
        UsageError: frames of more pixels than the sensor has.
    """
    layout, reading = LAYOUTS[name], reading or Reading()
    found = layout.files(root, split, reading.division, reading.limit)
    recordings: Iterable[Events] = map(layout.read, track(found.files, f"reading {split} recordings"))
    notes, sensor = found.notes, _sensor(layout, reading)
    if sensor is None:
        recordings = list(recordings)
        sensor = _least(recordings)
        notes += (f"{root}: a sensor of {sensor[1]}x{sensor[0]} pixels holds every event (say --sensor H W otherwise)",)
    height, width = _frame(sensor, reading)
    binning = replace(reading.binning, sensor=None if sensor == (height, width) else sensor)
    if sensor != (height, width):
        notes += (f"{root}: {sensor[1]}x{sensor[0]} pixels are counted into {width}x{height}",)
    names = tuple(map(str, found.files))
    frames = _binned(zip(names, recordings, strict=True), len(names), (2, height, width), reading.timesteps, binning)
    return Split(frames, found.labels, found.classes, 1.0, names, binning, notes)


def _sensor(layout: Layout, reading: Reading) -> tuple[int, int] | None:
    """Height and width of the camera: as the binning says, as large as frames are asked for, or as the set is known."""
    return reading.binning.sensor or (reading.shape and reading.shape[1:]) or layout.sensor


def _frame(sensor: tuple[int, int], reading: Reading) -> tuple[int, int]:
    if reading.shape is not None:
        return reading.shape[1:]
    return sensor if reading.image_size is None else (reading.image_size, reading.image_size)


def _least(recordings: Sequence[Events]) -> tuple[int, int]:
    return 1 + max(int(each["y"].max()) for each in recordings), 1 + max(int(each["x"].max()) for each in recordings)


def _binned(
    recordings: Iterable[tuple[str, Events]], count: int, shape: tuple[int, int, int], timesteps: int, binning: Binning
) -> Array:
    """Counts `(N, T, H, W, 2)` in the least of uint8, int16 and int32 that holds them."""
    counting = vars(replace(binning, values="counts"))
    held: Array = np.empty((count, timesteps, *shape[1:], 2), np.uint8)
    for i, (file, events) in enumerate(recordings):
        frames = to_frames(events, shape, timesteps, **counting, where=file).transpose(0, 2, 3, 1)
        fitting = next(t for t in (np.uint8, np.int16, np.int32) if frames.max() <= np.iinfo(t).max)
        if np.iinfo(fitting).max > np.iinfo(held.dtype).max:
            held = held.astype(fitting)
        held[i] = frames
    return held
