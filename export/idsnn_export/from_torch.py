"""torch → NIR: a table from layer type to node, and the passes that come before it.

    trace_step      one time step as a list of layers
    with_membranes  spiking layers as the file says them
    fold            batch normalization into the weights before it
    with_windows    adaptive pooling into pooling with a window
    average_to_sum  (on request) average pooling into sum pooling
    as_float32      every weight as the float32 that the file will hold

A spiking layer v[t] = beta v[t-1] (1 - s[t-1]) + I[t], s = v > theta, becomes a LIF node with

    tau = dt / (1 - beta),   r = 1,   v_threshold = (1 - beta) theta,   v_leak = v_reset = 0

whose membrane is (1 - beta) v: equal spikes, and the one form that snnTorch, SpikingJelly and Norse all run exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from snntorch import Leaky
from torch import Tensor, nn

from idsnn_deploy.errors import GraphError, UnsupportedError

from .folding import FOLDS_INTO, WEIGHTED, fold, rebuilt
from .metadata import Metadata, write_metadata
from .network import INPUT, OUTPUT, Layer, Network
from .plan import fill_types
from .shapes import Shape, infer_shape
from .summing import SumPool2d, average_to_sum
from .timing import DEFAULT_DT, leak
from .tracing import trace_step

Array = NDArray[Any]


def to_nir(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    dt: float | None = None,
    pool: str = "avg",
    metadata: Metadata | None = None,
) -> nir.NIRGraph:
    """The NIR graph of one time step of `model`, as it is in eval mode.

    Args:
        model: any module that torch.fx traces, of Conv1d, Conv2d, BatchNorm, Linear, AvgPool2d, AdaptiveAvgPool2d,
            Flatten, Dropout, `+` and `snntorch.Leaky` with reset to zero; networks of idsnn.
        input_shape: of one sample at one step, (C, H, W), (C, L) or (K,).
        dt: the step in seconds that time constants refer to; None: the metadata's, else 1e-4.
        pool: `avg`, or `sum` for pooling that keeps spikes whole numbers.
        metadata: how the graph is to be run, stored in it.

    Raises:
        UnsupportedError: a layer that NIR cannot say, named by its dotted path.
        GraphError: layers whose shapes do not meet.
    """
    dt = _step(dt, metadata)
    graph = to_graph(prepare(model, input_shape, dt=dt, pool=pool), input_shape)
    if metadata is not None:
        write_metadata(graph, metadata)
    return graph


def prepare(model: nn.Module, input_shape: tuple[int, ...], *, dt: float | None = None, pool: str = "avg") -> Network:
    """The network that the file will describe, number for number, still in torch: what the exact gate runs."""
    if pool not in ("avg", "sum"):
        raise ValueError(f"pool = {pool!r}: 'avg' or 'sum'")
    network = trace_step(model)
    _refuse_unknown(network)
    network = with_membranes(network, DEFAULT_DT if dt is None else dt)
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
    edges = [(source, layer.name) for layer in network.layers for source in layer.sources]
    edges += [(source, OUTPUT) for source in network.outputs]
    graph = nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)
    fill_types(graph)
    return graph


class Membrane(nn.Module):
    """A spiking layer as its LIF node says it; `tau` and `v_threshold` are the float32 arrays of the file.

    beta = 1 - dt/tau and theta = v_threshold / (dt/tau) are what the file means in training's units.
    """

    def __init__(self, tau: Array, v_threshold: Array, dt: float) -> None:
        super().__init__()
        self.tau, self.v_threshold = tau, v_threshold
        self.scale = leak(tau, dt)  # NIR's membrane is this times training's
        self.beta, self.theta = 1 - self.scale, v_threshold / self.scale


def beta_and_theta(layer: Layer) -> tuple[Array, Array]:
    """A spiking layer's decay and threshold in float64, one number each or arrays that broadcast as torch's do.

    Raises:
        UnsupportedError: anything but reset to zero, beta not between 0 and 1, or an option with no form in NIR.
    """
    neuron = layer.module
    reasons = {
        f"reset by {neuron.reset_mechanism!r} has no NIR form; train with reset_mechanism='zero'": (
            neuron.reset_mechanism != "zero"
        ),
        "inhibition has no NIR form": bool(neuron.inhibition),
        "a quantized state has no NIR form": bool(neuron.state_quant),
        "graded spikes have no NIR form": float(neuron.graded_spikes_factor) != 1,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsupportedError(f"{layer}: {reason}")
    beta, theta = (torch.as_tensor(v).detach().double().cpu().numpy() for v in (neuron.beta, neuron.threshold))
    beta = beta.clip(0, 1)  # as snnTorch does
    if not ((beta > 0) & (beta < 1)).all():
        worst = beta.ravel()[np.abs(beta - 0.5).argmax()]
        raise UnsupportedError(f"{layer}: beta = {worst:g}; tau = dt / (1 - beta) needs it between 0 and 1")
    return beta, theta


def with_windows(network: Network, input_shape: tuple[int, ...]) -> Network:
    """The network with an `AvgPool2d` for every `AdaptiveAvgPool2d`; a pass that keeps the function."""
    if not any(isinstance(layer.module, nn.AdaptiveAvgPool2d) for layer in network.layers):
        return network
    windows: dict[str, nn.Module] = {}
    for layer, node, _ in _converted(network, input_shape):
        if isinstance(layer.module, nn.AdaptiveAvgPool2d):
            windows[layer.name] = nn.AvgPool2d((int(node.kernel_size[0]), int(node.kernel_size[1])))
    return network.with_modules(windows)


def with_membranes(network: Network, dt: float) -> Network:
    """The network with a `Membrane` for every spiking layer, its parameters at the float32 numbers of the file."""
    membranes: dict[str, nn.Module] = {}
    for layer in network.layers:
        if isinstance(layer.module, Leaky):
            beta, theta = beta_and_theta(layer)
            tau, v_threshold = np.float32(dt / (1 - beta)), np.float32((1 - beta) * theta)
            membranes[layer.name] = Membrane(np.asarray(tau), np.asarray(v_threshold), dt)
    return network.with_modules(membranes)


def as_float32(network: Network) -> Network:
    """The network, folded before, with every weight at the float32 number of the file, held in float64."""
    exact: dict[str, nn.Module] = {}
    for layer in network.layers:
        module: Any = layer.module
        if type(module) in WEIGHTED:
            module = rebuilt(module, module.weight.float(), module.bias.float())
            if not (module.weight.sum() + module.bias.sum()).isfinite():  # in float64 a sum of float32s cannot overflow
                raise UnsupportedError(f"{layer}: its weights are not finite in float32")
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
            node = NODES[_kind(layer)](layer.module, parts[0])
            shapes[layer.name] = infer_shape(node, parts[0])
        except UnsupportedError as error:
            raise UnsupportedError(f"{layer}: {error}") from None
        except GraphError as error:
            raise GraphError(f"{layer}: {error}") from None
        yield layer, node, shapes[layer.name]


def _refuse_unknown(network: Network) -> None:
    for layer in network.layers:
        kind = _kind(layer)
        if kind not in NODES and kind not in FOLDS_INTO:
            advice = ADVICE.get(kind.__name__, f"known are {', '.join(sorted(known.__name__ for known in NODES))}")
            raise UnsupportedError(f"{layer}: has no NIR form; {advice}")
        reason = next((reason for name, wrong, reason in OPTIONS if wrong(getattr(layer.module, name, None))), None)
        if reason:
            raise UnsupportedError(f"{layer}: {reason}")


def _kind(layer: Layer) -> type[nn.Module]:
    return Membrane if isinstance(layer.module, Leaky) else type(layer.module)


def _array(values: Tensor) -> Array:
    return np.asarray(values.detach().float().cpu())


def _conv(module: Any, shape: Shape) -> nir.NIRNode:
    one = isinstance(module, nn.Conv1d)
    geometry = {name: getattr(module, name) for name in ("stride", "padding", "dilation")}
    if geometry["padding"] == "valid":
        geometry["padding"] = (0,) * len(module.kernel_size)
    if one:  # plain numbers, as NIR types them
        geometry = {name: value if isinstance(value, str) else value[0] for name, value in geometry.items()}
    return (nir.Conv1d if one else nir.Conv2d)(
        input_shape=shape[1] if one else shape[1:],
        weight=_array(module.weight),
        groups=module.groups,
        bias=_array(module.bias),
        **geometry,
    )


def _affine(module: Any, shape: Shape) -> nir.NIRNode:
    return nir.Affine(weight=_array(module.weight), bias=_array(module.bias))


def _pool(make: Callable[..., nir.NIRNode]) -> Callable[[Any, Shape], nir.NIRNode]:
    def pool(module: Any, shape: Shape) -> nir.NIRNode:
        pairs = (n if isinstance(n, tuple) else (n, n) for n in (module.kernel_size, module.stride, module.padding))
        return make(*map(np.array, pairs))

    return pool


def _adaptive(module: Any, shape: Shape) -> nir.NIRNode:
    if len(shape) != 3:
        raise GraphError(f"pooling takes (C, H, W), reached by {shape}")
    wanted = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    out = tuple(n if w is None else w for n, w in zip(shape[1:], wanted, strict=True))
    if any(n % w for n, w in zip(shape[1:], out, strict=True)):
        raise UnsupportedError(f"{shape[1:]} does not divide into {out}; its windows would differ in size")
    window = np.array([n // w for n, w in zip(shape[1:], out, strict=True)])
    return nir.AvgPool2d(window, window, np.zeros(2, int))


def _flatten(module: Any, shape: Shape) -> nir.NIRNode:
    # Counted from the end, the batch axis that torch has and NIR has not makes no difference; every importer agrees.
    first, last = (n if n < 0 else n - 1 - len(shape) for n in (module.start_dim, module.end_dim))
    if first < -len(shape) or last < first:
        raise UnsupportedError(f"start_dim={module.start_dim} reaches into the batch axis; use nn.Flatten()")
    return nir.Flatten(np.array(shape), start_dim=first, end_dim=last)


def _lif(module: Membrane, shape: Shape) -> nir.NIRNode:
    def spread(values: Array) -> Array:
        try:  # torch's rule: trailing axes meet, and the batch comes first
            return np.ascontiguousarray(np.broadcast_to(values, (1, *shape))[0])
        except ValueError:
            raise UnsupportedError(f"parameters of shape {values.shape} do not fit neurons of {shape}") from None

    zeros = np.zeros(shape, np.float32)
    return nir.LIF(
        tau=spread(module.tau),
        r=zeros + 1,
        v_leak=zeros,
        v_threshold=spread(module.v_threshold),
        v_reset=zeros.copy(),
    )


# Layer type → node, from the layer and the shape of its input. A `Membrane` is what a spiking layer becomes.
NODES: dict[type[nn.Module], Callable[[Any, Shape], nir.NIRNode]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Linear: _affine,
    nn.AvgPool2d: _pool(nir.AvgPool2d),
    nn.AdaptiveAvgPool2d: _adaptive,
    SumPool2d: _pool(nir.SumPool2d),
    nn.Flatten: _flatten,
    Membrane: _lif,
}

# What a layer's option must not be.
OPTIONS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("padding_mode", lambda v: v not in (None, "zeros"), "only zero padding has a NIR form; use padding_mode='zeros'"),
    ("ceil_mode", bool, "ceil_mode=True has no NIR form; pad the input instead"),
    ("divisor_override", lambda v: v is not None, "divisor_override has no NIR form; scale the next weights"),
    ("count_include_pad", lambda v: v is False, "NIR's average counts padding; use count_include_pad=True"),
)

ADVICE = {
    "MaxPool2d": "use AvgPool2d, or a convolution with a stride",
    "ReLU": "a spiking layer stands in its place",
    "GroupNorm": "it cannot be folded into weights; use BatchNorm2d",
    "LayerNorm": "it cannot be folded into weights; use BatchNorm2d",
    "InstanceNorm2d": "it cannot be folded into weights; use BatchNorm2d",
    "ConvTranspose2d": "NIR has no transposed convolution",
    "RLeaky": "its recurrence is not traced yet as edges; write the recurrent weights as a Linear layer of a NIR graph",
    "Synaptic": "of snnTorch's neurons Leaky is supported",
    "Alpha": "of snnTorch's neurons Leaky is supported",
    "Lapicque": "of snnTorch's neurons Leaky is supported",
}
