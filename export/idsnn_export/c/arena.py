"""Where everything lies in the memory that the caller lends: spikes by their time of use, then scratch, then membranes.

[0, run)       the counter of steps, spike maps (one place serves several that are never needed together), scratch
[run, total)   membranes and currents: needed only where steps are taken one by one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        lists: by layer, of (bytes into the scratch, rows, entries per row) for each path.
        scratch: where it begins.
        run: bytes for a run of all steps at once; all bytes where edges are delayed.
        total: bytes for a stream.
        stepwise: the network is taken step by step even in a run.
        place: bytes of an entry's place in a row.
    """

    layers: Mapping[str, tuple[int, int, int]]
    lists: Mapping[str, Sequence[tuple[int, int, int]]]
    scratch: int
    run: int
    total: int
    stepwise: bool
    place: int


def place(network: IntegerNetwork, table: Mapping[str, Sequence[PathRow]]) -> Arena:
    """The places of every layer of a network."""
    stepwise = any(row.delayed for rows in table.values() for row in rows)
    width = bits_width(network.timesteps)
    steps = 1 if stepwise else network.timesteps
    sizes = {layer.name: _bytes(layer, width, steps) for layer in network.layers}
    outs, end = _shared(network, table, sizes)
    row = max(prod(map_shape(e.shape)[1:]) for e in (*network.layers, network.readout))
    begin = _aligned(4 * network.timesteps * row)
    of_place = place_width(row for rows in table.values() for row in rows)
    spike = 4 if of_place + width <= 4 else 8  # bytes of a place and a pattern, as C lays them out
    lists, ends = {}, [begin]
    for name, rows in table.items():
        lists[name], last = _lists(rows, begin, spike, network.input)
        ends.append(last)
    scratch = max(ends)
    at = run = end + scratch
    layers: dict[str, tuple[int, int, int]] = {}
    for layer in network.layers:
        size = _aligned(4 * prod(layer.shape))
        layers[layer.name] = (outs[layer.name], at, at + size if layer.synapse is not None else NOWHERE)
        at += size * (2 if layer.synapse is not None else 1)
    return Arena(layers, lists, end, at if stepwise else run, at, stepwise, of_place)


def _lists(rows: Sequence[PathRow], at: int, spike: int, input_: str) -> tuple[list[tuple[int, int, int]], int]:
    """The places of the lists of a layer's paths from `at` on, and their end."""
    places = []
    for row in rows:
        if row.weights is None:
            places.append((at, 0, 0))
            continue
        # A map of one row reads its window's rows one after the other, each once.
        count = 1 if row.to[0] == 1 else (row.window.kernel[0] - 1) * row.window.dilation[0] + 1
        capacity = row.pooled[1] * prod(row.pool.kernel) * row.from_[2]
        places.append((at, count, capacity))
        at += _aligned(4 * (count + count * (row.pooled[1] + 1))) + _aligned(
            count * capacity * (8 if row.source == input_ else spike)
        )
    return places, at


def place_width(rows: Iterable[PathRow]) -> int:
    """Bytes of a place, x * channels + channel, in the rows that weights read."""
    most = max((row.pooled[1] * row.pooled[2] for row in rows if row.weights is not None), default=1)
    return 2 if most <= 2**16 else 4


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
