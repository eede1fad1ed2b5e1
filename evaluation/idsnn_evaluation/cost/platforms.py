"""The energy constants: one data file, each with its unit, node, year, what it includes and where it is from.

A user's own hardware comes as a file of the same kind, TOML or JSON:

    [[platforms]]
    name = "my chip"
    synop_pj = [1.2, 2.0]        # picojoules per synaptic operation, one number or [least, most]
    update_pj = 10               # a neuron update; leave it out where it is not known
    counts = "events"            # or "dense": every operation is done, spike or not
    node = "28 nm"
    year = 2026
    includes = "what the figure covers"
    source = "where it is from"
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import UsageError, first_line
from idsnn_deploy.files import read_bytes
from idsnn_deploy.json_file import parse_json
from idsnn_deploy.json_types import Text, fits

Range = tuple[float, float]
Counted = Literal["events", "dense"]
TEXTS = ("name", "node", "includes", "source")
LEAST, MOST = 1e-12, 1e12  # a joule per operation is more than any; sums of what lies between are finite
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class Constant:
    """A measured or published value, [least, most] where sources disagree."""

    value: Range
    unit: str
    node: str
    year: int
    includes: str
    source: str


@dataclass(frozen=True)
class Platform:
    """Hardware with a published energy per operation, in picojoules.

    Attributes:
        counts: "events" where only spikes cost, "dense" where every operation of every step is done.
        synop_pj, update_pj: [least, most] per synaptic operation and per neuron update; None: no published figure.
    """

    name: str
    counts: Counted
    synop_pj: Range
    update_pj: Range | None
    node: str
    year: int
    includes: str
    source: str


def constants() -> dict[str, Constant]:
    """The shipped constants by name."""
    return {
        name: Constant(**{**entry, "value": _range(entry["value"])}) for name, entry in _shipped()["constants"].items()
    }


def platforms() -> tuple[Platform, ...]:
    """The shipped platforms."""
    return tuple(_platform(entry, "constants.json") for entry in _shipped()["platforms"])


def without_figure() -> tuple[str, ...]:
    """Platforms that publish no energy per operation, and so get no estimate."""
    return tuple(_shipped()["no_figure"])


def read_platforms(path: str | os.PathLike[str]) -> tuple[Platform, ...]:
    """Returns the platforms of a user's TOML or JSON file.

    Raises:
        UsageError: the file is missing or malformed, lacks a key, or is TOML on Python 3.10.
    """
    file = Path(path)
    data = read_bytes(file, _MAX_BYTES, UsageError)
    try:
        body = parse_json(data) if file.suffix == ".json" else _toml(data.decode(), file)
    except (ValueError, RecursionError) as cause:  # both decoders' errors are ValueErrors
        raise UsageError(f"{file}: cannot be read ({first_line(cause)})") from cause
    entries = body.get("platforms") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(
            f"{file}: has no [[platforms]]; each needs name, synop_pj, counts, node, year, includes, source"
        )
    return tuple(_platform(entry, str(file)) for entry in entries)


def _shipped() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("constants.json").read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped


def _toml(text: str, file: Path) -> Any:
    if importlib.util.find_spec("tomllib") is None:
        raise UsageError(f"{file}: TOML needs Python 3.11 or newer; write the same keys as a .json file")
    return importlib.import_module("tomllib").loads(text)


def _platform(entry: Any, where: str) -> Platform:
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: a platform is a table of keys, not {entry!r}")
    name = str(entry.get("name", "without a name"))
    missing = [key for key in Platform.__dataclass_fields__ if key not in entry and key != "update_pj"]
    unknown = sorted(set(entry) - set(Platform.__dataclass_fields__))
    if missing or unknown:
        words = f"lacks {', '.join(missing)}" if missing else f"has the unknown {', '.join(unknown)}"
        raise UsageError(f"{where}: platform {name!r} {words}; see docs/report.md")
    odd = next((key for key in TEXTS if not fits(Text, entry[key])), None)
    if odd is not None:
        raise UsageError(
            f"{where}: platform {name!r}: {odd} is {str(entry[odd])[:60]!r}, not a text of 4,096 characters"
        )
    if entry["counts"] not in get_args(Counted):
        known = known_are(str(entry["counts"]), get_args(Counted))
        raise UsageError(f"{where}: platform {name!r}: counts is {entry['counts']!r}; {known}")
    try:
        update = entry.get("update_pj")
        ranges = {"synop_pj": _range(entry["synop_pj"]), "update_pj": None if update is None else _range(update)}
        return Platform(**{"update_pj": None, **entry, **ranges, "year": int(entry["year"])})
    except (TypeError, ValueError, OverflowError) as cause:
        raise UsageError(f"{where}: platform {name!r}: {cause}") from cause


def _range(value: Any) -> Range:
    low, high = value if isinstance(value, list) and len(value) == 2 else (value, value)
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in (low, high)):
        raise ValueError(f"{value!r} is neither a number nor [least, most]")
    if not LEAST <= low <= high <= MOST:
        raise ValueError(f"{value!r} must lie in {LEAST:g} to {MOST:g}, the least first")
    return float(low), float(high)
