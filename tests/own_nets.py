"""Networks as users of snnTorch write them, for `--network own_nets:NAME`; and some that cannot be trained."""

from __future__ import annotations

from collections.abc import Callable

import snntorch as snn
import torch
from torch import Tensor, nn

from idsnn.networks.vgg import SpikingVGG


def of(kind: Callable[[int, tuple[int, ...]], nn.Module]) -> Callable[[int, tuple[int, ...], int], nn.Module]:
    """A factory of networks that need not know T."""
    return lambda num_classes, input_shape, timesteps: kind(num_classes, input_shape)


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


hidden = of(Hidden)


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


handed = of(Handed)


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


class Asks(Handed):
    """T is an argument; spikes and membranes of all steps are returned."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]) -> None:
        super().__init__(num_classes, input_shape)
        self.drop = nn.Dropout(0.25)

    def forward(self, x: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(self.drop(spk1)), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


class Restless(Handed):
    """One step, which begins from rest at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, self.lif1.init_leaky(), self.lif2.init_leaky())[0]


restless = of(Restless)


class Sums(Handed):
    """T is an attribute; one answer, the sum of the spikes."""

    num_steps = 0

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, total = self.lif1.init_leaky(), self.lif2.init_leaky(), 0
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            total = total + spk2
        return total


class Framed(Hidden):
    """T is the input's first axis; the outputs have it behind the batch. States lie in the layer."""

    def forward(self, x: Tensor) -> Tensor:
        self.lif.reset_mem()
        return torch.stack([super(Framed, self).forward(x[step]) for step in range(x.size(0))], dim=1)


class Listed(Asks):
    """A dictionary, whose first entry is a list."""

    def forward(self, x: Tensor, num_steps: int) -> dict[str, list[Tensor]]:
        return {"spikes": list(super().forward(x, num_steps)[0])}


class Flat(Asks):
    """All steps as one axis of numbers."""

    def forward(self, x: Tensor, num_steps: int) -> Tensor:
        return super().forward(x, num_steps)[0].flatten(0, 1)


asks = of(Asks)
sums = of(Sums)
framed = of(Framed)
listed = of(Listed)
flat = of(Flat)


def jelly_steps(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    """SpikingJelly's layers in step mode "s", one step of them."""
    from spikingjelly.activation_based import layer, neuron

    width = torch.Size(input_shape).numel()
    return nn.Sequential(
        layer.Flatten(), layer.Linear(width, 12), neuron.LIFNode(v_threshold=0.2), layer.Linear(12, num_classes)
    )


def jelly_means(num_classes: int, input_shape: tuple[int, ...], timesteps: int) -> nn.Module:
    """The same in step mode "m", as its tutorials write it: the image is repeated, and the mean is the answer."""
    from spikingjelly.activation_based import functional

    class Means(nn.Sequential):
        T = timesteps

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)).mean(0)

    net = Means(*jelly_steps(num_classes, input_shape, timesteps))
    functional.set_step_mode(net, "m")
    return net


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


tutorial = of(Tutorial)
noisy = of(Noisy)
frozen = of(Frozen)
idle = of(Idle)
forgetful = of(Forgetful)


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
