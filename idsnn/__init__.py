"""The torch side of idsnn: neuron, networks, initialization, distillation, training.

Names are loaded when they are first used, so that `import idsnn` alone brings no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_run as load_run
    from .checkpoint import save_pretrained as save_pretrained
    from .distill import distillation_loss as distillation_loss
    from .initialize import initialize_from as initialize_from
    from .neuron import LIF as LIF
    from .resnet import ResNet as ResNet
    from .resnet import SpikingResNet as SpikingResNet

_HOME = {
    "LIF": "neuron",
    "ResNet": "resnet",
    "SpikingResNet": "resnet",
    "distillation_loss": "distill",
    "initialize_from": "initialize",
    "load_run": "checkpoint",
    "save_pretrained": "checkpoint",
}
__all__ = [
    "LIF",
    "ResNet",
    "SpikingResNet",
    "distillation_loss",
    "initialize_from",
    "load_run",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
