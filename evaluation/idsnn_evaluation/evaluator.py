"""From a bundle and labelled images to a report, in one pass and bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import DataError
from idsnn_deploy.given import read_given
from idsnn_deploy.manifest import Bundle, Manifest, Precision, bundle_of, read_bundle
from idsnn_deploy.onnx_file import Options
from idsnn_deploy.split import Pixels

from .assemble import assemble
from .cost.platforms import Platform
from .counting.probe import Probe
from .document import Subject
from .one_pass import EXAMPLES, Labelled, Progress, Share, is_clip, run_pass
from .report import Report
from .shards import Shard


def evaluate(
    bundle: Bundle | str | os.PathLike[str],
    images: Labelled | Any,
    labels: Sequence[int] | Array | None = None,
    *,
    variant: Precision = "fp32",
    batch_size: int = 16,
    threads: int | None = None,
    split: str = "test",
    dataset: str | None = None,
    platforms: Sequence[Platform] = (),
    examples: int = EXAMPLES,
    progress: Progress = iter,
) -> Report:
    """Returns what the shipped network answers to `images` and what it does while answering.

    >>> report = evaluate("runs/demo/bundle", images, labels)          # doctest: +SKIP
    >>> report.totals["conv_acs"], report.accuracy["top1"]             # doctest: +SKIP
    >>> report = evaluate("runs/mine", (train, test))                  # what idsnn.train took       # doctest: +SKIP

    Args:
        bundle: a bundle with `model.probe.onnx`, its folder, or the run that it lies in.
        images: float32 `(N, C, H, W)` in 0..1, uint8 `(N, H, W, C)`, or anything whose slices are that; for a network
            whose input varies in time float32 `(T, N, ...)`, or recordings of events where it was trained on them.
            Without `labels`: a data set that brings its own, as `idsnn.train` takes it (`idsnn_deploy.given`): arrays,
            a torch Dataset or a Hugging Face data set, or (train, test) of them, of which `split` is read.
        labels: the classes, indices into the manifest's labels.
        variant: "fp32" or "int8": which of the bundle's networks.
        batch_size: images at a time; it changes no count, and more than a few gain nothing on a CPU.
        threads: onnxruntime's threads; None takes every core.
        split: a word for the provenance.
        dataset: another; None: the manifest's.
        platforms: more hardware to estimate for.
        examples: how many images to keep with their spikes, for the HTML report.
        progress: wraps the sequence of batch starts.

    Raises:
        BundleError: a bundle that is broken or has no probe, or outputs that are not finite.
        DataError: no images, or labels that do not fit the images or the bundle's classes.
    """
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(bundle_of(bundle))
    if variant not in get_args(Precision):
        raise ValueError(f"variant {variant!r}: {known_are(str(variant), get_args(Precision))}")
    manifest = opened.manifest
    if labels is None:
        images, labels = _given(images, split, manifest)
    truth = _checked(labels, _length(images, manifest), manifest)
    probe = Probe(opened, variant, Options(threads=threads))
    found = run_pass(probe, manifest, images, truth, probe.fixed or batch_size, Share(), examples, progress)
    subject: Subject = {"dataset": dataset or manifest.dataset, "split": split, "variant": variant}
    return assemble(opened, found, subject, platforms)


def evaluate_shard(
    bundle: Bundle,
    images: Labelled,
    labels: Sequence[int] | Array,
    share: Share,
    *,
    variant: Precision = "fp32",
    batch_size: int = 16,
    threads: int | None = None,
    split: str = "test",
    dataset: str | None = None,
    progress: Progress = iter,
) -> Shard:
    """Returns what `evaluate` counts over a share of the samples; `shards.merge` adds the shards of all up.

    Arguments and errors are those of `evaluate`; `images` and `labels` are the whole split's.

    Raises:
        UsageError: there are fewer batches than shards.
    """
    truth = _checked(labels, _length(images, bundle.manifest), bundle.manifest)
    probe = Probe(bundle, variant, Options(threads=threads))
    size = probe.fixed or batch_size
    found = run_pass(probe, bundle.manifest, images, truth, size, share, progress=progress)
    subject: Subject = {"dataset": dataset or bundle.manifest.dataset, "split": split, "variant": variant}
    return Shard.of(found, bundle, subject, share, truth, size)


def _given(data: Any, split: str, manifest: Manifest) -> tuple[Labelled, Array]:
    """Images and labels of a data set that brings its own, of the shape that the bundle takes."""
    found = read_given(data, split)
    if manifest.sample_axis or list(found.shape) != manifest.input_shape:
        kind = "input that varies in time" if manifest.sample_axis else "x".join(map(str, manifest.input_shape))
        raise DataError(f"data: images of {'x'.join(map(str, found.shape))} where the bundle takes {kind}")
    return Pixels(found), found.labels


def _length(images: Labelled, manifest: Manifest) -> int:
    return int(images.shape[1]) if is_clip(images, manifest) else len(images)  # type: ignore[attr-defined]


def _checked(labels: Sequence[int] | Array, count: int, manifest: Manifest) -> Array:
    truth = np.asarray(labels)
    if not count:
        raise DataError("the split is empty: there are no images to evaluate on")
    if truth.ndim != 1 or len(truth) != count:
        raise DataError(f"{count:,} images with labels of shape {truth.shape}; give one label per image")
    if not np.issubdtype(truth.dtype, np.integer):
        raise DataError(f"labels are {truth.dtype}, not integers that number the bundle's classes")
    low, high, classes = int(truth.min()), int(truth.max()), len(manifest.labels)
    if low < 0 or high >= classes:
        raise DataError(f"labels run from {low} to {high}, but the bundle has {classes} classes (0 to {classes - 1})")
    return truth.astype(np.int64)
