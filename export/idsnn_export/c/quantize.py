"""A NIR graph in whole numbers: which unit each channel counts in, and every constant rounded to it.

For a layer of neurons v = k m + g I + c, s = v > theta, channel by channel, with I = sum over layers j of W_j s_j + b:

    unit      u = s 2^-F,   s = max over j of max|W_j| / 127,  raised until the constants below fit into 29 bits
    weights   q_j = round(W_j / (u 2^sh_j)) in -127..127,      sh_j in 0..F, the smallest that lets them fit
    spikes    amplitude = round(w / u), where they enter without weights
    offset    round((b + c / g) / u),   theta: round(theta / g / u),   reset: round(reset / g / u)
    rho       round(rho / u), where spikes are subtracted
    leak      k: round(2^15 k)

Membranes are kept in units of g u, so nothing between weights and threshold is rounded but the leak, and no images are
needed to choose a scale. F, at most 8, is the largest for which `bounds` proves that 32 bits hold every sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import nir
import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.errors import UnsupportedError
from idsnn_deploy.readout import Readout

from ..graph.plan import SPIKING, Plan, Step
from ..graph.plan import plan as plan_of
from ..graph.shapes import pool_window
from ..graph.soft_reset import SoftReset, fused
from ..graph.timing import resolve_dt
from ..reference.equations import CELLS
from ..reference.integer import LEAK_BITS, IntegerNetwork, Layer, Path
from .bounds import membrane, of_input, proved
from .dynamics import Dynamics, dynamics, readout_dynamics
from .paths import MEMBRANES, Way, ways

Reals = NDArray[np.float64]

WEIGHT, HEAD_WEIGHT = 127, 32767  # the largest of a hidden layer's int8 and of the readout's int16
PIXEL_WEIGHTS = (4095, 1023, 255, 127)  # of a layer that reads the input, finest first: computed once, and cheap
FRACTION = 8  # bits below the weights' unit, at most
CONSTANTS = (2.0**28, 2.0**24, 2.0**20)  # what offset, theta, reset, rho and entering spikes stay below, finest first
PIXEL = 4095  # the largest value that a table gives


@dataclass(frozen=True)
class _Real:
    """A way with its weights in the graph's numbers, per unit of its source; zeros' shape is the layer's."""

    way: Way
    nodes: tuple[nir.NIRNode, ...]
    weight: Reals  # (O, ...), or a factor per channel where spikes enter as they are
    peak: Reals  # (C,) of the layer: the largest magnitude
    most: int = WEIGHT  # what the largest whole weight may be


def integer_network(
    graph: nir.NIRGraph | Plan,
    timesteps: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dt: float | None = None,
    static: bool = True,
    readout: Readout = "mean",
) -> IntegerNetwork:
    """The graph in whole numbers; what C is written from and what `run_integer` runs.

    Args:
        graph: one time step, as NIR means it.
        timesteps: T.
        mean, std: one value per channel, of pixels in 0..1; None: pixels enter as pixel / 255, counts as they are.
        dt: the step in seconds; None: the graph's metadata, else 1e-4.
        static: the input is an image, the same at every step; else a frame of counts per step.
        readout: what becomes of the outputs over the steps.

    Raises:
        UnsupportedError: a node that has no form in whole numbers, by name; nothing is approximated silently.
        GraphError: a graph without a meaning.
    """
    plan = fused(plan_of(graph))
    dt = resolve_dt(plan.graph, dt)
    table, scale = pixel_table(plan[plan.input].shape[0], mean, std, static)
    largest = _largest(plan, table)
    layers: list[Layer] = []
    units = {plan.input: scale}
    for step in plan.steps:
        if isinstance(step.node, MEMBRANES):
            neuron = dynamics(step, dt)
            layer = _layer(plan, step, neuron, units, largest, timesteps)
            layers.append(layer)
            if layer.theta is None:
                largest[step.name] = membrane(layer, largest, timesteps)
                units[step.name] = float(layer.unit[0] * neuron.gain.flat[0])
    _refuse_values(plan, layers)
    output = plan[plan.output]
    head = _layer(plan, output, readout_dynamics(output.shape), units, largest, timesteps, head=True)
    return IntegerNetwork(
        input=plan.input,
        input_shape=tuple(plan[plan.input].shape),
        table=table,
        static=static,
        timesteps=timesteps,
        layers=tuple(layers),
        readout=head,
        logit_unit=float(head.unit.flat[0]),
        over_time=readout,
    )


def pixel_table(
    channels: int, mean: Sequence[float] | None, std: Sequence[float] | None, static: bool
) -> tuple[NDArray[np.int64], float]:
    """(C, 256): round((p / 255 - mean) / std / unit) of a pixel p, and the unit; p itself where nothing normalizes."""
    p = np.arange(256)
    if mean is None or std is None:
        return np.tile(p.astype(np.int64), (channels, 1)), (1 / 255 if static else 1.0)
    centre, width = (np.broadcast_to(np.asarray(v, np.float64), (channels,))[:, None] for v in (mean, std))
    values = (p / 255 - centre) / width
    unit = float(np.abs(values).max()) / PIXEL
    return np.rint(values / unit).astype(np.int64), unit


def _layer(
    plan: Plan,
    step: Step,
    real: Dynamics,
    scales: Mapping[str, float],
    largest: Mapping[str, Reals],
    timesteps: int,
    head: bool = False,
) -> Layer:
    parts = [_real(step, way, scales.get(way.source, 1.0)) for way in ways(plan, step)]
    always, late = _biases(step, parts)
    theta = None if real.theta is None else real.theta / real.gain
    constants = [always, late, real.offset, real.reset / real.gain]
    constants += [each for each in (theta, real.rho) if each is not None]
    fractions = range(0 if head else FRACTION, -1, -1)
    entering = [p.peak * largest[p.way.source].max(initial=0) for p in parts if p.way.weights is None]
    for most, pixel_weight, fraction in product(CONSTANTS, PIXEL_WEIGHTS, fractions):
        fine = [replace(p, most=_most(p, plan.input, pixel_weight, head)) for p in parts]
        unit = _unit(step, fine, [*constants, *entering], 2.0**fraction / most) * 2.0**-fraction
        if theta is None:  # its values are compared with each other: the same unit, seen from behind the gain
            g = _per_channel(step, real.gain)
            unit = _snapped((unit * g).max(), fine) / g
        layer = _rounded(step, real, fine, (always, late, theta), unit, fraction)
        # Values, unlike spikes, are added up by the readout: room for it.
        if proved(layer, largest, timesteps, room=8 * timesteps if theta is None and not head else 1):
            return layer
    raise UnsupportedError(f"{step.name}: its sums do not fit into 32 bits; C has no wider form")


def _most(part: _Real, input_name: str, pixel_weight: int, head: bool) -> int:
    return pixel_weight if part.way.source == input_name else HEAD_WEIGHT if head else WEIGHT


def _real(into: Step, way: Way, scale: float) -> _Real:
    before, after = _memoryless(way.before), _memoryless(way.after)
    channels = into.shape[0]
    factor = scale * before.factor * after.factor
    if way.weights is None:
        weight = np.broadcast_to(np.asarray(factor * after.scale * before.scale, np.float64).reshape(-1), (channels,))
        return _Real(way, (*before.nodes, *after.nodes), weight, np.abs(weight))
    weight = np.asarray(way.weights.node.weight, np.float64) * factor
    weight = _scaled_inputs(way.weights, weight, before.scale)
    outputs = np.broadcast_to(after.scale.reshape(-1), (len(weight),))
    weight = weight * outputs.reshape(-1, *(1,) * (weight.ndim - 1))
    if len(weight) != channels:
        raise UnsupportedError(f"{way.weights.name}: flattened on its way to {into.name}; put the neurons before it")
    peak = np.abs(weight).reshape(channels, -1).max(1, initial=0)
    return _Real(way, (*before.nodes, way.weights.node, *after.nodes), weight, peak)


@dataclass(frozen=True)
class _Between:
    nodes: tuple[nir.NIRNode, ...]
    factor: float  # of all
    scale: Reals  # (1,) or one per channel


def _memoryless(steps: Sequence[Step]) -> _Between:
    """Pooling as sums and flattening, with what averages and scales multiply by beside them."""
    nodes: list[nir.NIRNode] = []
    factor, scale = 1.0, np.ones(1)
    for step in steps:
        node = step.node
        if isinstance(node, nir.Scale):
            values = np.broadcast_to(np.asarray(node.scale, np.float64), step.shape).reshape(step.shape[0], -1)
            if (values != values[:, :1]).any():
                raise UnsupportedError(f"{step.name} (Scale): differs within a channel; C scales channels")
            scale = scale * values[:, 0]
        elif isinstance(node, nir.AvgPool2d):
            window = pool_window(node)
            factor /= int(np.prod(window.kernel))
            nodes.append(nir.SumPool2d(node.kernel_size, node.stride, node.padding))
        elif isinstance(node, nir.Flatten) and scale.size > 1:
            raise UnsupportedError(f"{step.name} (Flatten): behind a Scale per channel; scale the weights instead")
        else:
            nodes.append(node)
    return _Between(tuple(nodes), factor, scale)


def _scaled_inputs(step: Step, weight: Reals, scale: Reals) -> Reals:
    """Weights times the scale of the input channel that each reads."""
    if scale.size == 1:
        return np.asarray(weight * scale[0])
    groups, per_group = int(getattr(step.node, "groups", 1)), weight.shape[1]
    by_group = scale.reshape(groups, per_group).repeat(len(weight) // groups, axis=0)
    return np.asarray(weight * by_group.reshape(len(weight), per_group, *(1,) * (weight.ndim - 2)))


def _biases(into: Step, parts: Sequence[_Real]) -> tuple[Reals, Reals]:
    """What layers with weights add at every step, and at every step but the first; each layer once."""
    sums = [np.zeros(into.shape), np.zeros(into.shape)]
    seen: set[tuple[str, ...]] = set()
    for part in parts:
        way = part.way
        key = ("" if way.weights is None else way.weights.name, *(step.name for step in way.after), str(way.late))
        if way.weights is None or key in seen or not hasattr(way.weights.node, "bias"):
            continue
        seen.add(key)
        bias = np.asarray(way.weights.node.bias, np.float64)
        y = np.broadcast_to(bias.reshape(-1, *(1,) * (len(way.weights.shape) - 1)), way.weights.shape)[None]
        for node in (step.node for step in way.after):
            y = CELLS[type(node)](node, 1.0, np.float64)(y, None).y
        sums[way.late] += y[0]
    return sums[0], sums[1]


def _unit(step: Step, parts: Sequence[_Real], others: Sequence[Reals], least: float) -> Reals:
    """s (C,): what the largest weight asks for, and `least` of every other constant."""
    nothing = np.zeros(step.shape[0])
    weights = np.max([nothing, *(p.peak / p.most for p in parts if p.way.weights is not None)], axis=0)
    fixed = np.max([nothing, *(np.abs(c).reshape(step.shape[0], -1).max(1, initial=0) for c in others)], axis=0)
    scale = np.maximum(weights, fixed * least)
    return np.where(scale > 0, scale, 1.0)


def _snapped(unit: float, parts: Sequence[_Real]) -> float:
    """The unit, at most doubled so that what enters without weights counts for a power of two and is not rounded."""
    entering = max((float(p.peak.max()) for p in parts if p.way.weights is None), default=0.0)
    return entering / 2.0 ** np.floor(np.log2(entering / unit)) if entering > 0 else unit


def _per_channel(step: Step, values: Reals) -> Reals:
    by_channel = values.reshape(step.shape[0], -1)
    if (by_channel != by_channel[:, :1]).any():
        raise UnsupportedError(
            f"{step.name}: gives its membrane, and its gain differs within a channel; C has one each"
        )
    return by_channel[:, 0]


def _rounded(
    step: Step,
    real: Dynamics,
    parts: Sequence[_Real],
    constants: tuple[Reals, Reals, Reals | None],
    unit: Reals,
    fraction: int,
) -> Layer:
    u = unit.reshape(-1, *(1,) * (len(step.shape) - 1))
    always, late, theta = constants
    synaptic = real.synapse is not None
    whole = np.rint(always / u) if synaptic else np.rint((always + real.offset) / u)
    zero = np.zeros(1, np.int64)
    return Layer(
        name=step.name,
        shape=tuple(step.shape),
        paths=tuple(_path(step, part, unit, fraction) for part in parts),
        offset=whole.astype(np.int64),
        late=np.rint(late / u).astype(np.int64),
        decay=_bits(real.decay),
        synapse=None if real.synapse is None else _bits(real.synapse),
        membrane_offset=np.rint(real.offset / u).astype(np.int64) if synaptic else zero,
        theta=None if theta is None else np.rint(theta / u).astype(np.int64),
        reset=np.rint(real.reset / real.gain / u).astype(np.int64),
        rho=None if real.rho is None else np.rint(real.rho / u).astype(np.int64),
        unit=unit,
    )


def _path(step: Step, part: _Real, unit: Reals, fraction: int) -> Path:
    most = part.most
    spatial = (1,) * (len(step.shape) - 1)
    if part.way.weights is None:
        amplitude = np.rint(part.weight / unit).astype(np.int64).reshape(-1, *spatial)
        return Path(part.way.source, part.way.delayed, part.nodes, amplitude, np.zeros_like(amplitude))
    with np.errstate(divide="ignore"):
        shift = np.ceil(np.log2(part.peak / (most * unit)))
    shift = np.clip(np.nan_to_num(shift, neginf=0), 0, fraction).astype(np.int64)
    shift += part.peak > (most + 0.499) * unit * 2.0**shift  # log2's rounding
    each = (unit * 2.0**shift).reshape(-1, *(1,) * (part.weight.ndim - 1))
    weights = np.clip(np.rint(part.weight / each), -most, most)
    nodes = tuple(_with_weights(node, weights) if hasattr(node, "weight") else node for node in part.nodes)
    ones = np.ones((len(unit), *spatial), np.int64)
    return Path(part.way.source, part.way.delayed, nodes, ones, shift.reshape(-1, *spatial))


def _with_weights(node: nir.NIRNode, weights: Reals) -> nir.NIRNode:
    if isinstance(node, (nir.Affine, nir.Linear)):
        return nir.Linear(weight=weights)
    return type(node)(
        input_shape=node.input_shape,
        weight=weights,
        stride=node.stride,
        padding=node.padding,
        dilation=node.dilation,
        groups=node.groups,
        bias=np.zeros(len(weights)),
    )


def _bits(share: Reals) -> NDArray[np.int64]:
    if share.min(initial=0) < 0 or share.max(initial=0) > 1:
        raise UnsupportedError(f"a decay of {share.min():g} to {share.max():g} per step; C takes 0 to 1: check dt")
    return np.rint(share * (1 << LEAK_BITS)).astype(np.int64)


def _largest(plan: Plan, table: NDArray[np.int64]) -> dict[str, Reals]:
    """The largest magnitude that each source gives, of its shape: the table's, and 1 for spikes."""
    firing = (*SPIKING, SoftReset)
    found = {step.name: np.ones(step.shape) for step in plan.steps if isinstance(step.node, firing)}
    return {plan.input: of_input(table, plan[plan.input].shape), **found}


def _refuse_values(plan: Plan, layers: Sequence[Layer]) -> None:
    """A layer that gives its membrane may feed the output alone."""
    silent = {layer.name for layer in layers if layer.theta is None}
    for step in plan.steps:
        for incoming in step.sources:
            if incoming.name in silent and step.name != plan.output:
                kind = type(plan[incoming.name].node).__name__
                raise UnsupportedError(
                    f"{incoming.name} ({kind}): gives its membrane to {step.name}; in C only spikes travel"
                )
