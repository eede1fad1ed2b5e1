"""From what one pass added up to the report's plain objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.layer_table import Synapses
from idsnn_deploy.manifest import Bundle
from idsnn_deploy.printable import printable
from idsnn_deploy.versions import versions

from .answers.early_exit import early_exit
from .answers.scores import accuracy
from .cost.energy import estimate
from .cost.platforms import Platform
from .counting.operations import dense
from .counting.rows import input_rate, layer_counts, ratios
from .counting.table import head, still
from .counting.tally import NeuronTally, SynapseTally, Tally
from .counts import Counts, Totals, per_sample, total
from .document import Baselines, Layer, NeuronLayer, Provenance, Spread, Subject, Teacher
from .one_pass import Pass
from .report import Report

ESTIMATOR = "idsnn_evaluation"
COUNTED_WITH = ("numpy", "onnxruntime", "python")


def assemble(bundle: Bundle, found: Pass, subject: Subject, platforms: Sequence[Platform]) -> Report:
    """Returns the report of one pass.

    Args:
        bundle: what was run.
        found: what it did and answered.
        subject: what was run on what.
        platforms: the user's hardware.
    """
    tallies, scores = found.tallies, found.scores
    manifest, samples, steps = bundle.manifest, len(scores), bundle.manifest.timesteps
    last, same = head(manifest.layers), still(manifest.layers, manifest.sample_axis == 0)
    counts = [layer_counts(tally, samples, steps, same, last) for tally in tallies]
    split = total(counts)
    spiking = sum(map(_spiking_macs, tallies))
    totals: Totals = {**per_sample(split, samples), **ratios(split, samples, steps, spiking)}
    baselines: Baselines = {
        "ann": {"macs": totals["ann_macs"], "outputs": sum(_outputs(t) for t in tallies)},
        "teacher": cast(Teacher, manifest.teacher) or None,
    }
    return Report(
        provenance=_provenance(bundle, subject, samples),
        accuracy=accuracy(scores, manifest.labels, manifest.test_accuracy),
        totals=totals,
        split=split,
        spread={"acs": _spread(found.acs), "spikes": _spread(found.spikes)},
        layers=[_layer(tally, row, samples, steps, last) for tally, row in zip(tallies, counts, strict=True)],
        baselines=baselines,
        energy=estimate(totals, baselines, steps, platforms),
        early_exit=early_exit(scores),
        warnings=manifest.warnings,
        examples=found.examples,
    )


def _layer(tally: Tally, split: Counts, samples: int, steps: int, last: Synapses | None) -> Layer:
    found: Totals = {**per_sample(split, samples), **ratios(split, samples, steps, _spiking_macs(tally))}
    if isinstance(tally, NeuronTally):
        return _neurons(tally, split, samples, found)
    layer = tally.layer
    rate = input_rate(tally, samples, steps)
    found["firing_rate"], found["sparsity"] = rate, None if rate is None else 1 - rate
    return {
        "name": layer.name,
        "kind": layer.kind,
        "sources": list(layer.sources),
        "role": "head" if layer is last else "stem" if layer.reads_input else "hidden",
        "shape": list(layer.out_shape),
        **found,
        "split": split,
    }


def _neurons(tally: NeuronTally, split: Counts, samples: int, found: Totals) -> NeuronLayer:
    layer = tally.layer
    rates: list[float] = (tally.spikes / (layer.size * samples)).tolist()
    return {
        "name": layer.name,
        "kind": layer.kind,
        "sources": list(layer.sources),
        "role": "neurons",
        "shape": list(layer.shape),
        "firing_rate_by_step": rates,
        **found,
        "split": split,
    }


def _spiking_macs(tally: Tally) -> int:
    """Dense operations of one step, in a layer that reads spikes."""
    return dense(tally.layer) if isinstance(tally, SynapseTally) and not tally.analog else 0


def _outputs(tally: Tally) -> int:
    return tally.layer.outputs if isinstance(tally, SynapseTally) else 0


def _spread(values: Array) -> Spread:
    least, p5, median, p95, most = np.percentile(values, [0, 5, 50, 95, 100]).tolist()
    return {"min": least, "p5": p5, "median": median, "p95": p95, "max": most, "std": float(values.std())}


def _provenance(bundle: Bundle, subject: Subject, samples: int) -> Provenance:
    manifest = bundle.manifest
    return {
        **subject,
        "samples": samples,
        "timesteps": manifest.timesteps,
        "encoding": manifest.encoding,
        "classes": manifest.labels,
        "readout": f"{manifest.readout} of the logits over steps",
        "estimator": ESTIMATOR,
        "version": versions("idsnn")["idsnn"],
        "bundle": printable(bundle.folder.resolve().name),
        "bundle_digest": manifest.digest,
        "versions": versions(*COUNTED_WITH),
        "exported_with": manifest.versions,
    }
