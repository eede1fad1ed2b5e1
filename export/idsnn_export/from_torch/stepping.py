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

from idsnn.networks.arguments import answer, arguments
from idsnn.networks.spikingjelly import is_neuron
from idsnn_deploy.arrays import Array
from idsnn_deploy.readout import read_out

from ..reference.interpreter import Trace
from .cells import Cell, Stepped
from .network import INPUT, Network
from .own_nodes import Nodes
from .states import STATES
from .tracing import trace_model


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
        network.readout,
    )


def run_model(
    model: nn.Module, x: Array, timesteps: int, *, frames: bool = False, nodes: Nodes | None = None
) -> tuple[Array, dict[str, Array]]:
    """Logits (N, ...) and {NIR node: spikes (T, N, ...) bool} of the model as it is, in float32, from rest.

    Its own forward runs: over all steps where it does so itself, else once for each step with the states in its layers;
    the spikes are caught on the way. Args as in `run_prepared`. The model must be in eval mode.

    Raises:
        ValueError: the model is in training mode, or its forward takes images and is given frames.
    """
    if any(module.training for module in model.modules()):
        raise ValueError(f"{type(model).__name__} is in training mode; call .eval() first")
    if hasattr(model, "forward_step") and hasattr(model, "timesteps"):
        return _watched(model, torch.as_tensor(np.asarray(x, np.float32)), timesteps)
    network = trace_model(model, x.shape[2:] if frames else x.shape[1:], timesteps, nodes)
    if network.timesteps is not None and frames and not network.frames:
        raise ValueError(f"{type(model).__name__}: its forward takes images, and is given frames")
    forward: Any = model.forward_step if hasattr(model, "forward_step") else model.forward
    given = arguments(forward, timesteps, None)
    values = torch.as_tensor(np.asarray(x, np.float32))
    if network.frames and not frames:
        values = values.expand(timesteps, *values.shape)  # the same image at every step
    with _from_rest(model, nodes or {}), _caught(model, nodes or {}) as caught, torch.no_grad():
        if network.timesteps is None:
            inputs = values if frames else [values] * timesteps
            steps = torch.stack([answer(forward(each, **given)) for each in inputs])
            logits = read_out(steps.numpy(), network.readout)
        else:
            logits = _read(answer(forward(values, **given)), network)
    spikes = {layer.name: caught[layer.path] for layer in network.layers if layer.path in caught}
    return logits, {name: each > 0 for name, each in spikes.items()}


def _read(answer: Any, network: Network) -> Array:
    if network.time_axis is None:
        return np.asarray(answer)
    steps = torch.stack(answer) if isinstance(answer, list) else answer.movedim(network.time_axis, 0)
    return read_out(steps.numpy(), network.readout)


@contextmanager
def _caught(model: nn.Module, nodes: Nodes) -> Iterator[dict[str, Array]]:
    """{path: spikes (T, N, ...)} of spiking layers and those of the caller's table, whole when the run is over."""
    seen: dict[str, list[Array]] = {}
    caught: dict[str, Array] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            spikes = (output[0] if isinstance(output, tuple) else output).numpy().copy()
            seen.setdefault(name, []).extend(spikes if getattr(module, "step_mode", "s") == "m" else [spikes])

        return hook

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, SpikingNeuron) or is_neuron(module) or type(module) in nodes:
                hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield caught
        caught.update(_stacked(seen))


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
                if membrane is not None:
                    spikes.setdefault(name, []).append(values[name].numpy())
                    membranes.setdefault(name, []).append(membrane.numpy())
            outputs.append(_sum([values[source] for source in network.outputs]).numpy())
    return np.stack(outputs), _stacked(spikes), _stacked(membranes)


def _step(module: Any, x: Tensor, state: Any) -> Stepped:
    """One layer at one step."""
    return module.step(x, state) if isinstance(module, Cell) else Stepped(module(x))


@contextmanager
def _from_rest(model: nn.Module, nodes: Nodes) -> Iterator[None]:
    """Spiking layers at rest, as their framework resets them, and afterwards with the states that they had."""
    memories: list[Any] = [module for module in model.modules() if hasattr(module, "_memories")]  # SpikingJelly's
    remembered = [dict(module._memories) for module in memories]
    own: list[Any] = [module for module in model.modules() if type(module) in nodes]
    said = [dict(vars(module)) for module in own]
    neurons = [module for module in model.modules() if isinstance(module, SpikingNeuron)]
    held = [(module, name) for module in neurons for name in STATES if hasattr(module, name)]
    kept = [getattr(module, name) for module, name in held]
    try:
        for module, name in held:
            setattr(module, name, torch.zeros(0))
        for module in (*memories, *(each for each in own if hasattr(each, "reset"))):
            module.reset()
        yield
    finally:
        for module, attributes in zip(own, said, strict=True):
            vars(module).update(attributes)
        for memory, before in zip(memories, remembered, strict=True):
            memory._memories.update(before)
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
