"""SpikingJelly's neurons as what NIR says of them, each a twin of one to three nodes (`cells`).

    h = v + (x - (v - v_reset)) / tau       decay_input, or  h = v - (v - v_reset) / tau + x;  IFNode:  h = v + x
    s = h >= theta
    v = v_reset where s, else h             v_reset None:  v = h - theta s

All are one equation of u = (v - v_reset) / gain, with gain = 1/tau where the input decays and 1 elsewhere:

    u = beta u + x,    s = u >= (theta - v_reset) / gain,    beta = 1 - 1/tau, of IFNode 1;    u is 0 at first

Reset to a value is one node, LIF or IF (`Membrane`). Reset by subtraction takes theta / gain off before the next
decay: Leak `_membrane`, Fire under the layer's own name, Weigh `_reset` with -beta theta / gain. NIR fires at v above
its threshold, which is the largest float32 that ONNX's comparison, in units of the input, still sees below theta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from idsnn.networks.spikingjelly import NEURONS
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UnsupportedError

from ..graph.timing import gain, leak
from .cells import Fire, Leak, Membrane, Weigh, double, single
from .network import Layer

KNOWN = ("IFNode", "LIFNode", "ParametricLIFNode", "SimpleIFNode", "SimpleLIFNode")
# What makes a neuron's dynamics; a class derived from a known one has them unchanged, or is refused.
DYNAMICS = (
    *("forward", "single_step_forward", "multi_step_forward", "functional_forward", "materialize_states", "reset"),
    *("single_step_functional_forward", "multi_step_functional_forward"),
    *("neuronal_charge", "neuronal_fire", "neuronal_reset", "apply_hard_reset", "apply_soft_reset"),
)


@dataclass(frozen=True)
class _Numbers:
    """The equation of u, float64."""

    beta: Array
    theta: Array
    subtracts: bool
    at_theta: bool  # fires where u equals theta


def start(module: Any) -> Any:
    """The membrane that a neuron starts from, if nothing else is said; 0 for those of snnTorch."""
    return 0.0 if getattr(module, "v_reset", None) is None else module.v_reset


def cells_of(layer: Layer, dt: float) -> list[Layer]:
    """The twins of a neuron, every parameter at the float32 number of the file.

    Raises:
        UnsupportedError: a neuron or an option with no form in NIR, with the layer, the reason and the way out.
    """
    given = _numbers(layer)
    whole = bool((given.beta == 1).all())
    tau = None if whole else single(dt / (1 - given.beta))
    scale = gain(single(1 / dt), dt) if tau is None else leak(tau, dt)  # NIR's membrane over u
    theta = below(given.theta, scale) if given.at_theta else single(given.theta * scale)
    if not given.subtracts:
        return [replace(layer, module=Membrane(tau, theta, dt))]
    fire = replace(layer, module=Fire(theta), sources=(f"{layer.name}_membrane",))
    taken = -given.beta * given.theta
    back = replace(layer, name=f"{layer.name}_reset", module=Weigh(single(taken)), sources=(layer.name,))
    reset = [back] if taken.any() else []  # without memory there is nothing to take it from
    late = tuple(each.name for each in reset)
    r = single(1 / dt if tau is None else 1)
    return [replace(layer, name=f"{layer.name}_membrane", module=Leak(tau, r, dt), late=late), fire, *reset]


def below(theta: Array, scale: Array) -> Array:
    """The largest float32 v with float32(v / scale) < float32(theta), elementwise: v > it is theta <= v."""
    theta, scale = np.broadcast_arrays(theta, scale)
    v = single(theta * scale)
    for _ in range(8):
        v = np.where(single(v / scale) < single(theta), v, np.nextafter(v, np.float32(-np.inf)))
    return v


def _numbers(layer: Layer) -> _Numbers:
    module = layer.module
    _refuse_other_dynamics(layer)
    theta = double(module.v_threshold) - start(module)
    rate = _rate(module)
    if rate is None:
        return _Numbers(np.ones(()), theta, module.v_reset is None, _fires_at_theta(layer))
    if not ((rate > 0) & (rate <= 1)).all():
        raise UnsupportedError(f"{layer}: 1 / tau = {float(rate.max()):g}; it must be above 0 and at most 1")
    theta = theta / rate if module.decay_input else theta
    return _Numbers(1 - rate, theta, module.v_reset is None, _fires_at_theta(layer))


def _rate(module: Any) -> Array | None:
    """1 / tau; None: there is no leak."""
    if hasattr(module, "w"):
        return double(module.w.detach().sigmoid())
    return 1 / double(module.tau) if hasattr(module, "tau") else None


def _refuse_other_dynamics(layer: Layer) -> None:
    module, kinds = layer.module, type(layer.module).__mro__
    known = next((kind for kind in kinds if kind.__module__.startswith(NEURONS)), None)
    if known is None or known.__name__ not in KNOWN:
        raise UnsupportedError(f"{layer}: has no NIR form; of SpikingJelly's neurons {', '.join(KNOWN[:3])} have one")
    changed = [name for name in DYNAMICS if getattr(kinds[0], name, None) is not getattr(known, name, None)]
    if changed:
        raise UnsupportedError(
            f"{layer}: has a {changed[0]} of its own in place of {known.__name__}'s; say what it is with nodes={{...}}"
        )
    first = module.get_reset_value("v")
    if first != start(module):
        raise UnsupportedError(
            f"{layer}: starts at {first} and resets to {module.v_reset}, which has no NIR form; leave set_reset_value "
            "out, or use IFNode or LIFNode"
        )
    if getattr(module, "_neuron_precision", None) is not None:
        raise UnsupportedError(f"{layer}: computes in another precision than float32; leave that out")


def _fires_at_theta(layer: Layer) -> bool:
    """Whether a membrane on its threshold fires, as SpikingJelly's surrogates have it; the model's own is asked."""
    fire = layer.module.surrogate_function
    with torch.no_grad():
        answers = fire(torch.tensor([-1.0, -1e-6, 0.0, 1e-6, 1.0])).tolist()
    below, at, above = answers[:2], answers[2], answers[3:]
    if below != [0, 0] or at not in (0, 1) or above != [1, 1]:
        raise UnsupportedError(
            f"{layer}: its surrogate function gives other values than 0 and 1; call its set_spiking_mode(True)"
        )
    return bool(at)
