"""SpikingJelly's layers without memory as the layers of torch that they are, sharing their parameters.

| SpikingJelly | torch |
|---|---|
| `layer.Conv2d`, `Linear`, `BatchNorm2d`, `AvgPool2d`, `Flatten`, ... | the class that it is derived from |
| `layer.ThresholdDependentBatchNorm1d`, `2d` | `BatchNorm1d`, `2d`: alpha and v_th are in its weight |
| `layer.WSConv2d`, `WSLinear` | `Conv2d`, `Linear` with the standardized weight |
| `layer.VotingLayer` | `Linear`, whose rows are 1/n over the n votes of a class |
| `layer.Dropout`, `Dropout2d` | `Dropout`: nothing, in eval mode |

Layers are known by name: nothing is imported that the model did not import.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from idsnn.networks.spikingjelly import LAYERS

from .values import ReasonError

CONTAINERS = frozenset({"MultiStepContainer", "SeqToANNContainer", "StepModeContainer"})
RENAMED: dict[str, type[nn.Module]] = {
    "ThresholdDependentBatchNorm1d": nn.BatchNorm1d,
    "ThresholdDependentBatchNorm2d": nn.BatchNorm2d,
    "Dropout": nn.Dropout,
    "Dropout2d": nn.Dropout,
}


def is_layer(module: nn.Module) -> bool:
    """Whether it is a layer of SpikingJelly, and no container, whose own code is traced."""
    kind = type(module)
    return kind.__module__.startswith(f"{LAYERS}.") and kind.__name__ not in CONTAINERS


def plain(module: Any, features: int) -> nn.Module:
    """The layer of torch that a layer of SpikingJelly is.

    Args:
        module: for which `is_layer`.
        features: of its input, the last axis.

    Raises:
        ReasonError: a layer with another function.
    """
    name = type(module).__name__
    if name in ("WSConv2d", "WSLinear"):
        return _standardized(module)
    if name == "VotingLayer":
        return _votes(module.voting_size, features)
    kind = RENAMED.get(name) or getattr(nn, name, None)
    if kind is None or (name not in RENAMED and not isinstance(module, kind)):
        raise ReasonError("has no NIR form; of SpikingJelly's layers those of torch's names have")
    return _as(module, kind)


def _as(module: Any, kind: type[nn.Module]) -> nn.Module:
    """The same attributes and parameters under another class."""
    twin = kind.__new__(kind)
    vars(twin).update(vars(module))
    return twin


def _standardized(module: Any) -> nn.Module:
    twin = _as(module, nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear)
    vars(twin)["_parameters"] = {**module._parameters, "weight": nn.Parameter(module.get_weight().detach())}
    return twin


def _votes(size: int, features: int) -> nn.Module:
    """y[k] = mean of x[k size ... k size + size - 1]; votes that are left over count for nobody."""
    classes = features // size
    linear = nn.Linear(features, classes, bias=False)
    weight = torch.zeros(classes, features)
    weight[:, : classes * size] = torch.eye(classes).repeat_interleave(size, 1) / size
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear.eval()
