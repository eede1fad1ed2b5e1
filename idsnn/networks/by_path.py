"""A user's own network by its import path: made, tried out and refused in words, or a `SpikingNetwork`.

factory(num_classes, input_shape, timesteps) → a SpikingNetwork, or any snnTorch module whose forward is one step
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from .import_path import load, reason
from .protocol import SpikingNetwork, spiking
from .stepped import Stepped


def build(path: str, num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    """A fresh network, a `SpikingNetwork`, of the factory at `path`; two images have gone through it.

    Args:
        path: `package.module:factory`.
        num_classes: K.
        input_shape: (C, H, W) of an image.
        timesteps: T.

    Raises:
        UsageError: no such factory, one that fails, or a network that cannot be trained; with the path.
    """
    factory = load(path)
    try:
        network = factory(num_classes, input_shape, timesteps)
        if isinstance(network, nn.Module) and not isinstance(network, SpikingNetwork):
            network = Stepped(network, timesteps)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except Exception as error:  # whatever the user's code does
        raise UsageError(f"{path}({num_classes}, {input_shape}, {timesteps}): {reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{path}: makes a {type(network).__name__}, not a torch module")
    if spiking(network).timesteps != timesteps:
        raise UsageError(f"{path}: its network has timesteps {spiking(network).timesteps}, asked for {timesteps}")
    images = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    _try_out(path, network.eval(), images, (timesteps, 2, num_classes))
    return network.train()


def _try_out(path: str, network: nn.Module, images: Tensor, expected: tuple[int, ...]) -> None:
    called: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, layer in spiking(network).neurons().items()
    ]
    try:
        if isinstance(network, Stepped):
            network.try_step(images)
        first, again = spiking(network).step_logits(images), spiking(network).step_logits(images)
        if isinstance(network, Stepped):
            network.rest(images)  # nothing of this trial stays behind
    except Exception as error:  # whatever the user's code does
        raise UsageError(f"{path}: its network fails on two images {list(images.shape)}: {reason(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    wrong = _wrong(first, again, expected, called)
    if wrong:
        raise UsageError(f"{path}: {wrong}")


def _wrong(first: Tensor, again: Tensor, expected: tuple[int, ...], called: list[str]) -> str | None:
    if tuple(first.shape) != expected:
        steps, batch, classes = expected
        return (
            f"the outputs of {steps} steps on {batch} images have shape {list(first.shape)}, not {list(expected)}; "
            f"a forward is one step and gives (images, {classes})"
        )
    if not called:
        return "none of its spiking layers is ever called"
    if not torch.equal(first, again):
        return "answers the same images differently when asked again: its state is not reset, or it draws at random"
    if not first.requires_grad:
        return "its answers depend on no parameter that could learn"
    return None
