"""The caller's own table, `to_nir(nodes={MyLayer: function})`: which NIR node a layer of that very type is.

    function(layer, shape) → NIR node            shape of its input: one sample at one step

Such a layer is not looked into. Its twin is the reference's own equation of the node, so the exact gate holds by
construction; that the node does what the layer does is what the float32 gate finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from ..graph.plan import SPIKING, STATEFUL
from ..graph.shapes import Shape, infer_shape
from ..graph.timing import DEFAULT_DT
from ..reference.equations import CELLS, threshold
from .cells import Cell, Stepped
from .values import ReasonError, Sequence, Sum, Value

if TYPE_CHECKING:
    from .calls import Calls

Nodes = Mapping[type[nn.Module], Callable[[Any, Shape], nir.NIRNode]]


class OwnNode(Cell):
    """The twin of a layer that the caller says the node of."""

    def __init__(self, given: nir.NIRNode, dt: float = DEFAULT_DT) -> None:
        super().__init__()
        self.given, self.dt = given, dt
        self.threshold = threshold(given) if isinstance(given, SPIKING) else None
        self._cell = CELLS[type(given)](given, dt, np.float64)

    @property
    def remembers(self) -> bool:
        """Whether it has a state."""
        return isinstance(self.given, STATEFUL)

    def at(self, dt: float) -> OwnNode:
        """The same with another step length."""
        return OwnNode(self.given, dt)

    def step(self, x: Tensor, state: Any) -> Stepped:
        """One time step of the node."""
        y, state, membrane = self._cell(x.numpy(), state)
        return Stepped(torch.as_tensor(y), state, None if membrane is None else torch.as_tensor(membrane))

    def node(self, shape: Shape) -> nir.NIRNode:
        """As it was given."""
        return self.given


def called(calls: Calls, path: str, module: nn.Module, value: Value) -> Value:
    """A call of a layer that the caller says the node of.

    Raises:
        ReasonError: an entry that fails, or gives no node that takes such an input.
    """
    if isinstance(value, Sequence):
        return value.map(lambda step: called(calls, path, module, step))
    if not isinstance(value, Sum):
        raise ReasonError("is given something else than a sum of layers")
    made, shape = _made(calls.nodes[type(module)], module, value.shape)
    twin = calls.cached((path, value.shape), lambda: made)
    return (calls.fired if made.remembers else calls.op)(path, twin, value, shape)


def _made(function: Callable[[Any, Shape], nir.NIRNode], module: nn.Module, shape: Shape) -> tuple[OwnNode, Shape]:
    """The twin of a layer by the caller's entry, and the shape of what it gives."""
    try:
        node = function(module, shape)
        if type(node) not in CELLS:
            known = ", ".join(sorted(kind.__name__ for kind in CELLS))
            raise TypeError(f"it gives a {type(node).__name__}; known are NIR's {known}")
        return OwnNode(node), infer_shape(node, shape)
    except Exception as error:  # whatever the caller's code does
        raise ReasonError(f"its entry in nodes fails: {error}") from error
