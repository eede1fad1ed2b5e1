"""The layer table: what a bundle's manifest and the energy report say about every layer of a graph.

`idsnn_deploy.layer_table` says what an entry means. Sums, pooling, flattening, scaling, delays and neurons that do not
spike have none of their own: `sources` looks through them. So it does through the Threshold that makes a sum of spikes
their maximum: `plan.neurons` says who is a neuron.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from idsnn_deploy.layer_table import INPUT, Layer, Neurons, Parameter, Pool, Range, Synapses

from .plan import Plan, Step
from .plan import plan as plan_of
from .shapes import conv_window, pool_window
from .soft_reset import SoftReset, fused
from .timing import gain, leak, resolve_dt

RASTER = 64  # neurons a layer whose every spike the probe shows


def layer_table(graph: nir.NIRGraph | Plan, dt: float | None = None) -> tuple[Layer, ...]:
    """The entries of all layers, in evaluation order.

    Args:
        graph: one time step, as NIR means it, or its plan.
        dt: the step in seconds; None: the graph's metadata, else 1e-4.

    Raises:
        GraphError: a graph without a meaning (see `plan`).
    """
    plan = fused(plan_of(graph))
    dt = resolve_dt(plan.graph, dt)
    return tuple(ENTRIES[type(step.node)](plan, step, dt) for step in plan.steps if _has_entry(plan, step))


def _has_entry(plan: Plan, step: Step) -> bool:
    return is_synaptic(step) or step.name in plan.neurons


def raster_indices(size: int) -> list[int]:
    """At most 64 flat indices of a layer of `size` neurons, evenly spread."""
    count = min(RASTER, size)
    return [i * size // count for i in range(count)]


def is_synaptic(step: Step) -> bool:
    """Whether a step is a layer with weights."""
    return ENTRIES.get(type(step.node)) is _synapses


def zero_weights(step: Step) -> int:
    """How many of a layer's weights are 0; a spike causes no operation there."""
    return int((np.asarray(step.node.weight) == 0).sum())


KINDS: dict[type[nir.NIRNode], Any] = {
    nir.Conv1d: "conv1d",
    nir.Conv2d: "conv2d",
    nir.Affine: "linear",
    nir.Linear: "linear",
}


def _synapses(plan: Plan, step: Step, dt: float) -> Layer:
    node, kind = step.node, KINDS[type(step.node)]
    sources, pools = _behind(plan, step)
    window = None if kind == "linear" else conv_window(node)
    groups = 1 if window is None else int(node.groups)
    absent = zero_weights(step)
    return Synapses(
        name=step.name,
        kind=kind,
        sources=sources,
        pools=pools,
        weight_shape=tuple(int(n) for n in node.weight.shape),
        stride=window.stride if window else (),
        padding=window.padding if window else (),
        dilation=window.dilation if window else (),
        groups=groups,
        in_shape=step.in_shape,
        out_shape=step.shape,
        bias=hasattr(node, "bias"),
        zero_weights=absent,
        **({"nonzero": _nonzero(step, groups)} if absent else {}),
    )


def _nonzero(step: Step, groups: int) -> list[Any]:
    present = np.asarray(step.node.weight) != 0  # (O, I/G, kernel...)
    out, inputs, *kernel = present.shape
    by_input = present.reshape(groups, out // groups, inputs, *kernel).sum(1)
    nested: list[Any] = by_input.reshape(groups * inputs, *kernel).tolist()
    return nested


def _neurons(constants: Callable[[Any, float], tuple[Any, Any]]) -> Callable[[Plan, Step, float], Layer]:
    def entry(plan: Plan, step: Step, dt: float) -> Layer:
        sources, pools = _behind(plan, step)
        (beta, beta_range), (theta, theta_range) = (_stated(each, step) for each in constants(step.node, dt))
        return Neurons(
            name=step.name,
            kind=_kind(step.node),
            reset="subtract" if isinstance(step.node, SoftReset) else None,
            sources=sources,
            pools=pools,
            shape=step.shape,
            beta=beta,
            beta_range=beta_range,
            theta=theta,
            theta_range=theta_range,
            raster=tuple(raster_indices(int(np.prod(step.shape)))),
        )

    return entry


def _kind(node: nir.NIRNode) -> str:
    """Reset by subtraction is said apart, so such a neuron is a `lif` or an `if` like the others."""
    if isinstance(node, SoftReset):
        return "if" if isinstance(node.membrane, nir.I) else "lif"
    return type(node).__name__.lower()


def _leaky(tau: Any, r: Any, v_threshold: Any, dt: float) -> tuple[Any, Any]:
    """beta = 1 - dt/tau, theta = v_threshold / ((1 - beta) r)"""
    a = leak(tau, dt)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - a, v_threshold / (a * r)


def _without_leak(node: nir.IF, dt: float) -> tuple[Any, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0, node.v_threshold / gain(node.r, dt)


def _soft(node: SoftReset, dt: float) -> tuple[Any, Any]:
    k, g, _ = node.constants(dt)
    return k, node.threshold / g


ENTRIES: dict[type[nir.NIRNode], Callable[[Plan, Step, float], Layer]] = {
    **dict.fromkeys(KINDS, _synapses),
    nir.Threshold: _neurons(lambda node, dt: (0.0, node.threshold)),
    nir.IF: _neurons(_without_leak),
    nir.LIF: _neurons(lambda node, dt: _leaky(node.tau, node.r, node.v_threshold, dt)),
    SoftReset: _neurons(_soft),
    nir.CubaLIF: _neurons(lambda node, dt: _leaky(node.tau_mem, node.r, node.v_threshold, dt)),
}

POOLS = {nir.AvgPool2d: "avg", nir.SumPool2d: "sum"}


def _behind(plan: Plan, step: Step) -> tuple[tuple[str, ...], tuple[Pool, ...]]:
    """The entries (or the input) whose outputs reach a step, and the pools on the way, each in evaluation order."""
    sources, between, stack = set(), set(), [step]
    while stack:
        for source in stack.pop().sources:
            if source.name == plan.input or _has_entry(plan, plan[source.name]):
                sources.add(source.name)
            elif source.name not in between:
                between.add(source.name)
                stack.append(plan[source.name])
    steps, inner = plan.steps, [plan[name] for name in between]
    maxima = {source.name for each in inner if isinstance(each.node, nir.Threshold) for source in each.sources}
    pools = tuple(
        _pool(each, each.name in maxima) for each in steps if each.name in between and type(each.node) in POOLS
    )
    return tuple(INPUT if each.name == plan.input else each.name for each in steps if each.name in sources), pools


def _pool(step: Step, maximum: bool) -> Pool:
    window = pool_window(step.node)
    return Pool(
        name=step.name,
        kind="max" if maximum else POOLS[type(step.node)],
        stride=window.stride,
        padding=window.padding,
        kernel=window.kernel,
        in_shape=step.in_shape,
        out_shape=step.shape,
    )


def _stated(values: Any, step: Step) -> tuple[Parameter, Range]:
    """A number, or one a channel; where they differ within a channel or are not finite (r = 0), their range."""
    values = np.broadcast_to(np.asarray(values, np.float64), step.shape)
    finite, channels = np.isfinite(values), values.reshape(len(values), -1)
    if finite.all() and (channels == channels[:, :1]).all():
        rounded = [_short(value) for value in channels[:, 0]]
        return rounded[0] if len(set(rounded)) == 1 else rounded, None
    return None, (_short(values[finite].min()), _short(values[finite].max())) if finite.any() else None


def _short(value: float) -> float:
    """To six digits, because tau is a float32 and 0.25 should read 0.25."""
    return float(f"{value:.6g}")
