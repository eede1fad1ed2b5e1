"""From a bundle and labelled images to a report, in one pass and bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, get_args

import numpy as np

from idsnn_deploy.anytime import running_mean, softmax
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import DataError
from idsnn_deploy.given import read_given
from idsnn_deploy.inputs import batches
from idsnn_deploy.manifest import Bundle, Manifest, Precision, bundle_of, read_bundle
from idsnn_deploy.onnx_file import Options
from idsnn_deploy.split import Pixels

from .answers.scores import Scores
from .assemble import assemble
from .cost.platforms import Platform
from .counting.probe import Probe
from .counting.tally import Arrays, NeuronTally, SynapseTally, Tally
from .report import Example, Report


class Labelled(Protocol):
    """Images that are read a slice at a time, for splits that do not fit into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice) -> Any: ...


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
    examples: int = 6,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
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
        split, dataset: words for the provenance; `dataset` defaults to the manifest's.
        platforms: more hardware to estimate for.
        examples: how many images to keep with their spikes, for the HTML report.
        progress: wraps the sequence of batch starts.

    Raises:
        BundleError: a bundle that is broken or has no probe, or outputs that are not finite.
        DataError: no images, or labels that do not fit the images or the bundle's classes.
    """
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(bundle_of(bundle))
    if variant not in get_args(Precision):
        raise ValueError(f"variant {variant!r}; known are {', '.join(get_args(Precision))}")
    manifest = opened.manifest
    if labels is None:
        images, labels = _given(images, split, manifest)
    truth = _checked(labels, _length(images, manifest), manifest)
    probe = Probe(opened, variant, Options(threads=threads))
    tallies, scores, per_sample, kept = probe.tallies(), [], [], []
    shown = np.unique(truth, return_index=True)[1][:examples]  # the first image of each class
    names, traces = probe.counting(tallies), [f"raster.{name}" for name in probe.rasters()]
    for start, x in _batches(images, len(truth), manifest, probe.fixed or batch_size, progress):
        count = x.shape[probe.axis]
        here = np.sort(shown[(start <= shown) & (shown < start + count)]) - start
        outputs = probe.run(x, names + traces * bool(len(here)))
        per_sample.append(_per_sample([tally.add(outputs) for tally in tallies], tallies, count))
        scores.append(Scores.of(truth[start : start + count], outputs["step_logits"]))
        kept += [_example(i, x.take(i, axis=probe.axis), int(truth[start + i]), outputs) for i in here]
    return assemble(
        opened,
        tallies,
        Scores.joined(scores),
        np.concatenate(per_sample, axis=1),
        tuple(kept),
        {"dataset": dataset or manifest.dataset, "split": split, "variant": variant},
        platforms,
    )


def _given(data: Any, split: str, manifest: Manifest) -> tuple[Labelled, Array]:
    """Images and labels of a data set that brings its own, of the shape that the bundle takes."""
    found = read_given(data, split)
    if manifest.sample_axis or list(found.shape) != manifest.input_shape:
        kind = "input that varies in time" if manifest.sample_axis else "x".join(map(str, manifest.input_shape))
        raise DataError(f"data: images of {'x'.join(map(str, found.shape))} where the bundle takes {kind}")
    return Pixels(found), found.labels


def _length(images: Labelled, manifest: Manifest) -> int:
    return int(images.shape[1]) if _is_clip(images, manifest) else len(images)  # type: ignore[attr-defined]


def _is_clip(images: Labelled, manifest: Manifest) -> bool:
    """Whether samples lie behind time, `(T, N, ...)`; recordings come one after the other."""
    return bool(manifest.sample_axis) and isinstance(images, np.ndarray)


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


def _batches(
    images: Labelled, count: int, manifest: Manifest, size: int, progress: Callable[[Iterable[int]], Iterable[int]]
) -> Iterable[tuple[int, Array]]:
    for start in progress(range(0, count, size)):
        part: Any = slice(start, start + size)
        chunk = images[:, part] if _is_clip(images, manifest) else images[part]  # type: ignore[index]
        for x in batches(chunk, manifest, size):
            yield start, x


def _per_sample(found: Sequence[Array], tallies: Sequence[Tally], count: int) -> Array:
    """Accumulates and spikes of each sample of a batch, int64 `(2, n)`."""
    kinds = (SynapseTally, NeuronTally)
    rows = [[f for f, t in zip(found, tallies, strict=True) if isinstance(t, kind)] for kind in kinds]
    return np.stack([np.sum(row, axis=0, dtype=np.int64) if row else np.zeros(count, np.int64) for row in rows])


def _example(i: int, pixels: Array, label: int, outputs: Arrays) -> Example:
    """Sample i of a batch, with its spikes and what the network made of it."""
    evidence = softmax(running_mean(outputs["step_logits"][:, i]))
    rasters = {n.removeprefix("raster."): v[i] > 0 for n, v in outputs.items() if n.startswith("raster.")}
    return Example(pixels, label, evidence, rasters)
