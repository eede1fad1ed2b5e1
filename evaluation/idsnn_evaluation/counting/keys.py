"""What a report counts: every key of `totals` and `layers`, with its meaning.

Keys of `ADDED` add up: a total is the sum of its layers. All are per sample and over all T steps unless they say
otherwise.
"""

from __future__ import annotations

ADDED: dict[str, str] = {
    "conv_acs": "accumulates in the hidden layers: each arriving spike times the weights it meets, exact at borders",
    "head_acs": "accumulates in the head: spikes that enter its pool times the classes",
    "stem_macs": "dense multiply-accumulates of layers that read no spikes; a static image's once, as the graph runs",
    "stem_macs_each_step": "the same, run at every step",
    "effective_acs": "NeuroBench's Effective_ACs: layers whose inputs are all 0 or 1, zero weights skipped",
    "effective_macs": "NeuroBench's Effective_MACs: the other layers, zero values skipped; a static image's once",
    "effective_macs_each_step": "the same, a static image's at every step",
    "dense": "NeuroBench's Dense: every input and weight non-zero; a static image's layers once",
    "dense_each_step": "the same, a static image's layers at every step",
    "synops_total": "effective_acs + effective_macs",
    "ann_macs": "multiply-accumulates of the same network as an ANN: every layer once, dense, exact at borders",
    "nominal_macs": "the same as papers count it, padding included",
    "rate_acs": "the literature's estimate for the hidden layers: input rate x T x nominal MACs",
    "events": "spikes that arrive, once for each layer they go to",
    "bias_adds": "additions of biases",
    "residual_adds": "additions where several sources meet",
    "pool_adds": "additions of pooling",
    "neurons": "spiking neurons",
    "spikes": "spikes",
    "neuron_updates": "membrane updates, neurons x T",
    "threshold_compares": "comparisons with the threshold, neurons x T",
    "resets": "membranes set back, one a spike",
}
RATIOS: dict[str, str] = {
    "firing_rate": "neurons: spikes / (neurons x T); a synaptic layer: the mean value that arrives, null for the input",
    "sparsity": "1 - firing_rate",
    "spikes_per_synapse": "accumulates over all steps / dense operations of one step, in layers that read spikes",
    "rate_overcount_percent": "by how much rate_acs lies above conv_acs",
}
