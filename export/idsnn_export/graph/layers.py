"""The layer table: what a bundle's manifest and the energy report say about every layer of a graph.

One entry a layer with weights and one a layer that spikes, in evaluation order, under the names that NIR, the probe
graph, the manifest and the report share. Sums, pooling, flattening, scaling, delays and neurons that do not spike have
no entry of their own: `sources` looks through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from .plan import Plan, Step
from .plan import plan as plan_of
from .shapes import Window, conv_window, pool_window
from .timing import gain, leak, resolve_dt

RASTER = 64  # neurons a layer whose every spike the probe shows

Entry = dict[str, Any]  # plain JSON types


def layer_table(graph: nir.NIRGraph, dt: float | None = None) -> list[Entry]:
    """The entries of all layers, in evaluation order.

    Every entry has `name`, `kind` and `sources`, and where pooling lies between it and its sources, `pools`: `name,
    kind` ("avg" or "sum"), `kernel, stride, padding, in_shape, out_shape`. Padding is in pairs, an axis each: zeros
    before, zeros after.

    With weights ("conv1d", "conv2d", "linear"): `weight_shape, stride, padding, dilation` (empty for linear layers),
    `groups, in_shape, out_shape, bias` (whether it has one), `zero_weights` (how many are 0) and, where there are any,
    `nonzero` (I, kernel...): how many weights that read an input channel at a kernel position are not 0.

    Spiking ("lif", "if", "cubalif", "threshold"): `shape`, `beta` and `theta` of v[t] = beta v[t-1] (1 - s[t-1]) +
    I[t], s = v > theta (a number, a list with one a channel where they differ, None where they differ within a
    channel), `raster`: the flat indices of the neurons in the probe's `raster.NAME`.

    Args:
        graph: one time step, as NIR means it.
        dt: the step in seconds; None: the graph's metadata, else 1e-4.

    Raises:
        GraphError: a graph without a meaning (see `plan`).
    """
    plan, dt = plan_of(graph), resolve_dt(graph, dt)
    return [ENTRIES[type(step.node)](plan, step, dt) for step in plan.steps if type(step.node) in ENTRIES]


def raster_indices(size: int) -> list[int]:
    """At most 64 flat indices of a layer of `size` neurons, evenly spread."""
    count = min(RASTER, size)
    return [i * size // count for i in range(count)]


def is_synaptic(step: Step) -> bool:
    """Whether a step is a layer with weights."""
    return ENTRIES.get(type(step.node)) in (_convolution, _linear)


def zero_weights(step: Step) -> int:
    """How many of a layer's weights are 0; a spike causes no operation there."""
    return int((np.asarray(step.node.weight) == 0).sum())


def _convolution(plan: Plan, step: Step, dt: float) -> Entry:
    window, kind = conv_window(step.node), type(step.node).__name__.lower()
    return _synaptic(plan, step, kind, int(step.node.groups), **_window(window, dilation=list(window.dilation)))


def _linear(plan: Plan, step: Step, dt: float) -> Entry:
    return _synaptic(plan, step, "linear", 1, stride=[], padding=[], dilation=[])


def _synaptic(plan: Plan, step: Step, kind: str, groups: int, **window: Any) -> Entry:
    entry = {
        **_entry(plan, step, kind),
        "weight_shape": [int(n) for n in step.node.weight.shape],
        **window,
        "groups": groups,
        "in_shape": list(step.in_shape),
        "out_shape": list(step.shape),
        "bias": hasattr(step.node, "bias"),
        "zero_weights": zero_weights(step),
    }
    return {**entry, "nonzero": _nonzero(step, groups)} if entry["zero_weights"] else entry


def _nonzero(step: Step, groups: int) -> list[Any]:
    present = np.asarray(step.node.weight) != 0  # (O, I/G, kernel...)
    out, inputs, *kernel = present.shape
    by_input = present.reshape(groups, out // groups, inputs, *kernel).sum(1)
    nested: list[Any] = by_input.reshape(groups * inputs, *kernel).tolist()
    return nested


def _spiking(constants: Callable[[Any, float], tuple[Any, Any]]) -> Callable[[Plan, Step, float], Entry]:
    def entry(plan: Plan, step: Step, dt: float) -> Entry:
        beta, theta = constants(step.node, dt)
        return {
            **_entry(plan, step, type(step.node).__name__.lower()),
            "shape": list(step.shape),
            "beta": _plain(beta, step),
            "theta": _plain(theta, step),
            "raster": raster_indices(int(np.prod(step.shape))),
        }

    return entry


def _leaky(tau: Any, r: Any, v_threshold: Any, dt: float) -> tuple[Any, Any]:
    """beta = 1 - dt/tau, theta = v_threshold / ((1 - beta) r)"""
    a = leak(tau, dt)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - a, v_threshold / (a * r)


def _without_leak(node: nir.IF, dt: float) -> tuple[Any, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0, node.v_threshold / gain(node.r, dt)


ENTRIES: dict[type[nir.NIRNode], Callable[[Plan, Step, float], Entry]] = {
    nir.Conv1d: _convolution,
    nir.Conv2d: _convolution,
    nir.Affine: _linear,
    nir.Linear: _linear,
    nir.Threshold: _spiking(lambda node, dt: (0.0, node.threshold)),
    nir.IF: _spiking(_without_leak),
    nir.LIF: _spiking(lambda node, dt: _leaky(node.tau, node.r, node.v_threshold, dt)),
    nir.CubaLIF: _spiking(lambda node, dt: _leaky(node.tau_mem, node.r, node.v_threshold, dt)),
}

POOLS = {nir.AvgPool2d: "avg", nir.SumPool2d: "sum"}


def _entry(plan: Plan, step: Step, kind: str) -> Entry:
    """What every entry has."""
    sources, pools = _behind(plan, step)
    entry: Entry = {"name": step.name, "kind": kind, "sources": sources}
    return {**entry, "pools": pools} if pools else entry


def _behind(plan: Plan, step: Step) -> tuple[list[str], list[Entry]]:
    """The entries (or the input) whose outputs reach a step, and the pools on the way, each in evaluation order."""
    sources, between, stack = set(), set(), [step]
    while stack:
        for source in stack.pop().sources:
            if source.name == plan.input or type(plan[source.name].node) in ENTRIES:
                sources.add(source.name)
            elif source.name not in between:
                between.add(source.name)
                stack.append(plan[source.name])
    steps = plan.steps
    pools = [_pool(each) for each in steps if each.name in between and type(each.node) in POOLS]
    return ["input" if each.name == plan.input else each.name for each in steps if each.name in sources], pools


def _pool(step: Step) -> Entry:
    window = _window(pool_window(step.node), kernel=list(pool_window(step.node).kernel))
    shapes = {"in_shape": list(step.in_shape), "out_shape": list(step.shape)}
    return {"name": step.name, "kind": POOLS[type(step.node)], **window, **shapes}


def _window(window: Window, **more: Any) -> Entry:
    return {"stride": list(window.stride), "padding": [list(pair) for pair in window.padding], **more}


def _plain(values: Any, step: Step) -> float | list[float] | None:
    """A number, or one a channel; to six digits, because tau is a float32 and 0.25 should read 0.25."""
    values = np.broadcast_to(np.asarray(values, np.float64), step.shape)
    if not np.isfinite(values).all():
        return None
    channels = values.reshape(len(values), -1)
    if (channels != channels[:, :1]).any():
        return None
    rounded = [float(f"{value:.6g}") for value in channels[:, 0]]
    return rounded[0] if len(set(rounded)) == 1 else rounded
