"""Files that appear whole or not at all, and the hashes that guard them."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from .errors import BundleError, IdsnnError, UsageError
from .exchange import exchange
from .printable import printable
from .workspace import OLD, beside, workspace

# One of these lies in every folder that a command writes: a bundle, a run, a report.
_OUR_FILES = frozenset({"manifest.json", "config.json", "report.json", "model.nir", "model.onnx", "idsnn_model.h"})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # errors of a disk, a quota or a limit that is reached


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path to write to, renamed to `path` when the block ends well and removed when it fails.

    The temporary name keeps the suffix, because some writers choose their format by it. A second process that writes
    the same file waits.
    """
    final = Path(path)
    with _naming(final), workspace(final, wait=True) as work:
        new = work / f"new{final.suffix}"
        yield new
        with open(new, "rb") as written:
            os.fsync(written.fileno())
        os.replace(new, final)


@contextmanager
def replacing_folder(path: str | os.PathLike[str], force: bool = False, keep: bool = False) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `path` in one instant when the block ends well.

    Args:
        path: the folder.
        force: whether one that is there may be replaced.
        keep: the new one begins with everything that lies in the old one, whoever wrote it.

    Raises:
        UsageError: `path` exists and `force` is off, is nothing that idsnn wrote, or is being written by another
            process; it is not touched.
    """
    final = Path(path)
    with reserved(final, force) as work:
        new = work / "new"
        if keep and final.is_dir() and not final.is_symlink():
            shutil.copytree(final, new, symlinks=True)
        else:
            _refuse_foreign(final)
            new.mkdir()
        yield new
        if os.path.lexists(final):
            _exchange(new, final, work / OLD)
        else:
            os.replace(new, final)


@contextmanager
def reserved(path: str | os.PathLike[str], force: bool) -> Iterator[Path]:
    """Keeps `path` for this process and gives an empty folder on the same disk to work in; swept when the block ends.

    Raises:
        UsageError: `path` exists and `force` is off, or another process is writing it.
    """
    final = Path(path)
    refuse_existing(final, force)
    with _naming(final), workspace(final) as work:
        refuse_existing(final, force)  # again: another process may have been faster
        yield work


def refuse_existing(path: str | os.PathLike[str], force: bool) -> None:
    """Raises `UsageError` where `path` exists and `force` is off."""
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path}: exists already; choose another --out, or pass --force to replace it")


def _refuse_foreign(folder: Path) -> None:
    """Raises `UsageError` unless `folder` is new, empty or earlier output: a mistyped --out costs nobody files."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise UsageError(f"{folder}: not a folder; choose another --out")
    held = {entry.name for entry in folder.iterdir()}
    if held and not held & _OUR_FILES:
        raise UsageError(f"{folder}: holds files and nothing that idsnn wrote; choose another --out")


def _exchange(new: Path, final: Path, old: Path) -> None:
    """Puts the folder `new` in the place of `final`, by way of `old` where the two cannot be swapped in one instant."""
    if exchange(new, final):
        return
    os.replace(final, old)
    os.replace(new, final)  # where this fails, or never happens, the workspace puts `old` back


@contextmanager
def _naming(final: Path) -> Iterator[None]:
    """The error of a full disk, or of a place that cannot be written, names what was to be written there."""
    work = str(beside(final))
    try:
        yield
    except OSError as error:
        if error.errno in FULL or str(error.filename).startswith(work):
            error.filename = str(final)
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` beside `path`, then renames."""
    with replacing(path) as new:
        new.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as readable JSON (keys in the given order, no NaN).

    Raises:
        UsageError: a text in it is no UTF-8: the name of a file in another encoding.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError as cause:
        line = text[text.rfind("\n", 0, cause.start) + 1 : text.find("\n", cause.start)].strip(" ,")
        raise UsageError(
            f"{path}: would hold {printable(line)}, which is no UTF-8; rename that file or folder"
        ) from None
    write_bytes(path, data)


def read_bytes(path: str | os.PathLike[str], limit: int, error: type[IdsnnError] = BundleError) -> bytes:
    """Returns a regular file's bytes, at most `limit` of them.

    Raises:
        IdsnnError: of the given class: the file is missing, not a regular file, larger than `limit` or unreadable.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise error(f"{file}: {'not a file' if file.exists() else 'no such file'}")
        with open(file, "rb") as stream:
            # Not limit + 1 bytes of room for every file: a device may not have them.
            data = stream.read(min(limit, os.fstat(stream.fileno()).st_size) + 1)
    except (OSError, ValueError) as cause:  # ValueError: a null character in the name
        raise error(f"{str(file)!r}: cannot be read ({getattr(cause, 'strerror', None) or cause})") from cause
    if len(data) > limit:
        raise error(f"{file}: larger than {limit:,} bytes, the most that is read")
    return data


def sha256(data: bytes) -> str:
    """The SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8, no NaN, numbers as ECMAScript prints them.

    RFC 8785 (JSON Canonicalization Scheme), so that a caller in another language can compute the same digest.

    Raises:
        ValueError: a value that JSON cannot say.
    """
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_canonical(str(key))}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float) and math.isfinite(value):
        return _number(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> str:
    """The shortest digits that read back equal, as ECMA-262's Number::toString writes them (Python: 1e-05, 1.0)."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)  # where the decimal point stands, counted from the first digit
    if text == "0":
        return "0"
    if not -6 < point <= 21:
        mantissa = text[0] + ("." + text[1:] if text[1:] else "")
        body = f"{mantissa}e{point - 1:+d}"
    elif point <= 0:
        body = "0." + "0" * -point + text
    else:
        body = text.ljust(point, "0")[:point] + ("." + text[point:] if text[point:] else "")
    return "-" * sign + body
