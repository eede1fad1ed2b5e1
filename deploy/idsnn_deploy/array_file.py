"""numpy's .npy and .npz from outside: each array's shape and type are read before a byte of it is unpacked.

A zip archive can claim any size and inflates a thousandfold, and an .npy header can claim any shape; objects would be
unpickled, which runs code. So only numbers are read, and no more bytes of them than the caller says.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from .arrays import Array
from .errors import first_line

Header = tuple[tuple[int, ...], np.dtype[Any]]
MAX_BYTES = 2**30  # of all arrays of a file
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def header(stream: IO[bytes]) -> Header:
    """Shape and type of the array that a stream begins with.

    Raises:
        ValueError: no .npy, or one of objects or texts.
    """
    read = _READERS.get(np.lib.format.read_magic(stream))
    if read is None:
        raise ValueError("an .npy of an unknown version")
    shape, _, dtype = read(stream)
    fields = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    if any(each.kind not in "fiub" or each.shape for each in fields) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype}, which is no plain number")
    return shape, dtype


def read_npy(data: bytes, most: int = MAX_BYTES) -> Array:
    """Returns the array of an .npy file.

    Raises:
        ValueError: it holds none that is read, or more than `most` bytes; one line.
    """
    with _as_value_error():
        _bound([header(io.BytesIO(data))], most)
        return np.asarray(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))


def read_npz(data: bytes, names: Iterable[str] | None = None, most: int = MAX_BYTES) -> dict[str, Array]:
    """Returns arrays of an .npz file by name: those of `names`, or all.

    Raises:
        ValueError: it holds no such arrays, or more than `most` bytes in all; one line.
    """
    with _as_value_error(), zipfile.ZipFile(io.BytesIO(data)) as archive:
        chosen = array_names(archive) if names is None else list(names)
        _bound([header_in(archive, name) for name in chosen], most)
        return {name: array_in(archive, name) for name in chosen}


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of an archive's arrays."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def header_in(archive: zipfile.ZipFile, name: str) -> Header:
    """Shape and type of an archive's array."""
    with archive.open(f"{name}.npy") as stream:
        return header(stream)


def array_in(archive: zipfile.ZipFile, name: str) -> Array:
    """An archive's array, whose header has been looked at."""
    with archive.open(f"{name}.npy") as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


@contextmanager
def _as_value_error() -> Iterator[None]:
    """What zipfile, zlib and numpy raise over a broken file, a dozen kinds with the tokenizer's, as one."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as cause:
        raise ValueError(first_line(cause)) from cause


def _bound(headers: Iterable[Header], most: int) -> None:
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers)
    if size > most:
        raise ValueError(f"arrays of {size:,} bytes; at most {most:,} are read")
