"""Recordings of event cameras, from files to arrays of events.

| ending | format | read by |
|---|---|---|
| .bin | N-MNIST, N-Caltech101: five bytes an event, big endian: x, y, one bit of polarity, 23 bits of time | numpy |
| .npy | a structured array with fields x, y, t, p, or columns x, y, t, p in this order | numpy |
| .npz | arrays x, y, t, p | numpy |
| .aedat | jAER's and cAER's AEDAT 2 and 3 (`aedat_files`) | numpy |
| .raw, .dat | Prophesee's EVT2 and EVT3, and DAT | expelliarmus (extra `events`) |
| .aedat4 | iniVation's AEDAT 4 | aedat (extra `events`) |

Times are microseconds. Polarity is 0 or 1, or -1 or 1 in .npy and .npz.
"""

from __future__ import annotations

import importlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .aedat_files import aedat_fields, header_lines
from .array_file import array_names, read_npy, read_npz
from .arrays import Array
from .commands import require_extra
from .errors import DataError, first_line
from .files import read_bytes
from .silence import SILENT

Events = np.ndarray[Any, np.dtype[np.void]]
DTYPE = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])  # tonic's
MAX_BYTES = 2**30
# In five-byte files an event in row 240, below every sensor of theirs, says that the clock went on by 2^13 µs.
_CLOCK_ROW, _CLOCK_TICKS = 240, 2**13


def read(path: str | os.PathLike[str]) -> Events:
    """Returns a recording as a structured array `(N,)` with fields x, y, t (µs) and p, in the order of time.

    Raises:
        DataError: the file is missing, truncated, empty, of an unknown ending, or its time runs backwards.
        MissingExtraError: the format's reader is not installed.
    """
    file = Path(path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file}: not a recording of a known ending ({' '.join(READERS)})")
    return checked(reader(file), str(file))


def checked(events: Events, where: str) -> Events:
    """`events`, which must be some, of tonic's fields, with coordinates from 0 and time that never falls.

    Raises:
        DataError: they are not; the line begins with `where`.
    """
    if events.dtype.names is None or not set(DTYPE.names or ()) <= set(events.dtype.names):
        raise DataError(f"{where}: events are a structured array with fields x, y, t, p, not {events.dtype}")
    if not len(events):
        raise DataError(f"{where}: holds no events")
    t = np.ascontiguousarray(events["t"])
    falls = t[1:] < t[:-1]
    if falls.any():
        at = int(falls.argmax())
        raise DataError(f"{where}: time runs backwards at event {at + 1} (from {t[at]} to {t[at + 1]} µs); sort it")
    for axis in "xy":
        if events[axis].min() < 0:
            raise DataError(f"{where}: {axis} reaches down to {events[axis].min()}; coordinates start at 0")
    return events


def from_fields(fields: Mapping[str, Array]) -> Events:
    """Events from arrays x, y, t, p of one length.

    Raises:
        ValueError: fields that are missing, of different lengths, not whole numbers, or out of their range.
    """
    names = DTYPE.names or ()
    missing = [name for name in names if name not in fields]
    if missing:
        raise ValueError(f"has no {', '.join(missing)} beside {', '.join(sorted(fields)) or 'nothing'}")
    arrays = {name: np.asarray(fields[name]) for name in names}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or len(shapes["x"]) != 1:
        raise ValueError(f"x, y, t and p must be of one length, not of shapes {shapes}")
    events = np.empty(shapes["x"], DTYPE)
    for name, array in arrays.items():
        events[name] = _polarity(array) if name == "p" else _whole(array, name)
    return events


def _whole(values: Array, name: str) -> Array:
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {values.dtype}, not numbers")
    bound = np.iinfo(DTYPE[name]).max if name != "t" else 2**53
    if values.size and not (np.abs(values) <= bound).all():
        raise ValueError(f"{name} reaches beyond {bound:,}")
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise ValueError(f"{name} has fractions; {'times are whole microseconds' if name == 't' else 'give integers'}")
    return values


def _polarity(values: Array) -> Array:
    found = set(np.unique(values).tolist())
    if not (found <= {0, 1} or found <= {-1, 1}):
        raise ValueError("p is neither 0 or 1 nor -1 or 1; is the order x, y, t, p?")
    return np.asarray(values > 0)


def _five_bytes(file: Path) -> Events:
    data = read_bytes(file, MAX_BYTES, DataError)
    if len(data) % 5:
        raise DataError(f"{file}: {len(data):,} bytes, not five an event; truncated, or not N-MNIST's format")
    raw = np.frombuffer(data, np.uint8).reshape(-1, 5)
    high, middle, low = (raw[:, i].astype(np.int64) for i in (2, 3, 4))
    time, ticks = (high & 127) << 16 | middle << 8 | low, raw[:, 1] == _CLOCK_ROW
    fields = {"x": raw[:, 0], "y": raw[:, 1], "t": time + _CLOCK_TICKS * np.cumsum(ticks), "p": high >> 7}
    return np.asarray(from_fields(fields)[~ticks])


def _numpy(file: Path) -> Events:
    data = read_bytes(file, MAX_BYTES, DataError)
    with reading(file, "numpy"):
        return from_fields(_fields(data))


def _fields(data: bytes) -> dict[str, Array]:
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            there = [name for name in array_names(archive) if name in (DTYPE.names or ())]
        return read_npz(data, there, MAX_BYTES)
    found = read_npy(data, MAX_BYTES)
    if found.dtype.names is not None:
        return {name: found[name] for name in found.dtype.names}
    if found.ndim != 2 or found.shape[1] != 4:
        raise ValueError(f"has the shape {found.shape}; give columns x, y, t, p, or a structured array")
    return dict(zip(DTYPE.names or (), found.T, strict=True))


def _aedat(file: Path) -> Events:
    data = read_bytes(file, MAX_BYTES, DataError)
    with reading(file, "idsnn"):
        return from_fields(aedat_fields(data))


def _prophesee(file: Path) -> Events:
    require_extra(f"reading {file.suffix} recordings", "events", "expelliarmus")
    data = read_bytes(file, MAX_BYTES, DataError)
    with reading(file, "idsnn"):
        head = _header(data).lower()
    raw = "evt2" if b"evt 2" in head or b"evt2" in head else "evt3"
    wizard = importlib.import_module("expelliarmus").Wizard(encoding="dat" if file.suffix.lower() == ".dat" else raw)
    with reading(file, "expelliarmus"), SILENT:
        found = wizard.read(str(file))
        if found is None:
            raise ValueError("it finds no events")
        return from_fields({name: found[name] for name in DTYPE.names or ()})


def _header(data: bytes) -> bytes:
    """The lines of text that a Prophesee file begins with; its readers in C look for their end beyond that of the file.

    Raises:
        ValueError: nothing comes after them.
    """
    header, body = header_lines(data, b"%")
    if not body:
        raise ValueError("it ends within its header")
    return header


def _aedat4(file: Path) -> Events:
    require_extra(f"reading {file.suffix} recordings", "events", "aedat")
    read_bytes(file, MAX_BYTES, DataError)  # its own words for a missing file are many
    with reading(file, "aedat"), SILENT:
        packets = [
            packet["events"] for packet in importlib.import_module("aedat").Decoder(str(file)) if "events" in packet
        ]
        return from_fields({name: np.concatenate([each[key] for each in packets]) for name, key in _AEDAT_NAMES})


_AEDAT_NAMES = (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on"))


@contextmanager
def reading(file: Path, reader: str) -> Iterator[None]:
    """Whatever a reader raises over a broken file, as one `DataError`."""
    try:
        yield
    except Exception as cause:  # zipfile, zlib, numpy and readers in C raise a dozen kinds
        reason = first_line(cause)
        raise DataError(f"{file}: not a recording that {reader} reads ({reason})") from cause


READERS: dict[str, Callable[[Path], Events]] = {
    ".bin": _five_bytes,
    ".npy": _numpy,
    ".npz": _numpy,
    ".aedat": _aedat,
    ".raw": _prophesee,
    ".dat": _prophesee,
    ".aedat4": _aedat4,
}
