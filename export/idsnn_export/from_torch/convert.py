"""torch → NIR: the passes from a module to a graph; `nodes` has the table from layer to node.

trace_model     one time step as a list of layers
expanded        spiking layers as the cells that the file says them with
fold            batch normalization into the weights before it
with_windows    adaptive pooling into pooling with a window
average_to_sum  (on request) average pooling into sum pooling
as_float32      every weight as the float32 that the file will hold
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import nir
import numpy as np
from torch import nn

from idsnn_deploy.errors import GraphError, UnsupportedError
from idsnn_deploy.manifest import Encoding

from ..graph.metadata import Metadata, write_metadata
from ..graph.plan import fill_types
from ..graph.shapes import Shape, infer_shape
from ..graph.timing import DEFAULT_DT
from .expand import expanded
from .fold_batchnorm import WEIGHTED, fold, rebuilt
from .network import INPUT, OUTPUT, Layer, Network
from .nodes import NODES, kind_of
from .own_nodes import Nodes
from .sum_pooling import average_to_sum
from .tracing import trace_model


def to_nir(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    timesteps: int | None = None,
    dt: float | None = None,
    pool: str = "avg",
    metadata: Metadata | None = None,
    nodes: Nodes | None = None,
) -> nir.NIRGraph:
    """The NIR graph of one time step of `model`, as it is in eval mode.

    A forward that runs over all steps itself is shown to repeat one; T and its readout go into the metadata.

    Args:
        model: any module of the layers and functions of docs/networks.md; networks of idsnn.
        input_shape: of one sample at one step, (C, H, W), (C, L) or (K,).
        timesteps: T; needed where the forward takes it as an argument, or takes frames.
        dt: the step in seconds that time constants refer to; None: the metadata's, else 1e-4.
        pool: `avg`, or `sum` for pooling that keeps spikes whole numbers.
        metadata: how the graph is to be run, stored in it.
        nodes: the caller's own table, {layer type: function(layer, shape of its input) → NIR node}; it goes first.

    Raises:
        UnsupportedError: a layer that NIR cannot say, named by its dotted path.
        GraphError: layers whose shapes do not meet.
    """
    dt = _step(dt, metadata)
    steps = metadata.timesteps if metadata else timesteps
    network = prepare(model, input_shape, dt=dt, pool=pool, timesteps=steps, nodes=nodes)
    graph = to_graph(network, input_shape)
    if metadata is not None:
        write_metadata(graph, _agreeing(metadata, network))
    elif network.timesteps is not None:
        encoding: Encoding = "frames" if network.frames else "static"
        write_metadata(graph, Metadata(network.timesteps, dt, encoding, network.readout))
    return graph


def _agreeing(metadata: Metadata, network: Network) -> Metadata:
    """Metadata with the network's readout; a forward that repeats its image itself takes no frames."""
    if network.timesteps is not None and metadata.encoding == "frames" and not network.frames:
        raise UnsupportedError("the forward takes static input; the metadata say encoding = 'frames'")
    return replace(metadata, readout=network.readout)


def prepare(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    dt: float | None = None,
    pool: str = "avg",
    timesteps: int | None = None,
    nodes: Nodes | None = None,
    made_by: Callable[..., nn.Module] | None = None,
) -> Network:
    """The network that the file will describe, number for number, still in torch: what the exact gate runs.

    Args as those of `to_nir`; made_by: what made the model, for the line of a refusal.
    """
    if pool not in ("avg", "sum"):
        raise ValueError(f"pool = {pool!r}: 'avg' or 'sum'")
    network = trace_model(model, input_shape, timesteps, nodes, made_by)
    network = expanded(network, DEFAULT_DT if dt is None else dt)
    network = with_windows(fold(network), input_shape)
    if pool == "sum":
        network = average_to_sum(network)
    return as_float32(network)


def to_graph(network: Network, input_shape: tuple[int, ...]) -> nir.NIRGraph:
    """The NIR graph of a prepared network; nodes are typed and edges are in the order of evaluation."""
    nodes: dict[str, nir.NIRNode] = {INPUT: nir.Input(np.array(input_shape))}
    shapes: dict[str, Shape] = {INPUT: tuple(input_shape)}
    for layer, node, shape in _converted(network, input_shape):
        nodes[layer.name], shapes[layer.name] = node, shape
    nodes[OUTPUT] = nir.Output(np.array(shapes[network.outputs[0]]))
    edges = [(source, layer.name) for layer in network.layers for source in (*layer.sources, *layer.late)]
    edges += [(source, OUTPUT) for source in network.outputs]
    graph = nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)
    fill_types(graph)
    return graph


def with_windows(network: Network, input_shape: tuple[int, ...]) -> Network:
    """The network with an `AvgPool2d` for every `AdaptiveAvgPool2d`; a pass that keeps the function."""
    if not any(isinstance(layer.module, nn.AdaptiveAvgPool2d) for layer in network.layers):
        return network
    windows: dict[str, nn.Module] = {}
    for layer, node, _ in _converted(network, input_shape):
        if isinstance(layer.module, nn.AdaptiveAvgPool2d):
            windows[layer.name] = nn.AvgPool2d((int(node.kernel_size[0]), int(node.kernel_size[1])))
    return network.with_modules(windows)


def as_float32(network: Network) -> Network:
    """The network, folded before, with every weight at the float32 number of the file, held in float64."""
    exact: dict[str, nn.Module] = {}
    for layer in network.layers:
        module: Any = layer.module
        if type(module) in WEIGHTED:
            module = rebuilt(module, module.weight.float(), module.bias.float())
            if not (module.weight.sum() + module.bias.sum()).isfinite():  # in float64 a sum of float32s cannot overflow
                raise UnsupportedError(
                    f"{layer}: its weights are not finite in float32; make them smaller, or train again"
                )
            exact[layer.name] = module
    return network.with_modules(exact)


def _step(dt: float | None, metadata: Metadata | None) -> float:
    given = [each for each in (dt, metadata.dt if metadata else None) if each is not None]
    if len(set(given)) > 1:
        raise ValueError(f"dt = {dt}, and the metadata says {given[1]}; give one")
    return given[0] if given else DEFAULT_DT


def _converted(network: Network, input_shape: tuple[int, ...]) -> Iterator[tuple[Layer, nir.NIRNode, Shape]]:
    """Each layer with its node and the shape of what it gives for one sample at one step."""
    shapes: dict[str, Shape] = {INPUT: tuple(input_shape)}
    for layer in network.layers:
        parts = [shapes[source] for source in layer.sources]
        if len(set(parts)) > 1:
            found = ", ".join(f"{name} {shape}" for name, shape in zip(layer.sources, parts, strict=True))
            raise GraphError(f"{layer}: its sources differ in shape, {found}; NIR does not broadcast")
        try:
            node = NODES[kind_of(layer)](layer.module, parts[0])
            shapes[layer.name] = infer_shape(node, parts[0])
        except UnsupportedError as error:
            raise UnsupportedError(f"{layer}: {error}") from None
        except GraphError as error:
            raise GraphError(f"{layer}: {error}") from None
        yield layer, node, shapes[layer.name]
