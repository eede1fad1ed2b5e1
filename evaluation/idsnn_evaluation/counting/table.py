"""The manifest's layer table as typed entries: what is counted, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from idsnn_deploy.errors import BundleError

Shape = tuple[int, ...]
SYNAPTIC_KINDS = ("conv1d", "conv2d", "linear")
INPUT = "input"


@dataclass(frozen=True)
class Pool:
    """A pooling between an entry's sources and the entry; `avg` divides by the window's area, `sum` does not."""

    kind: str
    kernel: Shape
    in_shape: Shape
    out_shape: Shape

    @property
    def divisor(self) -> int:
        """What one spike was divided by on its way through."""
        return prod(self.kernel) if self.kind == "avg" else 1

    @property
    def adds(self) -> int:
        """Additions of one pass, (area - 1) for each output."""
        return (prod(self.kernel) - 1) * prod(self.out_shape)


@dataclass(frozen=True)
class Synapses:
    """A convolution or linear layer; shapes are per sample and time step, padding is (before, after) an axis."""

    name: str
    kind: str
    sources: tuple[str, ...]
    weight_shape: Shape  # (O, I / groups, kernel...)
    in_shape: Shape
    out_shape: Shape
    stride: Shape = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: Shape = ()
    groups: int = 1
    zero_weights: int = 0
    bias: bool = False
    pools: tuple[Pool, ...] = ()
    nonzero: tuple[Any, ...] = ()  # (I, kernel...): how many weights that read an input channel are not 0

    @property
    def kernel(self) -> Shape:
        """The window, one entry a spatial axis; empty for a linear layer."""
        return self.weight_shape[2:]

    @property
    def inputs(self) -> int:
        """Values that arrive in one time step."""
        return prod(self.in_shape)

    @property
    def outputs(self) -> int:
        """Values that leave in one time step."""
        return prod(self.out_shape)

    @property
    def reads_input(self) -> bool:
        """Whether the network's own input arrives here."""
        return INPUT in self.sources

    @property
    def divisor(self) -> int:
        """What one spike was divided by in the pools before this layer."""
        return prod(pool.divisor for pool in self.pools)


@dataclass(frozen=True)
class Neurons:
    """A layer of spiking neurons; `shape` is per sample and time step."""

    name: str
    kind: str
    sources: tuple[str, ...]
    shape: Shape
    pools: tuple[Pool, ...] = ()

    @property
    def size(self) -> int:
        """How many neurons."""
        return prod(self.shape)


Entry = Synapses | Neurons


def read_table(layers: Sequence[Mapping[str, Any]], where: str = "manifest.json") -> tuple[Entry, ...]:
    """Returns the manifest's `layers` as entries, in order of evaluation.

    Raises:
        BundleError: an entry that lacks a key or holds a value of another kind; named by the layer.
    """
    entries: list[Entry] = []
    for layer in layers:
        name = str(layer.get("name"))
        try:
            entries.append(_synapses(layer) if layer.get("kind") in SYNAPTIC_KINDS else _neurons(layer))
        except KeyError as cause:
            raise BundleError(f"{where}: layer {name!r} has no {cause}; export the bundle again") from cause
        except (TypeError, ValueError) as cause:
            raise BundleError(f"{where}: layer {name!r} is malformed ({cause}); export the bundle again") from cause
    return tuple(entries)


def head(entries: Sequence[Entry]) -> Synapses | None:
    """The layer that makes the logits: the last one, where that is synaptic; None where neurons end the network."""
    last = entries[-1] if entries else None
    return last if isinstance(last, Synapses) else None


def still(entries: Sequence[Entry], static: bool) -> frozenset[str]:
    """Names whose values are the same at every step: a static image and the synaptic layers that see nothing else."""
    found = {INPUT} if static else set()
    for entry in entries:
        if isinstance(entry, Synapses) and found.issuperset(entry.sources):
            found.add(entry.name)
    return frozenset(found)


def _shape(values: Any) -> Shape:
    return tuple(int(value) for value in values)


def _pools(layer: Mapping[str, Any]) -> tuple[Pool, ...]:
    return tuple(
        Pool(str(pool["kind"]), _shape(pool["kernel"]), _shape(pool["in_shape"]), _shape(pool["out_shape"]))
        for pool in layer.get("pools", ())
    )


def _neurons(layer: Mapping[str, Any]) -> Neurons:
    return Neurons(
        layer["name"],
        str(layer["kind"]),
        tuple(layer["sources"]),
        _shape(layer["shape"]),
        _pools(layer),
    )


def _synapses(layer: Mapping[str, Any]) -> Synapses:
    weight, axes = _shape(layer["weight_shape"]), len(layer["weight_shape"]) - 2
    linear = layer["kind"] == "linear"
    entry = Synapses(
        layer["name"],
        layer["kind"],
        tuple(layer["sources"]),
        weight,
        _shape(layer["in_shape"]),
        _shape(layer["out_shape"]),
        stride=() if linear else _shape(layer["stride"]),
        padding=() if linear else tuple((int(before), int(after)) for before, after in layer["padding"]),
        dilation=() if linear else _shape(layer["dilation"]),
        groups=1 if linear else int(layer["groups"]),
        zero_weights=int(layer["zero_weights"]),
        bias=bool(layer.get("bias", False)),
        pools=_pools(layer),
        nonzero=tuple(layer.get("nonzero", ())),
    )
    if not linear and not len(entry.stride) == len(entry.padding) == len(entry.dilation) == axes:
        raise ValueError(f"stride, padding and dilation need {axes} entries")
    if min(weight) < 1 or entry.groups < 1:
        raise ValueError("sizes must be at least 1")
    return entry
