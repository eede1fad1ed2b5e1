"""Calls of SpikingJelly's modules while a forward is recorded: one step in step_mode "s", all steps in "m".

"s": (N, ...), a neuron's k-th call is its step k;       "m": (T, N, ...), layers without memory step by step
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from idsnn.networks.spikingjelly import is_neuron

from .spikingjelly_layers import is_layer, plain
from .stand_in import StandIn
from .values import NotOneStepError, ReasonError, Sequence, State, Sum, Value

if TYPE_CHECKING:
    from .calls import Calls


def is_spikingjelly(module: nn.Module) -> bool:
    """Whether its calls are noted here."""
    return is_neuron(module) or is_layer(module)


def called(calls: Calls, path: str, module: Any, value: Value) -> Value:
    """A call of such a module.

    Raises:
        ReasonError: it is given one step and takes all of them, or the other way round.
    """
    if is_neuron(module):
        calls.states.check(calls.described_layer(path, module), module, calls.calls.get(path, []), {})
        answer = _stepped(module, value, lambda step: calls.fired(path, module, step))
        calls.states.remember(module, StandIn(calls, State(calls.calls[path][-1], shape=answer.shape)))
        return answer
    twin = calls.cached((path, "plain"), lambda: plain(module, value.shape[-1]))
    if module.step_mode == "s" or isinstance(twin, nn.Linear):
        return calls.layer(path, twin, value)
    return _stepped(module, value, lambda step: calls.layer(path, twin, step))


def _stepped(module: Any, value: Value, one: Callable[[Any], Value]) -> Value:
    if module.step_mode == "s":
        if isinstance(value, Sequence) and is_neuron(module):
            raise ReasonError("is in step_mode 's' and given several steps at once; functional.set_step_mode(net, 'm')")
        return one(value)
    if isinstance(value, Sequence) and value.axes == "TN":
        return value.map(one)
    if isinstance(value, Sum):
        raise NotOneStepError("is in step_mode 'm', which takes all steps (T, N, ...) at once")
    raise ReasonError("is in step_mode 'm' and given something else than (T, N, ...)")
