"""Networks run in torch, step by step with their states in the open: the torch side of the parity gates."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from snntorch import Leaky
from torch import Tensor, nn

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UnsupportedError

from ..reference.interpreter import Trace
from .network import INPUT, Network
from .nodes import Membrane
from .tracing import trace_step


def run_prepared(network: Network, x: Array, timesteps: int, *, frames: bool = False) -> Trace:
    """The trace of a prepared network in float64, in the units of its NIR graph.

    Args:
        network: of `from_torch.prepare`.
        x: (N, ...) the same at every step, or with `frames` (T, N, ...).
        timesteps: T.
        frames: x has one entry per step.
    """
    neurons = {layer.name: layer.module for layer in network.layers if isinstance(layer.module, Membrane)}
    outputs, spikes, membranes = _run(network, _each_step(x, np.float64, timesteps, frames))
    return Trace(
        outputs,
        {name: each > 0 for name, each in spikes.items()},
        {name: each * neurons[name].scale for name, each in membranes.items()},
        {name: neuron.v_threshold.astype(np.float64) for name, neuron in neurons.items()},
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
    outputs, spikes, _ = _run(trace_step(model), _each_step(x, np.float32, timesteps, frames))
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
    """Outputs (T, N, ...), and spikes and membranes before reset {name: (T, N, ...)} of the spiking layers."""
    states: dict[str, Tensor] = {}
    outputs: list[Array] = []
    spikes: dict[str, list[Array]] = {}
    membranes: dict[str, list[Array]] = {}
    with torch.no_grad():
        for frame in steps:
            values = {INPUT: frame}
            for layer in network.layers:
                total = _sum(values, layer.sources)
                if not isinstance(layer.module, (Leaky, Membrane)):
                    values[layer.name] = layer.module(total)
                    continue
                beta, theta = _parameters(layer.module, total)
                v = beta * states.get(layer.name, torch.zeros_like(total)) + total
                s = (v > theta).to(v.dtype)
                values[layer.name], states[layer.name] = s, v * (1 - s)
                spikes.setdefault(layer.name, []).append(s.numpy())
                membranes.setdefault(layer.name, []).append(v.numpy())
            outputs.append(_sum(values, network.outputs).numpy())
    return np.stack(outputs), _stacked(spikes), _stacked(membranes)


def _stacked(record: dict[str, list[Array]]) -> dict[str, Array]:
    return {name: np.stack(each) for name, each in record.items()}


def _parameters(module: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(module, Membrane):
        return torch.as_tensor(module.beta).to(like), torch.as_tensor(module.theta).to(like)
    if module.reset_mechanism != "zero":
        raise UnsupportedError(f"reset by {module.reset_mechanism!r} is not what a LIF node does")
    return module.beta.detach().clamp(0, 1).to(like), module.threshold.detach().to(like)


def _sum(values: dict[str, Tensor], sources: tuple[str, ...]) -> Tensor:
    total = values[sources[0]]
    for source in sources[1:]:
        total = total + values[source]
    return total


def _each_step(x: Array, dtype: Any, timesteps: int, frames: bool) -> list[Tensor]:
    values = torch.as_tensor(np.asarray(x, dtype))
    if frames and len(values) != timesteps:
        raise ValueError(f"{len(values)} frames for {timesteps} steps")
    return list(values) if frames else [values] * timesteps
