"""The layer table: what a bundle says of every layer, in order of evaluation.

    input ── [pools] ──▶ Synapses ── [pools] ──▶ Neurons ── [pools] ──▶ Synapses ── ...

One entry a layer with weights and one a layer that spikes, under the names that NIR, the probe's outputs, the manifest
and the report share. Sums, pools, flattening, scaling, delays and neurons that do not spike have no entry of their
own: `sources` looks through them. Export builds the entries, the manifest carries them (docs/format.md), the evaluator
counts with them. Shapes are of one sample at one step; padding is (before, after), an axis each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any, Literal

from .json_types import NESTED, Count, Name, Positive, Shape, Text, WhereThere, unique

INPUT = "input"  # the name of the network's input among sources
Padding = tuple[tuple[Count, Count], ...]
Parameter = float | list[float] | None
Range = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pooling between an entry's sources and the entry.

    `avg` divides the window's sum by its area, `sum` does not, `max` is the OR of its spikes.
    """

    name: Text = ""
    kind: Text
    stride: Shape = ()
    padding: Padding = ()
    kernel: Shape
    in_shape: Shape
    out_shape: Shape

    @property
    def divisor(self) -> int:
        """What one spike was divided by on its way through."""
        return prod(self.kernel) if self.kind == "avg" else 1

    @property
    def adds(self) -> int:
        """Additions, or ORs, of one pass, (area - 1) for each output."""
        return (prod(self.kernel) - 1) * prod(self.out_shape)


@dataclass(frozen=True, kw_only=True)
class Synapses:
    """A convolution or linear layer; `stride`, `padding` and `dilation` are empty for a linear one.

    Attributes:
        sources: the entries, or the input, whose outputs arrive, added up.
        pools: what pools on the way.
        zero_weights: how many of the weights are exactly 0.
        nonzero: where some are, (I, kernel...) nested: how many weights that read an input channel at a kernel
            position are not 0.
    """

    name: Name
    kind: Literal["conv1d", "conv2d", "linear"]
    sources: tuple[Text, ...]
    pools: WhereThere[tuple[Pool, ...]] = ()
    weight_shape: tuple[Positive, ...]  # (O, I / groups, kernel...)
    stride: Shape = ()
    padding: Padding = ()
    dilation: Shape = ()
    groups: Positive = 1
    in_shape: Shape
    out_shape: Shape
    bias: bool = False
    zero_weights: Count = 0
    nonzero: WhereThere[Annotated[list[Any], NESTED]] = field(default_factory=list)

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
    def nominal_macs(self) -> int:
        """The MACs that papers quote: kernel area x C_in / groups x outputs, as if padding were multiplied too."""
        return prod(self.weight_shape[1:]) * self.outputs

    @property
    def reads_input(self) -> bool:
        """Whether the network's own input arrives here."""
        return INPUT in self.sources

    @property
    def divisor(self) -> int:
        """What one spike was divided by in the pools before this layer."""
        return prod(pool.divisor for pool in self.pools)


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """A layer of spiking neurons: v[t] = beta v[t-1] (1 - s[t-1]) + I[t], s[t] = v[t] > theta.

    Attributes:
        reset: `subtract`: v[t] = beta v[t-1] - rho s[t-1] + I[t], rho above 0 as the graph says; None: to zero.
        beta, theta: one number, or one a channel; None where they differ within a channel or are not finite.
        beta_range, theta_range: then the least and the largest finite one.
        raster: flat indices of the neurons whose every spike the probe shows.
    """

    name: Name
    kind: Text
    sources: tuple[Text, ...] = ()
    pools: WhereThere[tuple[Pool, ...]] = ()
    shape: Shape
    reset: WhereThere[Literal["subtract"] | None] = None
    beta: WhereThere[Parameter] = None
    beta_range: WhereThere[Range] = None
    theta: WhereThere[Parameter] = None
    theta_range: WhereThere[Range] = None
    raster: Shape = ()

    @property
    def size(self) -> int:
        """How many neurons."""
        return prod(self.shape)


Layer = Synapses | Neurons
LayerTable = Annotated[tuple[Layer, ...], unique("name")]
