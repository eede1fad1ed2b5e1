"""VGG networks, ordinary and spiking: one chain of 3x3 convolutions, each with batch normalization and an activation.

    stage i     n_i times a(BN(conv(x))), at 1, 2, 4, 8 and 8 times `width`; a 2x2 average pool between two stages
    head        global average pool, linear

| depth | n_1 ... n_5 |
|---|---|
| 11 | 1, 1, 2, 2, 2 |
| 16 | 2, 2, 3, 3, 3 |

Depths count the linear layers of the first VGG, of which one is left (Simonyan and Zisserman, ICLR 2015; without the
others, with batch normalization and average pools as in spiking VGGs since Sengupta et al., 2019: a maximum of spikes
is no linear function of them). Any image of 16 pixels or more.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..neuron import LIF
from .folded import Activation, TimeFolded, start

DEPTHS: dict[int, tuple[int, int, int, int, int]] = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
_WIDTHS = (1, 2, 4, 8, 8)


class Layer(nn.Module):
    """A 3x3 convolution, batch normalization, and the activation: `lif`, in the teacher a ReLU."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn, self.lif = nn.BatchNorm2d(outputs), activation()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, inputs, H, W)` → `(N, outputs, H, W)`."""
        return self.lif(self.bn(self.conv(x)))


class _Network(nn.Module):
    channels_last = True  # no layer needs another order in memory
    stages = ("stage1", "stage2", "stage3", "stage4", "stage5")

    def __init__(self, depth: int, num_classes: int, width: int, in_channels: int, activation: Activation) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth {depth} is not one of {', '.join(map(str, DEPTHS))}")
        if min(num_classes, width, in_channels) < 1:
            raise ValueError(f"num_classes {num_classes}, width {width}, in_channels {in_channels}: at least 1 each")
        channels = in_channels
        for stage, count, times in zip(self.stages, DEPTHS[depth], _WIDTHS, strict=True):
            outputs = times * width
            inputs = (channels, *[outputs] * (count - 1))
            self.add_module(stage, nn.Sequential(*(Layer(each, outputs, activation) for each in inputs)))
            channels = outputs
        self.halve, self.pool, self.flatten = nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)

    def _chain(self) -> tuple[Layer, list[nn.Module]]:
        """The first layer, and every one after it up to the logits."""
        stages = [self.get_submodule(stage).children() for stage in self.stages]
        first, *others = stages[0]
        for stage in stages[1:]:
            others += [self.halve, *stage]
        assert isinstance(first, Layer)
        return first, [*others, self.pool, self.flatten, self.fc]


class VGG(_Network):
    """An ordinary VGG: `(B, C, H, W)` → logits `(B, num_classes)`.

    Args:
        depth: 11 or 16.
        num_classes: logits per image.
        width: channels of the first stage.
        in_channels: channels of an image.
    """

    def __init__(self, depth: int, num_classes: int, width: int = 64, in_channels: int = 3) -> None:
        super().__init__(depth, num_classes, width, in_channels, partial(nn.ReLU, inplace=True))
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        first, others = self._chain()
        return _through(others, first(x))


class SpikingVGG(TimeFolded, _Network):
    """A VGG of LIF neurons: images or `(T, B, C, H, W)` frames → logits `(B, num_classes)`, the mean over the steps.

    Args:
        depth: 11 or 16.
        num_classes: logits per image.
        width: channels of the first stage.
        in_channels: channels of an image.
        timesteps: T for static images; frames bring their own.
        beta: decay per step.
        threshold: theta; the BN scales start at it, so that currents have its size.
        learn_beta: learn one beta per layer.
        learn_threshold: learn one theta per layer.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        width: int = 64,
        in_channels: int = 3,
        timesteps: int = 4,
        beta: float = 0.25,
        threshold: float = 0.5,
        learn_beta: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        if timesteps < 1:
            raise ValueError(f"timesteps {timesteps}: at least 1")
        # In place: the currents come from BN, which needs no output of its own again.
        neuron = partial(LIF, beta, threshold, learn_beta=learn_beta, learn_threshold=learn_threshold, inplace=True)
        super().__init__(depth, num_classes, width, in_channels, neuron)
        self.timesteps = timesteps
        start(self, threshold)

    def currents(self, x: Tensor) -> Tensor:
        """The first layer up to its neuron."""
        first, _ = self._chain()
        return first.bn(first.conv(x))

    def head(self, currents: Tensor) -> Tensor:
        """From the first neuron to the logits."""
        first, others = self._chain()
        return _through(others, first.lif(currents))


def _through(layers: list[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
