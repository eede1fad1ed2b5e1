"""Where everything lies in the memory that the caller lends: spikes by their time of use, then scratch, then membranes.

[0, run)       the counter of steps, spike maps (one place serves several that are never needed together), scratch
[run, total)   membranes and currents: needed only where steps are taken one by one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..reference.integer import IntegerNetwork, Layer
from .tables import PathRow, map_shape

COUNTER = 8  # bytes at the start: how many steps of a stream were taken
NOWHERE = -1


@dataclass(frozen=True)
class Arena:
    """Places in bytes.

    Attributes:
        layers: by name, of (spikes or values, membrane, current).
        scratch: where it begins.
        run: bytes for a run of all steps at once; all bytes where edges are delayed.
        total: bytes for a stream.
        stepwise: the network is taken step by step even in a run.
        row, sums, list_rows, list_width, list_capacity: the sizes that the scratch is divided by.
    """

    layers: Mapping[str, tuple[int, int, int]]
    scratch: int
    run: int
    total: int
    stepwise: bool
    row: int
    sums: int
    list_rows: int
    list_width: int
    list_capacity: int


def place(network: IntegerNetwork, table: Mapping[str, Sequence[PathRow]]) -> Arena:
    """The places of every layer of a network."""
    paths = [row for rows in table.values() for row in rows]
    stepwise = any(row.delayed for row in paths)
    width = bits_width(network.timesteps)
    steps = 1 if stepwise else network.timesteps
    sizes = {layer.name: _bytes(layer, width, steps) for layer in network.layers}
    outs, end = _shared(network, table, sizes)
    row = max(h_w_c[1] * h_w_c[2] for h_w_c in (map_shape(e.shape) for e in (*network.layers, network.readout)))
    sums = max((row.groups * row.stride for row in paths), default=1)
    listed = [r for r in paths if r.weights is not None and r.source != network.input]
    list_rows = max(
        (1 if r.to[0] == 1 else (r.window.kernel[0] - 1) * r.window.dilation[0] + 1 for r in listed), default=1
    )
    list_width = max((r.pooled[1] for r in listed), default=1)
    capacity = max((r.pooled[1] * prod(r.pool.kernel) * r.from_[2] for r in listed), default=1)
    event = 8 if width == 4 else 4
    scratch = _aligned(4 * network.timesteps * row) + _aligned(4 * network.timesteps * sums)
    scratch += (
        _aligned(list_rows * capacity * event) + _aligned(4 * list_rows * (list_width + 1)) + _aligned(4 * list_rows)
    )
    at = run = end + scratch
    layers: dict[str, tuple[int, int, int]] = {}
    for layer in network.layers:
        size = _aligned(4 * prod(layer.shape))
        layers[layer.name] = (outs[layer.name], at, at + size if layer.synapse is not None else NOWHERE)
        at += size * (2 if layer.synapse is not None else 1)
    return Arena(
        layers, end, at if stepwise else run, at, stepwise, row, sums, list_rows, list_width, capacity
    )  # fmt: skip


def bits_width(timesteps: int) -> int:
    """Bytes of a pattern."""
    return next(width for width in (1, 2, 4) if timesteps <= 8 * width)


def _bytes(layer: Layer, width: int, steps: int) -> int:
    each = width if layer.theta is not None else 4 * steps
    return _aligned(prod(layer.shape) * each)


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8


def _shared(
    network: IntegerNetwork, table: Mapping[str, Sequence[PathRow]], sizes: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """First fit over the time from a map's making to its last reader; what is read late lives for ever."""
    order = {layer.name: i for i, layer in enumerate([*network.layers, network.readout])}
    until = dict(order)
    since = dict(order)
    for reader, rows in table.items():
        for row in rows:
            if row.source in until:
                until[row.source] = max(until[row.source], len(order) if row.delayed else order[reader])
                if row.delayed:
                    since[row.source] = 0
    placed: dict[str, int] = {}
    end = COUNTER
    for layer in network.layers:
        name = layer.name
        taken = sorted(
            (placed[other], placed[other] + sizes[other])
            for other in placed
            if since[other] <= until[name] and since[name] <= until[other]
        )
        at = COUNTER
        for low, high in taken:
            if at + sizes[name] <= low:
                break
            at = max(at, high)
        placed[name] = at
        end = max(end, at + sizes[name])
    return placed, end
