"""A torch module as the `Network` of one time step: its forward is recorded, and shown to repeat one step.

A forward is one step, `forward(x)` or `forward(x, mem1, ...)`, or it runs over all of them, as snnTorch's tutorials
write it: a loop over `range(T)`, lists that are stacked. Of a module with `forward_step(x)` that is taken. An image
comes as (N, ...), frames as (T, N, ...).
"""

from __future__ import annotations

from torch import nn

from idsnn_deploy.errors import GraphError, UnsupportedError

from ..graph.shapes import Shape
from .calls import record
from .hooks import refuse_hooks
from .network import Network
from .own_nodes import Nodes
from .repeats import one_step
from .values import NotOneStepError


def trace_model(model: nn.Module, shape: Shape, timesteps: int | None = None, nodes: Nodes | None = None) -> Network:
    """The layers of one time step, in order; modules are shared with the model, not copied.

    Args:
        model: in eval mode; it is left as it was.
        shape: of one sample at one step.
        timesteps: T, where it is known; needed by a forward that takes it, or takes frames.
        nodes: the caller's own table from layer type to NIR node.

    Raises:
        UnsupportedError: what has no form in NIR, or steps that differ; with layer, line and the way out.
        GraphError: layers whose shapes do not meet.
    """
    refuse_hooks(model)
    function = "forward_step" if hasattr(model, "forward_step") else "forward"
    try:
        return one_step(
            record(model, function, shape, timesteps, frames=False, nodes=nodes or {}), timesteps, frames=False
        )
    except UnsupportedError as error:
        still, wants_frames = error, isinstance(error, NotOneStepError)
    if timesteps is None:
        needed = "; for a forward over frames give timesteps=T (--timesteps T)" * wants_frames
        raise UnsupportedError(f"{still}{needed}") from still
    try:
        return one_step(
            record(model, function, shape, timesteps, frames=True, nodes=nodes or {}), timesteps, frames=True
        )
    except (UnsupportedError, GraphError) as error:
        raise UnsupportedError(str(error if wants_frames else still)) from error
