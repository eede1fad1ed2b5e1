"""Events of a camera, binned into frames: one function for training, evaluation and the device.

    frames[k, p, y, x] = how many events of polarity p at (x, y) lie in frame k of T

    by time     frame k holds the times   [ceil(k W / T), ceil((k + 1) W / T))   µs after the first event
    by count    frame k holds the events  [ceil(k W / T), ceil((k + 1) W / T))   in their order

The window W is in µs by time, in events by count; None is the whole recording (t_last - t_first + 1, or N). Events
behind the window belong to no frame. Frames of w x h pixels from a sensor of W x H count (x, y) at (floor(x w / W),
floor(y h / H)). `binary` frames hold 1 wherever there is an event. All of it is integers, so a
border falls between the same two events on every machine, and whole frames add up to the histogram of the events.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array
from .errors import DataError, UsageError
from .event_files import DTYPE as DTYPE
from .event_files import READERS as READERS
from .event_files import Events, checked
from .event_files import read as read
from .reading import BY as BY
from .reading import VALUES as VALUES
from .reading import Binning as Binning
from .reading import By, Values


def borders(binning: Binning, whole: int, timesteps: int) -> Array:
    """Where frames 0 to T begin, int64 `(T + 1,)`, of a recording that is `whole` µs or events long."""
    edges = np.arange(timesteps + 1, dtype=np.int64) * (binning.window or whole)
    return np.asarray(-(-edges // timesteps))


def cuts(binning: Binning, events: Events, timesteps: int) -> Array:
    """Frame k holds `events[cuts[k]:cuts[k + 1]]`; int64 `(T + 1,)`."""
    if binning.by == "count":
        return np.minimum(borders(binning, len(events), timesteps), len(events))
    t = np.ascontiguousarray(events["t"])
    return np.asarray(np.searchsorted(t, t[0] + borders(binning, int(t[-1] - t[0]) + 1, timesteps)))


def to_frames(
    events: Events,
    shape: tuple[int, int, int],
    timesteps: int,
    by: By = "time",
    values: Values = "counts",
    window: int | None = None,
    sensor: tuple[int, int] | None = None,
    where: str = "events",
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns frames, float32 `(T, 2, H, W)`, by the equations of this module.

    >>> to_frames(read("3.bin"), (2, 34, 34), timesteps=10, by="time", values="binary")     # doctest: +SKIP

    Args:
        events: structured `(N,)` with fields x, y, t, p, in the order of time; `read` gives such.
        shape: `(2, H, W)` of a frame.
        timesteps: T.
        by, values, window: see `Binning`.
        sensor: height and width of the camera; None: as many pixels as a frame.
        where: what an error's line begins with, such as the file's name.

    Raises:
        DataError: no events, some outside the sensor, or time that runs backwards.
        UsageError: a binning that does not exist, or a shape that is not (2, H, W).
    """
    binning, (height, width) = Binning(by, values, window), sensor or shape[-2:]
    if timesteps < 1 or len(shape) != 3 or shape[0] != 2:
        raise UsageError(f"events become at least 1 frame of shape (2, H, W), not {timesteps} of {tuple(shape)}")
    if height < shape[1] or width < shape[2]:
        raise UsageError(
            f"frames of {shape[2]}x{shape[1]} pixels from a sensor of {width}x{height}; give at most these"
        )
    at = cuts(binning, checked(events, where), timesteps)
    inside(events, (height, width), where)
    frame = np.repeat(np.arange(timesteps), np.diff(at))
    return histogram(events[: at[-1]], frame, (timesteps, *shape), values, (height, width))


def histogram(events: Events, frame: Array, shape: tuple[int, ...], values: Values, sensor: tuple[int, int]) -> Array:
    """Frames, float32 `shape` (T, 2, H, W), of events in frame number `frame`; `sensor` is the camera's (H, W)."""
    _, _, height, width = shape
    x, y = events["x"], events["y"]
    if sensor != (height, width):
        x, y = x.astype(np.int64) * width // sensor[1], y.astype(np.int64) * height // sensor[0]
    place = ((frame * 2 + events["p"]) * height + y) * width + x
    counts = np.bincount(place, minlength=int(np.prod(shape)))
    return (counts > 0 if values == "binary" else counts).astype(np.float32).reshape(shape)


def inside(events: Events, sensor: tuple[int, int], where: str) -> None:
    """Raises `DataError` where an event lies outside a sensor (height, width)."""
    for axis, size in (("x", sensor[1]), ("y", sensor[0])):
        most = int(events[axis].max())
        if most >= size:
            raise DataError(
                f"{where}: an event at {axis} = {most}, outside the sensor of {sensor[1]}x{sensor[0]} pixels"
            )
