"""What comes out of an ONNX operator, given what goes in: sizes alone, so that nothing is computed to know them.

    Tensor      shape (sizes), and its numbers where they are known before it runs: shapes, axes, indices
    rule        (inputs, attributes, how many outputs) → the outputs
    work        (inputs, attributes) → operations per element of the output

The batch is a number larger than every other product of sizes can be, `BATCH`. A tensor of n elements then has
n // BATCH elements per sample and n % BATCH besides, and whatever grows faster than the batch shows at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BATCH = 2**120
Attributes = Mapping[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor before anything runs.

    Attributes:
        shape: its sizes; the batch is `BATCH`.
        numbers: its elements, where they are known integers.
    """

    shape: Shape
    numbers: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)


Rule = Callable[[Sequence[Tensor], Attributes, int], list[Tensor]]
Work = Callable[[Sequence[Tensor], Attributes], int]


def same(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """The shape of the first input."""
    return [Tensor(inputs[0].shape)]


def broadcast(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Sizes from the right; a size of 1 gives way."""
    if all(each.shape in (inputs[0].shape, ()) for each in inputs):
        return [Tensor(inputs[0].shape)]
    rank = max(len(each.shape) for each in inputs)
    shapes = [(1,) * (rank - len(each.shape)) + each.shape for each in inputs]
    return [Tensor(tuple(map(_one_size, zip(*shapes, strict=True))))]


def _one_size(sizes: Sequence[int]) -> int:
    others = {size for size in sizes if size != 1}
    _hold(len(others) <= 1, f"sizes {sorted(others)} do not go together")
    return others.pop() if others else 1


def convolution(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """(N, C, n...) with weights (O, C / groups, k...) → (N, O, m...)."""
    x, w = inputs[0].shape, inputs[1].shape
    _hold(len(x) == len(w) >= 3, f"a convolution of {x} with {w}")
    kernel = tuple(attributes.get("kernel_shape", w[2:]))
    _hold(kernel == w[2:], f"a kernel_shape of {kernel} for weights of {w}")
    return [Tensor((x[0], w[0], *_windows(x[2:], kernel, attributes)))]


def quantized_convolution(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """The same; each of the two brings a scale and a zero point."""
    return convolution([inputs[0], inputs[3]], attributes, outputs)


def pool(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """(N, C, n...) → (N, C, m...)."""
    x, kernel = inputs[0].shape, tuple(attributes.get("kernel_shape", ()))
    _hold(len(x) == len(kernel) + 2 >= 3, f"a window of {kernel} over {x}")
    return [Tensor((*x[:2], *_windows(x[2:], kernel, attributes)))]


def _windows(sizes: Shape, kernel: Shape, attributes: Attributes) -> Shape:
    """m = (n + before + after - d (k - 1) - 1) // stride + 1, for each axis."""
    axes = len(sizes)
    strides = attributes.get("strides", [1] * axes)
    dilations = attributes.get("dilations", [1] * axes)
    pads = attributes.get("pads", [0] * 2 * axes)
    _hold(len(strides) == len(dilations) == axes and len(pads) == 2 * axes, f"{axes} axes with other windows")
    _hold(min(*strides, *dilations, *kernel) >= 1 and min(pads) >= 0, "a window of sizes below 1, or padding below 0")
    found = []
    for n, k, stride, d, before, after in zip(sizes, kernel, strides, dilations, pads[:axes], pads[axes:], strict=True):
        found.append((n + before + after - d * (k - 1) - 1) // stride + 1)
    return tuple(found)


def gemm(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """(N, I) with (I, O), or (O, I) where transB → (N, O)."""
    a, b = inputs[0].shape, inputs[1].shape
    _hold(len(a) == len(b) == 2, f"a product of {a} and {b}")
    rows, columns = b[::-1] if attributes.get("transB") else b
    _hold(a[1] == rows, f"a product of {a} and {b}")
    return [Tensor((a[0], columns))]


def concat(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """One behind the other along an axis."""
    first = list(inputs[0].shape)
    axis = _axis(attributes["axis"], len(first))
    _hold(all(len(each.shape) == len(first) for each in inputs), "a concatenation of other ranks")
    first[axis] = sum(each.shape[axis] for each in inputs)
    return [Tensor(tuple(first))]


def split(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Equal parts along an axis."""
    shape = list(inputs[0].shape)
    axis = _axis(attributes["axis"], len(shape))
    _hold(shape[axis] % outputs == 0, f"{shape} in {outputs} parts along axis {axis}")
    shape[axis] //= outputs
    return [Tensor(tuple(shape))] * outputs


def reshape(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """The same elements; -1 takes what is left, 0 keeps a size."""
    x, wanted = inputs[0], _numbers(inputs[1])
    _hold(all(n >= -1 for n in wanted) and wanted.count(-1) <= 1, f"a reshape to {wanted}")
    _hold(all(n or i < len(x.shape) for i, n in enumerate(wanted)), f"a reshape of {x.shape} to {wanted}")
    sizes = [n or x.shape[i] for i, n in enumerate(wanted)]
    known = math.prod(n for n in sizes if n != -1)
    if -1 in sizes and known:
        sizes[sizes.index(-1)] = x.size // known
    _hold(math.prod(sizes) == x.size, f"a reshape of {x.shape} to {wanted}")
    return [Tensor(tuple(sizes))]


def transpose(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Axes in another order."""
    shape, order = inputs[0].shape, attributes["perm"]
    _hold(sorted(order) == list(range(len(shape))), f"axes {order} of {shape}")
    return [Tensor(tuple(shape[axis] for axis in order))]


def gather(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """An axis gives way to the shape of the indices."""
    shape, axis = inputs[0].shape, _axis(attributes.get("axis", 0), len(inputs[0].shape))
    return [Tensor((*shape[:axis], *inputs[1].shape, *shape[axis + 1 :]))]


def reduced(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Axes, from an attribute or the second input, become 1 or go."""
    shape = inputs[0].shape
    named = _numbers(inputs[1]) if len(inputs) > 1 else attributes.get("axes", range(len(shape)))
    axes = {_axis(axis, len(shape)) for axis in named}
    kept = attributes.get("keepdims", 1)
    return [Tensor(tuple(1 if i in axes else n for i, n in enumerate(shape) if kept or i not in axes))]


def shape_of(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """The sizes as numbers."""
    return [Tensor((len(inputs[0].shape),), inputs[0].shape)]


def of_shape(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """A tensor of the sizes that the input says."""
    sizes = _numbers(inputs[0])
    _hold(min(sizes, default=1) >= 0, f"a tensor of {sizes}")
    return [Tensor(sizes)]


def squeeze(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Axes of size 1 go."""
    shape = inputs[0].shape
    axes = {_axis(axis, len(shape)) for axis in _numbers(inputs[1])}
    _hold(all(shape[axis] == 1 for axis in axes), f"a squeeze of axes {sorted(axes)} of {shape}")
    return [Tensor(tuple(n for i, n in enumerate(shape) if i not in axes))]


def unsqueeze(inputs: Sequence[Tensor], attributes: Attributes, outputs: int) -> list[Tensor]:
    """Axes of size 1 come."""
    named, rest = _numbers(inputs[1]), iter(inputs[0].shape)
    rank = len(inputs[0].shape) + len(named)
    axes = {_axis(axis, rank) for axis in named}
    _hold(len(axes) == len(named), f"axes {named} twice")
    return [Tensor(tuple(1 if i in axes else next(rest) for i in range(rank)))]


def once(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    """One operation per element."""
    return 1


def of_weights(place: int) -> Work:
    """One multiplication per weight that an output channel has; the weights are the input at `place`."""
    return lambda inputs, attributes: inputs[place].size // max(1, inputs[place].shape[0])


def of_rows(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    """One multiplication per column of the first factor."""
    return inputs[0].shape[-1]


def of_window(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    """One addition per place of a window."""
    return math.prod(attributes.get("kernel_shape", ()))


def _axis(axis: int, rank: int) -> int:
    _hold(-rank <= axis < rank, f"axis {axis} of {rank}")
    return axis % rank


def _numbers(tensor: Tensor) -> tuple[int, ...]:
    if tensor.numbers is None:
        raise ValueError("sizes or axes that only running it would tell")
    return tensor.numbers


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
