"""Torch layer → NIR node: the table, and what a layer must not be.

A spiking layer v[t] = beta v[t-1] (1 - s[t-1]) + I[t], s = v > theta, becomes a LIF node with

    tau = dt / (1 - beta),   r = 1,   v_threshold = (1 - beta) theta,   v_leak = v_reset = 0

whose membrane is (1 - beta) v: equal spikes, and the one form that snnTorch, SpikingJelly and Norse all run exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from snntorch import Leaky
from torch import Tensor, nn

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import GraphError, UnsupportedError

from ..graph.shapes import Shape
from ..graph.timing import leak
from .fold_batchnorm import FOLDS_INTO
from .network import Layer, Network
from .sum_pooling import SumPool2d


class Membrane(nn.Module):
    """The torch twin of one NIR LIF node, with exactly the float32 parameters of the file.

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


def refuse_unknown(network: Network) -> None:
    """Raises `UnsupportedError` for the first layer that has no form in NIR, named by its dotted path."""
    for layer in network.layers:
        kind = kind_of(layer)
        if kind not in NODES and kind not in FOLDS_INTO:
            advice = ADVICE.get(kind.__name__, f"known are {', '.join(sorted(known.__name__ for known in NODES))}")
            raise UnsupportedError(f"{layer}: has no NIR form; {advice}")
        reason = next((reason for name, wrong, reason in OPTIONS if wrong(getattr(layer.module, name, None))), None)
        if reason:
            raise UnsupportedError(f"{layer}: {reason}")


def kind_of(layer: Layer) -> type[nn.Module]:
    """The layer's key in `NODES`; any spiking layer is a `Membrane` to be."""
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
