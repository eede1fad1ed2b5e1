"""A torch module as the `Network` of one time step: its forward is recorded, and shown to repeat one step.

A forward is one step, `forward(x)` or `forward(x, mem1, ...)`, or it runs over all of them, as snnTorch's tutorials
write it: a loop over `range(T)`, lists that are stacked. Of a module with `forward_step(x)` that is taken. An image
comes as (N, ...), frames as (T, N, ...).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from idsnn_deploy.errors import GraphError, UnsupportedError

from ..graph.shapes import Shape
from .hooks import refuse_hooks
from .network import Network
from .origin import origin
from .own_nodes import Nodes
from .recording import record
from .repeats import one_step
from .values import NotOneStepError


def trace_model(
    model: nn.Module,
    shape: Shape,
    timesteps: int | None = None,
    nodes: Nodes | None = None,
    made_by: Callable[..., nn.Module] | None = None,
) -> Network:
    """The layers of one time step, in order; modules are shared with the model, not copied.

    Args:
        model: in eval mode; it is left as it was.
        shape: of one sample at one step.
        timesteps: T, where it is known; needed by a forward that takes it, or takes frames.
        nodes: the caller's own table from layer type to NIR node.
        made_by: what made the model, for the line of a refusal.

    Raises:
        UnsupportedError: what has no form in NIR, or steps that differ; with layer, line and the way out.
        GraphError: layers whose shapes do not meet.
    """
    function = "forward_step" if hasattr(model, "forward_step") else "forward"
    line = origin(model, function, made_by)
    refuse_hooks(model, line)

    def run(frames: bool) -> Network:
        recorded = record(model, function, shape, timesteps, frames=frames, nodes=nodes or {}, origin=line)
        return one_step(recorded, timesteps, frames=frames)

    try:
        return run(frames=False)
    except UnsupportedError as error:
        still, wants_frames = error, isinstance(error, NotOneStepError)
    if timesteps is None:
        needed = "; for a forward over frames give timesteps=T (--timesteps T)" * wants_frames
        raise UnsupportedError(f"{still}{needed}") from still
    try:
        return run(frames=True)
    except (UnsupportedError, GraphError) as error:
        raise UnsupportedError(str(error if wants_frames else still)) from error
