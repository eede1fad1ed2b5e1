"""Networks of SpikingJelly's tutorials and model zoo, narrow, trained a few steps; and SpikingJelly's own answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vgg
from torch import Tensor, nn

CLASSES = 5


class FashionNet(nn.Module):
    """The tutorial on convolutional networks: the image is repeated within the forward, the answer is a firing rate."""

    def __init__(self) -> None:
        super().__init__()
        self.T = 4
        fire = surrogate.ATan()
        self.conv_fc = nn.Sequential(
            layer.Conv2d(1, 6, 3, padding=1, bias=False), layer.BatchNorm2d(6), neuron.IFNode(surrogate_function=fire),
            layer.MaxPool2d(2, 2),
            layer.Conv2d(6, 6, 3, padding=1, bias=False), layer.BatchNorm2d(6), neuron.IFNode(surrogate_function=fire),
            layer.MaxPool2d(2, 2), layer.Flatten(),
            layer.Linear(6 * 3 * 3, 12, bias=False), neuron.IFNode(surrogate_function=fire),
            layer.Linear(12, CLASSES, bias=False), neuron.IFNode(0.5, surrogate_function=fire),
        )  # fmt: skip
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_fc(x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)).mean(0)


def containers() -> nn.Module:
    """Torch's layers in containers, neurons that subtract and take all steps."""
    net = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
        neuron.LIFNode(tau=2.0, v_reset=None, v_threshold=0.5),
        layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
        layer.MultiStepContainer(neuron.LIFNode(tau=1.5, v_reset=None, decay_input=False), nn.Flatten()),
        layer.SeqToANNContainer(nn.Linear(6 * 5 * 5, CLASSES)),
        neuron.IFNode(v_reset=None, v_threshold=0.5),
    )
    functional.set_step_mode(net, "m")
    return net


def fully_connected() -> nn.Module:
    """The first tutorial, `lif_fc_mnist`: spikes in, one layer of weights."""
    return nn.Sequential(layer.Flatten(), layer.Linear(64, CLASSES, bias=False), neuron.LIFNode(tau=2.0))


class NarrowSEW(sew_resnet.SEWResNet):
    """The zoo's SEW ResNet-18 with its own blocks and forward, at another width."""

    block, cnf = sew_resnet.BasicBlock, {"cnf": "ADD"}

    def __init__(self, width: int, spiking_neuron: Callable[..., nn.Module], **options: Any) -> None:
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = (
            layer.BatchNorm2d,
            width,
            1,
            1,
            64,
        )
        self.conv1 = layer.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1, self.sn1 = layer.BatchNorm2d(width), spiking_neuron(**options)
        self.maxpool = layer.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for stage in range(4):
            made = self._make_layer(
                self.block, width << stage, 2, 1 + (stage > 0), spiking_neuron=spiking_neuron, **self.cnf, **options
            )
            setattr(self, f"layer{stage + 1}", made)
        self.avgpool, self.fc = layer.AdaptiveAvgPool2d((1, 1)), layer.Linear(8 * width, CLASSES)


class NarrowResNet(spiking_resnet.SpikingResNet):
    """The zoo's Spiking ResNet-18 at another width."""

    block, cnf = spiking_resnet.BasicBlock, {}
    __init__ = NarrowSEW.__init__


def sew() -> nn.Module:
    net = NarrowSEW(4, neuron.IFNode, v_threshold=0.75)
    functional.set_step_mode(net, "m")
    return net


def resnet() -> nn.Module:
    return NarrowResNet(4, neuron.LIFNode, tau=2.0, v_reset=None, v_threshold=0.6)


def vgg() -> nn.Module:
    """The zoo's Spiking VGG with batch norm, with a narrow classifier."""
    net = spiking_vgg.SpikingVGG(
        [4, "M", 6, 6, "M"], True, num_classes=CLASSES, spiking_neuron=neuron.LIFNode, tau=2.0, decay_input=False
    )
    net.classifier = nn.Sequential(
        layer.Linear(6 * 7 * 7, 16), neuron.LIFNode(tau=2.0, v_threshold=0.25), layer.Dropout(),
        layer.Linear(16, CLASSES),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    return net


def plif() -> nn.Module:
    """The zoo's MNIST network of the paper on parametric LIF: learned leaks, max pooling, votes."""
    net = parametric_lif_net.MNISTNet(3, spiking_neuron=neuron.ParametricLIFNode, init_tau=2.0, v_threshold=0.3)
    flat, hidden = 3 * 7 * 7, 24
    net.conv_fc[10], net.conv_fc[13] = layer.Linear(flat, hidden), layer.Linear(hidden, 10 * CLASSES)
    return net


def nmnist() -> nn.Module:
    """The zoo's N-MNIST network: a reset to another value than 0."""
    net = parametric_lif_net.NMNISTNet(3, spiking_neuron=neuron.LIFNode, tau=1.5, v_threshold=0.2, v_reset=-0.1)
    net.conv_fc[10], net.conv_fc[13] = layer.Linear(3 * 8 * 8, 24), layer.Linear(24, 10 * CLASSES)
    functional.set_step_mode(net, "m")
    return net


# How it is made, the shape of a sample, and how it is run: one call for an image ("whole"), for frames ("m"), a loop.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "fashion": (FashionNet, (1, 12, 12), "whole"),
    "fully connected": (fully_connected, (1, 8, 8), "s"),
    "containers": (containers, (2, 10, 10), "m"),
    "sew resnet": (sew, (3, 32, 32), "m"),
    "spiking resnet": (resnet, (3, 32, 32), "s"),
    "spiking vgg": (vgg, (3, 28, 28), "m"),
    "parametric lif": (plif, (1, 28, 28), "s"),
    "n-mnist": (nmnist, (2, 32, 32), "m"),
}


def trained(name: str, steps: int = 12) -> nn.Module:
    """The network after a few steps of training: weights, leaks and statistics have moved."""
    make, shape, mode = NETWORKS[name]
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.8, 1.6)
                module.bias.normal_(0.2, 0.3)
            if isinstance(module, nn.Linear):
                module.weight.mul_(4)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.reset_net(net)
        x = torch.randn(*(() if mode == "whole" else (3,)), 8, *shape)
        nn.functional.cross_entropy(answer(net, x, mode), torch.randint(CLASSES, (8,))).backward()
        optimizer.step()
    functional.reset_net(net)
    return net.eval()


def answer(net: nn.Module, x: Tensor, mode: str) -> Tensor:
    """SpikingJelly's own run, (N, K), the mean over the steps."""
    if mode == "whole":
        return net(x)
    return net(x).mean(0) if mode == "m" else torch.stack([net(frame) for frame in x]).mean(0)


def its_own_run(net: nn.Module, x: np.ndarray, mode: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """From its own reset: the mean answer, and the spikes (T, N, ...) of neurons and of pools over them."""
    functional.reset_net(net)
    spikes: dict[str, list[np.ndarray]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Tensor) -> None:
            fired = output.numpy() > 0
            if mode == "m" and len(fired) == x.shape[0] * x.shape[1] > x.shape[1]:
                fired = fired.reshape(*x.shape[:2], *fired.shape[1:])  # in a container that folds time into the batch
                spikes.setdefault(name, []).extend(fired)
                return
            spikes.setdefault(name, []).extend(fired if module.step_mode == "m" else [fired])

        return hook

    hooks = [
        module.register_forward_hook(keep(name.replace(".", "_")))
        for name, module in net.named_modules()
        if isinstance(module, neuron.base_node.BaseNode)
    ]
    with torch.no_grad():
        logits = answer(net, torch.as_tensor(x), mode).numpy()
    for hook in hooks:
        hook.remove()
    return logits, {name: np.stack(each) for name, each in spikes.items()}
