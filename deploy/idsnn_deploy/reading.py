"""How a data set is read, beside its name and place: what training settles, and export, evaluation and device repeat.

No numpy here, so that flags and manifests are checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import UsageError
from .json_types import Count, Fraction, Positive, WhereThere

Recorded = Literal["nmnist", "n-caltech101", "cifar10-dvs", "dvs128-gesture", "events"]
DataSet = Literal[
    "digits", "mnist", "kmnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "folder", "npz", Recorded
]
Readout = Literal["mean", "sum", "last", "max"]
By = Literal["time", "count"]
Values = Literal["counts", "binary"]
BY, VALUES = ("time", "count"), ("counts", "binary")


@dataclass(frozen=True)
class Binning:
    """How a recording becomes frames (the equations of `events`); the manifest's key `events`.

    Attributes:
        by: whether frames share time or events evenly.
        values: how many events a pixel saw, or whether it saw any.
        window: what the T frames cover together, from the first event on: µs by time, events by count; None: all.
        sensor: height and width of the camera where frames have fewer pixels than it; None: they have as many.
    """

    by: By = "time"
    values: Values = "counts"
    window: Positive | None = None
    sensor: WhereThere[tuple[Positive, Positive] | None] = None

    def __post_init__(self) -> None:
        if self.by not in BY or self.values not in VALUES:
            raise UsageError(f"events by {self.by!r} as {self.values!r}; by one of {BY}, as one of {VALUES}")
        if self.window is not None and self.window < 1:
            raise UsageError(f"a window of {self.window}; give at least 1 (µs by time, events by count)")


@dataclass(frozen=True)
class Division:
    """Which files are read, and how those that come without a test part are divided; the manifest's `division`.

    Attributes:
        test_fraction: part of each class's files that is for testing.
        split_seed: chooses which.
        skip_broken: images that do not decode are left out and listed; else the first of them ends the reading.
    """

    test_fraction: Fraction = 0.2
    split_seed: Count = 0
    skip_broken: WhereThere[bool] = False


@dataclass(frozen=True)
class Reading:
    """How a data set is read.

    Attributes:
        shape: `(C, H, W)` to bring images and frames to; None: what is found.
        limit: at most this many samples, classes in turn, always the same ones; None: all.
        division: how a tree without a test part is divided.
        gray: images of files are brought to one channel, colour or not.
        image_size: height and width of images of files, and of frames; None: the median, at most 64, and the sensor's.
        cache: a folder that keeps what was decoded, for the next time; None: nowhere.
        timesteps: T, the frames of a recording.
        binning: how a recording becomes frames.
    """

    shape: tuple[int, int, int] | None = None
    limit: int | None = None
    division: Division = field(default_factory=Division)
    gray: bool = False
    image_size: int | None = None
    cache: Path | None = None
    timesteps: int = 10
    binning: Binning = field(default_factory=Binning)

    @classmethod
    def of(cls, settings: Mapping[str, Any], **known: Any) -> Reading:
        """How a run's config.json says it, with `known` over it; what neither says has the defaults."""
        division = {name: settings[name] for name in ("test_fraction", "split_seed", "skip_broken") if name in settings}
        named = {name: f"events_{name}" for name in ("by", "values", "window")}
        binning = {name: settings[key] for name, key in named.items() if key in settings}
        if settings.get("events_sensor"):
            binning["sensor"] = tuple(settings["events_sensor"])
        steps = {name: settings[name] for name in ("timesteps", "gray", "image_size") if name in settings}
        return cls(**{"division": Division(**division), "binning": Binning(**binning), **steps, **known})
