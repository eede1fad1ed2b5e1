"""A user's own network by its import path: made, tried out and refused in words, or a `SpikingNetwork`.

factory(num_classes, input_shape, timesteps) → a SpikingNetwork, or any module of snnTorch or SpikingJelly whose forward
                                               is one step (`stepped`) or runs over all of them (`over_time`)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from .import_path import load, reason
from .over_time import OverTime, answers_of
from .protocol import SpikingNetwork, spiking
from .stepped import Stepped
from .wrapped import Wrapped


def build(path: str, num_classes: int, input_shape: tuple[int, ...], timesteps: int, frames: bool = False) -> nn.Module:
    """A fresh network, a `SpikingNetwork`, of the factory at `path`; two images have gone through it.

    Args:
        path: `package.module:factory`.
        num_classes: K.
        input_shape: (C, H, W) of an image.
        timesteps: T.
        frames: it is to learn from recordings, one frame per step.

    Raises:
        UsageError: no such factory, one that fails, or a network that cannot be trained; with the path.
    """
    factory = load(path)
    # As many images as there are steps would leave open which axis is which.
    images = torch.rand(3 if timesteps == 2 else 2, *input_shape, generator=torch.Generator().manual_seed(0))
    x = images.expand(timesteps, *images.shape) if frames else images
    try:
        network = factory(num_classes, input_shape, timesteps)
        if isinstance(network, nn.Module) and not isinstance(network, SpikingNetwork):
            network = _wrapped(network.eval(), timesteps, x)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except Exception as error:  # whatever the user's code does
        raise UsageError(f"{path}({num_classes}, {input_shape}, {timesteps}): {reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{path}: makes a {type(network).__name__}, not a torch module")
    if spiking(network).timesteps != timesteps:
        raise UsageError(f"{path}: its network has timesteps {spiking(network).timesteps}, asked for {timesteps}")
    _try_out(path, network.eval(), x, (timesteps, len(images), num_classes))
    return network.train()


def _wrapped(net: nn.Module, timesteps: int, x: Tensor) -> Wrapped:
    whole = OverTime(net, timesteps)
    if whole.runs_over_time(x):
        return whole
    stepped = Stepped(net, timesteps)
    if timesteps == 1 and x.dim() == 4:
        try:
            stepped.try_step(x)
        except ValueError:  # it resets its layers, and one step is all of them
            return whole
    return stepped


def _try_out(path: str, network: nn.Module, x: Tensor, expected: tuple[int, int, int]) -> None:
    called: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, layer in spiking(network).neurons().items()
    ]
    try:
        if isinstance(network, Stepped):
            network.try_step(x[0] if x.dim() == 5 else x)
        if isinstance(network, OverTime):
            network.try_forms(x)
        first, again = spiking(network).step_logits(x), spiking(network).step_logits(x)
        if isinstance(network, Wrapped):
            network.reset()  # nothing of this trial stays behind
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except Exception as error:  # whatever the user's code does
        images = f"{expected[1]} images [{', '.join(map(str, x.shape[-3:]))}]"
        raise UsageError(f"{path}: its network fails on {images}: {reason(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    expected = (answers_of(network, expected[0]), *expected[1:])
    wrong = _wrong(first, again, expected, called)
    if wrong:
        raise UsageError(f"{path}: {wrong}")


def _wrong(first: Tensor, again: Tensor, expected: tuple[int, int, int], called: list[str]) -> str | None:
    if tuple(first.shape) != expected:
        steps, batch, classes = expected
        return (
            f"the outputs of {steps} steps on {batch} images have shape {list(first.shape)}, not {list(expected)}; "
            f"a forward of one step gives (images, {classes})"
        )
    if not called:
        return "none of its spiking layers is ever called"
    if not torch.equal(first, again):
        return "answers the same images differently when asked again: its state is not reset, or it draws at random"
    if not first.requires_grad:
        return "its answers depend on no parameter that could learn"
    return None
