"""The torch twins of NIR's nodes that remember or fire: one time step each, with the float32 numbers of the file.

    twin        equation                                  node               tau = dt/(1 - beta)
    ----------  ----------------------------------------  -----------------  -------------------------------------------
    Membrane    v = beta v (1 - s) + I,  s = v > theta    LIF; beta 1: IF    r = 1, v_threshold = (1 - beta) theta
    Synapse     i = alpha i + I, then the same with i     CubaLIF            w_in = 1/(1 - alpha), r = 1/(1 - beta)
    Leak        v = beta v + g I + c,    gives v          LI; beta 1: I      g = (1 - beta) r, c = (1 - beta) v_leak
    Fire        s = v > theta                             Threshold
    Weigh       w I                                       Scale
    Recur       W I, no bias                              Linear, Conv2d

Membranes are shown in the units of the node; v_reset and the start are 0. dt is computed with as `graph.timing` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor, nn

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UnsupportedError

from ..graph.shapes import Shape
from ..graph.timing import gain, leak


class Stepped(NamedTuple):
    """One step of a twin: what it gives, what it remembers, and the membrane that it compared, if it fires."""

    y: Tensor
    state: Any = None
    membrane: Tensor | None = None


class Cell(nn.Module):
    """A twin; parameters are float32 numbers of the file, or arrays of them that broadcast as torch's do."""

    threshold: Array | None = None  # of the node, where it fires

    def step(self, x: Tensor, state: Any) -> Stepped:
        """One time step; a state of None is rest."""
        raise NotImplementedError

    def node(self, shape: Shape) -> nir.NIRNode:
        """The NIR node of a layer whose input has this shape."""
        raise NotImplementedError


class Membrane(Cell):
    """LIF, and without a leak (tau None) IF."""

    def __init__(self, tau: Array | None, v_threshold: Array, dt: float, v_leak: Array | None = None) -> None:
        super().__init__()
        self.tau, self.threshold, self.v_leak = tau, v_threshold, np.zeros((), np.float32) if v_leak is None else v_leak
        self.r = np.asarray(1 / dt if tau is None else 1, np.float32)
        self.scale = gain(self.r, dt) if tau is None else leak(tau, dt)  # NIR's membrane is this times training's
        self.beta: Any = 1.0 if tau is None else 1 - self.scale
        self.theta = v_threshold / self.scale

    def step(self, x: Tensor, state: Any) -> Stepped:
        """v = beta v (1 - s) + I + v_leak, s = v > theta."""
        driven = x + tensor(self.v_leak, x)
        v = driven if state is None else tensor(self.beta, x) * state + driven
        s = (v > tensor(self.theta, x)).to(x.dtype)
        return Stepped(s, v * (1 - s), v * tensor(self.scale, x))

    def node(self, shape: Shape) -> nir.NIRNode:
        """LIF or IF."""
        r, zeros, v_threshold = spread(self.r, shape), np.zeros(shape, np.float32), spread(self.threshold, shape)
        if self.tau is None:
            return nir.IF(r=r, v_threshold=v_threshold, v_reset=zeros)
        tau, v_leak = spread(self.tau, shape), spread(self.v_leak, shape)
        return nir.LIF(tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=zeros)


class Synapse(Cell):
    """CubaLIF."""

    def __init__(self, tau_syn: Array, tau_mem: Array, w_in: Array, r: Array, v_threshold: Array, dt: float) -> None:
        super().__init__()
        self.tau_syn, self.tau_mem, self.w_in, self.r, self.threshold = tau_syn, tau_mem, w_in, r, v_threshold
        self.a_syn, self.a_mem = leak(tau_syn, dt), leak(tau_mem, dt)

    def step(self, x: Tensor, state: Any) -> Stepped:
        """i = alpha i + w I, v = beta v (1 - s) + i, s = v > theta."""
        i, v = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
        i = tensor(1 - self.a_syn, x) * i + tensor(self.a_syn * self.w_in, x) * x
        v = tensor(1 - self.a_mem, x) * v + tensor(self.a_mem * self.r, x) * i
        s = (v > tensor(self.threshold, x)).to(x.dtype)
        return Stepped(s, (i, v * (1 - s)), v)

    def node(self, shape: Shape) -> nir.NIRNode:
        """CubaLIF."""
        zeros = np.zeros(shape, np.float32)
        given = {name: spread(getattr(self, name), shape) for name in ("tau_syn", "tau_mem", "w_in", "r")}
        return nir.CubaLIF(**given, v_leak=zeros, v_reset=zeros.copy(), v_threshold=spread(self.threshold, shape))


class Leak(Cell):
    """LI, and without a leak (tau None) I."""

    def __init__(self, tau: Array | None, r: Array, dt: float, v_leak: Array | None = None) -> None:
        super().__init__()
        self.tau, self.r, self.v_leak = tau, r, np.zeros((), np.float32) if v_leak is None else v_leak
        a = None if tau is None else leak(tau, dt)
        self.k: Any = 1.0 if a is None else 1 - a
        self.g: Any = gain(r, dt) if a is None else a * r
        self.c: Any = 0.0 if a is None else a * self.v_leak

    def step(self, x: Tensor, state: Any) -> Stepped:
        """v = k v + g I + c."""
        driven = tensor(self.g, x) * x + tensor(self.c, x)
        v = driven if state is None else tensor(self.k, x) * state + driven
        return Stepped(v, v)

    def node(self, shape: Shape) -> nir.NIRNode:
        """LI or I."""
        if self.tau is None:
            return nir.I(r=spread(self.r, shape))
        return nir.LI(tau=spread(self.tau, shape), r=spread(self.r, shape), v_leak=spread(self.v_leak, shape))


class Fire(Cell):
    """Threshold."""

    def __init__(self, threshold: Array) -> None:
        super().__init__()
        self.threshold = threshold

    def step(self, x: Tensor, state: Any) -> Stepped:
        """s = I > theta."""
        return Stepped((x > tensor(self.threshold, x)).to(x.dtype), None, x)

    def node(self, shape: Shape) -> nir.NIRNode:
        """Threshold."""
        return nir.Threshold(threshold=spread(self.threshold, shape))


class Weigh(Cell):
    """Scale."""

    def __init__(self, scale: Array) -> None:
        super().__init__()
        self.scale = scale

    def step(self, x: Tensor, state: Any) -> Stepped:
        """w I."""
        return Stepped(x * tensor(self.scale, x))

    def node(self, shape: Shape) -> nir.NIRNode:
        """Scale."""
        return nir.Scale(scale=spread(self.scale, shape))


class Recur(Cell):
    """Recurrent weights; a bias would come a step late, so it is the membrane's to add."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight, self.padding = layer.weight.detach().float().cpu(), getattr(layer, "padding", None)

    def step(self, x: Tensor, state: Any) -> Stepped:
        """W I."""
        w = self.weight.to(x.dtype)
        return Stepped(x @ w.T if self.padding is None else nn.functional.conv2d(x, w, padding=self.padding))

    def node(self, shape: Shape) -> nir.NIRNode:
        """Linear or Conv2d."""
        w = self.weight.numpy()
        if self.padding is None:
            return nir.Linear(weight=w)
        geometry = {"stride": (1, 1), "padding": self.padding, "dilation": (1, 1), "groups": 1}
        return nir.Conv2d(input_shape=shape[1:], weight=w, bias=np.zeros(len(w), np.float32), **geometry)


def tensor(values: Any, like: Tensor) -> Tensor:
    """Numbers as a tensor of the same precision."""
    return torch.as_tensor(values).to(like)


def double(values: Any) -> Array:
    """A layer's numbers in float64."""
    return np.asarray(torch.as_tensor(values).detach().double().cpu().numpy())


def single(values: Any) -> Array:
    """At the float32 numbers of the file."""
    return np.asarray(values, np.float32)


def spread(values: Any, shape: Shape) -> Array:
    """Values as an array of the layer's shape, by torch's rule: trailing axes meet, and the batch comes first."""
    try:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), (1, *shape))[0])
    except ValueError:
        raise UnsupportedError(f"parameters of shape {np.shape(values)} do not fit neurons of {shape}") from None
