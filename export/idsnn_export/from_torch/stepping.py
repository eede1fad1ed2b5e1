"""Networks run in torch, step by step with their states in the open: the torch side of the parity gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from snntorch import Leaky
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from idsnn.neuron import LIF
from idsnn_deploy.arrays import Array

from ..reference.interpreter import Trace
from .cells import Cell, Stepped
from .network import INPUT, Network
from .snntorch_neurons import Readout
from .tracing import trace_step

STATES = ("spk", "syn", "mem")  # the names of snnTorch's states


def run_prepared(network: Network, x: Array, timesteps: int, *, frames: bool = False) -> Trace:
    """The trace of a prepared network in float64, in the units of its NIR graph.

    Args:
        network: of `convert.prepare`.
        x: (N, ...) the same at every step, or with `frames` (T, N, ...).
        timesteps: T.
        frames: x has one entry per step.
    """
    outputs, spikes, membranes = _run(network, _each_step(x, np.float64, timesteps, frames))
    fire = {layer.name: layer.module.threshold for layer in network.layers if layer.name in spikes}
    return Trace(
        outputs,
        {name: each > 0 for name, each in spikes.items()},
        membranes,
        {name: threshold.astype(np.float64) for name, threshold in fire.items()},
    )


def run_model(model: nn.Module, x: Array, timesteps: int, *, frames: bool = False) -> tuple[Array, dict[str, Array]]:
    """Logits (N, ...) and {NIR node: spikes (T, N, ...) bool} of the model as it is, in float32.

    A network of idsnn runs its own forward, with its spikes caught on the way; any other module is stepped.
    Args as in `run_prepared`. The model must be in eval mode.
    """
    if any(module.training for module in model.modules()):
        raise ValueError(f"{type(model).__name__} is in training mode; call .eval() first")
    if hasattr(model, "forward_step") and hasattr(model, "timesteps"):
        return _watched(model, torch.as_tensor(np.asarray(x, np.float32)), timesteps)
    network = trace_step(model)
    with _from_rest(network):
        outputs, spikes, _ = _run(network, _each_step(x, np.float32, timesteps, frames))
    return outputs.mean(0), {name: each > 0 for name, each in spikes.items()}


def _watched(model: Any, x: Tensor, timesteps: int) -> tuple[Array, dict[str, Array]]:
    spikes: dict[str, Array] = {}

    def watch(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            spikes[name] = (output.detach() > 0).numpy().reshape(timesteps, -1, *output.shape[1:])

        return keep

    trained_for, model.timesteps = model.timesteps, timesteps
    try:
        with ExitStack() as hooks, torch.no_grad():
            for name, module in model.named_modules():
                if isinstance(module, Leaky):
                    handle = module.register_forward_hook(watch(name.replace(".", "_")))
                    hooks.callback(handle.remove)
            logits = model(x).numpy()
    finally:
        model.timesteps = trained_for
    return logits, spikes


def _run(network: Network, steps: Iterable[Tensor]) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Outputs (T, N, ...), and spikes and membranes before reset {name: (T, N, ...)} of the layers that fire."""
    states: dict[str, Any] = {}
    outputs: list[Array] = []
    spikes: dict[str, list[Array]] = {}
    membranes: dict[str, list[Array]] = {}
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for frame in steps:
            last, values = values, {INPUT: frame}
            for layer in network.layers:
                name, heard = layer.name, [values[source] for source in layer.sources]
                total = _sum([*heard, *(last[source] for source in layer.late if source in last)])
                values[name], states[name], membrane = _step(layer.module, total, states.get(name))
                if isinstance(layer.module, SpikingNeuron) or membrane is not None:
                    spikes.setdefault(name, []).append(values[name].numpy())
                if membrane is not None:
                    membranes.setdefault(name, []).append(membrane.numpy())
            outputs.append(_sum([values[source] for source in network.outputs]).numpy())
    return np.stack(outputs), _stacked(spikes), _stacked(membranes)


def _step(module: Any, x: Tensor, state: Any) -> Stepped:
    """One layer at one step; a layer of snnTorch runs itself, with its states inside."""
    if isinstance(module, Cell):
        return module.step(x, state)
    if isinstance(module, LIF):  # without a membrane it takes whole sequences
        spikes, membrane = module(x, torch.zeros_like(x) if state is None else state)
        return Stepped(spikes, membrane)
    if isinstance(module, Readout):
        return Stepped(torch.as_tensor(module.neuron[0].mem))
    y = module(x)
    return Stepped(y[0] if isinstance(y, tuple) else y)


@contextmanager
def _from_rest(network: Network) -> Iterator[None]:
    """snnTorch's layers at rest, and afterwards with the states that they had."""
    held = [(layer.module, name) for layer in network.layers for name in STATES if hasattr(layer.module, name)]
    kept = [getattr(module, name) for module, name in held]
    try:
        for module, name in held:
            setattr(module, name, torch.zeros(0))
        yield
    finally:
        for (module, name), value in zip(held, kept, strict=True):
            setattr(module, name, value)


def _stacked(record: dict[str, list[Array]]) -> dict[str, Array]:
    return {name: np.stack(each) for name, each in record.items()}


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _each_step(x: Array, dtype: Any, timesteps: int, frames: bool) -> list[Tensor]:
    values = torch.as_tensor(np.asarray(x, dtype))
    if frames and len(values) != timesteps:
        raise ValueError(f"{len(values)} frames for {timesteps} steps")
    return list(values) if frames else [values] * timesteps
