"""A user's own torch network by its import path, `package.module:factory`, with its weights from a file.

    factory(num_classes, input_shape, timesteps)      as `idsnn-train` calls it, where three arguments have no default
    factory(timesteps=T, ...)                         otherwise: whichever of the three names it has
    factory                                           a module that is there already

Importing a module runs its code; the weights are read as tensors alone.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn

from idsnn.checkpoint import load_weights, read_weights
from idsnn.networks.import_path import load, reason
from idsnn_deploy.errors import UsageError

PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def own_network(
    path: str, weights: Path, num_classes: int | None, input_shape: tuple[int, ...], timesteps: int
) -> nn.Module:
    """The network in eval mode, on the CPU.

    Args:
        path: `package.module:factory`.
        weights: its state dict, `.pt`, `.pth` or `.safetensors`.
        num_classes, input_shape, timesteps: what a factory may ask for; None: nobody said how many classes.

    Raises:
        UsageError: no such factory, or one that fails, asks for classes that nobody named or makes no module.
        RunError: weights that cannot be read, or are another network's; names the first key.
    """
    given = {"num_classes": num_classes, "input_shape": input_shape, "timesteps": timesteps}
    network = _made(path, load(path), given)
    load_weights(network, read_weights(weights), weights)
    return network.cpu().eval()


def _made(path: str, factory: Any, given: dict[str, Any]) -> nn.Module:
    if isinstance(factory, nn.Module):
        return factory
    try:
        parameters = [each for each in inspect.signature(factory).parameters.values() if each.kind in PLAIN]
    except ValueError as error:
        raise UsageError(f"{path}: does not say what it takes ({reason(error)})") from error
    needed = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    as_trained = len(needed) == len(given)
    named = [each.name for each in parameters if given.get(each.name) is not None or each.name in needed]
    asked = given if as_trained else {name: given[name] for name in named if name in given}
    if asked.get("num_classes", 0) is None:
        raise UsageError(
            f"{path}: asks for num_classes, which nobody knows; name the classes with --labels, or give --dataset"
        )
    try:
        network = factory(*asked.values()) if as_trained else factory(**asked)
    except Exception as error:  # whatever the user's code does
        words = ", ".join(f"{name}={value}" for name, value in asked.items())
        raise UsageError(f"{path}({words}): {reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{path}: makes a {type(network).__name__}, not a torch module")
    return network
