"""The bundle's manifest: the one implementation of docs/format.md.

digest = SHA-256(canonical JSON of the manifest without `digest`)        guards the manifest
files[name] = {bytes, sha256}                                            guards every other file
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from .errors import BundleError, UsageError, first_line
from .files import canonical_json, read_bytes, sha256, write_json
from .held import HeldFiles, undisturbed
from .json_file import parse_json
from .json_types import (
    ABOVE_0,
    NOT_EMPTY,
    Count,
    Fraction,
    MalformedError,
    Positive,
    Rule,
    Text,
    WhereThere,
    fits,
    keys_of,
    matching,
    read,
    write,
)
from .layer_table import LayerTable, Neurons, Synapses
from .reading import Binning, Division, Readout

_Size = TypeVar("_Size", int, None)  # None: any
VERSIONS = (1, 2)  # 2 where the readout is no mean, which a reader of version 1 would not notice
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES, MAX_FILE_BYTES = 4 * 2**20, 2 * 2**30
_MOST_HELD = 64  # open files of a bundle, three times as many as an export writes
Holds = Literal["model", "step", "probe"]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file of a bundle.

    Attributes:
        name: the file's.
        holds: "model": T steps in one call; "step": one, its state handed in and out; "probe": the model, and counts.
        precision: of the layers that read spikes.
        flag: what `idsnn-export` makes it with; None: every bundle has it.
    """

    name: str
    holds: Holds
    precision: Precision
    flag: str | None = None


MODEL_FILES = (
    ModelFile("model.onnx", "model", "fp32"),
    ModelFile("model.step.onnx", "step", "fp32", "--graphs step"),
    ModelFile("model.probe.onnx", "probe", "fp32", "--graphs probe"),
    ModelFile("model.int8.onnx", "model", "int8", "--int8"),
    ModelFile("model.int8.probe.onnx", "probe", "int8", "--int8"),
)
NIR, GOLDEN = "model.nir", "golden.npz"
C = "c"  # the folder of C in a bundle, and the variant that it is
ALWAYS = (NIR, *(file.name for file in MODEL_FILES if file.flag is None), GOLDEN)
# What a session runs, and from which file: the model in each of its precisions, then the one step.
VARIANTS: dict[str, str] = {
    **{file.precision: file.name for file in MODEL_FILES if file.holds == "model"},
    **{file.holds: file.name for file in MODEL_FILES if file.holds == "step"},
}


def model_file(holds: Holds, precision: Precision = "fp32") -> str:
    """The name of the file that holds it."""
    return next(file.name for file in MODEL_FILES if (file.holds, file.precision) == (holds, precision))


FileName = Annotated[str, matching(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", "that names a file, without slashes")]
Sha256 = Annotated[str, matching(r"[0-9a-f]{64}", "of 64 hexadecimal digits in lower case")]


class FileEntry(TypedDict):
    """What guards a file."""

    bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class CSources:
    """The network in C: what lies in the bundle's folder `c`.

    Attributes:
        isa: what its sums are written for: "portable" or "avx2".
        files: what guards each file.
    """

    isa: Text
    files: dict[FileName, FileEntry]


EarlyExit = Annotated[
    dict[str, Any],
    Rule(
        lambda value: fits(Fraction, value.get("margin", 0)),
        "whose margin lies in 0..1",
        {"properties": {"margin": {"type": "number", "minimum": 0, "maximum": 1}}},
    ),
]
Teacher = Annotated[
    dict[str, Any],
    Rule(
        lambda value: fits(int | None, value.get("dense_macs")) and fits(Count, value.get("dense_macs") or 0),
        "whose dense_macs are an integer of at least 0 or null",
        {"properties": {"dense_macs": {"type": ["integer", "null"], "minimum": 0}}},
    ),
]
ProfileName = Literal["default", "portable"]  # how spikes are written in the ONNX files
Encoding = Literal["static", "frames"]  # the same input at every step, or one a step


@dataclass(frozen=True)
class Manifest:
    """What a bundle is; the attributes are the manifest's keys and docs/format.md their meaning."""

    dataset: Text | None
    timesteps: Positive
    dt: Annotated[float, ABOVE_0]  # seconds
    mean: list[float] | None
    std: list[Annotated[float, ABOVE_0]] | None
    labels: Annotated[list[Text], NOT_EMPTY]
    input_shape: Annotated[list[Positive], NOT_EMPTY]
    layers: LayerTable
    encoding: Encoding = "static"
    readout: WhereThere[Readout] = "mean"
    events: WhereThere[Binning | None] = None
    division: WhereThere[Division | None] = None
    c: WhereThere[CSources | None] = None
    profile: WhereThere[ProfileName] = "default"
    files: dict[FileName, FileEntry] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    test_accuracy: Fraction | None = None
    teacher: Teacher = field(default_factory=dict)
    early_exit: EarlyExit = field(default_factory=dict)
    versions: dict[str, Text] = field(default_factory=dict)
    warnings: WhereThere[tuple[Text, ...]] = ()
    format_version: int = VERSIONS[0]
    digest: str = ""

    @property
    def sample_axis(self) -> int:
        """Where samples lie in the network's input: 0 in `(N, ...)`, 1 in frames `(T, N, ...)`."""
        return 1 if self.encoding == "frames" else 0

    @property
    def input_name(self) -> str:
        """What the ONNX files call the input."""
        return "input" if self.sample_axis else "image"

    def batch_shape(self, count: _Size) -> tuple[int | _Size, ...]:
        """The input's shape for `count` samples."""
        return (*(self.timesteps,) * self.sample_axis, count, *self.input_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image, or of a frame.

        Raises:
            UsageError: the input has other axes.
        """
        if len(self.input_shape) != 3:
            raise UsageError(
                f"the network takes inputs of shape {tuple(self.input_shape)}, not images; pass float arrays"
            )
        channels, height, width = self.input_shape
        return channels, height, width

    @property
    def synapses(self) -> list[Synapses]:
        """The layers with weights, in order."""
        return [layer for layer in self.layers if isinstance(layer, Synapses)]

    @property
    def neurons(self) -> list[Neurons]:
        """The layers that spike, in order."""
        return [layer for layer in self.layers if isinstance(layer, Neurons)]

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON types."""
        body: dict[str, Any] = write(self)
        return body

    def signed(self) -> Manifest:
        """The same manifest with its digest."""
        body = self.to_dict()
        del body["digest"]
        return replace(self, digest=sha256(canonical_json(body)))


OPTIONAL = frozenset(
    {"encoding", "readout", "teacher", "events", "division", "profile", "c", "warnings"}
)  # keys that a reader does without; every other one is there


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """Returns the manifest that `data` holds, its digest and every key checked.

    Raises:
        BundleError: no JSON object, a newer format version, a changed byte, a missing or malformed key.
    """
    try:
        body = parse_json(data)
    except ValueError as cause:
        raise BundleError(f"{where}: not JSON ({first_line(cause)}); export the bundle again") from cause
    if not isinstance(body, dict):
        raise BundleError(f"{where}: a {type(body).__name__}, not an object; export the bundle again")
    version = body.get("format_version")
    if type(version) is not int or version not in VERSIONS:
        raise BundleError(
            f"{where}: format version {version!r}; this idsnn reads versions {VERSIONS[0]} and {VERSIONS[1]} "
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
    known = keys_of(Manifest)
    missing = [key for key in known if key not in body and key not in OPTIONAL]
    if missing:
        raise BundleError(f"{where}: without {', '.join(missing)}; export the bundle again")
    try:
        found = {key: read(hint, body[key], key) for key, (hint, _) in known.items() if key in body}
    except MalformedError as cause:
        raise BundleError(f"{where}: {cause}; export the bundle again") from cause
    _check_normalization(found, where)
    if found.get("readout", "mean") != "mean" and version == 1:
        raise BundleError(f"{where}: readout {found['readout']!r} is format version 2; export the bundle again")
    return Manifest(**found)


def _check_normalization(body: dict[str, Any], where: str) -> None:
    if (body["mean"] is None) != (body["std"] is None):
        raise BundleError(f"{where}: `mean` and `std` go together; one of them is null")
    channels = body["input_shape"][0]
    if any(body[key] is not None and len(body[key]) not in (1, channels) for key in ("mean", "std")):
        raise BundleError(f"{where}: `mean` and `std` have a value for each of the {channels} channels of the input")


def listed(manifest: Manifest) -> dict[str, FileEntry]:
    """Every file of a bundle but the manifest, those of its C as `c/NAME`."""
    in_c = {} if manifest.c is None else manifest.c.files
    return {**manifest.files, **{f"{C}/{name}": entry for name, entry in in_c.items()}}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: a folder whose manifest has been checked; files are checked as they are read.

    A bundle that `read_bundle` opened stays what it was when an export replaces the folder.
    """

    folder: Path
    manifest: Manifest
    held: HeldFiles | None = field(default=None, repr=False, compare=False)

    def has(self, name: str) -> bool:
        """Whether the manifest lists the file."""
        return name in listed(self.manifest)

    def read(self, name: str) -> bytes:
        """Returns a listed file's bytes, whole and unchanged; `c/NAME` is one of the folder of C.

        Raises:
            BundleError: not listed (naming the export flag that makes it), missing, or of another size or hash.
        """
        if not self.has(name):
            flags = [
                f"; make it with: idsnn-export {file.flag}" for file in MODEL_FILES if file.name == name and file.flag
            ]
            raise BundleError(f"{self.folder}: the bundle has no {name}{''.join(flags)}")
        entry = listed(self.manifest)[name]
        data = None if self.held is None else self.held.read(name, MAX_FILE_BYTES)
        if data is None:
            data = read_bytes(self.folder / name, MAX_FILE_BYTES)
        if len(data) != entry["bytes"]:
            raise BundleError(
                f"{self.folder / name}: {len(data):,} bytes where the manifest lists {entry['bytes']:,}; "
                f"copy or export the bundle again"
            )
        if sha256(data) != entry["sha256"]:
            raise BundleError(f"{self.folder / name}: changed since it was exported; copy or export the bundle again")
        return data

    def verify(self) -> None:
        """Reads every listed file; raises `BundleError` at the first that is missing or changed."""
        for name in listed(self.manifest):
            self.read(name)

    def margin(self) -> float:
        """The margin of anytime inference that the manifest recommends.

        Raises:
            UsageError: it has none.
        """
        margin = self.manifest.early_exit.get("margin")
        if isinstance(margin, bool) or not isinstance(margin, (int, float)):
            raise UsageError(
                f"{self.folder}: no margin was chosen for this bundle; give one in 0..1 (--margin), "
                f"or let idsnn-evaluate --early-exit --write choose it"
            )
        return float(margin)


def bundle_of(folder: str | os.PathLike[str]) -> Path:
    """The bundle's folder, where `folder` is one, or the run that `idsnn-export RUN` put one into.

    Raises:
        BundleError: a run that was not exported.
    """
    path = Path(folder)
    if (path / MANIFEST).exists() or not (path / "config.json").is_file():
        return path
    if not (path / "bundle").is_dir():
        raise BundleError(f"{path}: {_instead(path)}")
    return path / "bundle"


def _instead(path: Path) -> str:
    """What lies at a path where no bundle does, and what may be meant."""
    if (path / "bundle" / MANIFEST).is_file():
        return f"a run, not a bundle; its bundle is {path / 'bundle'}"
    if (path / "config.json").is_file():
        return f"a run that was not exported; idsnn-export {path} puts its bundle into it"
    if path.is_dir():
        return f"not a bundle, for it holds no {MANIFEST}; idsnn-export writes one"
    if path.is_file() and (path.parent / MANIFEST).is_file():
        return f"a file of a bundle; name the bundle: {path.parent}"
    if path.is_file():
        return f"a file, not a bundle; idsnn-export {path if path.suffix == '.nir' else 'RUN'} makes one"
    return "no such bundle; idsnn-export writes one"


def read_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle: as it was, or as an export that replaces it meanwhile makes it, and never something between.

    Raises:
        BundleError: the folder or its manifest is missing, broken, or lacks a file that every bundle has.
    """
    return undisturbed(Path(folder), lambda: _read_bundle(Path(folder)))


def _read_bundle(path: Path) -> Bundle:
    if not os.path.lexists(path / MANIFEST):
        raise BundleError(f"{path}: {_instead(path)}")
    manifest = parse_manifest(read_bytes(path / MANIFEST, MAX_MANIFEST_BYTES), str(path / MANIFEST))
    unlisted = [name for name in ALWAYS if name not in manifest.files]
    if unlisted:
        raise BundleError(f"{path / MANIFEST}: lists no {', '.join(unlisted)}; export it with --format all")
    return Bundle(path, manifest, HeldFiles(path, islice(listed(manifest), _MOST_HELD)))


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> Manifest:
    """Signs the manifest, writes it into `folder` atomically and returns it.

    Written last, it makes a bundle of the files, which it must list already (see `listing`).

    Raises:
        BundleError: a manifest that `read_bundle` would refuse; nothing is written.
    """
    signed = manifest.signed()
    body = signed.to_dict()
    parse_manifest(canonical_json(body), str(Path(folder) / MANIFEST))
    write_json(Path(folder) / MANIFEST, body)
    return signed


def listing(folder: str | os.PathLike[str]) -> dict[str, FileEntry]:
    """The `files` table of a folder: every file but the manifest, by name."""
    table: dict[str, FileEntry] = {}
    for file in sorted(Path(folder).iterdir()):
        if file.is_file() and file.name != MANIFEST and not file.name.startswith("."):
            data = read_bytes(file, MAX_FILE_BYTES)
            table[file.name] = {"bytes": len(data), "sha256": sha256(data)}
    return table
