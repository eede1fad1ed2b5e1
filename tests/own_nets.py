"""Networks as users of snnTorch write them, for `--network own_nets:NAME`; and some that cannot be trained."""

from __future__ import annotations

import snntorch as snn
import torch
from torch import Tensor, nn

from idsnn.networks.vgg import SpikingVGG


def leaky(**options: object) -> snn.Leaky:
    return snn.Leaky(**{"beta": 0.5, "threshold": 0.5, "reset_mechanism": "zero", **options})


class Hidden(nn.Module):
    """States inside the layers, as with `init_hidden=True`."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.conv, self.norm, self.lif = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), leaky(init_hidden=True)
        self.drop, self.fc = nn.Dropout(0.25), nn.Linear(4 * (height - 2) * (width - 2), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.lif(self.norm(self.conv(x))).flatten(1)))


def hidden(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Hidden(num_classes, input_shape)


class Handed(nn.Module):
    """States handed in and out; the input is viewed in another shape, as tutorials do."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(torch.Size(input_shape).numel(), 12), leaky()
        self.fc2, self.lif2 = nn.Linear(12, num_classes), leaky(beta=0.9)

    def forward(self, x: Tensor, mem1: Tensor, mem2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spk1, mem1 = self.lif1(self.fc1(x.view(x.shape[0], -1)), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem1, mem2


def handed(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Handed(num_classes, input_shape)


def synaptic(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    first = snn.Synaptic(alpha=0.5, beta=0.5, threshold=0.2, init_hidden=True)
    width = torch.Size(input_shape).numel()
    last = snn.RLeaky(beta=0.5, threshold=0.2, linear_features=num_classes, init_hidden=True, output=True)
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 8), first, nn.Linear(8, num_classes), last)


class OwnVGG(SpikingVGG):
    """A network of idsnn's, changed by its user: its stages stay."""


def vgg(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return OwnVGG(11, num_classes, width=2, in_channels=input_shape[0], timesteps=timesteps, threshold=0.7)


class Tutorial(Handed):
    """Time inside the forward."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for _ in range(3):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes), mem2


class Noisy(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(())


class Frozen(Hidden):
    def __init__(self, num_classes: int, input_shape: tuple[int, ...]) -> None:
        super().__init__(num_classes, input_shape)
        self.requires_grad_(False)


class Idle(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).flatten(1))


class Forgetful(Handed):
    def forward(self, x: Tensor, mem1: Tensor, mem2: Tensor) -> Tensor:
        return super().forward(x, mem1, mem2)[0]


def tutorial(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Tutorial(num_classes, input_shape)


def noisy(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Noisy(num_classes, input_shape)


def frozen(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Frozen(num_classes, input_shape)


def idle(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Idle(num_classes, input_shape)


def forgetful(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Forgetful(num_classes, input_shape)


def other_classes(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return Hidden(num_classes + 1, input_shape)


def other_time(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return OwnVGG(11, num_classes, width=2, in_channels=input_shape[0], timesteps=timesteps + 1)


def ordinary(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))


def raising(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    raise ZeroDivisionError("of the user's\nown making")


def nothing(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> None:
    return None


no_arguments = Hidden
number = 3


class Small(nn.Sequential):
    """A factory without arguments."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 6), leaky(init_hidden=True), nn.Linear(6, 4))


def jelly(timesteps: int) -> nn.Module:
    """SpikingJelly's first networks: the image is repeated, all steps go through at once."""
    from spikingjelly.activation_based import functional, layer, neuron

    class Repeats(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.unsqueeze(0).repeat(timesteps, 1, 1, 1, 1)).mean(0)

    torch.manual_seed(0)
    net = Repeats(
        layer.Conv2d(1, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.LIFNode(v_threshold=0.2), layer.MaxPool2d(2),
        layer.Flatten(), layer.Linear(64, 5), neuron.IFNode(v_threshold=0.2),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    return net
