"""JSON from outside: bounded before it is parsed, and nothing in it that only Python reads.

bytes       as many as the caller says
values      at most 2^19 (a byte of JSON can take a hundred of memory)
numbers     finite, integers of at most 40 digits
text        whole characters
depth       what Python's parser takes, some hundred levels
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .errors import IdsnnError
from .files import read_bytes
from .printable import each_text

MAX_VALUES, MAX_DIGITS = 2**19, 40


def parse_json(data: bytes | str) -> Any:
    """Returns the value that `data` holds.

    Raises:
        ValueError: it is not JSON, or more of it than is read; one line.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if raw.count(b",") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values")
    try:
        found = json.loads(raw, parse_constant=_no_constant, parse_float=_finite, parse_int=_short)
        if b"\\u" in raw or isinstance(data, str):
            each_text(found, lambda text: text.encode().decode())
    except RecursionError:
        raise ValueError("deeper than is read") from None
    except UnicodeError:
        raise ValueError("text that is no UTF-8") from None
    return found


def read_json_object(path: Path, limit: int, error: type[IdsnnError]) -> dict[str, Any]:
    """Returns the object in a JSON file of at most `limit` bytes.

    Raises:
        IdsnnError: of the given class: the file is missing, too large, not JSON or no object.
    """
    try:
        found = parse_json(read_bytes(path, limit, error))
    except ValueError as cause:
        raise error(f"{path}: is not JSON that is read ({cause})") from cause
    if not isinstance(found, dict):
        raise error(f"{path}: holds a {type(found).__name__}, not a JSON object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _short(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(text):,} digits")
    return int(text)
