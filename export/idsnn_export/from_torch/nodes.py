"""Torch layer → NIR node: the table, and what a layer must not be.

Spiking layers are cells by then (`snntorch_neurons`, `cells`). Reset to zero, v[t] = beta v[t-1] (1 - s[t-1]) + I[t],
s = v > theta, is a LIF node with

    tau = dt / (1 - beta),   r = 1,   v_threshold = (1 - beta) theta,   v_leak = v_reset = 0

whose membrane is (1 - beta) v: equal spikes, and the one form that snnTorch, SpikingJelly and Norse all run exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from idsnn.networks.spikingjelly import is_neuron
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import GraphError, UnsupportedError

from ..graph.shapes import Shape
from .cells import Fire, Leak, Membrane, Recur, Synapse, Weigh
from .fold_batchnorm import FOLDS_INTO
from .network import Layer
from .own_nodes import OwnNode
from .snntorch_neurons import SPIKING, Readout
from .sum_pooling import SumPool2d


def refuse_layer(path: str, module: nn.Module, line: str = "") -> None:
    """Raises `UnsupportedError` for a layer that has no form in NIR, with its dotted path and its line."""
    layer = Layer("", path, module, (), line=line)
    kind = kind_of(layer)
    if kind not in NODES and kind not in FOLDS_INTO and kind is not nn.MaxPool2d:
        advice = ADVICE.get(kind.__name__, f"known are {', '.join(sorted(KNOWN))}")
        raise UnsupportedError(f"{layer}: has no NIR form; {advice}")
    reason = next((reason for name, wrong, reason in OPTIONS if wrong(getattr(module, name, None))), None)
    if reason:
        raise UnsupportedError(f"{layer}: {reason}")


def kind_of(layer: Layer) -> type[nn.Module]:
    """The layer's key in `NODES`; any spiking layer, and its membrane where it is read, will be cells."""
    cell = isinstance(layer.module, (*SPIKING, Readout, OwnNode)) or is_neuron(layer.module)
    return Membrane if cell else type(layer.module)


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


def _cell(module: Any, shape: Shape) -> nir.NIRNode:
    node: nir.NIRNode = module.node(shape)
    return node


# Layer type → node, from the layer and the shape of its input. The cells are what spiking layers become.
NODES: dict[type[nn.Module], Callable[[Any, Shape], nir.NIRNode]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Linear: _affine,
    nn.AvgPool2d: _pool(nir.AvgPool2d),
    nn.AdaptiveAvgPool2d: _adaptive,
    SumPool2d: _pool(nir.SumPool2d),
    nn.Flatten: _flatten,
    **dict.fromkeys((Membrane, Synapse, Leak, Fire, Weigh, Recur), _cell),
}

# What a layer's option must not be.
OPTIONS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("padding_mode", lambda v: v not in (None, "zeros"), "only zero padding has a NIR form; use padding_mode='zeros'"),
    ("ceil_mode", bool, "ceil_mode=True has no NIR form; pad the input instead"),
    ("divisor_override", lambda v: v is not None, "divisor_override has no NIR form; scale the next weights"),
    ("return_indices", bool, "return_indices=True has no NIR form; leave it out"),
    ("count_include_pad", lambda v: v is False, "NIR's average counts padding; use count_include_pad=True"),
)

KNOWN = {kind.__name__ for kind in (*NODES, *FOLDS_INTO, nn.MaxPool2d) if kind.__module__.startswith("torch.")}
ADVICE = {
    "MaxPool1d": "use a convolution with a stride, or two dimensions",
    "AdaptiveMaxPool2d": "use MaxPool2d with its window",
    "Upsample": "NIR has no layer that enlarges a map; do it outside the network, or train without it",
    "ReLU": "a spiking layer stands in its place",
    "GroupNorm": "it cannot be folded into weights; use BatchNorm2d",
    "LayerNorm": "it cannot be folded into weights; use BatchNorm2d",
    "InstanceNorm2d": "it cannot be folded into weights; use BatchNorm2d",
    "ConvTranspose2d": "NIR has no transposed convolution",
    "Alpha": "of snnTorch's neurons Leaky, Synaptic, Lapicque, RLeaky and RSynaptic have one",
    "LeakyParallel": "it has no reset within a sequence; use Leaky",
}
