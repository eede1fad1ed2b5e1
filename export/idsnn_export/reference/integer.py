"""The integer network in numpy: what generated C must answer, bit for bit (docs/c.md).

For every layer of neurons, at step t, in whole numbers, each element with constants of its own:

    x    = offset + sum over paths of amplitude path(s) 2^shift      s: spikes or inputs, of this step or the last
    i    = decayed(i, k_syn) + x,  x = i + offset_syn                   current-based neurons only
    v    = decayed(m, k) - rho [the last s] + x                      decayed(m, k) = floor((m k + 2^14) / 2^15)
    s    = v > theta                                                 a layer that does not fire gives v instead
    m    = reset where s, else v                                     reset to a value: rho = 0; by subtraction: m = v
           without a leak (k = 2^15) v stays within -2^30..2^30

    logits = sum over t of x of the readout, the last, or the largest      in units of `logit_unit`

A path is what lies between spikes and neurons without memory: pooling, one layer with weights, pooling again. Its
nodes are NIR's, with whole numbers for weights, sums for averages and no bias, so the equations of `equations` are
exact in float64 (below 2^53).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.readout import WHOLE, Readout

from .equations import CELLS

Integers = NDArray[np.int64]

LEAK_BITS = 15  # k and k_syn are in units of 2^-15
EDGE = 2**30  # how far a membrane that does not leak goes, either way


@dataclass(frozen=True)
class Path:
    """One way from a source to a layer.

    Attributes:
        source: a layer's name, or the input's.
        delayed: the source's previous output, zeros at the first step.
        nodes: NIR nodes without memory, in order, whose weights are whole numbers.
        amplitude: what one unit at the path's end counts for, int64, broadcasts to the layer's shape.
        shift: left shift, the same.
    """

    source: str
    delayed: bool
    nodes: tuple[nir.NIRNode, ...]
    amplitude: Integers
    shift: Integers

    def __call__(self, q: Integers) -> Integers:
        """(N, *source) → (N, *layer)."""
        x = q.astype(np.float64)
        for node in self.nodes:
            x = CELLS[type(node)](node, 1.0, np.float64)(x, None).y
        return (x.astype(np.int64) * self.amplitude) << self.shift


@dataclass(frozen=True)
class Layer:
    """Neurons, or the readout, in whole numbers; arrays are int64 and broadcast to `shape`.

    Attributes:
        name: of the NIR node.
        shape: per sample.
        paths: what comes in.
        offset: what is added at every step; `late`: at every step but the first (a bias that arrives with a delay).
        decay: k in 2^-15; 0 forgets, 2^15 does not leak.
        synapse: k_syn, where the neuron has a current of its own; `membrane_offset` is added behind it.
        theta: None where the layer does not fire.
        reset: what a spike sets the membrane to; `rho`: what it takes off instead, None where it sets.
        unit: what 1 stands for, in the current that the NIR node is given.
    """

    name: str
    shape: tuple[int, ...]
    paths: tuple[Path, ...]
    offset: Integers
    late: Integers
    decay: Integers
    synapse: Integers | None
    membrane_offset: Integers
    theta: Integers | None
    reset: Integers
    rho: Integers | None
    unit: NDArray[np.float64]


@dataclass(frozen=True)
class IntegerNetwork:
    """A network in whole numbers.

    Attributes:
        input: the input's name; `input_shape` its shape per sample and step.
        table: int64 (C, 256): what a pixel or count of a channel stands for.
        static: the same image at every step.
        timesteps: T.
        layers: in order of evaluation.
        readout: what makes the logits; its constants but the offsets mean nothing.
        logit_unit: one step's unit.
        over_time: what becomes of the steps; whole numbers add up where the graph takes the mean.
    """

    input: str
    input_shape: tuple[int, ...]
    table: Integers
    static: bool
    timesteps: int
    layers: tuple[Layer, ...]
    readout: Layer
    logit_unit: float
    over_time: Readout = "mean"

    @property
    def answer_unit(self) -> float:
        """What one logit of `run_integer` stands for."""
        return self.logit_unit / (self.timesteps if self.over_time == "mean" else 1)


@dataclass
class _State:
    m: Integers
    i: Integers
    s: NDArray[np.bool_]


def decayed(m: Integers, k: Integers) -> Integers:
    """floor((m k + 2^14) / 2^15): the nearest whole number to m k / 2^15, halves upwards."""
    return (m * k + (1 << (LEAK_BITS - 1))) >> LEAK_BITS


def run_integer(network: IntegerNetwork, x: NDArray[Any]) -> tuple[Integers, dict[str, NDArray[np.bool_]]]:
    """The logits (N, ...) int64 and {layer: spikes (T, N, ...)} of the layers that fire.

    Args:
        network: of `idsnn_export.c.quantize.integer_network`.
        x: whole numbers 0..255, (N, *input_shape), or (T, N, *input_shape) where the input varies in time.

    Raises:
        ValueError: x of another shape, or not whole numbers in 0..255.
    """
    outputs, spikes = run_steps(network, x)
    return WHOLE["sum" if network.over_time == "mean" else network.over_time](outputs), spikes


def run_steps(network: IntegerNetwork, x: NDArray[Any]) -> tuple[Integers, dict[str, NDArray[np.bool_]]]:
    """The outputs of every step (T, N, ...) int64, and spikes; `run_integer` has arguments and errors."""
    frames = _frames(network, x)
    count = frames[0].shape[0]
    states = {layer.name: _rest(layer, count) for layer in network.layers}
    spikes: dict[str, list[NDArray[np.bool_]]] = {layer.name: [] for layer in network.layers if layer.theta is not None}
    last: dict[str, Integers] = {}
    outputs = []
    for t, frame in enumerate(frames):
        now: dict[str, Integers] = {network.input: frame}
        for layer in network.layers:
            now[layer.name] = _step(layer, _arriving(layer, now, last, t), states[layer.name])
            if layer.theta is not None:
                spikes[layer.name].append(now[layer.name] > 0)
        outputs.append(_arriving(network.readout, now, last, t))
        last = now
    return np.stack(outputs), {name: np.stack(each) for name, each in spikes.items()}


def _frames(network: IntegerNetwork, x: NDArray[Any]) -> Sequence[Integers]:
    """What the table makes of the input, one array (N, ...) per step."""
    x = np.asarray(x)
    lead = 1 if network.static else 2
    if x.shape[lead:] != network.input_shape or (not network.static and len(x) != network.timesteps):
        raise ValueError(f"x of shape {x.shape}: the network takes (N, *{network.input_shape}), frames with T before N")
    if (x != np.rint(x)).any() or x.min(initial=0) < 0 or x.max(initial=0) > 255:
        raise ValueError("x: whole numbers in 0..255 are taken")
    channel = np.arange(network.input_shape[0]).reshape(-1, *(1,) * (len(network.input_shape) - 1))
    values = network.table[channel, x.astype(np.int64)]
    return [values] * network.timesteps if network.static else list(values)


def _rest(layer: Layer, count: int) -> _State:
    zeros = np.zeros((count, *layer.shape), np.int64)
    return _State(zeros, zeros, zeros > 0)


def _arriving(layer: Layer, now: dict[str, Integers], last: dict[str, Integers], t: int) -> Integers:
    """x of a layer at step t."""
    total = layer.offset + (layer.late if t else 0)
    for path in layer.paths:
        if path.delayed and not t:
            continue
        total = total + path(last[path.source] if path.delayed else now[path.source])
    return np.asarray(total, np.int64)


def _step(layer: Layer, x: Integers, state: _State) -> Integers:
    if layer.synapse is not None:
        state.i = decayed(state.i, layer.synapse) + x
        x = state.i + layer.membrane_offset
    v = decayed(state.m, layer.decay) + x
    if layer.rho is not None:
        v = v - layer.rho * state.s
    v = np.where(layer.decay == 1 << LEAK_BITS, np.clip(v, -EDGE, EDGE), v)
    if layer.theta is None:
        state.m = v
        return v
    state.s = v > layer.theta
    state.m = v if layer.rho is not None else np.where(state.s, layer.reset, v)
    return state.s.astype(np.int64)
