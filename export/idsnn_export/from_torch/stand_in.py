"""What a model's own forward is given in place of a tensor: it has a shape and no numbers, and records what is done.

Shapes are plain numbers, so that `x.size(0)`, `range(x.shape[0])` and `x.view(x.size(0), -1)` mean what they say. What
would have to look at numbers (`if x.sum() > 0`, `float(x)`) is refused with its line.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import snntorch
import torch

from idsnn_deploy.errors import UnsupportedError

LIBRARIES = tuple(str(Path(file).parent) for file in (str(torch.__file__), str(snntorch.__file__), __file__))
# What carries out SpikingJelly's layers; its models are read as a user's own code is.
FRAMEWORKS = tuple(f"spikingjelly.activation_based.{part}" for part in ("base", "functional", "layer", "neuron"))


class Listener(Protocol):
    """Who is told of all that is done with stand-ins."""

    def function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Does what torch's function or method of that name does."""

    def shape(self, stand_in: StandIn) -> tuple[int, ...]:
        """With batch and time."""


class StandIn:
    """In place of a tensor."""

    def __init__(self, listener: Listener, value: Any) -> None:
        self._listener, self._value = listener, value

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        listener = next(found for found in _flat([args, kwargs or {}]) if isinstance(found, StandIn))._listener
        return listener.function(function.__name__, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(torch.Tensor, name):
            raise AttributeError(f"a tensor has no attribute {name!r}")
        return lambda *args, **kwargs: self._listener.function(name, self, *args, **kwargs)

    @property
    def shape(self) -> torch.Size:
        """As of a tensor."""
        return torch.Size(self._listener.shape(self))

    def size(self, dim: int | None = None) -> Any:
        """As of a tensor."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """As of a tensor."""
        return len(self.shape)

    def numel(self) -> int:
        """As of a tensor."""
        return self.shape.numel()

    ndim = property(dim)
    dtype = torch.float32
    device = torch.device("cpu")
    is_cuda = False
    requires_grad = False

    @property
    def data(self) -> StandIn:
        """Itself."""
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._listener.function("unbind", self, 0))

    def __getitem__(self, index: Any) -> Any:
        return self._listener.function("getitem", self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._listener.function("setitem", self, index, value)

    def _look(self, *_: Any, **__: Any) -> Any:
        raise UnsupportedError(
            f"{source_line()}: looks at the numbers of a tensor, which are others for every input; "
            "the network must do the same for all inputs"
        )

    __bool__ = __float__ = __int__ = __index__ = item = tolist = numpy = _look
    __lt__ = __le__ = __gt__ = __ge__ = _look
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return False if other is None else bool(self._look())

    def __ne__(self, other: object) -> bool:
        return other is None or bool(self._look())


def _operator(name: str, *, swapped: bool = False) -> Any:
    def call(self: StandIn, *others: Any) -> Any:
        args = (*others, self) if swapped else (self, *others)
        return self._listener.function(name, *args)

    return call


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow", "neg"):
    setattr(StandIn, f"__{_name}__", _operator(_name))
    if hasattr(operator, f"i{_name}"):
        setattr(StandIn, f"__r{_name}__", _operator(_name, swapped=True))
        setattr(StandIn, f"__i{_name}__", _operator(f"{_name}_"))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value


def source_line() -> str:
    """Where the model's own code is, `file.py:12`: the innermost frame that is no library's; else its origin."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "record_forward":
            return str(frame.f_locals["calls"].origin)
        file = frame.f_code.co_filename
        if not file.startswith((*LIBRARIES, "<")) and not frame.f_globals.get("__name__", "").startswith(FRAMEWORKS):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
