"""Spiking layers as the cells that the file says them with, whichever framework they are of."""

from __future__ import annotations

from dataclasses import replace

from idsnn.networks.spikingjelly import is_neuron
from idsnn_deploy.errors import UnsupportedError

from .network import Layer, Network
from .own_nodes import OwnNode
from .snntorch_neurons import SPIKING, Readout, twins_of
from .spikingjelly_neurons import cells_of


def expanded(network: Network, dt: float) -> Network:
    """The network with twins for its spiking layers, every parameter at the float32 number of the file.

    Raises:
        UnsupportedError: a combination of options with no form in NIR, with the layer, the reason and the way out.
    """
    read = {layer.module.neuron[0] for layer in network.layers if isinstance(layer.module, Readout)}
    layers: list[Layer] = []
    for layer in network.layers:
        module = layer.module
        if isinstance(module, SPIKING):
            layers += twins_of(layer, module in read, dt)
        elif is_neuron(module):
            layers += cells_of(layer, dt)
        elif isinstance(module, OwnNode):
            layers.append(replace(layer, module=module.at(dt)))
        elif not isinstance(module, Readout):  # the `_membrane` of its neuron has its name
            layers.append(layer)
    names = [layer.name for layer in layers]
    twice = next((layer for i, layer in enumerate(layers) if layer.name in names[:i]), None)
    if twice is not None:
        raise UnsupportedError(
            f"{twice}: two nodes would be named {twice.name!r}, one of them part of a neuron; rename"
        )
    return replace(network, layers=tuple(layers)).pruned()
