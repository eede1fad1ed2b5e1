"""An integer network as rows of `idsnn_kernels.h`: maps with channels last, all layers with weights as convolutions.

Linear behind Flatten of (C, H, W)      a convolution whose window is the whole map
Linear of (K,), Conv1d of (C, L)        maps of 1 x 1 and 1 x L
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.errors import UnsupportedError

from ..graph.shapes import Window, conv_window, pool_window
from ..reference.integer import IntegerNetwork, Layer, Path
from .bounds import Reals, of_input

Shape3 = tuple[int, int, int]  # (height, width, channels)
Integers = NDArray[np.int64]
NO_WINDOW = Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
NARROW = 2**15  # sums below it are added up in 16 bits
# Axes of (ky, kx, inputs, outputs) that one sum goes over, most first: the whole window, a row of it, a pixel of it.
EXACT = {"IDSNN_AT_ONCE": (0, 1, 2), "IDSNN_BY_ROW": (1, 2), "IDSNN_BY_TAP": (2,)}
WIDE = "IDSNN_WIDE"
LANES = 8  # output channels that are added up together; rows of weights are filled up with zeros


@dataclass(frozen=True)
class PathRow:
    """One `idsnn_path`; `weights` is (ky, kx, inputs, outputs of the group), or None."""

    source: str
    delayed: bool
    from_: Shape3
    pool: Window
    pooled: Shape3
    weights: Integers | None
    window: Window
    to: Shape3
    groups: int
    pool_after: Window
    exact: str
    amplitude: Integers
    shift: Integers
    stride: int  # output channels of a group, rounded up


def map_shape(shape: tuple[int, ...]) -> Shape3:
    """(C, H, W), (C, L) or (K,) as (height, width, channels)."""
    channels, *spatial = shape
    if len(spatial) > 2:
        raise UnsupportedError(f"a map of shape {shape} has no form in C; (C, H, W), (C, L) and (K,) have")
    height, width = (1, 1, *spatial)[-2:]
    return height, width, channels


def path_row(path: Path, layer: Layer, shapes: dict[str, tuple[int, ...]], largest: dict[str, Reals]) -> PathRow:
    """The row of a path into a layer; `shapes` and `largest` are the sources' own."""
    own = shapes[path.source]
    before, weighted, after = _parts(path, layer.name)
    flat = [isinstance(node, nir.Flatten) for node in before]
    pools = [node for node, is_flat in zip(before, flat, strict=True) if not is_flat]
    _at_most_one(pools, layer.name)
    pool = pool_window(pools[0]) if pools else NO_WINDOW
    pooled = (own[0], *pool.slide(own[1:])) if pools else own
    to = map_shape(layer.shape)
    if weighted is None:
        if any(flat) and max(pooled[1:], default=1) > 1:
            raise UnsupportedError(f"{layer.name}: reads a flattened map; C reads it through weights alone")
        return PathRow(
            path.source, path.delayed, map_shape(own), pool, to, None, NO_WINDOW, to, 1, NO_WINDOW, WIDE,
            _each(path.amplitude, layer), _each(path.shift, layer), 0,
        )  # fmt: skip
    weights, window, groups, out = _convolution(weighted, pooled, any(flat))
    _at_most_one(after, layer.name)
    pool_after = pool_window(after[0]) if after else NO_WINDOW
    exact = _exact(weights, groups, prod(pool.kernel), largest[path.source])
    return PathRow(
        path.source, path.delayed, map_shape(own), pool, map_shape(pooled), weights, window, map_shape(out), groups,
        pool_after, exact, _each(path.amplitude, layer), _each(path.shift, layer), weights.shape[-1],
    )  # fmt: skip


def _exact(weights: Integers, groups: int, pooled: int, largest: Reals) -> str:
    """How much of a window 16 bits can add up, where a pooled pixel has up to `pooled` spikes per channel."""
    if largest.max(initial=0) > 1 or np.abs(weights).max(initial=0) > 127:
        return WIDE
    if groups > 1:  # each spike is added by itself
        return "IDSNN_AT_ONCE"
    most = {name: pooled * np.abs(weights).sum(axes).max(initial=0) for name, axes in EXACT.items()}
    return next((name for name, sum_ in most.items() if sum_ < NARROW), WIDE)


def _parts(path: Path, name: str) -> tuple[list[Any], Any | None, list[Any]]:
    places = [i for i, node in enumerate(path.nodes) if hasattr(node, "weight")]
    if not places:
        return list(path.nodes), None, []
    before, after = list(path.nodes[: places[0]]), list(path.nodes[places[0] + 1 :])
    if any(isinstance(node, nir.Flatten) for node in after):
        raise UnsupportedError(
            f"{name}: reads weights that are flattened before it; put the neurons before the Flatten"
        )
    return before, path.nodes[places[0]], after


def _at_most_one(pools: list[Any], name: str) -> None:
    if len(pools) > 1:
        raise UnsupportedError(f"{name}: {len(pools)} poolings in a row before it; C takes one, of a larger window")


def _convolution(node: Any, shape: tuple[int, ...], flat: bool) -> tuple[Integers, Window, int, tuple[int, ...]]:
    """(ky, kx, inputs, outputs of the group), its window, its groups, and the shape that it gives."""
    weight = np.asarray(node.weight).astype(np.int64)
    height, width, _ = map_shape(shape)
    if isinstance(node, nir.Linear):
        kernel = (height, width) if flat else (1, 1)
        weight = weight.reshape(len(weight), -1, *kernel)
        window, groups = Window(kernel, (1, 1), ((0, 0), (0, 0)), (1, 1)), 1
        out: tuple[int, ...] = (len(weight),)
    else:
        window, groups = conv_window(node), int(node.groups)
        out = (len(weight), *window.slide(shape[1:]))
        if len(window.kernel) == 1:
            weight = weight[:, :, None, :]
            window = Window((1, *window.kernel), (1, *window.stride), ((0, 0), *window.padding), (1, *window.dilation))
    outputs, per_group, *kernel_ = weight.shape
    by_group = weight.reshape(groups, outputs // groups, per_group, *kernel_)
    rows = by_group.transpose(3, 4, 0, 2, 1).reshape(*kernel_, groups * per_group, outputs // groups)
    return np.pad(rows, [(0, 0)] * 3 + [(0, -rows.shape[-1] % LANES)]), window, groups, out


def _each(values: Integers, layer: Layer) -> Integers:
    """One value per channel."""
    spatial = (1,) * (len(layer.shape) - 1)
    return np.broadcast_to(values, (layer.shape[0], *spatial)).reshape(-1)


def constant(values: Integers | None, layer: Layer) -> tuple[Integers | None, bool]:
    """A constant per channel, or per neuron (channels last) where it differs within one; None where it is not there."""
    if values is None:
        return None, False
    full = np.broadcast_to(values, layer.shape).reshape(layer.shape[0], -1)
    if (full == full[:, :1]).all():
        return full[:, 0], False
    return full.T.reshape(-1), True


def rows(network: IntegerNetwork, layer: Layer) -> list[PathRow]:
    """All paths of a layer."""
    shapes = {network.input: network.input_shape, **{each.name: each.shape for each in network.layers}}
    largest = {
        network.input: of_input(network.table, network.input_shape),
        **{e.name: np.ones(e.shape) * (1 if e.theta is not None else 2) for e in network.layers},
    }
    return [path_row(path, layer, shapes, largest) for path in layer.paths]
