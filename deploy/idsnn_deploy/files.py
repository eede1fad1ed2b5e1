"""Files that appear whole or not at all, and the hashes that guard them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from .errors import BundleError, IdsnnError, UsageError

# One of these lies in every folder that a command writes: a bundle, a run, a report.
_OUR_FILES = frozenset({"manifest.json", "config.json", "report.json", "model.nir", "model.onnx"})


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path beside `path` to write to, renamed to `path` when the block ends well and removed when it fails.

    The temporary name keeps the suffix, because some writers choose their format by it.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    beside = final.with_name(f".{final.stem}.{os.getpid()}.tmp{final.suffix}")
    try:
        yield beside
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, final)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str], force: bool = False) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, renamed to `path` when the block ends well, else removed.

    Raises:
        UsageError: `path` exists and `force` is off, or is nothing that idsnn wrote; it is not touched.
    """
    final = Path(path)
    refuse_existing(final, force)
    _refuse_foreign(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    beside.chmod(0o777 & ~_umask())
    try:
        yield beside
        if final.exists():
            _exchange(beside, final)
        else:
            os.replace(beside, final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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


def _exchange(new: Path, final: Path) -> None:
    """Puts the folder `new` in the place of `final`; where that fails, `final` is as it was."""
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent))
    try:
        os.replace(final, aside / final.name)
        try:
            os.replace(new, final)
        except OSError:
            os.replace(aside / final.name, final)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` beside `path`, then renames."""
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as readable JSON (keys in the given order, no NaN)."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
