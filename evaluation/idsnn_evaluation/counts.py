"""What a report counts: every key of `totals` and `layers`, with its type and its meaning.

All are per sample and over all T steps unless they say otherwise; whole numbers stay integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, TypedDict, cast, get_type_hints

Number = int | float


class Counts(TypedDict):
    """What adds up: a total is the sum of its layers."""

    conv_acs: Annotated[
        Number, "accumulates in the hidden layers: each arriving spike times the weights it meets, exact at borders"
    ]
    head_acs: Annotated[Number, "accumulates in the head: spikes that enter its pool times the classes"]
    stem_macs: Annotated[
        Number, "dense multiply-accumulates of layers that read no spikes; a static image's once, as the graph runs"
    ]
    stem_macs_each_step: Annotated[Number, "the same, run at every step"]
    effective_acs: Annotated[
        Number, "NeuroBench's Effective_ACs: layers whose inputs are all 0 or 1, zero weights skipped"
    ]
    effective_macs: Annotated[
        Number, "NeuroBench's Effective_MACs: the other layers, zero values skipped; a static image's once"
    ]
    effective_macs_each_step: Annotated[Number, "the same, a static image's at every step"]
    dense: Annotated[Number, "NeuroBench's Dense: every input and weight non-zero; a static image's layers once"]
    dense_each_step: Annotated[Number, "the same, a static image's layers at every step"]
    synops_total: Annotated[Number, "effective_acs + effective_macs"]
    ann_macs: Annotated[
        Number, "multiply-accumulates of the same network as an ANN: every layer once, dense, exact at borders"
    ]
    nominal_macs: Annotated[Number, "the same as papers count it, padding included"]
    rate_acs: Annotated[Number, "the literature's estimate for the hidden layers: input rate x T x nominal MACs"]
    events: Annotated[Number, "spikes that arrive, once for each layer they go to"]
    bias_adds: Annotated[Number, "additions of biases"]
    residual_adds: Annotated[Number, "additions where several sources meet"]
    pool_adds: Annotated[Number, "additions of pooling"]
    neurons: Annotated[Number, "spiking neurons"]
    spikes: Annotated[Number, "spikes"]
    neuron_updates: Annotated[Number, "membrane updates, neurons x T"]
    threshold_compares: Annotated[Number, "comparisons with the threshold, neurons x T"]
    resets: Annotated[Number, "membranes set back, one per spike"]


class Ratios(TypedDict):
    """What does not add up; null where there is nothing to divide by."""

    firing_rate: Annotated[
        float | None,
        "neurons: spikes / (neurons x T); a synaptic layer: the mean value that arrives, null for an analog image",
    ]
    sparsity: Annotated[float | None, "1 - firing_rate"]
    spikes_per_synapse: Annotated[
        float | None, "accumulates over all steps / dense operations of one step, in layers that read spikes"
    ]
    rate_overcount_percent: Annotated[float | None, "by how much rate_acs lies above conv_acs"]


class Totals(Counts, Ratios):
    """Counts and ratios of a layer or of all of them."""


def _meanings(kind: type) -> dict[str, str]:
    return {key: hint.__metadata__[0] for key, hint in get_type_hints(kind, include_extras=True).items()}


ADDED, RATIOS = _meanings(Counts), _meanings(Ratios)


def complete(found: Mapping[str, Number]) -> Counts:
    """Every key of `ADDED`, 0 where `found` has none."""
    return cast(Counts, {key: found.get(key, 0) for key in ADDED})


def total(rows: Iterable[Counts]) -> Counts:
    """The sum, key by key."""
    tables = [cast("dict[str, Number]", row) for row in rows]
    return complete({key: sum(table[key] for table in tables) for key in ADDED})


def per_sample(found: Counts, samples: int) -> Counts:
    """The counts of one sample of `samples`; whole numbers stay integers."""
    table = cast("dict[str, Number]", found)
    return complete({key: _share(table[key], samples) for key in ADDED})


def _share(value: Number, samples: int) -> Number:
    return value // samples if value % samples == 0 else value / samples
