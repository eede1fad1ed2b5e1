"""What an integer network can reach at most, proved from its weights alone: no image is asked.

    path     sum of |q| max|input|, so that every partial sum is covered, in any order
    x        |offset| + |late| + paths, each shifted
    i, v     (x + 1) / (1 - k) for ever, where k < 1; T x in T steps, where nothing leaks, and 2 x, so that what is
             stopped at 2^30 takes one more; x is x + rho where spikes are subtracted;
             where the layer fires, m <= max(|theta|, |reset|) above: v is at least covered by that + x

Everything must stay below 2^31.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.equations import CELLS
from ..reference.integer import LEAK_BITS, Layer, Path

Reals = NDArray[np.float64]
LIMIT = 2.0**31


def proved(layer: Layer, largest: Mapping[str, Reals], timesteps: int, room: int = 1) -> bool:
    """Whether 32 bits hold every sum of a layer, `room` times over.

    Args:
        layer: with whole constants.
        largest: the largest magnitude that each source gives, of its shape.
        timesteps: T.
    """
    return bool((membrane(layer, largest, timesteps) * room < LIMIT).all())


def membrane(layer: Layer, largest: Mapping[str, Reals], timesteps: int) -> Reals:
    """The largest |x|, |i| or |v| of a layer, elementwise."""
    x = np.abs(layer.offset) + np.abs(layer.late) + np.zeros(layer.shape)
    for path in layer.paths:
        x = x + _reach(path, largest[path.source]) * np.abs(path.amplitude) * 2.0**path.shift
    if layer.synapse is not None:
        x = _settled(x, layer.synapse, timesteps) + np.abs(layer.membrane_offset)
    if layer.rho is not None:
        x = x + np.abs(layer.rho)
    v = _settled(x, layer.decay, timesteps)
    if layer.theta is not None:
        v = np.maximum(v, np.maximum(np.abs(layer.theta), np.abs(layer.reset)) + x)
    return np.asarray(v)


def _reach(path: Path, largest: Reals) -> Reals:
    """The largest magnitude at the end of a path, before amplitude and shift."""
    x = largest[None]
    for node in path.nodes:
        x = CELLS[type(node)](_absolute(node), 1.0, np.float64)(x, None).y
    return np.asarray(x[0])


def of_input(table: NDArray[np.int64], shape: tuple[int, ...]) -> Reals:
    """The largest magnitude that a table gives, of the input's shape (C, ...)."""
    most = np.abs(table).max(1).astype(np.float64)
    return np.broadcast_to(most.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _absolute(node: Any) -> Any:
    if not hasattr(node, "weight"):
        return node
    other = copy.copy(node)
    other.weight = np.abs(node.weight)
    return other


def _settled(x: Reals, k: NDArray[np.int64], timesteps: int) -> Reals:
    """The largest |y| of y = leak(y, k) + x from rest: for ever, or for T steps where k = 1."""
    share = k / (1 << LEAK_BITS)
    return np.where(share < 1, (x + 1) / np.maximum(1 - share, 2.0**-LEAK_BITS), x * max(timesteps, 2))
