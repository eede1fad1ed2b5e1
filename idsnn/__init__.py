"""The torch side of idsnn: neuron, networks, initialization, distillation, training.

Names are loaded when they are first used, so that `import idsnn` alone brings no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsnn_deploy.lazy import lazy

if TYPE_CHECKING:
    from .checkpoint import load_run as load_run
    from .checkpoint import save_pretrained as save_pretrained
    from .config import TrainConfig as TrainConfig
    from .distill import distillation_loss as distillation_loss
    from .initialize import initialize_from as initialize_from
    from .networks.protocol import SpikingNetwork as SpikingNetwork
    from .networks.resnet import ResNet as ResNet
    from .networks.resnet import SpikingResNet as SpikingResNet
    from .neuron import LIF as LIF
    from .trainer import train as train
    from .version import __version__ as __version__

_HOME = {
    "LIF": "neuron",
    "ResNet": "networks.resnet",
    "SpikingNetwork": "networks.protocol",
    "SpikingResNet": "networks.resnet",
    "TrainConfig": "config",
    "distillation_loss": "distill",
    "initialize_from": "initialize",
    "load_run": "checkpoint",
    "save_pretrained": "checkpoint",
    "train": "trainer",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, {**_HOME, "__version__": "version"}, "train")
