"""A part of a split, counted on one machine and written as a file, and the parts of all machines added up.

    shard k of n      what a pass over its batches adds up: integers per layer, a few numbers per sample, examples
    merged            the sum over k = 1..n in order: the report of one pass over all, number for number

A file `shard-K-of-N.npz` holds the arrays of `_arrays` and, as JSON in `about`, the facts that shards of one report
share, the layers' integers and a digest of everything, so that what was cut short or changed is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import filterfalse, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from idsnn_deploy.array_file import MAX_BYTES, read_npz
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import BundleError, DataError, UsageError, first_line
from idsnn_deploy.files import canonical_json, read_bytes, replacing, sha256
from idsnn_deploy.json_file import parse_json
from idsnn_deploy.json_types import NOT_EMPTY, Count, Positive, read, write
from idsnn_deploy.manifest import Bundle, Manifest, Precision
from idsnn_deploy.versions import versions

from .answers.scores import Scores
from .assemble import COUNTED_WITH, assemble
from .cost.platforms import Platform
from .counting.table import still
from .counting.tally import tallies
from .document import Subject
from .one_pass import Pass, Share, added
from .report import Example, Report

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Shown:
    """A sample to show; its arrays lie beside."""

    label: Count
    layers: list[str]


@dataclass(frozen=True)
class About:
    """What a shard is a part of; `COMMON` are the keys that shards of one report share.

    Attributes:
        bundle_digest: of the bundle that was run.
        samples: of the whole split; `labels` is the digest of their classes in order.
        batch_size: samples that were run at a time.
        counted: what each layer's tally added up.
    """

    number: Positive
    of: Positive
    bundle_digest: str
    dataset: str | None
    split: str
    variant: Precision
    samples: Positive
    labels: str
    batch_size: Positive
    versions: dict[str, str]
    counted: Annotated[list[dict[str, int]], NOT_EMPTY]
    shown: list[Shown]
    format_version: int = FORMAT_VERSION
    digest: str = ""


COMMON = {
    "dataset": "the data set",
    "split": "the split",
    "samples": "the number of samples",
    "labels": "the digest of the samples' classes",
    "variant": "the precision",
    "batch_size": "the batch size",
    "of": "the number of shards",
}


@dataclass(frozen=True)
class Shard:
    """A part of a split: what it is a part of, and its arrays by name."""

    about: About
    arrays: dict[str, Array] = field(repr=False)
    where: str = "a shard"

    @staticmethod
    def of(found: Pass, bundle: Bundle, subject: Subject, share: Share, truth: Array, batch_size: int) -> Shard:
        """The shard of a pass over a share of the samples whose classes are `truth`."""
        about = About(
            share.number,
            share.of,
            bundle.manifest.digest,
            **subject,
            samples=len(truth),
            labels=sha256(truth.astype("<i8").tobytes()),
            batch_size=batch_size,
            versions=_versions(),
            counted=[tally.counted() for tally in found.tallies],
            shown=[Shown(example.label, list(example.rasters)) for example in found.examples],
        )
        arrays = _arrays(found)
        return Shard(replace(about, digest=_digest(about, arrays)), arrays)

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes `folder`/shard-K-of-N.npz, whole or not at all, and returns its path."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder) / file_name(Share(self.about.number, self.about.of))
        held: dict[str, Any] = {"about": np.frombuffer(json.dumps(write(self.about)).encode(), np.uint8), **self.arrays}
        with replacing(path) as beside:
            np.savez_compressed(beside, **held)
        return path


def file_name(share: Share) -> str:
    """A shard's: they sort in order, and say which of them are missing."""
    return f"shard-{share.number:0{len(str(share.of))}}-of-{share.of}.npz"


def read_shard(path: str | os.PathLike[str]) -> Shard:
    """Returns the shard that a file holds, whole and unchanged.

    Raises:
        DataError: it is missing, cut short, changed, no shard, or of another version.
    """
    data = read_bytes(path, MAX_BYTES, DataError)
    try:
        arrays = read_npz(data)
        about: About = read(About, parse_json(arrays.pop("about").tobytes()), "about")
    except Exception as cause:  # zipfile, zlib, numpy and JSON raise a dozen kinds
        reason = first_line(cause)
        raise DataError(f"{path}: is no shard that can be read ({reason}); run it again") from cause
    if about.format_version != FORMAT_VERSION:
        raise DataError(f"{path}: shard format {about.format_version}; this version reads {FORMAT_VERSION}")
    if about.digest != _digest(replace(about, digest=""), arrays):
        raise DataError(f"{path}: changed since it was written; run it again")
    return Shard(about, arrays, str(path))


def merge(bundle: Bundle, folder: str | os.PathLike[str], platforms: Sequence[Platform] = ()) -> Report:
    """Returns the report of the whole split, from all of its shards in a folder.

    Raises:
        UsageError: the folder has no shards, shards are missing or there twice, or they are of different evaluations.
        DataError: a shard that is cut short or changed, or that another version counted.
        BundleError: a shard of another bundle.
    """
    found = [read_shard(path) for path in sorted(Path(folder).glob("shard-*.npz"))]
    if not found:
        raise UsageError(f"{folder}: holds no shard-K-of-N.npz; write them with --shard K/N --out {folder}")
    for each in found:
        _check(each, found[0], bundle)
    _check_numbers(found, folder)
    first, *others = [_pass(each, bundle) for each in sorted(found, key=lambda each: each.about.number)]
    about = found[0].about
    subject: Subject = {"dataset": about.dataset, "split": about.split, "variant": about.variant}
    return assemble(bundle, added(first, *others), subject, platforms)


def _check(shard: Shard, first: Shard, bundle: Bundle) -> None:
    about = shard.about
    if about.bundle_digest != bundle.manifest.digest:
        raise BundleError(f"{shard.where}: of another bundle than {bundle.folder}, or of an older state of it")
    if about.versions != _versions():
        found, here = (", ".join(f"{k} {v}" for k, v in each.items()) for each in (about.versions, _versions()))
        raise DataError(f"{shard.where}: counted with {found}; merge it there, or count again with {here}")
    for key, words in COMMON.items():
        mine, theirs = getattr(about, key), getattr(first.about, key)
        if mine != theirs:
            raise UsageError(
                f"{shard.where}: {words} is {str(mine)[:40]}, and {str(theirs)[:40]} in {first.where}; "
                f"they are no shards of one report"
            )


def _check_numbers(found: Sequence[Shard], folder: str | os.PathLike[str]) -> None:
    by_number: dict[int, Shard] = {}
    for each in found:
        same = by_number.setdefault(each.about.number, each)
        if same is not each:
            raise UsageError(f"{each.where}: shard {each.about.number} a second time, after {same.where}; remove one")
    of = found[0].about.of
    count = of - sum(number <= of for number in by_number)
    if count:  # not all are looked for: a file says of how many it is one, and any number is quickly said
        missing = [str(k) for k in islice(filterfalse(by_number.__contains__, range(1, of + 1)), min(count, 5))]
        more = f" and {count - 5} more" if count > 5 else ""
        raise UsageError(
            f"{folder}: {count} of {of} shards are missing ({', '.join(missing)}{more}); run --shard {missing[0]}/{of}"
        )


def _pass(shard: Shard, bundle: Bundle) -> Pass:
    """What a shard's file says, as the pass that it was."""
    manifest, about, arrays = bundle.manifest, shard.about, shard.arrays
    counts = tallies(manifest.layers, still(manifest.layers, manifest.sample_axis == 0), manifest.timesteps)
    try:
        if any(value < 0 for counted in about.counted for name, value in counted.items() if name != "units"):
            raise ValueError("a count below 0")
        for tally, counted in zip(counts, about.counted, strict=True):
            tally.take(counted)
        starts = Share(about.number, about.of).starts(about.samples, about.batch_size)
        _check_arrays(shard, manifest, starts.stop - starts.start)
    except (KeyError, ValueError, OverflowError, UsageError) as cause:
        raise DataError(
            f"{shard.where}: does not hold what the bundle's layers count ({cause}); run it again"
        ) from cause
    scores = Scores(arrays["labels"], arrays["classes"], arrays["margins"])
    examples = tuple(_example(arrays, i, each) for i, each in enumerate(about.shown))
    return Pass(counts, scores, arrays["singly"], examples)


def _check_arrays(shard: Shard, manifest: Manifest, samples: int) -> None:
    """Raises `ValueError` or `KeyError` unless every array has its kind of number, its shape and its range."""
    steps, classes = manifest.timesteps, len(manifest.labels)
    wanted: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "labels": ("i", (samples,)),
        "classes": ("i", (steps, samples)),
        "margins": ("f", (steps, samples)),
        "singly": ("i", (len(manifest.layers), samples)),
    }
    for i, shown in enumerate(shard.about.shown):
        wanted[f"{i}.pixels"] = ("f", (*(steps,) * manifest.sample_axis, *manifest.input_shape))
        wanted[f"{i}.evidence"] = ("f", (steps, classes))
        wanted |= {f"{i}.raster.{j}": ("b", (steps, None)) for j in range(len(shown.layers))}
    for name, (kind, shape) in wanted.items():
        array = shard.arrays[name]
        fits = len(array.shape) == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
        if array.dtype.kind != kind or not fits or not np.isfinite(array).all():
            raise ValueError(f"`{name}` is {array.dtype} of the shape {array.shape}")
    shown_classes = np.array([each.label for each in shard.about.shown], dtype=np.int64)
    numbers = np.concatenate([shard.arrays["labels"], shard.arrays["classes"].ravel(), shown_classes])
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= classes:
        raise ValueError(f"classes beyond the bundle's {classes}")


def _arrays(found: Pass) -> dict[str, Array]:
    scores = found.scores
    arrays = {"labels": scores.labels, "classes": scores.classes, "margins": scores.margins, "singly": found.singly}
    for i, example in enumerate(found.examples):
        arrays |= {f"{i}.pixels": example.pixels, f"{i}.evidence": example.evidence}
        arrays |= {f"{i}.raster.{j}": raster for j, raster in enumerate(example.rasters.values())}
    return arrays


def _example(arrays: Mapping[str, Array], i: int, shown: Shown) -> Example:
    rasters = {name: arrays[f"{i}.raster.{j}"] for j, name in enumerate(shown.layers)}
    return Example(arrays[f"{i}.pixels"], shown.label, arrays[f"{i}.evidence"], rasters)


def _digest(about: About, arrays: Mapping[str, Array]) -> str:
    each = {name: [str(a.dtype), list(a.shape), sha256(a.tobytes())] for name, a in arrays.items()}
    return sha256(canonical_json([write(about), each]))


def _versions() -> dict[str, Any]:
    return versions("idsnn", *COUNTED_WITH)
