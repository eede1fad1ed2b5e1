"""Batch normalization folded into the layer before it.

    y = gamma (W x + b - mean) / sqrt(var + eps) + beta_bn
      = (g W) x + (g (b - mean) + beta_bn),          g = gamma / sqrt(var + eps), per output channel

A pass from network to network, in float64, with one law: in eval mode the function stays the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UnsupportedError

from .network import INPUT, Layer, Network

WEIGHTED: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d)
FOLDS_INTO: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nn.BatchNorm1d: (nn.Linear, nn.Conv1d),
    nn.BatchNorm2d: (nn.Conv2d,),
}


def fold(network: Network) -> Network:
    """The network without batch normalization; every layer with weights has a bias and is float64.

    Raises:
        UnsupportedError: a normalization that does not follow a convolution or linear layer of its own, or that has no
            running statistics; named by its dotted path.
    """
    network = network.with_modules({layer.name: _double(layer.module) for layer in network.layers})
    for name in [layer.name for layer in network.layers if isinstance(layer.module, tuple(FOLDS_INTO))]:
        norm = network[name]  # as the foldings before have left it
        before = _foldable(network, norm)
        network = network.with_modules({before.name: _folded(before.module, norm.module)}).without(name)
    return network


def _foldable(network: Network, norm: Layer) -> Layer:
    module = norm.module
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError(f"{norm}: has no running statistics, so its output depends on the batch; track them")
    if len(norm.sources) == 1 and norm.sources[0] != INPUT:
        before = network[norm.sources[0]]
        if isinstance(before.module, FOLDS_INTO[type(module)]) and network.users(before.name) == [norm.name]:
            return before
    raise UnsupportedError(
        f"{norm}: cannot be folded, it follows {' + '.join(norm.sources)}; put it right behind a convolution or linear "
        "layer that feeds nothing else"
    )


def _folded(layer: Any, norm: Any) -> nn.Module:
    """The layer with `norm` in its weights."""
    mean, var = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.double()
    g = gamma / torch.sqrt(var + norm.eps)
    weight = layer.weight * g.reshape(-1, *(1,) * (layer.weight.dim() - 1))
    return rebuilt(layer, weight, g * (layer.bias - mean) + beta)


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
