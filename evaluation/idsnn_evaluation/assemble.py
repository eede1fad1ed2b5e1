"""From what one pass added up to the report's plain objects."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from idsnn_deploy.manifest import Bundle

from .answers.early_exit import early_exit
from .answers.scores import Scores, accuracy
from .cost.energy import estimate
from .cost.platforms import Platform
from .counting.keys import ADDED
from .counting.operations import dense
from .counting.rows import Number, input_rate, layer_counts, ratios
from .counting.table import Entry, head, still
from .counting.tally import NeuronTally, SynapseTally, Tally
from .report import Example, Report

Array = np.ndarray[Any, np.dtype[Any]]
ESTIMATOR = "idsnn_evaluation"


def assemble(
    bundle: Bundle,
    entries: Sequence[Entry],
    tallies: Sequence[Tally],
    scores: Scores,
    per_sample: Array,
    examples: tuple[Example, ...],
    about: dict[str, Any],
    platforms: Sequence[Platform],
) -> Report:
    """Returns the report of one pass.

    Args:
        bundle: what was run.
        entries: its layer table; `tallies` has one for each.
        tallies: what was added up.
        scores: what was answered.
        per_sample: accumulates and spikes of each sample, `(2, N)`.
        examples: samples to show.
        about: `dataset`, `split` and `variant`.
        platforms: the user's hardware.
    """
    manifest, samples, steps = bundle.manifest, len(scores), bundle.manifest.timesteps
    last, same = head(entries), still(entries, manifest.encoding == "static")
    counts = [layer_counts(tally, samples, steps, same, last) for tally in tallies]
    split: dict[str, Number] = {key: sum(row[key] for row in counts) for key in ADDED}
    spiking = [dense(t.layer) if isinstance(t, SynapseTally) and not t.analog else 0 for t in tallies]
    layers = []
    for tally, row, macs in zip(tallies, counts, spiking, strict=True):
        extra = ratios(row, samples, steps, macs)
        if isinstance(tally, SynapseTally):
            extra["firing_rate"] = input_rate(tally, samples, steps)
            extra["sparsity"] = None if extra["firing_rate"] is None else 1 - extra["firing_rate"]
        layers.append({**_about(tally, samples, last), **_means(row, samples), **extra, "split": row})
    totals = {**_means(split, samples), **ratios(split, samples, steps, sum(spiking))}
    baselines = {
        "ann": {"macs": totals["ann_macs"], "outputs": sum(_outputs(t) for t in tallies)},
        "teacher": manifest.teacher or None,
    }
    return Report(
        provenance={**about, **_provenance(bundle, samples)},
        accuracy=accuracy(scores, manifest.labels, manifest.test_accuracy),
        totals=totals,
        split=split,
        spread={key: _spread(row) for key, row in zip(("acs", "spikes"), per_sample, strict=True)},
        layers=layers,
        baselines=baselines,
        energy=estimate(totals, baselines, steps, platforms),
        early_exit=early_exit(scores),
        examples=examples,
    )


def _about(tally: Tally, samples: int, last: object) -> dict[str, Any]:
    layer = tally.layer
    about: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "sources": list(layer.sources)}
    if isinstance(tally, NeuronTally):
        rates = tally.spikes / (tally.layer.size * samples)
        return {**about, "role": "neurons", "shape": list(tally.layer.shape), "firing_rate_by_step": rates.tolist()}
    role = "head" if tally.layer is last else "stem" if tally.layer.reads_input else "hidden"
    return {**about, "role": role, "shape": list(tally.layer.out_shape)}


def _outputs(tally: Tally) -> int:
    return tally.layer.outputs if isinstance(tally, SynapseTally) else 0


def _means(counts: dict[str, Number], samples: int) -> dict[str, Number]:
    """Per sample; whole numbers stay integers."""
    return {key: value // samples if value % samples == 0 else value / samples for key, value in counts.items()}


def _spread(values: Array) -> dict[str, float]:
    names = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
    found = np.percentile(values, list(names.values()))
    return {**dict(zip(names, found.tolist(), strict=True)), "std": float(values.std())}


def _provenance(bundle: Bundle, samples: int) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "samples": samples,
        "timesteps": manifest.timesteps,
        "encoding": manifest.encoding,
        "classes": manifest.labels,
        "readout": "mean of the logits over steps",
        "estimator": ESTIMATOR,
        "version": version("idsnn"),
        "bundle": bundle.folder.resolve().name,
        "bundle_digest": manifest.digest,
        "versions": {name: version(name) for name in ("numpy", "onnxruntime")} | {"python": platform.python_version()},
        "exported_with": manifest.versions,
    }
