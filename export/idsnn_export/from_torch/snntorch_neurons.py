"""snnTorch's neurons as what NIR says of them: one layer becomes one to five, each a twin of one node (`cells`).

    i = alpha i + I                                 Leak `_current`       Synaptic, RSynaptic
    v = beta v + gain i - theta s[t-1] + W s[t-1]   Leak `_membrane`      units of gain: Lapicque's is not 1
    s = v > theta                                   Fire, under the layer's own name
    - theta / gain s                                Weigh `_reset`        reset_mechanism "subtract"
    W s                                             Recur `_recurrent`    RLeaky, RSynaptic; its bias is a v_leak

Reset to zero is one node: LIF (`Membrane`), or CubaLIF (`Synapse`) for Synaptic. With `reset_delay` snnTorch zeroes
the whole next step there, input and all, in every neuron but Leaky, which no node of NIR says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from snntorch import Lapicque, Leaky, RLeaky, RSynaptic, Synaptic
from torch import nn

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UnsupportedError

from .cells import Fire, Leak, Membrane, Recur, Synapse, Weigh, double, single
from .network import Layer

BIAS = "its recurrent bias has no NIR form with {0} = 1; use {0} below 1, or no bias"
LATE = "reset_delay={} with reset by {!r} has no NIR form; use reset_delay={}"


class Readout(nn.Module):
    """Stands for a spiking layer's membrane where it is read: the layer `_membrane` of its neuron."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = (neuron,)  # hidden from torch: the neuron has its own place


@dataclass(frozen=True)
class _Neuron:
    """A spiking layer of snnTorch as numbers, float64: what the equations above need.

    Attributes:
        layer: where it stands.
        beta, theta, gain: of the membrane.
        alpha: of the synapse's current; None: there is none.
        shown: whether somebody reads the membrane, so that its units are to be snnTorch's.
        dt: the step in seconds.
    """

    layer: Layer
    beta: Array
    theta: Array
    gain: Array
    alpha: Array | None
    shown: bool
    dt: float

    @property
    def recurrent(self) -> Any:
        """The module that carries spikes back, or None."""
        return getattr(self.layer.module, "recurrent", None)

    def refuse(self, reason: str) -> UnsupportedError:
        """The error, named by the layer."""
        return UnsupportedError(f"{self.layer}: {reason}")


def twins_of(layer: Layer, shown: bool, dt: float) -> list[Layer]:
    """The twins of a layer, every parameter at the float32 number of the file.

    Args:
        layer: a neuron of snnTorch.
        shown: whether somebody reads its membrane.
        dt: the step in seconds.

    Raises:
        UnsupportedError: a combination of options with no form in NIR, with the layer, the reason and the way out.
    """
    return _twins(_numbers(layer, shown, dt))


def kind_in(module: nn.Module) -> type[nn.Module] | None:
    """The snnTorch neuron that a module is, or is derived from."""
    return next((kind for kind in SPIKING if isinstance(module, kind)), None)


def _twins(neuron: _Neuron) -> list[Layer]:
    mechanism = neuron.layer.module.reset_mechanism
    delayed = getattr(neuron.layer.module, "reset_delay", True)
    if mechanism == "zero":
        return _to_zero(neuron, delayed)
    if mechanism == "subtract" and not delayed:
        raise neuron.refuse(LATE.format(False, mechanism, True))
    return [*_current(neuron), *_membrane(neuron, subtract=mechanism == "subtract")]


def _to_zero(neuron: _Neuron, delayed: bool) -> list[Layer]:
    layer, dt = neuron.layer, neuron.dt
    if neuron.shown:
        raise neuron.refuse("its membrane is read, which a NIR node that resets to zero does not give; use 'none'")
    if delayed and not isinstance(layer.module, Leaky):
        way = "reset_mechanism='subtract'"
        if isinstance(layer.module, (Synaptic, RLeaky)):
            way = f"reset_delay=False or {way}"
        raise neuron.refuse(f"its reset to zero takes the next step's input, too, which has no NIR form; use {way}")
    if isinstance(layer.module, RSynaptic):
        raise neuron.refuse(LATE.format(False, "zero", True) + " and 'subtract'")
    whole = _without_leak(neuron, neuron.beta)
    if neuron.alpha is not None:
        if whole or _without_leak(neuron, neuron.alpha):
            raise neuron.refuse("alpha = 1 or beta = 1 with reset to zero has no NIR form; use 'subtract'")
        w_in, r = 1 / (1 - neuron.alpha), 1 / (1 - neuron.beta)
        taus = (single(dt / (1 - neuron.alpha)), single(dt / (1 - neuron.beta)))
        return [replace(layer, module=Synapse(*taus, single(w_in), single(r), single(neuron.theta), dt))]
    back, bias = _recurrence(neuron)
    if bias is not None and whole:
        raise neuron.refuse(BIAS.format("beta"))
    tau = None if whole else single(dt / (1 - neuron.beta))
    share = 1 if whole else 1 - neuron.beta
    late = (*layer.late, *(each.name for each in back))
    return [replace(layer, module=Membrane(tau, single(share * neuron.theta), dt, bias), late=late), *back]


def _current(neuron: _Neuron) -> list[Layer]:
    """The synapse: i = alpha i + I."""
    if neuron.alpha is None:
        return []
    layer, whole = neuron.layer, _without_leak(neuron, neuron.alpha)
    back, bias = _recurrence(neuron)
    tau = None if whole else single(neuron.dt / (1 - neuron.alpha))
    r = single(1 / neuron.dt if whole else 1 / (1 - neuron.alpha))
    if bias is not None and whole:
        raise neuron.refuse(BIAS.format("alpha"))
    v_leak = None if bias is None else single(bias * r)
    name, late = f"{layer.name}_current", (*layer.late, *(each.name for each in back))
    return [replace(layer, name=name, module=Leak(tau, r, neuron.dt, v_leak), late=late)]


def _membrane(neuron: _Neuron, *, subtract: bool) -> list[Layer]:
    """The membrane, what fires, and what comes back; `unit` is NIR's membrane over snnTorch's."""
    layer, dt, gain = neuron.layer, neuron.dt, neuron.gain
    whole = _without_leak(neuron, neuron.beta)
    share = np.ones_like(neuron.beta) if whole else 1 - neuron.beta
    unit = np.ones_like(share) if neuron.shown else (1 if whole else share) / gain
    r = single(gain * unit / (dt if whole else share))
    back, bias = _recurrence(neuron)
    heard, late, v_leak = layer.sources, layer.late, None
    if neuron.alpha is not None:
        heard, late = (f"{layer.name}_current",), ()
    elif bias is not None:
        if whole:
            raise neuron.refuse(BIAS.format("beta"))
        v_leak = single(bias * r)
    reset = [_behind(layer, "reset", Weigh(single(-neuron.theta / gain)))] if subtract else []
    late = (*late, *(each.name for each in (*reset, *(back if neuron.alpha is None else ()))))
    tau = None if whole else single(dt / share)
    membrane = replace(layer, name=f"{layer.name}_membrane", module=Leak(tau, r, dt, v_leak), sources=heard, late=late)
    fire = replace(layer, module=Fire(single(unit * neuron.theta)), sources=(membrane.name,), late=())
    return [membrane, fire, *reset, *back]


def _recurrence(neuron: _Neuron) -> tuple[list[Layer], Array | None]:
    """The layer that carries spikes back, if there is one, and its bias."""
    carrier, layer = neuron.recurrent, neuron.layer
    if carrier is None:
        return [], None
    bias = None
    if isinstance(carrier, (nn.Linear, nn.Conv2d)):
        module: nn.Module = Recur(carrier)
        if carrier.bias is not None:
            bias = double(carrier.bias).reshape(-1, *(1,) * (carrier.weight.dim() - 2))
            bias = single(bias) if bias.any() else None
    else:
        module = Weigh(single(double(carrier.V)))
    return [_behind(layer, "recurrent", module)], bias


def _behind(layer: Layer, part: str, module: nn.Module) -> Layer:
    """A part of a neuron that hears its spikes."""
    return replace(layer, name=f"{layer.name}_{part}", module=module, sources=(layer.name,), late=())


def _without_leak(neuron: _Neuron, decay: Array) -> bool:
    """Whether a decay is 1 in the whole layer."""
    if (decay < 1).all():
        return False
    if (decay < 1).any():
        raise neuron.refuse("a decay of 1 in some neurons and below 1 in others has no NIR form; choose one")
    return True


def _numbers(layer: Layer, shown: bool, dt: float) -> _Neuron:
    module = layer.module
    for reason, holds in (
        ("inhibition has no NIR form; inhibit by negative weights", bool(module.inhibition)),
        ("a quantized state has no NIR form; leave state_quant out", bool(module.state_quant)),
        ("graded spikes have no NIR form; scale the next weights", double(module.graded_spikes_factor) != 1),
    ):
        if holds:
            raise UnsupportedError(f"{layer}: {reason}")
    theta, gain = double(module.threshold), np.ones(())
    alpha = double(module.alpha).clip(0, 1) if hasattr(module, "alpha") else None  # clipped as snnTorch does
    if isinstance(module, Lapicque):
        length, resistance, capacity = (double(getattr(module, name)) for name in ("time_step", "R", "C"))
        beta, gain = 1 - length / (resistance * capacity), length / capacity
    else:
        beta = double(module.beta).clip(0, 1)
    if not ((beta >= 0) & (beta <= 1)).all() or not (gain > 0).all():
        raise UnsupportedError(f"{layer}: a decay of {beta.min():g} per step; R C must be at least time_step")
    return _Neuron(layer, beta, theta, gain, alpha, shown, dt)


SPIKING: tuple[type[nn.Module], ...] = (Leaky, Synaptic, Lapicque, RLeaky, RSynaptic)
# Where the membrane stands in what a call returns.
MEMBRANE: dict[type[nn.Module] | None, int] = {Leaky: 1, Lapicque: 1, RLeaky: 1, Synaptic: 2, RSynaptic: 2}
# What a call takes after its input.
HANDED: dict[type[nn.Module] | None, tuple[str, ...]] = {
    Leaky: ("mem",),
    Lapicque: ("mem",),
    RLeaky: ("spk", "mem"),
    Synaptic: ("syn", "mem"),
    RSynaptic: ("spk", "syn", "mem"),
}
