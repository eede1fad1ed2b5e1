"""What the layer table says of a network as a whole: which layer is its head, and what is the same at every step."""

from __future__ import annotations

from collections.abc import Sequence

from idsnn_deploy.layer_table import INPUT, Layer, Synapses


def head(layers: Sequence[Layer]) -> Synapses | None:
    """The layer that makes the logits: the last one, where that is synaptic; None where neurons end the network."""
    last = layers[-1] if layers else None
    return last if isinstance(last, Synapses) else None


def still(layers: Sequence[Layer], static: bool) -> frozenset[str]:
    """Names whose values are the same at every step: a static image and the synaptic layers that see nothing else."""
    found = {INPUT} if static else set()
    for layer in layers:
        if isinstance(layer, Synapses) and found.issuperset(layer.sources):
            found.add(layer.name)
    return frozenset(found)
