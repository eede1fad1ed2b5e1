"""Dense operations of a torch network, for comparison: what its multiply-accumulates would be without any sparsity.

    dense(layer) = sum of conv(1, 1)      ones for inputs and weights; the zero padding stays zero, so borders are exact

As NeuroBench's `Dense`, per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_DENSE: dict[type[nn.Module], Callable[[Any, Tensor], float]] = {
    nn.Conv2d: lambda conv, x: float(
        nn.functional.conv2d(
            torch.ones_like(x[:1], dtype=torch.float64),
            torch.ones_like(conv.weight, dtype=torch.float64),
            None,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
        ).sum()
    ),
    nn.Linear: lambda linear, x: float(linear.weight.numel()),
}


def dense_macs(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of one image (C, H, W) through the convolutions and linear layers of `model`."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal total
        total += _DENSE[type(module)](module, inputs[0])

    hooks = [module.register_forward_pre_hook(count) for module in model.modules() if type(module) in _DENSE]
    weight = next(model.parameters())
    try:
        with torch.no_grad():
            model(torch.zeros(1, *input_shape, dtype=weight.dtype, device=weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return round(total)
