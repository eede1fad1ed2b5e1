"""Every NIR node as its equation: a table from node type to a cell that takes one time step.

    node        equation, with leak = dt/tau and gain = dt r (see `timing`)
    ----------  --------------------------------------------------------------------------------
    I           v += gain I                                                            gives v
    IF          v += gain I;                          s = v > theta, v = v_reset there gives s
    LI          v += leak (v_leak - v + r I)                                           gives v
    LIF         v += leak (v_leak - v + r I);         s = v > theta, v = v_reset there gives s
    CubaLI      i += leak_syn (w_in I - i);           then LI with i                   gives v
    CubaLIF     i += leak_syn (w_in I - i);           then LIF with i                  gives s
    Threshold   s = I > theta                                                          gives s
    Delay       y[t] = x[t - delay/dt]
    pooling     the sum or the mean over a window, padding counted as zeros

All states start from 0. Constants are computed once, when the cell is made; a cell is a pure function of its input and
state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import nir
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from idsnn_deploy.arrays import Array

from ..graph.shapes import Window, conv_window, pool_window
from ..graph.timing import delay_steps, gain, leak


class Taken(NamedTuple):
    """One node at one time step: what it gives, what it remembers, and the membrane that was compared."""

    y: Array
    state: Any = None
    membrane: Array | None = None


Cell = Callable[[Array, Any], Taken]  # (input, state; None at first) → result
Make = Callable[[Any, float, Any], Cell]  # (node, dt, dtype) → cell


def threshold(node: nir.NIRNode) -> Array:
    """What a spiking node compares its membrane with."""
    return np.asarray(node.threshold if isinstance(node, nir.Threshold) else node.v_threshold)


def _memoryless(make: Callable[[Any, Any], Callable[[Array], Array]]) -> Make:
    def cell(node: Any, dt: float, dtype: Any) -> Cell:
        function = make(node, dtype)
        return lambda x, state: Taken(function(x))

    return cell


def _identity(node: Any, dtype: Any) -> Callable[[Array], Array]:
    return lambda x: x


def _affine(node: nir.Affine, dtype: Any) -> Callable[[Array], Array]:
    w, b = node.weight.astype(dtype), np.asarray(node.bias, dtype)
    return lambda x: x @ w.T + b


def _linear(node: nir.Linear, dtype: Any) -> Callable[[Array], Array]:
    w = node.weight.astype(dtype)
    return lambda x: x @ w.T


def _scale(node: nir.Scale, dtype: Any) -> Callable[[Array], Array]:
    s = node.scale.astype(dtype)
    return lambda x: x * s


def _conv(node: Any, dtype: Any) -> Callable[[Array], Array]:
    window, groups = conv_window(node), int(node.groups)
    out = len(node.weight)
    w = node.weight.astype(dtype).reshape(groups, out // groups, -1)  # (G, O/G, C/G * kernel)
    b = np.asarray(node.bias, dtype)

    def conv(x: Array) -> Array:
        views = _windows(x, window)  # (N, C, *size, *kernel)
        axes, size = len(window.kernel), views.shape[2 : 2 + len(window.kernel)]
        kernel_axes = range(2 + axes, 2 + 2 * axes)
        columns = views.transpose(1, *kernel_axes, 0, *range(2, 2 + axes))  # (C, *kernel, N, *size)
        y = w @ columns.reshape(groups, w.shape[2], -1)  # (G, O/G, N * size)
        y = y.reshape(out, len(x), *size).swapaxes(0, 1)
        return np.ascontiguousarray(y + b.reshape(out, *(1,) * axes))

    return conv


def _pool(mean: bool) -> Callable[[Any, Any], Callable[[Array], Array]]:
    def make(node: Any, dtype: Any) -> Callable[[Array], Array]:
        window = pool_window(node)
        divisor = dtype(np.prod(window.kernel) if mean else 1)
        return lambda x: _windows(x, window).sum((-2, -1)) / divisor

    return make


def _windows(x: Array, window: Window) -> Array:
    """(N, C, *size) → a view (N, C, *out, *kernel) of the zero-padded input."""
    axes = tuple(range(2, 2 + len(window.kernel)))
    x = np.pad(x, ((0, 0), (0, 0), *window.padding)) if any(map(any, window.padding)) else x
    reach = tuple(d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    strides, holes = (tuple(slice(None, None, n) for n in each) for each in (window.stride, window.dilation))
    return sliding_window_view(x, reach, axes)[(slice(None), slice(None), *strides, *holes)]


def _flatten(node: nir.Flatten, dtype: Any) -> Callable[[Array], Array]:
    def flatten(x: Array) -> Array:
        shape = x.shape[1:]
        first, last = (int(n) % len(shape) for n in (node.start_dim, node.end_dim))
        return x.reshape(len(x), *shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])

    return flatten


def _threshold(node: nir.Threshold, dt: float, dtype: Any) -> Cell:
    theta = node.threshold.astype(dtype)
    return lambda x, state: Taken((x > theta).astype(dtype), None, x)


def _delay(node: nir.Delay, dt: float, dtype: Any) -> Cell:
    steps = delay_steps(node.delay, dt)

    def cell(x: Array, state: Any) -> Taken:
        state = [x, *(state or ())][: steps.max() + 1]  # state[k] is the input of k steps ago
        y = np.zeros_like(x)
        for k, past in enumerate(state):
            y = np.where(steps == k, past, y)
        return Taken(y, state)

    return cell


def _integrator(node: nir.I, dt: float, dtype: Any) -> Cell:
    g = gain(node.r, dt).astype(dtype)

    def cell(x: Array, v: Any) -> Taken:
        v = _rest(v, x) + g * x
        return Taken(v, v)

    return cell


def _if(node: nir.IF, dt: float, dtype: Any) -> Cell:
    g, theta, v_reset = gain(node.r, dt).astype(dtype), node.v_threshold.astype(dtype), node.v_reset.astype(dtype)

    def cell(x: Array, v: Any) -> Taken:
        v = _rest(v, x) + g * x
        return _fire(v, theta, v_reset)

    return cell


def _li(node: nir.LI, dt: float, dtype: Any) -> Cell:
    integrate = _leaky(node, node.tau, dt, dtype)

    def cell(x: Array, v: Any) -> Taken:
        v = integrate(_rest(v, x), x)
        return Taken(v, v)

    return cell


def _lif(node: nir.LIF, dt: float, dtype: Any) -> Cell:
    integrate = _leaky(node, node.tau, dt, dtype)
    theta, v_reset = node.v_threshold.astype(dtype), node.v_reset.astype(dtype)
    return lambda x, v: _fire(integrate(_rest(v, x), x), theta, v_reset)


def _cubali(node: nir.CubaLI, dt: float, dtype: Any) -> Cell:
    synapse, integrate = _synapse(node, dt, dtype), _leaky(node, node.tau_mem, dt, dtype)

    def cell(x: Array, state: Any) -> Taken:
        i, v = (_rest(None, x), _rest(None, x)) if state is None else state
        i = synapse(i, x)
        v = integrate(v, i)
        return Taken(v, (i, v))

    return cell


def _cubalif(node: nir.CubaLIF, dt: float, dtype: Any) -> Cell:
    synapse, integrate = _synapse(node, dt, dtype), _leaky(node, node.tau_mem, dt, dtype)
    theta, v_reset = node.v_threshold.astype(dtype), node.v_reset.astype(dtype)

    def cell(x: Array, state: Any) -> Taken:
        i, v = (_rest(None, x), _rest(None, x)) if state is None else state
        i = synapse(i, x)
        y, v, membrane = _fire(integrate(v, i), theta, v_reset)
        return Taken(y, (i, v), membrane)

    return cell


def _leaky(node: Any, tau: Array, dt: float, dtype: Any) -> Callable[[Array, Array], Array]:
    a, r, v_leak = leak(tau, dt).astype(dtype), node.r.astype(dtype), node.v_leak.astype(dtype)
    return lambda v, i: v + a * (v_leak - v + r * i)


def _synapse(node: Any, dt: float, dtype: Any) -> Callable[[Array, Array], Array]:
    a, w_in = leak(node.tau_syn, dt).astype(dtype), node.w_in.astype(dtype)
    return lambda i, x: i + a * (w_in * x - i)


def _fire(v: Array, theta: Array, v_reset: Array) -> Taken:
    s = v > theta
    return Taken(s.astype(v.dtype), np.where(s, v_reset, v), v)


def _rest(v: Array | None, x: Array) -> Array:
    return np.zeros_like(x) if v is None else v


CELLS: dict[type[nir.NIRNode], Make] = {
    nir.Input: _memoryless(_identity),
    nir.Output: _memoryless(_identity),
    nir.Affine: _memoryless(_affine),
    nir.Linear: _memoryless(_linear),
    nir.Scale: _memoryless(_scale),
    nir.Conv1d: _memoryless(_conv),
    nir.Conv2d: _memoryless(_conv),
    nir.SumPool2d: _memoryless(_pool(mean=False)),
    nir.AvgPool2d: _memoryless(_pool(mean=True)),
    nir.Flatten: _memoryless(_flatten),
    nir.Threshold: _threshold,
    nir.Delay: _delay,
    nir.I: _integrator,
    nir.IF: _if,
    nir.LI: _li,
    nir.LIF: _lif,
    nir.CubaLI: _cubali,
    nir.CubaLIF: _cubalif,
}
