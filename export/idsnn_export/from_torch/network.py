"""A torch module as a list of layers: what is left of it once it has been traced.

The same shape as a NIR graph (each layer is given the sum of its sources), with torch modules for nodes. Passes
(`folding`, `summing`) turn one network into another that computes the same function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from idsnn_deploy.readout import Readout

from ..graph.shapes import Shape

INPUT = "input"
OUTPUT = "output"


@dataclass(frozen=True)
class Layer:
    """One module in its place.

    Attributes:
        name: of the NIR node: the path with `_` for dots.
        path: the module's dotted path in the model, for messages.
        module: what is applied to the sum of the sources.
        sources: names of layers, or `input`.
        late: names of layers whose outputs of the step before are added, zeros at first.
        line: where the model's code calls it, `file.py:12`; empty inside torch's own containers.
        shape: of what it gives for one sample at one step, as the forward was recorded.
    """

    name: str
    path: str
    module: Any  # an nn.Module; torch types a layer's own attributes loosely
    sources: tuple[str, ...]
    late: tuple[str, ...] = ()
    line: str = ""
    shape: Shape = ()

    def __str__(self) -> str:
        return f"{self.path} ({type(self.module).__name__}){self.line and f' at {self.line}'}"


@dataclass(frozen=True)
class Network:
    """Layers in evaluation order, and what the output is the sum of.

    Attributes:
        layers: of one time step.
        outputs: names of layers, or `input`.
        readout: what becomes of the outputs over the steps.
        timesteps: T, where the model's forward runs all steps itself; None: it is one step.
        frames: that forward takes one input per step.
        time_axis: of what that forward returns; None: it reads out itself.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    readout: Readout = "mean"
    timesteps: int | None = None
    frames: bool = False
    time_axis: int | None = None

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)

    def users(self, name: str) -> list[str]:
        """The names of the layers that a layer feeds; `output` where it is part of the output."""
        found = [layer.name for layer in self.layers if name in (*layer.sources, *layer.late)]
        return [*found, OUTPUT] if name in self.outputs else found

    def pruned(self) -> Network:
        """Only what the output depends on."""
        feeding = {layer.name: (*layer.sources, *layer.late) for layer in self.layers}
        needed, stack = set(self.outputs), list(self.outputs)
        while stack:
            new = [name for name in feeding.get(stack.pop(), ()) if name not in needed]
            needed.update(new)
            stack.extend(new)
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name in needed))

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Network:
        """The network with other modules under the given names."""
        return replace(
            self, layers=tuple(replace(layer, module=modules.get(layer.name, layer.module)) for layer in self.layers)
        )

    def without(self, name: str) -> Network:
        """The network in which the users of a layer are fed by its sources instead."""
        gone = self[name].sources

        def spliced(sources: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(each for source in sources for each in (gone if source == name else (source,)))

        kept = (
            replace(layer, sources=spliced(layer.sources), late=spliced(layer.late))
            for layer in self.layers
            if layer.name != name
        )
        return replace(self, layers=tuple(kept), outputs=spliced(self.outputs))
