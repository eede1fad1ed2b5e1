"""Residual blocks whose shortcut carries the current into the membrane, not spikes (MS-ResNet).

    s = a(x)        y = BN(conv(a(... BN(conv(s)))))        x' = y + x          a block of one width
                                                            x' = y + BN(conv(s))   where stride or width change

x and x' are currents, so a chain of blocks loses nothing of x on its way, where spikes keep one bit a step of it; every
convolution reads spikes. Y. Hu, L. Deng, Y. Wu, M. Yao, G. Li, "Advancing spiking neural networks toward deep residual
learning", IEEE TNNLS 36(2), 2025 (arXiv 2112.08954).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .folded import Activation

_conv3 = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
_conv1 = partial(nn.Conv2d, kernel_size=1, bias=False)


class MembraneBlock(nn.Module):
    """What both blocks share: where the shortcut leaves and joins."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.lif1 = activation(inplace=False)  # the shortcut reads x after it
        self._branch(inputs, width, stride, activation)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv1(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))

    def _branch(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        raise NotImplementedError

    def branch(self, spikes: Tensor) -> Tensor:
        """y of the spikes s."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, expansion * width, H/stride, W/stride)`, currents both."""
        spikes = self.lif1(x)
        return self.branch(spikes) + (x if self.downsample is None else self.downsample(spikes))


class MembraneBasicBlock(MembraneBlock):
    """Two 3x3 convolutions; depths 18 and 34."""

    def _branch(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        self.conv1, self.bn1 = _conv3(inputs, width, stride=stride), nn.BatchNorm2d(width)
        self.lif2, self.conv2, self.bn2 = activation(), _conv3(width, width), nn.BatchNorm2d(width)

    def branch(self, spikes: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, width, H/stride, W/stride)`."""
        return self.bn2(self.conv2(self.lif2(self.bn1(self.conv1(spikes)))))


class MembraneBottleneck(MembraneBlock):
    """1x1, 3x3 (with the stride) and 1x1 convolutions, the last four times as wide; depths 50 and 101."""

    expansion = 4

    def _branch(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        outputs = width * self.expansion
        self.conv1, self.bn1 = _conv1(inputs, width), nn.BatchNorm2d(width)
        self.lif2, self.conv2, self.bn2 = activation(), _conv3(width, width, stride=stride), nn.BatchNorm2d(width)
        self.lif3, self.conv3, self.bn3 = activation(), _conv1(width, outputs), nn.BatchNorm2d(outputs)

    def branch(self, spikes: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, 4 * width, H/stride, W/stride)`."""
        branch = self.lif2(self.bn1(self.conv1(spikes)))
        return self.bn3(self.conv3(self.lif3(self.bn2(self.conv2(branch)))))
