"""One run of a forward, recorded: what it answers, and the calls of its spiking layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from idsnn.networks.arguments import arguments
from idsnn_deploy.errors import GraphError, UnsupportedError, first_line

from ..graph.shapes import Shape
from .calls import Calls
from .origin import raised_at
from .own_nodes import Nodes
from .values import Op, Sequence, State, Sum, Value


class Recorded(NamedTuple):
    """What a forward did.

    Attributes:
        answer: what it returns, the first of several.
        calls: of each spiking layer by its path, in the order of their first steps.
        whole: it is a run over all steps, from rest; else it is one step.
        origin: the line that the model comes from.
    """

    answer: Value
    calls: dict[str, list[Op]]
    whole: bool
    origin: str = ""


def record(
    model: nn.Module,
    function: str,
    shape: Shape,
    timesteps: int | None,
    *,
    frames: bool,
    nodes: Nodes,
    origin: str = "",
) -> Recorded:
    """One run of `model`'s forward, or of another of its functions.

    Args:
        model: in any mode; it is left as it was.
        function: the name of what is run.
        shape: of one sample at one step.
        timesteps: T, for a forward that asks for it, and for frames.
        frames: the input is (T, N, ...), else (N, ...).
        nodes: the caller's own table, whose types are layers.
        origin: the line that the model comes from, named where none of its own code is to blame.

    Raises:
        UnsupportedError, GraphError: something that has no form in NIR, with layer and line.
        NotOneStepError: the forward wants frames.
    """
    calls = Calls(model, shape, timesteps, nodes, origin)
    x: Value = Sum(((Op("the input", None, (), None, shape), 1.0),), shape)
    if frames:
        every = (Op("the input", None, (), t, shape) for t in range(timesteps or 0))
        x = Sequence(tuple(Sum(((op, 1.0),), shape) for op in every))
    with calls.listening():
        answer = calls.answer(record_forward(calls, getattr(model, function), x, timesteps))
    return Recorded(answer, calls.calls, calls.states.set, origin)


def record_forward(calls: Calls, forward: Callable[..., Any], x: Value, timesteps: int | None) -> Any:
    """Runs the model's code; `source_line` looks for the model's lines above this frame."""
    try:
        asked = arguments(forward, timesteps, State(None))
    except UnsupportedError as error:
        raise UnsupportedError(f"{calls.described()}: {error}") from None
    try:
        return forward(calls.wrap(x), **{name: calls.wrap(each) for name, each in asked.items()})
    except (UnsupportedError, GraphError):
        raise
    except Exception as error:  # whatever the model's own code raises at a stand-in for a tensor
        reason = first_line(error)
        at = raised_at(error)
        raise UnsupportedError(f"{calls.described(at)}: its forward cannot be traced: {reason}") from error
