"""The images that a bundle is evaluated on, read batch by batch and checked against what the bundle takes.

| data set | is |
|---|---|
| a name of `idsnn_deploy.datasets` | its test part; files sorted by class are read as they are needed |
| npz, by name | all of `--data FILE.npz`: `labels` (N,) and `images` (N, ...), or `input` (T, N, ...) where it varies |
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.array_file import MAX_BYTES, read_npz
from idsnn_deploy.arrays import Array
from idsnn_deploy.class_trees import class_files
from idsnn_deploy.datasets import FILES, RECORDED, Reading, load_split
from idsnn_deploy.errors import DataError, UsageError
from idsnn_deploy.files import read_bytes
from idsnn_deploy.json_file import read_json_object
from idsnn_deploy.manifest import Bundle, Manifest
from idsnn_deploy.reading import Binning, Division
from idsnn_deploy.split import Pixels

MAX_CONFIG_BYTES = 1 << 24


@dataclass(frozen=True)
class LabelledSplit:
    """Labelled images: `images` may be sliced, `name` and `split` say what they are."""

    name: str
    split: str
    images: Any
    labels: Array


def open_source(
    manifest: Manifest, name: str | None, split: str, data: str | os.PathLike[str] | None, limit: int | None
) -> LabelledSplit:
    """Returns the images to evaluate on; `name` None takes the data set that the bundle was trained on.

    Raises:
        UsageError: no data set is known, or `folder` and `npz` without `data`.
        DataError: files that are missing, or classes or shapes that are not the bundle's.
    """
    chosen = name or manifest.dataset
    if chosen is None:
        raise UsageError("the bundle does not say what it was trained on; name a data set with --dataset")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: give at least 1 image")
    if chosen == "npz" and (name is not None or manifest.dataset != "npz"):
        return _from_arrays(data, split, limit, manifest)
    if bool(manifest.sample_axis) != (chosen in RECORDED) or (chosen in RECORDED and manifest.events is None):
        raise UsageError(f"--dataset {chosen}: the bundle takes {_kind(manifest)}")
    division = manifest.division or Division()
    if chosen in FILES and data is not None and not division.skip_broken:
        found = class_files(data, split, FILES[chosen], division, limit)
        _check_classes(chosen, found.classes, manifest)
        return LabelledSplit(chosen, split, found.files, found.labels)
    shape = manifest.image_shape if chosen in FILES or chosen in RECORDED else None
    reading = Reading(division=division, timesteps=manifest.timesteps, binning=manifest.events or Binning())
    whole = load_split(chosen, split, data, shape, limit, reading)
    _check_classes(chosen, whole.classes, manifest)
    if list(whole.shape) != manifest.input_shape:
        raise DataError(
            f"{chosen}: images of {_words(whole.shape)} where the bundle takes {_words(manifest.input_shape)}"
        )
    return LabelledSplit(chosen, split, Pixels(whole), whole.labels)


def one_data_set(bundles: Sequence[Bundle], name: str | None) -> None:
    """Raises `UsageError` unless all bundles are for one data set: accuracies on different samples are not compared."""
    first, *others = bundles
    for each in others:
        mine, theirs = ((name or b.manifest.dataset, b.manifest.labels, b.manifest.division) for b in (each, first))
        differ = [what for what, a, b in zip(_SAME, mine, theirs, strict=True) if a != b]
        if differ:
            raise UsageError(
                f"--compare needs one data set for all: {differ[0]} of {each.folder} and of {first.folder} differ"
            )


def one_split(bundles: Sequence[Bundle], sources: Sequence[LabelledSplit]) -> None:
    """Raises `UsageError` unless the samples that were found are the same, by name, number and class."""
    for bundle, source in zip(bundles, sources, strict=True):
        if source.name != sources[0].name or not np.array_equal(source.labels, sources[0].labels):
            raise UsageError(
                f"--compare needs one data set for all: {bundle.folder} has {source.name} with {len(source.labels):,} "
                f"samples, {bundles[0].folder} {sources[0].name} with {len(sources[0].labels):,}; name it with --data"
            )


_SAME = ("the data sets", "the classes", "the divisions into training and test part")


def trained_on(bundle: Path) -> Path | None:
    """Where the run that a bundle lies in has its data from; None for a bundle elsewhere, or data that are gone."""
    config = bundle.resolve().parent / "config.json"
    named = read_json_object(config, MAX_CONFIG_BYTES, DataError).get("data") if config.is_file() else None
    return Path(named) if isinstance(named, str) and os.path.exists(named) else None


def _from_arrays(
    path: str | os.PathLike[str] | None, split: str, limit: int | None, manifest: Manifest
) -> LabelledSplit:
    if path is None:
        raise UsageError("--dataset npz needs --data FILE.npz with `images` or `input`, and `labels`")
    frames = manifest.sample_axis
    key = "input" if frames else "images"
    try:
        arrays = read_npz(read_bytes(path, MAX_BYTES, DataError), (key, "labels"))
        x, labels = arrays[key], arrays["labels"]
    except ValueError as cause:
        raise DataError(f"{path}: no .npz file with `{key}` and `labels` ({cause})") from cause
    shape = x.shape[1 + frames :]
    if list(shape) != manifest.input_shape or (frames and x.shape[0] != manifest.timesteps):
        wanted = ", ".join([*([str(manifest.timesteps)] * frames), "N", *map(str, manifest.input_shape)])
        raise DataError(f"{path}: `{key}` has the shape {x.shape} where the bundle takes ({wanted})")
    if x.dtype.kind not in "fiub":
        raise DataError(f"{path}: `{key}` is {x.dtype}, not numbers")
    bounds = (0.0, 1.0) if manifest.mean is not None else (-3e38, 3e38)  # what float32 holds
    if x.size and not (np.isfinite(x).all() and x.min() >= bounds[0] and x.max() <= bounds[1]):
        raise DataError(f"{path}: `{key}` must be finite{' and in 0..1' if manifest.mean is not None else ''}")
    part = slice(limit)
    x = x[:, part] if frames else x[part]
    return LabelledSplit(Path(path).stem, split, x.astype(np.float32), labels[part])


def _kind(manifest: Manifest) -> str:
    if manifest.encoding == "static":
        return "images"
    return "input that varies in time; pass --dataset npz" if manifest.events is None else "recordings of events"


def _check_classes(name: str, classes: tuple[str, ...], manifest: Manifest) -> None:
    if list(classes) == manifest.labels:
        return
    odd = sorted(set(classes) ^ set(manifest.labels))[:5] or ["the same ones in another order"]
    raise DataError(
        f"{name}: {len(classes)} classes that are not the bundle's {len(manifest.labels)} ({', '.join(odd)}); "
        f"evaluate on the data it was trained for"
    )


def _words(shape: Any) -> str:
    return "x".join(map(str, shape))
