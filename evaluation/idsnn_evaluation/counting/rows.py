"""From tallies to the report's rows: the keys of `counts.ADDED` for each layer, over the whole split."""

from __future__ import annotations

from math import prod

from idsnn_deploy.layer_table import Layer, Synapses

from ..counts import Counts, Number, Ratios, complete
from .operations import dense
from .tally import NeuronTally, SynapseTally, Tally


def layer_counts(tally: Tally, samples: int, timesteps: int, still: frozenset[str], head: Synapses | None) -> Counts:
    """One layer's counts over `samples`; `still` names what is the same at every step."""
    own = (
        _synaptic(tally, samples, timesteps, tally.layer is head)
        if isinstance(tally, SynapseTally)
        else _neuronal(tally, samples, timesteps)
    )
    steps = 1 if still.issuperset(tally.layer.sources) else timesteps
    own["pool_adds"] = sum(pool.adds for pool in tally.layer.pools) * steps * samples
    own["residual_adds"] = (len(tally.layer.sources) - 1) * _arriving(tally.layer) * steps * samples
    return complete(own)


def ratios(counts: Counts, samples: int, timesteps: int, spiking_macs: int) -> Ratios:
    """The ratios of counts over `samples`; None where there is nothing to divide by.

    Args:
        counts: a layer's or the totals' counts.
        samples: how many samples they cover.
        timesteps: T.
        spiking_macs: dense operations of one step in the layers that read spikes.
    """
    rate = _divide(counts["spikes"], counts["neurons"] * timesteps)
    accumulates = counts["conv_acs"] + counts["head_acs"]
    over = _divide(counts["rate_acs"], counts["conv_acs"])
    return {
        "firing_rate": rate,
        "sparsity": None if rate is None else 1 - rate,
        "spikes_per_synapse": _divide(accumulates, spiking_macs * samples),
        "rate_overcount_percent": None if over is None else 100 * (over - 1),
    }


def input_rate(tally: SynapseTally, samples: int, timesteps: int) -> float | None:
    """The mean value that arrives at a synaptic layer; None where that is the network's input and no events."""
    return (
        None
        if tally.layer.reads_input and (tally.analog or tally.still)
        else tally.values / (tally.layer.inputs * timesteps * samples)
    )


def _synaptic(tally: SynapseTally, samples: int, timesteps: int, is_head: bool) -> dict[str, Number]:
    layer, full = tally.layer, dense(tally.layer)
    # The probe reports a static stem's input T times, but the model computes the stem once: divide by T.
    repeats = timesteps if tally.still else 1
    steps = timesteps // repeats
    macs = full * steps * samples if tally.analog else 0
    acs = 0 if tally.analog else tally.acs // repeats
    effective_acs, effective_macs = tally.effective_acs // repeats, tally.effective_macs // repeats
    return {
        "conv_acs": 0 if is_head else acs,
        "head_acs": acs if is_head else 0,
        "stem_macs": macs,
        "stem_macs_each_step": macs * repeats,
        "effective_acs": effective_acs,
        "effective_macs": effective_macs,
        "effective_macs_each_step": tally.effective_macs,
        "dense": full * steps * samples,
        "dense_each_step": full * timesteps * samples,
        "synops_total": effective_acs + effective_macs,
        "ann_macs": full * samples,
        "nominal_macs": layer.nominal_macs * samples,
        "rate_acs": 0 if is_head or tally.analog else tally.values / repeats / layer.inputs * layer.nominal_macs,
        "events": 0 if tally.analog else tally.events // repeats,
        "bias_adds": layer.bias * layer.outputs * steps * samples,
    }


def _neuronal(tally: NeuronTally, samples: int, timesteps: int) -> dict[str, Number]:
    updates, spikes = tally.layer.size * timesteps * samples, int(tally.spikes.sum())
    return {
        "neurons": tally.layer.size * samples,
        "spikes": spikes,
        "neuron_updates": updates,
        "threshold_compares": updates,
        "resets": spikes,
    }


def _arriving(layer: Layer) -> int:
    """Values that arrive in one step, before any pooling; a sum of sources lies behind their max pools."""
    pools = [pool for pool in layer.pools if pool.kind != "max"]
    if pools:
        return prod(pools[0].in_shape)
    return layer.inputs if isinstance(layer, Synapses) else layer.size


def _divide(a: Number, b: Number) -> float | None:
    return a / b if b else None
