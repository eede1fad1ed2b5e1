"""The maximum of spikes, which is their OR: the sum of a window, and whether it is above 1/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from .cells import Fire, single
from .sum_pooling import SumPool2d
from .values import Op, ReasonError, Sum, Value

if TYPE_CHECKING:
    from .calls import Calls


def called(calls: Calls, path: str, module: Any, value: Sum) -> Value:
    """A max pooling called.

    Raises:
        ReasonError: of anything but spikes, or dilated.
    """
    if len(value.terms) != 1 or value.terms[0][1] != 1 or not gives_spikes(value.terms[0][0]):
        raise ReasonError(
            "takes the maximum of values that are no spikes, which has no NIR form; move it behind the neuron, or use "
            "AvgPool2d"
        )
    if module.dilation not in (1, (1, 1)):
        raise ReasonError("dilation has no NIR form; leave it out")
    window = (module.kernel_size, module.stride, module.padding)
    counts = calls.cached((path, "sum", window), lambda: SumPool2d(*window))
    fire = calls.cached((path, "any", window), lambda: Fire(single(0.5)))
    shape = calls.shape_of(path, counts, value.shape)
    counted = calls.op(f"{path}.sum", counts, value, shape)
    return calls.op(path, fire, counted, shape)


def gives_spikes(op: Op) -> bool:
    """Whether a call gives 0 and 1 only."""
    if isinstance(op.module, nn.Flatten):
        return len(op.inputs) == 1 and op.inputs[0][1] == 1 and gives_spikes(op.inputs[0][0])
    return op.spiking or isinstance(op.module, Fire)
