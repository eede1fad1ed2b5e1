"""The states inside spiking layers while a forward is recorded: from rest, handed on, and never set in between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from idsnn.networks.spikingjelly import is_neuron
from idsnn_deploy.errors import UnsupportedError

from .spikingjelly_neurons import start
from .stand_in import LIBRARIES
from .values import Op, State, Sum

STATES = ("spk", "syn", "mem")  # the names of snnTorch's states, in the order of their calls


class States:
    """Who notices that a forward sets a state.

    Attributes:
        set: the forward sets some state to zeros before its first step: it runs over all steps.
    """

    def __init__(self, model: nn.Module) -> None:
        self.set = False
        self._places = [(module, name) for module in model.modules() for name in _names(module)]
        self._held: dict[tuple[nn.Module, str], Any] = {}

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """All layers at rest, and afterwards with the states that they had."""
        kept = [getattr(*place) for place in self._places]
        try:
            for neuron, name in self._places:
                setattr(neuron, name, torch.zeros(0))
                self._hold(neuron, name)
            yield
        finally:
            for (neuron, name), value in zip(self._places, kept, strict=True):
                setattr(neuron, name, value)

    @contextmanager
    def readable(self, remembered: Callable[[nn.Module, str], Any]) -> Iterator[None]:
        """Inside, a forward that reads `lif.mem` of snnTorch reads what the layer remembers; libraries read as ever."""
        original = nn.Module.__getattr__

        def read(module: nn.Module, name: str) -> Any:
            own = name in STATES and isinstance(module, SpikingNeuron)
            if own and not sys._getframe(1).f_code.co_filename.startswith(LIBRARIES):
                state = remembered(module, name)
                if state is not None:
                    return state
            return original(module, name)

        nn.Module.__getattr__ = read  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__getattr__ = original  # type: ignore[method-assign]

    def check(self, where: str, module: nn.Module, before: list[Op], handed: dict[str, Any]) -> None:
        """Refuses a state that is not that of the call before, or zeros at first.

        Args:
            where: the layer in words.
            module: the layer.
            before: its calls so far.
            handed: what it is given as its states, by name.
        """
        for name in _names(module):
            state = getattr(module, name)
            if state is not self._held[module, name]:
                self._from_rest(where, torch.as_tensor(state) - start(module), before)
                self._hold(module, name)
        for name, state in handed.items():
            if isinstance(state, Tensor) or (isinstance(state, Sum) and not state.terms):
                self._from_rest(where, torch.zeros(0) if isinstance(state, Sum) else state, before)
            elif not _is_state(state, name, before):
                raise UnsupportedError(
                    f"{where}: its state {name} is not its own of the step before; hand that on, take it as an "
                    "argument, or leave it out"
                )

    def remember(self, module: nn.Module, stand_in: Any) -> None:
        """What a layer of SpikingJelly remembers after a call, should the forward read it."""
        for name in _names(module):
            setattr(module, name, stand_in)
            self._hold(module, name)

    def _from_rest(self, where: str, state: Tensor, before: list[Op]) -> None:
        if state.numel() and state.any():
            raise UnsupportedError(
                f"{where}: its state starts from other values than 0; start from rest, and put a constant into a bias"
            )
        if before:
            raise UnsupportedError(
                f"{where}: its state is set to 0 again before step {len(before)}; set it before the loop, and hand it "
                "on"
            )
        self.set = True

    def _hold(self, module: nn.Module, name: str) -> None:
        self._held[module, name] = getattr(module, name)


def _names(module: nn.Module) -> list[str]:
    """Of the states inside a layer."""
    if isinstance(module, SpikingNeuron):
        return [name for name in STATES if hasattr(module, name)]
    return ["v"] if is_neuron(module) and hasattr(module, "v") else []


def _is_state(value: Any, name: str, before: list[Op]) -> bool:
    """Whether a value is nothing, the caller's, or what a layer remembers under that name after its last call."""
    if value is None or (isinstance(value, State) and value.op is None):
        return True
    if not before:
        return False
    if isinstance(value, State):
        return value.op is before[-1] and value.membrane == (name == "mem") and name != "spk"
    return name == "spk" and isinstance(value, Sum) and value.terms == ((before[-1], 1.0),)
