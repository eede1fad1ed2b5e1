"""The bundle's manifest: the one implementation of docs/format.md.

digest = SHA-256(canonical JSON of the manifest without `digest`)        guards the manifest
files[name] = {bytes, sha256}                                            guards every other file
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import BundleError
from .files import canonical_json, read_bytes, sha256, write_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES, MAX_FILE_BYTES = 64 * 2**20, 2 * 2**30
ALWAYS = ("model.nir", "model.onnx", "golden.npz")
# The export flag that makes a file which is not always there.
FLAGS = {
    "model.step.onnx": "--graphs step",
    "model.probe.onnx": "--graphs probe",
    "model.int8.onnx": "--int8",
    "model.int8.probe.onnx": "--int8",
}


@dataclass(frozen=True)
class Manifest:
    """What a bundle is; the attributes are the manifest's keys and docs/format.md their meaning."""

    dataset: str | None
    timesteps: int
    dt: float  # seconds
    mean: list[float] | None
    std: list[float] | None
    labels: list[str]
    input_shape: list[int]
    layers: list[dict[str, Any]]
    encoding: str = "static"
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    test_accuracy: float | None = None
    teacher: dict[str, Any] = field(default_factory=dict)
    early_exit: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    digest: str = ""

    def signed(self) -> Manifest:
        """The same manifest with its digest."""
        body = asdict(self)
        del body["digest"]
        return replace(self, digest=sha256(canonical_json(body)))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    """An integer that every JSON reader holds exactly."""
    return _is_integer(value) and 0 <= value <= 2**53


def _is_number(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and abs(value) <= 1e300


def _is_list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _or_null(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def _or_either(one: Callable[[Any], bool], other: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: one(value) or other(value)


def _is_file_table(value: Any) -> bool:
    return _is_object(value) and all(
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) is not None
        and _is_object(entry)
        and _is_count(entry.get("bytes"))
        and re.fullmatch(r"[0-9a-f]{64}", str(entry.get("sha256"))) is not None
        for name, entry in value.items()
    )


_is_sizes = _is_list_of(_is_count)
_is_names = _is_list_of(_is_text)
_is_parameter = _or_either(_is_number, _is_list_of(_is_number))
# What a layer's entry must be where it has the key; a synaptic layer has a weight_shape, a neuron layer a shape.
_LAYER_RULES: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: _is_text(value) and value != "",
    "kind": _is_text,
    "sources": _is_names,
    "weight_shape": _is_sizes,
    "in_shape": _is_sizes,
    "out_shape": _is_sizes,
    "shape": _is_sizes,
    "stride": _is_sizes,
    "dilation": _is_sizes,
    "padding": _is_list_of(_is_sizes),
    "groups": _is_count,
    "zero_weights": _is_count,
    "beta": _is_parameter,
    "theta": _is_parameter,
    "raster": _is_sizes,
    "pools": _is_list_of(_is_object),
}
_SYNAPTIC, _NEURON = ("name", "kind", "sources", "weight_shape", "in_shape", "out_shape"), ("name", "kind", "shape")


def _is_layer_table(value: Any) -> bool:
    if not _is_list_of(_is_object)(value):
        return False
    for layer in value:
        required = _SYNAPTIC if "weight_shape" in layer else _NEURON
        if any(key not in layer for key in required):
            return False
        if not all(holds(layer[key]) for key, holds in _LAYER_RULES.items() if key in layer):
            return False
    return len({layer["name"] for layer in value}) == len(value)


# What each key must be, and the words for it.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dataset": (_or_null(_is_text), "a text or null"),
    "timesteps": (lambda value: _is_count(value) and value >= 1, "an integer of at least 1"),
    "dt": (lambda value: _is_number(value) and value > 0, "a positive number of seconds"),
    "mean": (_or_null(_is_list_of(_is_number)), "a list of numbers or null"),
    "std": (_or_null(_is_list_of(lambda v: _is_number(v) and v > 0)), "a list of positive numbers or null"),
    "labels": (lambda value: _is_list_of(_is_text)(value) and len(value) > 0, "a list of class names"),
    "input_shape": (lambda v: _is_list_of(lambda n: _is_count(n) and n >= 1)(v) and len(v) > 0, "a list of sizes"),
    "layers": (_is_layer_table, "a list of layers as docs/format.md describes them"),
    "encoding": (lambda value: value in ("static", "frames"), '"static" or "frames"'),
    "files": (_is_file_table, "names with their bytes and sha256"),
    "parity": (_is_object, "an object"),
    "test_accuracy": (_or_null(lambda v: _is_number(v) and 0 <= v <= 1), "a fraction in 0..1 or null"),
    "teacher": (_is_object, "an object"),
    "early_exit": (
        lambda v: _is_object(v) and ("margin" not in v or (_is_number(v["margin"]) and 0 <= v["margin"] <= 1)),
        "an object whose margin lies in 0..1",
    ),
    "versions": (lambda v: _is_object(v) and all(map(_is_text, v.values())), "package names with versions"),
    "digest": (_is_text, "a text"),
}
_OPTIONAL = frozenset({"encoding", "teacher"})


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """Returns the manifest that `data` holds, its digest and every key checked.

    Raises:
        BundleError: no JSON object, a newer format version, a changed byte, a missing or malformed key.
    """
    try:
        body = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        raise BundleError(f"{where}: not JSON ({str(cause).splitlines()[0]}); export the bundle again") from cause
    if not _is_object(body):
        raise BundleError(f"{where}: a {type(body).__name__}, not an object; export the bundle again")
    version = body.get("format_version")
    if not _is_integer(version) or version != FORMAT_VERSION:
        raise BundleError(
            f"{where}: format version {version!r}; this idsnn reads version {FORMAT_VERSION} "
            f"(install the idsnn that wrote the bundle, or export again)"
        )
    digest = body.pop("digest", None)
    try:
        expected = sha256(canonical_json(body))
    except (ValueError, RecursionError) as cause:
        raise BundleError(f"{where}: holds text or numbers that JSON cannot say; export the bundle again") from cause
    if digest != expected:
        raise BundleError(f"{where}: changed since it was written (its digest does not match); export the bundle again")
    body["digest"] = digest
    missing = [key for key in _RULES if key not in body and key not in _OPTIONAL]
    if missing:
        raise BundleError(f"{where}: without {', '.join(missing)}; export the bundle again")
    for key, (holds, words) in _RULES.items():
        if key in body and not holds(body[key]):
            raise BundleError(f"{where}: `{key}` is {str(body[key])[:60]!r}; it must be {words}")
    if (body["mean"] is None) != (body["std"] is None):
        raise BundleError(f"{where}: `mean` and `std` go together; one of them is null")
    channels = body["input_shape"][0]
    if any(body[key] is not None and len(body[key]) not in (1, channels) for key in ("mean", "std")):
        raise BundleError(f"{where}: `mean` and `std` have a value for each of the {channels} channels of the input")
    known = {key.name for key in fields(Manifest)}
    return Manifest(**{key: value for key, value in body.items() if key in known})


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: a folder whose manifest has been checked; files are checked as they are read."""

    folder: Path
    manifest: Manifest

    def has(self, name: str) -> bool:
        """Whether the manifest lists the file."""
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """Returns a listed file's bytes, whole and unchanged.

        Raises:
            BundleError: not listed (naming the export flag that makes it), missing, or of another size or hash.
        """
        if not self.has(name):
            flag = f"; make it with: idsnn-export {FLAGS[name]}" if name in FLAGS else ""
            raise BundleError(f"{self.folder}: the bundle has no {name}{flag}")
        listed = self.manifest.files[name]
        data = read_bytes(self.folder / name, MAX_FILE_BYTES)
        if len(data) != listed["bytes"]:
            raise BundleError(
                f"{self.folder / name}: {len(data):,} bytes where the manifest lists {listed['bytes']:,}; "
                f"copy or export the bundle again"
            )
        if sha256(data) != listed["sha256"]:
            raise BundleError(f"{self.folder / name}: changed since it was exported; copy or export the bundle again")
        return data

    def verify(self) -> None:
        """Reads every listed file; raises `BundleError` at the first that is missing or changed."""
        for name in self.manifest.files:
            self.read(name)


def read_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle.

    Raises:
        BundleError: the folder or its manifest is missing, broken, or lacks a file that every bundle has.
    """
    path = Path(folder)
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle; idsnn-export writes one")
    manifest = parse_manifest(read_bytes(path / MANIFEST, MAX_MANIFEST_BYTES), str(path / MANIFEST))
    unlisted = [name for name in ALWAYS if name not in manifest.files]
    if unlisted:
        raise BundleError(f"{path / MANIFEST}: lists no {', '.join(unlisted)}; export it with --format all")
    return Bundle(path, manifest)


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> Manifest:
    """Signs the manifest, writes it into `folder` atomically and returns it.

    Written last, it makes a bundle of the files, which it must list already (see `listing`).

    Raises:
        BundleError: a manifest that `read_bundle` would refuse; nothing is written.
    """
    signed = manifest.signed()
    parse_manifest(canonical_json(asdict(signed)), str(Path(folder) / MANIFEST))
    write_json(Path(folder) / MANIFEST, asdict(signed))
    return signed


def listing(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The `files` table of a folder: every file but the manifest, by name."""
    table = {}
    for file in sorted(Path(folder).iterdir()):
        if file.is_file() and file.name != MANIFEST and not file.name.startswith("."):
            data = read_bytes(file, MAX_FILE_BYTES)
            table[file.name] = {"bytes": len(data), "sha256": sha256(data)}
    return table
