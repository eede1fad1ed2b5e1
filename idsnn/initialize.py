"""A student's start from a teacher of another depth and width (Fig. 2b and Fig. 3 of the paper).

Both networks name their `stages`, modules that stand for one another: a layer, or a Sequential of blocks. Blocks
correspond within a stage, student block j of n to teacher block

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
from typing import TypeVar

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import RunError

Network = TypeVar("Network", bound=nn.Module)


def leading(j: int, n: int, count: int) -> int:
    """The teacher's first blocks, the last of them again where it has fewer (`n` is not looked at)."""
    return min(j, count - 1)


def proportional(j: int, n: int, count: int) -> int:
    """The teacher's blocks spread evenly, first to first and last to last; halves go up."""
    return (2 * j * (count - 1) + (n - 1)) // (2 * (n - 1)) if n > 1 else 0


MATCHES: dict[str, Callable[[int, int, int], int]] = {"leading": leading, "proportional": proportional}


@torch.no_grad()
def initialize_from(
    ann: nn.Module, snn: Network, match: str = "leading", shortcuts: bool = True, scale: float = 1.0
) -> Network:
    """Copies the teacher's convolutions and batch normalizations into the student, and returns the student.

    Args:
        ann: the teacher, with `stages`.
        snn: the student, with `stages`; changed in place, its head stays as it is.
        match: "leading" or "proportional".
        shortcuts: copy projection shortcuts as well.
        scale: of batch normalizations' outputs: theta makes a teacher's unit currents as large as the threshold.

    Raises:
        ValueError: an unknown `match`.
        RunError: a network without stages, or layers that do not correspond (basic to bottleneck blocks, other
            kernels), naming the first.
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
    ann: nn.Module, snn: nn.Module, match: Callable[[int, int, int], int], shortcuts: bool = True
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yields the teacher's and the student's layer, convolutions and batch normalizations, in the student's order."""
    theirs, ours = _stages(ann, "teacher"), _stages(snn, "student")
    for stage, blocks in ours.items():
        if stage not in theirs:
            raise RunError(f"{stage} has nothing to start from: the teacher's stages are {', '.join(theirs)}")
        for j, student in enumerate(blocks):
            teacher = theirs[stage][match(j, len(blocks), len(theirs[stage]))]
            for name, module in snn.get_submodule(student).named_modules():
                if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) and (shortcuts or "downsample" not in name):
                    yield _pair(ann, snn, f"{teacher}.{name}".rstrip("."), f"{student}.{name}".rstrip("."))


def _stages(network: nn.Module, role: str) -> dict[str, list[str]]:
    """{stage: dotted names of its blocks}; a stage that is no Sequential is one block."""
    names = getattr(network, "stages", None)
    if not names:
        raise RunError(
            f"arms init and idsnn start a network from its teacher by stages, and the {role} {type(network).__name__} "
            'has none: give it `stages = ("conv1", "layer1", ...)`, or take --arm kd or baseline'
        )
    parts = {name: network.get_submodule(name) for name in names}
    return {
        name: [f"{name}.{j}" for j in range(len(part))] if isinstance(part, nn.Sequential) else [name]
        for name, part in parts.items()
    }


def _pair(ann: nn.Module, snn: nn.Module, teacher: str, student: str) -> tuple[nn.Module, nn.Module]:
    """The two layers of these names, where both are there and their kernels have one size."""
    ours = snn.get_submodule(student)
    try:
        theirs = ann.get_submodule(teacher)
    except AttributeError:
        raise RunError(f"{student} {_shape(ours)} has nothing to start from: the teacher has no {teacher}") from None
    if type(theirs) is not type(ours) or _shape(theirs)[2:] != _shape(ours)[2:]:
        raise RunError(
            f"{student} {_shape(ours)} cannot start from the teacher's {teacher} {_shape(theirs)}: "
            "their blocks must be of one kind (ResNets 18 and 34, or 50 and 101)"
        )
    return theirs, ours


def _shape(layer: nn.Module) -> list[int]:
    return list(layer.weight.shape) if isinstance(layer.weight, Tensor) else []
