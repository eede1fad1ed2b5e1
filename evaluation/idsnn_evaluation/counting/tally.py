"""What is added up over a split: one accumulator per layer, int64, whatever the batches.

What arrives at a synaptic layer decides how it is counted:

    analog   a normalized image, scaled spikes                MACs, dense and on non-zero values
    spikes   spikes, sums and pools of spikes, event frames   ACs; a residual sum of 2 counts as two spikes, and behind
                                                              an average pool spikes are counted before dividing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from idsnn_deploy.layer_table import Neurons, Synapses

from .operations import Counts, fan_out, integers, is_whole, operations

Arrays = Mapping[str, np.ndarray[Any, Any]]


class SynapseTally:
    """Counts of one synaptic layer over the samples seen.

    Attributes:
        acs: accumulates by decomposition: every spike that arrives, times the weights it meets.
        effective_acs, effective_macs: NeuroBench's, its rule (AC where every value is 0 or 1) applied to each sample.
        events: spikes that arrived; `values`: the inputs added up, pooled ones as they are.
        analog: whether some input was no spike, sum of spikes or pool of spikes; then `acs` and `events` mean nothing.
    """

    def __init__(self, layer: Synapses, still: bool = False) -> None:
        self.layer = layer
        self.still = still  # the input is the same at every step, and the probe gives it T times
        self.fan = fan_out(layer)
        self.acs = self.effective_acs = self.effective_macs = self.events = 0
        self.values = 0.0
        self.analog = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The probe's outputs for this layer, where it has them."""
        return f"sum.{self.layer.name}", f"nnz.{self.layer.name}"

    def add(self, outputs: Arrays) -> Counts:
        """Takes in a batch; returns each sample's ACs, int64 `(n,)`."""
        name, nonzero = self.outputs
        # float64 from here on: a pooled sum times the pool's area must stay exact.
        sums = self._fit(outputs[name])
        count = self._fit(outputs[nonzero]) if nonzero in outputs else sums
        effective = operations(integers(count, nonzero), self.fan)
        binary = (sums == count).reshape(len(sums), -1).all(axis=1)
        self.effective_acs += int(effective[binary].sum())
        self.effective_macs += int(effective[~binary].sum())
        self.values += float(sums.sum())
        spikes = sums * self.layer.divisor
        # T times a still pixel may be whole by chance; only 0 and 1 are spikes there.
        self.analog |= not (binary.all() if self.still else is_whole(spikes)) or bool((spikes < 0).any())
        if self.analog:
            return np.zeros(len(sums), dtype=np.int64)
        whole = integers(spikes, name)
        acs = operations(whole, self.fan)
        self.acs += int(acs.sum())
        self.events += int(whole.sum())
        return acs

    def _fit(self, maps: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Maps `(n, ...)` with the axes that `fan` does not tell apart added up."""
        extra = tuple(range(1, maps.ndim - self.fan.ndim))
        return np.asarray(maps.astype(np.float64).sum(axis=extra))


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


Tally = SynapseTally | NeuronTally
