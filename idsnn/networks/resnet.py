"""Residual networks, ordinary and spiking, from one description with the activation swapped (Fig. 1 of the paper).

| | block | activation |
|---|---|---|
| `ResNet` (1a) | a(BN(conv(a(BN(conv(x))))) + shortcut(x)) | ReLU |
| `SpikingResNet`, residual "spiking" (1b) | the same | LIF |
| `SpikingResNet`, residual "sew" (1c) | a(BN(conv(a(BN(conv(x)))))) + shortcut(x), projections end in a LIF | LIF |
| `SpikingResNet`, residual "membrane" | BN(conv(a(BN(conv(a(x)))))) + x, currents both; projections read a(x) | LIF |

With residual "membrane" x is a current: a chain of blocks loses nothing of it on its way, where spikes keep one bit a
step, and every convolution behind the stem reads spikes (MS-ResNet: Hu et al., "Advancing spiking neural networks
toward deep residual learning", IEEE TNNLS 36(2), 2025).

Names are torchvision's where torchvision has one, so its weights load into `ResNet`. `lif1`, `lif2`, ... are the places
of the activation, named for what the student has there (NIR files hold the names); in the teacher each is a ReLU.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from ..neuron import LIF
from .folded import Activation, TimeFolded, start

Residual = Literal["spiking", "sew", "membrane"]
Stem = Literal["cifar", "imagenet"]

_conv3 = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
_conv1 = partial(nn.Conv2d, kernel_size=1, bias=False)


class _Block(nn.Module):
    """What basic and bottleneck blocks share: the shortcut and where it joins."""

    expansion = 1
    lif1: nn.Module
    downsample: nn.Sequential | None

    def _shortcut(self, inputs: int, outputs: int, stride: int, activation: Activation, sew: bool) -> None:
        self.sew = sew
        self.downsample = None
        if stride != 1 or inputs != outputs:
            spikes = [activation()] if sew else []
            self.downsample = nn.Sequential(_conv1(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs), *spikes)

    def _join(self, branch: Tensor, x: Tensor, activation: nn.Module) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return activation(branch) + shortcut if self.sew else activation(branch + shortcut)

    def _kept(self, activation: Activation) -> None:
        """The first neuron reads what the shortcut reads after it, and may not write over it."""
        self.lif1 = activation(inplace=False)

    def _join_currents(self, branch: Tensor, x: Tensor, spikes: Tensor) -> Tensor:
        return branch + (x if self.downsample is None else self.downsample(spikes))


class BasicBlock(_Block):
    """Two 3x3 convolutions; depths 18 and 34."""

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation, sew: bool) -> None:
        super().__init__()
        self.conv1, self.bn1, self.lif1 = _conv3(inputs, width, stride=stride), nn.BatchNorm2d(width), activation()
        self.conv2, self.bn2, self.lif2 = _conv3(width, width), nn.BatchNorm2d(width), activation()
        self._shortcut(inputs, width, stride, activation, sew)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, width, H/stride, W/stride)`."""
        branch = self.lif1(self.bn1(self.conv1(x)))
        return self._join(self.bn2(self.conv2(branch)), x, self.lif2)


class Bottleneck(_Block):
    """1x1, 3x3 (with the stride) and 1x1 convolutions, the last four times as wide; depths 50 and 101."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation, sew: bool) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1, self.bn1, self.lif1 = _conv1(inputs, width), nn.BatchNorm2d(width), activation()
        self.conv2, self.bn2, self.lif2 = _conv3(width, width, stride=stride), nn.BatchNorm2d(width), activation()
        self.conv3, self.bn3, self.lif3 = _conv1(width, outputs), nn.BatchNorm2d(outputs), activation()
        self._shortcut(inputs, outputs, stride, activation, sew)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, 4 * width, H/stride, W/stride)`."""
        branch = self.lif1(self.bn1(self.conv1(x)))
        branch = self.lif2(self.bn2(self.conv2(branch)))
        return self._join(self.bn3(self.conv3(branch)), x, self.lif3)


class MembraneBasicBlock(BasicBlock):
    """The same layers, each neuron before its convolution; of currents."""

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__(inputs, width, stride, activation, sew=False)
        self._kept(activation)

    def forward(self, x: Tensor) -> Tensor:
        """As `BasicBlock`'s."""
        spikes = self.lif1(x)
        branch = self.bn1(self.conv1(spikes))
        return self._join_currents(self.bn2(self.conv2(self.lif2(branch))), x, spikes)


class MembraneBottleneck(Bottleneck):
    """The same layers, each neuron before its convolution; of currents."""

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__(inputs, width, stride, activation, sew=False)
        self._kept(activation)

    def forward(self, x: Tensor) -> Tensor:
        """As `Bottleneck`'s."""
        spikes = self.lif1(x)
        branch = self.bn1(self.conv1(spikes))
        branch = self.bn2(self.conv2(self.lif2(branch)))
        return self._join_currents(self.bn3(self.conv3(self.lif3(branch))), x, spikes)


DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
WITH_CURRENT = {BasicBlock: MembraneBasicBlock, Bottleneck: MembraneBottleneck}
LAYERS = ("layer1", "layer2", "layer3", "layer4")


class _Network(nn.Module):
    """Stem, four stages at widths 1, 2, 4 and 8 times `width`, global average pool, linear head."""

    channels_last = True  # no layer needs another order in memory
    stages = ("conv1", "bn1", *LAYERS)  # what corresponds to another depth's, for `initialize`
    stem_pool: nn.Module | None
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depth: int,
        num_classes: int,
        width: int,
        in_channels: int,
        stem: Stem,
        activation: Activation,
        stem_pool: nn.Module,
        residual: Residual = "spiking",
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth {depth} is not one of {', '.join(map(str, DEPTHS))}")
        if stem not in ("cifar", "imagenet"):
            raise ValueError(f"stem {stem!r} is neither 'cifar' nor 'imagenet'")
        if min(num_classes, width, in_channels) < 1:
            raise ValueError(f"num_classes {num_classes}, width {width}, in_channels {in_channels}: at least 1 each")
        kind, counts = DEPTHS[depth]
        block = WITH_CURRENT[kind] if residual == "membrane" else partial(kind, sew=residual == "sew")
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
            self.stem_pool = stem_pool
        else:
            self.conv1 = _conv3(in_channels, width)
            self.stem_pool = None
        self.residual, self.bn1 = residual, nn.BatchNorm2d(width)
        if residual != "membrane":
            self.lif1 = activation()
        channels = width
        for i, (stage, count) in enumerate(zip(LAYERS, counts, strict=True)):
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(channels, width * 2**i, stride, activation))
                channels = width * 2**i * kind.expansion
            self.add_module(stage, nn.Sequential(*blocks))
        self.lif = activation() if residual == "membrane" else None  # what the head reads are spikes
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)

    def _after_stem(self, x: Tensor) -> Tensor:
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = x if self.lif is None else self.lif(x)
        return self.fc(self.flatten(self.pool(x)))


class ResNet(_Network):
    """An ordinary residual network: `(B, C, H, W)` → logits `(B, num_classes)`.

    Args:
        depth: 18, 34, 50 or 101.
        num_classes: logits per image.
        width: channels of the first stage.
        in_channels: channels of an image.
        stem: "cifar" (3x3 convolution) or "imagenet" (7x7 with stride 2, then a 3x3 max pool with stride 2).
    """

    def __init__(
        self, depth: int, num_classes: int, width: int = 64, in_channels: int = 3, stem: Stem = "cifar"
    ) -> None:
        pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        super().__init__(depth, num_classes, width, in_channels, stem, partial(nn.ReLU, inplace=True), pool)
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.lif1(self.bn1(self.conv1(x)))
        return self._after_stem(x if self.stem_pool is None else self.stem_pool(x))


class SpikingResNet(TimeFolded, _Network):
    """A residual network of LIF neurons: images or `(T, B, C, H, W)` frames → logits `(B, num_classes)`.

    A static image passes through the stem's convolution once, and its current is reused at every step. Logits are the
    mean over the steps of the head's output. In the ImageNet stem an average pool (2x2, stride 2) comes before the
    first neuron, so that every later layer sees spikes.

    Args:
        depth: 18, 34, 50 or 101.
        num_classes: logits per image.
        width: channels of the first stage.
        in_channels: channels of an image.
        timesteps: T for static images; frames bring their own.
        residual: "spiking" (Fig. 1b), "sew" (Fig. 1c, ADD) or "membrane" (MS-ResNet).
        stem: "cifar" or "imagenet".
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
        residual: Residual = "spiking",
        stem: Stem = "cifar",
        beta: float = 0.25,
        threshold: float = 0.5,
        learn_beta: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        if timesteps < 1:
            raise ValueError(f"timesteps {timesteps}: at least 1")
        if residual not in get_args(Residual):
            raise ValueError(f"residual {residual!r} is not one of {', '.join(get_args(Residual))}")
        # In place: the currents come from BN or a sum, which need no output of theirs again.
        neuron = partial(LIF, beta, threshold, learn_beta=learn_beta, learn_threshold=learn_threshold, inplace=True)
        pool = nn.AvgPool2d(kernel_size=2, stride=2)
        super().__init__(depth, num_classes, width, in_channels, stem, neuron, pool, residual)
        self.timesteps = timesteps
        start(self, threshold)

    def currents(self, x: Tensor) -> Tensor:
        """The stem up to its neuron."""
        x = self.bn1(self.conv1(x))
        return x if self.stem_pool is None else self.stem_pool(x)

    def head(self, currents: Tensor) -> Tensor:
        """From the first neuron to the logits."""
        return self._after_stem(currents if self.residual == "membrane" else self.lif1(currents))
