"""The order in memory that convolutions are fastest in, where it is safe."""

from __future__ import annotations

import torch
from torch import nn

# oneDNN writes past its workspace in the backward pass of a strided 1x1 convolution when tensors are channels_last and
# the input has fewer channels than a block, 8 with AVX2 and 16 with AVX-512 (uxlfoundation/oneDNN#6035; met with torch
# 2.15 as "corrupted double-linked list").
_SAFE_CHANNELS = 16


def memory_format(network: nn.Module) -> torch.memory_format:
    """channels_last; contiguous for a user's own network, and where channels_last would corrupt memory (above)."""
    if not getattr(network, "channels_last", False):
        return torch.contiguous_format  # a user's code may view tensors in other shapes, which only this order allows
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1):
            narrow = module.in_channels < _SAFE_CHANNELS
            if narrow and module.weight.device.type == "cpu":
                return torch.contiguous_format
    return torch.channels_last
