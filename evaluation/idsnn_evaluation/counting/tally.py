"""What is added up over a split: one accumulator per layer, int64, whatever the batches.

What arrives at a synaptic layer decides how it is counted:

    analog   a normalized image, scaled spikes                MACs, dense and on non-zero values
    spikes   spikes, sums and pools of spikes, event frames   ACs; a residual sum of 2 counts as two spikes, and behind
                                                              an average pool spikes are counted before dividing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idsnn_deploy.layer_table import Layer, Neurons, Synapses

from .operations import Counts, fan_out, integers, near_whole, operations

Arrays = Mapping[str, np.ndarray[Any, Any]]


class SynapseTally:
    """Counts of one synaptic layer over the samples seen: integers, to which every sample adds what is its own alone.

    Attributes:
        acs: accumulates by decomposition: every spike that arrives, times the weights it meets.
        effective_acs, effective_macs: NeuroBench's, its rule (AC where every value is 0 or 1) applied to each sample.
        events: spikes that arrived; `units`: the inputs added up, pooled ones as they are, in 2^-32.
        analog: whether some input was no spike, sum of spikes or pool of spikes; then `acs` and `events` mean nothing.
    """

    def __init__(self, layer: Synapses, still: bool = False) -> None:
        self.layer = layer
        self.still = still  # the input is the same at every step, and the probe gives it T times
        self.fan = fan_out(layer)
        self.acs = self.effective_acs = self.effective_macs = self.events = self.units = 0
        self.analog = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The probe's outputs for this layer, where it has them."""
        return f"sum.{self.layer.name}", f"nnz.{self.layer.name}"

    @property
    def values(self) -> float:
        """The inputs added up, pooled ones as they are."""
        return self.units / _UNIT if self.analog else self.events / self.layer.divisor

    def add(self, outputs: Arrays) -> Counts:
        """Takes in a batch; returns each sample's ACs, int64 `(n,)`: 0 for a sample whose input is no spikes."""
        name, nonzero = self.outputs
        # float64 from here on: a pooled sum times the pool's area must stay exact.
        sums = self._fit(outputs[name])
        count = self._fit(outputs[nonzero]) if nonzero in outputs else sums
        effective = operations(integers(count, nonzero), self.fan)
        binary = _every(sums == count)
        self.effective_acs += int(effective[binary].sum())
        self.effective_macs += int(effective[~binary].sum())
        totals = np.rint(sums.reshape(len(sums), -1).sum(axis=1) * _UNIT)
        self.units += sum(map(int, totals.tolist()))
        spikes = sums * self.layer.divisor
        # T times a still pixel may be whole by chance; only 0 and 1 are spikes there.
        spiking = (binary if self.still else _every(near_whole(spikes))) & _every(spikes >= 0)
        self.analog |= not spiking.all()
        spikes[~spiking] = 0
        whole = integers(spikes, name)
        acs = operations(whole, self.fan)
        self.acs += int(acs.sum())
        self.events += int(whole.sum())
        return acs

    def counted(self) -> dict[str, int]:
        """What was added up, by name."""
        return {name: int(getattr(self, name)) for name in _ADDED}

    def take(self, counted: Mapping[str, int]) -> None:
        """Adds what another pass has `counted`."""
        for name in _ADDED[:-1]:
            setattr(self, name, getattr(self, name) + counted[name])
        self.analog |= bool(counted["analog"])

    def _fit(self, maps: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Maps `(n, ...)` with the axes that `fan` does not tell apart added up."""
        extra = tuple(range(1, maps.ndim - self.fan.ndim))
        return np.asarray(maps.astype(np.float64).sum(axis=extra))


_ADDED = ("acs", "effective_acs", "effective_macs", "events", "units", "analog")
_UNIT = 2**32


def _every(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether all of a sample's values are true, `(n,)`."""
    return np.asarray(values.reshape(len(values), -1).all(axis=1))


class NeuronTally:
    """Spikes of one neuron layer by time step, int64 `(T,)`, and by sample as they pass."""

    def __init__(self, layer: Neurons, timesteps: int) -> None:
        self.layer = layer
        self.spikes = np.zeros(timesteps, dtype=np.int64)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The probe's output for this layer."""
        return (f"spikes.{self.layer.name}",)

    def add(self, outputs: Arrays) -> Counts:
        """Takes in a batch `(n, T)`; returns each sample's spikes, int64 `(n,)`."""
        spikes = integers(outputs[self.outputs[0]], self.outputs[0])
        self.spikes += spikes.sum(axis=0)
        return np.asarray(spikes.sum(axis=1))

    def counted(self) -> dict[str, int]:
        """What was added up, by step."""
        return {str(t): int(spikes) for t, spikes in enumerate(self.spikes, 1)}

    def take(self, counted: Mapping[str, int]) -> None:
        """Adds what another pass has `counted`."""
        self.spikes += np.array([counted[str(t)] for t in range(1, len(self.spikes) + 1)], dtype=np.int64)


Tally = SynapseTally | NeuronTally


def tallies(layers: Sequence[Layer], still: frozenset[str], timesteps: int) -> list[Tally]:
    """Fresh accumulators, one per layer; `still` names what is the same at every step."""
    return [
        SynapseTally(layer, layer.name in still) if isinstance(layer, Synapses) else NeuronTally(layer, timesteps)
        for layer in layers
    ]
