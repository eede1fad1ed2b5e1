"""One pass over samples, or over a share of them: the network runs batch by batch, and its sums are added up.

What a pass holds is the sum of what its batches hold, and every batch stands alone: passes over the shares of a split,
cut between batches, add up to the pass over all of it, number for number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from idsnn_deploy.anytime import softmax
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UsageError
from idsnn_deploy.inputs import batches
from idsnn_deploy.manifest import Manifest
from idsnn_deploy.readout import Readout, running

from .answers.scores import Scores
from .counting.probe import Probe
from .counting.tally import Arrays, NeuronTally, SynapseTally, Tally
from .report import Example

EXAMPLES = 6
Progress = Callable[[Iterable[int]], Iterable[int]]


class Labelled(Protocol):
    """Images that are read a slice at a time, for splits that do not fit into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """What a network did and answered.

    Attributes:
        tallies: what was added up, one per layer of its table.
        scores: what was answered.
        singly: accumulates or spikes of each layer and sample, int64 `(L, N)`.
        examples: samples to show, the first of each class.
    """

    tallies: list[Tally]
    scores: Scores
    singly: Array
    examples: tuple[Example, ...]

    @property
    def acs(self) -> Array:
        """Accumulates of each sample, int64 `(N,)`; a layer where some sample was no spikes has none."""
        return self._sum([isinstance(each, SynapseTally) and not each.analog for each in self.tallies])

    @property
    def spikes(self) -> Array:
        """Spikes of each sample, int64 `(N,)`."""
        return self._sum([isinstance(each, NeuronTally) for each in self.tallies])

    def _sum(self, chosen: list[bool]) -> Array:
        return np.asarray(self.singly[chosen].sum(axis=0, dtype=np.int64))


@dataclass(frozen=True)
class Share:
    """Part `number` of `of`: whole batches, as many as in every other part or one less.

    Part k of n has the batches from floor((k - 1) B / n) on, up to floor(k B / n), of B batches in all.
    """

    number: int = 1
    of: int = 1

    def starts(self, count: int, size: int) -> range:
        """Where the batches of this part start, in `count` samples.

        Raises:
            UsageError: there are fewer batches than parts.
        """
        every = -(-count // size)
        if every < self.of:
            raise UsageError(
                f"--shard {self.number}/{self.of}: {count:,} samples are {every:,} batches of {size}; "
                f"give at most {every:,} shards, or a smaller --batch-size"
            )
        first, last = (each * every // self.of for each in (self.number - 1, self.number))
        return range(first * size, min(last * size, count), size)


def run_pass(
    probe: Probe,
    manifest: Manifest,
    images: Labelled,
    truth: Array,
    size: int,
    share: Share,
    examples: int = EXAMPLES,
    progress: Progress = iter,
) -> Pass:
    """Returns what the network does over a share of the samples; `size` of them at a time."""
    tallies, scores, singly, kept = probe.tallies(), [], [], []
    starts = share.starts(len(truth), size)
    here = truth[starts.start : starts.stop]
    shown = starts.start + np.unique(here, return_index=True)[1][:examples]  # the first image of each class
    names, traces = probe.counting(tallies), [f"raster.{name}" for name in probe.rasters()]
    for start, x in _batches(images, starts, manifest, progress):
        count = x.shape[probe.axis]
        chosen = np.sort(shown[(start <= shown) & (shown < start + count)]) - start
        outputs = probe.run(x, names + traces * bool(len(chosen)))
        found = [tally.add(outputs) for tally in tallies]
        singly.append(np.stack(found) if found else np.zeros((0, count), np.int64))
        scores.append(Scores.of(truth[start : start + count], outputs["step_logits"], manifest.readout))
        kept += [
            _example(i, x.take(i, axis=probe.axis), int(truth[start + i]), outputs, manifest.readout) for i in chosen
        ]
    return Pass(tallies, Scores.joined(scores), np.concatenate(singly, axis=1), tuple(kept))


def added(first: Pass, *others: Pass) -> Pass:
    """Returns the sum of passes over the parts of a split, in order; `first` takes in the others' counts."""
    for other in others:
        for mine, tally in zip(first.tallies, other.tallies, strict=True):
            mine.take(tally.counted())
    every = (first, *others)
    kept: dict[int, Example] = {}
    for example in (example for each in every for example in each.examples):
        kept.setdefault(example.label, example)
    classes = sorted(kept)[:EXAMPLES]
    return Pass(
        first.tallies,
        Scores.joined([each.scores for each in every]),
        np.concatenate([each.singly for each in every], axis=1),
        tuple(example for label, example in kept.items() if label in classes),
    )


def is_clip(images: Labelled, manifest: Manifest) -> bool:
    """Whether samples lie behind time, `(T, N, ...)`; recordings come one after the other."""
    return bool(manifest.sample_axis) and isinstance(images, np.ndarray)


def _batches(images: Labelled, starts: range, manifest: Manifest, progress: Progress) -> Iterable[tuple[int, Array]]:
    for start in progress(starts):
        part: Any = slice(start, min(start + starts.step, starts.stop))
        chunk = images[:, part] if is_clip(images, manifest) else images[part]  # type: ignore[index]
        for x in batches(chunk, manifest, starts.step):
            yield start, x


def _example(i: int, pixels: Array, label: int, outputs: Arrays, readout: Readout) -> Example:
    """Sample i of a batch, with its spikes and what the network made of it."""
    evidence = softmax(running(outputs["step_logits"][:, i], readout))
    rasters = {n.removeprefix("raster."): v[i] > 0 for n, v in outputs.items() if n.startswith("raster.")}
    return Example(pixels, label, evidence, rasters)
