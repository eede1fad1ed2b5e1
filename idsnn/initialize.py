"""A student's start from a teacher of another depth and width (Fig. 2b and Fig. 3 of the paper).

Blocks correspond within a stage, student block j of n to teacher block

    leading         min(j, N - 1)                              the released code
    proportional    floor(j (N - 1) / (n - 1) + 1/2)           0 where n = 1

of N, and channels repeat in a loop, over output kernels and then over input channels, without rescaling:

    w_snn[o, i] = w_ann[o mod O, i mod I]                      convolutions, projection shortcuts too
    p_snn[o]    = p_ann[o mod O]                               BN running mean and variance
    p_snn[o]    = scale p_ann[o mod O]                         BN weight and bias; scale is 1 in the paper

The head keeps its random weights. A scale of theta brings currents to the size at which a fresh network's start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import RunError

from .networks.resnet import STAGES, ResNet, SpikingResNet


def leading(j: int, n: int, count: int) -> int:
    """The teacher's first blocks, the last of them again where it has fewer (`n` is not looked at)."""
    return min(j, count - 1)


def proportional(j: int, n: int, count: int) -> int:
    """The teacher's blocks spread evenly, first to first and last to last; halves go up."""
    return (2 * j * (count - 1) + (n - 1)) // (2 * (n - 1)) if n > 1 else 0


MATCHES: dict[str, Callable[[int, int, int], int]] = {"leading": leading, "proportional": proportional}


@torch.no_grad()
def initialize_from(
    ann: ResNet, snn: SpikingResNet, match: str = "leading", shortcuts: bool = True, scale: float = 1.0
) -> SpikingResNet:
    """Copies the teacher's convolutions and batch normalizations into the student, and returns the student.

    Args:
        ann: the teacher.
        snn: the student, changed in place; its head stays as it is.
        match: "leading" or "proportional".
        shortcuts: copy projection shortcuts as well.
        scale: of batch normalizations' outputs: theta makes a teacher's unit currents as large as the threshold.

    Raises:
        ValueError: an unknown `match`.
        RunError: layers that do not correspond (basic to bottleneck blocks, other kernels), naming the first.
    """
    if match not in MATCHES:
        raise ValueError(f"match {match!r} is not one of {', '.join(MATCHES)}")
    pairs = list(correspondence(ann, snn, MATCHES[match], shortcuts))  # all of them, before anything is changed
    for source, target in pairs:
        names = ("weight",) if isinstance(target, nn.Conv2d) else ("weight", "bias", "running_mean", "running_var")
        for name in names:
            own = getattr(target, name)
            own.copy_(loop(getattr(source, name), own.shape))
        if isinstance(target, nn.BatchNorm2d):
            target.weight.mul_(scale)
            target.bias.mul_(scale)
    return snn


def loop(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`weight` with its first two axes repeated or cut to `shape`'s: kernels, then input channels."""
    for axis, size in enumerate(shape[:2]):
        weight = weight.index_select(axis, torch.arange(size, device=weight.device) % weight.shape[axis])
    return weight


def correspondence(
    ann: ResNet, snn: SpikingResNet, match: Callable[[int, int, int], int], shortcuts: bool = True
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yields the teacher's and the student's layer, convolutions and batch normalizations, in the student's order."""
    yield from _layers(ann, snn, ("conv1", "conv1"))
    yield from _layers(ann, snn, ("bn1", "bn1"))
    for stage in STAGES:
        theirs, ours = getattr(ann, stage), getattr(snn, stage)
        for j in range(len(ours)):
            teacher, student = f"{stage}.{match(j, len(ours), len(theirs))}", f"{stage}.{j}"
            for name, module in ours[j].named_modules():
                if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) and (shortcuts or "downsample" not in name):
                    yield from _layers(ann, snn, (f"{teacher}.{name}", f"{student}.{name}"))


def _layers(ann: nn.Module, snn: nn.Module, names: tuple[str, str]) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The pair, where both are there and their kernels have one size."""
    ours = snn.get_submodule(names[1])
    try:
        theirs = ann.get_submodule(names[0])
    except AttributeError:
        raise RunError(f"{names[1]} {_shape(ours)} has nothing to start from: the teacher has no {names[0]}") from None
    if type(theirs) is not type(ours) or _shape(theirs)[2:] != _shape(ours)[2:]:
        raise RunError(
            f"{names[1]} {_shape(ours)} cannot start from the teacher's {names[0]} {_shape(theirs)}; "
            "depths 18 and 34 go together, and 50 and 101"
        )
    yield theirs, ours


def _shape(layer: nn.Module) -> list[int]:
    return list(layer.weight.shape) if isinstance(layer.weight, Tensor) else []
