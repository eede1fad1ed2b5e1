"""Batch normalization folded into the weights before or behind it, or made a layer of its own.

    y = g x + c,        g = gamma / sqrt(var + eps),  c = beta_bn - g mean,  per channel
    of W x + b:         (g W) x + (g b + c)           the layer before feeds nothing else
    before W x + b:     (W g) x + (W c + b)           a linear layer behind hears nothing else; padding would not be c
    elsewhere:          one weight per channel        a depthwise convolution of one position, or a diagonal matrix

A pass from network to network, in float64, with one law: in eval mode the function stays the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UnsupportedError

from .network import INPUT, OUTPUT, Layer, Network

WEIGHTED: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d)
FOLDS_INTO: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nn.BatchNorm1d: (nn.Linear, nn.Conv1d),
    nn.BatchNorm2d: (nn.Conv2d,),
}


def fold(network: Network) -> Network:
    """The network without batch normalization; every layer with weights has a bias and is float64.

    Raises:
        UnsupportedError: a normalization that has no running statistics; named by its dotted path.
    """
    network = network.with_modules({layer.name: _double(layer.module) for layer in network.layers})
    for name in [layer.name for layer in network.layers if isinstance(layer.module, tuple(FOLDS_INTO))]:
        norm = network[name]  # as the foldings before have left it
        g, c = _affine(norm)
        before, behind = _before(network, norm), _behind(network, norm)
        if before is not None:
            weight = before.module.weight * g.reshape(-1, *(1,) * (before.module.weight.dim() - 1))
            module = rebuilt(before.module, weight, g * before.module.bias + c)
            network = network.with_modules({before.name: module}).without(name)
        elif behind is not None:
            weight, bias = behind.module.weight, behind.module.bias
            module = rebuilt(behind.module, weight * g, weight @ c + bias)
            network = network.with_modules({behind.name: module}).without(name)
        else:
            network = network.with_modules({name: _alone(norm, g, c)})
    return network


def _affine(norm: Layer) -> tuple[Tensor, Tensor]:
    """g and c of y = g x + c."""
    module = norm.module
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError(f"{norm}: has no running statistics, so its output depends on the batch; track them")
    mean, var = module.running_mean.double(), module.running_var.double()
    gamma = torch.ones_like(mean) if module.weight is None else module.weight.double()
    beta = torch.zeros_like(mean) if module.bias is None else module.bias.double()
    g = gamma / torch.sqrt(var + module.eps)
    return g.detach(), (beta - g * mean).detach()


def _before(network: Network, norm: Layer) -> Layer | None:
    """The layer with weights that feeds this one alone."""
    if len(norm.sources) != 1 or norm.late or norm.sources[0] == INPUT:
        return None
    before = network[norm.sources[0]]
    alone = network.users(before.name) == [norm.name] and not before.late
    return before if alone and isinstance(before.module, FOLDS_INTO[type(norm.module)]) else None


def _behind(network: Network, norm: Layer) -> Layer | None:
    """The linear layer that hears this one alone."""
    users = network.users(norm.name)
    if len(norm.shape) != 1 or len(users) != 1 or users[0] == OUTPUT:
        return None
    behind = network[users[0]]
    alone = behind.sources == (norm.name,) and not behind.late
    return behind if alone and isinstance(behind.module, nn.Linear) else None


def _alone(norm: Layer, g: Tensor, c: Tensor) -> nn.Module:
    """One weight per channel."""
    channels, axes = len(g), len(norm.shape) - 1
    with torch.device("meta"):
        if axes == 0:
            return rebuilt(nn.Linear(channels, channels), torch.diag(g.cpu()), c)
        layer = (nn.Conv1d, nn.Conv2d)[axes - 1](channels, channels, 1, groups=channels)
    return rebuilt(layer, g.reshape(-1, *(1,) * (axes + 1)), c)


def _double(module: nn.Module) -> nn.Module:
    if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        return module
    bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
    return rebuilt(module, module.weight, bias)


def rebuilt(layer: Any, weight: Tensor, bias: Tensor) -> nn.Module:
    """A float64 layer of the same kind and geometry with other weights, on the CPU and without gradients."""
    with torch.device("meta"):
        if type(layer) is nn.Linear:
            new: nn.Module = nn.Linear(layer.in_features, layer.out_features)
        else:
            new = type(layer)(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups,
                padding_mode=layer.padding_mode,
            )
    for name, value in (("weight", weight), ("bias", bias)):
        values = value.detach().to("cpu", torch.float64, copy=True)
        setattr(new, name, nn.Parameter(values, requires_grad=False))
    return new.eval()


def columns(module: Any, first: int, last: int) -> nn.Module:
    """The part of a layer that reads some of its inputs; the bias is with the first part."""
    weight = module.weight[:, first:last].detach()
    bias = torch.zeros(len(weight)) if module.bias is None or first else module.bias
    return rebuilt(module, weight, bias)
