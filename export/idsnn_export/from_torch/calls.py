"""A forward run once, over all its steps, with stand-ins for tensors: which layers it calls, and what each is given.

Layers (of torch.nn, of snnTorch, of the caller's table) are not run but noted; everything else of the model's code runs
as it is. A spiking layer's k-th call is its step k; between its calls its state is handed on, inside the layer or by
the forward, and starts from zeros: anything else is refused where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn
from torch.func import functional_call

from idsnn.networks.arguments import answer
from idsnn.neuron import LIF
from idsnn_deploy.errors import GraphError, UnsupportedError, first_line

from ..graph.shapes import Shape
from . import functions, layouts, max_pooling, over_time, own_nodes, spikingjelly_calls
from .cells import Fire, Weigh
from .fold_batchnorm import columns
from .nodes import refuse_layer
from .snntorch_neurons import HANDED, MEMBRANE, Readout, kind_in
from .stand_in import StandIn, source_line
from .states import States
from .sum_pooling import SumPool2d
from .values import (
    Grouped,
    Joined,
    Largest,
    NotOneStepError,
    Op,
    ReasonError,
    Sequence,
    State,
    Sum,
    Total,
    Value,
    full_shape,
)
from .written import Written, WrittenTensor

NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
LEAVES = ("torch.nn.", "snntorch.")
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Calls:
    """Who is told of everything that is done with stand-ins."""

    def __init__(
        self, model: nn.Module, shape: Shape, timesteps: int | None, nodes: own_nodes.Nodes, origin: str = ""
    ) -> None:
        self.model, self.nodes, self.origin = model, nodes, origin
        self.paths = {module: path or type(module).__name__ for path, module in model.named_modules()}
        self.owners = {id(p): path.rpartition(".")[0] for path, p in model.named_parameters()}
        self.batch = next(n for n in (11, 13, 17, 19, 23, 29, 31, 37) if n not in (*shape, timesteps))
        self.calls: dict[str, list[Op]] = {}
        self.states, self.written = States(model), Written(self)
        self._within: list[str] = []
        self._count = 0
        self._changed: list[Any] = []
        self._functions: dict[Any, nn.Module] = {}
        self._shapes: dict[tuple[nn.Module, Shape], Shape] = {}

    # ---- while the forward runs ----

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Calls of modules come here; the states inside spiking layers are at rest, and afterwards as they were."""
        original = nn.Module.__call__

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not any(isinstance(each, StandIn) for each in (*args, *kwargs.values())):
                return original(module, *args, **kwargs)
            if self.is_layer(module):
                return self.wrap(self.called(module, *self._bare(args), **self._bare(kwargs)))
            self._within.append(self.paths.get(module, ""))
            result = original(module, *args, **kwargs)
            self._within.pop()
            return result

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            with self.states.at_rest(), self.states.readable(self._remembered), self.written.restored():
                yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def is_layer(self, module: nn.Module) -> bool:
        """Whether a module is noted, and not looked into."""
        kind = type(module)
        framework = isinstance(module, SpikingNeuron) or f"{kind.__module__}.".startswith(LEAVES)
        known = kind not in CONTAINERS and (framework or spikingjelly_calls.is_spikingjelly(module))
        return kind in self.nodes or known

    def shape(self, stand_in: StandIn) -> tuple[int, ...]:
        """With batch and time."""
        return full_shape(self._readable(stand_in._value), self.batch)

    def wrap(self, value: Any) -> Any:
        """Stand-ins for values, also within tuples."""
        if isinstance(value, over_time.Maximum):
            return over_time.Maximum(*map(self.wrap, value))
        if isinstance(value, (tuple, list)):
            return type(value)(map(self.wrap, value))
        return StandIn(self, value) if isinstance(value, Value) else value

    def _bare(self, given: Any) -> Any:
        """Values for stand-ins; a membrane that is not handed back to its layer is read."""
        if isinstance(given, dict):
            return {name: self._bare(each) for name, each in given.items()}
        if isinstance(given, (tuple, list)):
            return type(given)(map(self._bare, given))
        return given._value if isinstance(given, StandIn) else given

    # ---- functions ----

    def function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Does what torch's function or method of that name does; with `_` behind, in place."""
        name = name.strip("_") + ("_" if name.endswith("_") and not name.startswith("__") else "")
        inplace, plain = name.endswith("_"), name.rstrip("_")
        do = functions.FUNCTIONS.get(name) or functions.FUNCTIONS.get(plain)
        if any(each is changed for each in args for changed in self._changed):
            raise UnsupportedError(f"{self._here(plain)}: reads a tensor that was changed in place; write x = x + y")
        try:
            if plain == "setitem":
                return self.written.write(*args)
            if do is None:
                instead = functions.INSTEAD.get(plain, "use layers, sums, pooling and reshaping")
                raise ReasonError(f"has no NIR form; {instead}")
            result = do(self, *self._read(args), **self._read(kwargs))
        except TypeError as error:
            raise UnsupportedError(f"{self._here(plain)}: is called as no NIR layer can say it ({error})") from error
        except ReasonError as error:
            kind = NotOneStepError if isinstance(error, NotOneStepError) and _is_input(args[0]) else UnsupportedError
            raise kind(f"{self._here(plain)}: {error}") from None
        if inplace and plain not in functions.SAME:
            return self._replaced(name, args[0], result)
        return self.wrap(result)

    def _replaced(self, name: str, target: Any, result: Any) -> Any:
        """What was changed in place."""
        if isinstance(target, StandIn):
            target._value = result
            return target
        self._changed.append(target)  # `x += y` gives the result its name; whoever reads the tensor again, is refused
        return self.wrap(result)

    def _here(self, name: str) -> str:
        owner = ".".join(filter(None, (self._within[-1] if self._within else "", f"`{name}`")))
        line = source_line()
        return f"{owner}{line and f' at {line}'}"

    def _read(self, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: self._read(each) for name, each in given.items()}
        if isinstance(given, (tuple, list)) and not isinstance(given, torch.Size):
            return type(given)(map(self._read, given))
        if isinstance(given, WrittenTensor):
            return self.written.read(given)
        return self._readable(given._value) if isinstance(given, StandIn) else given

    def _readable(self, value: Value) -> Value:
        """A membrane as what it is when a layer or the answer reads it."""
        if not isinstance(value, State):
            return value
        if value.op is None or not value.membrane:
            what = "a state that the caller hands in" if value.op is None else "a state that is no membrane"
            raise UnsupportedError(f"{source_line()}: reads {what}, which has no NIR form")
        op = value.op
        readout = self.cached(("membrane", op.path), lambda: Readout(op.module))
        return self.op(f"{op.path}.membrane", readout, Sum(((op, 1.0),), op.shape), op.shape)

    def made(self, name: str, options: tuple[Any, ...], make: Callable[[], nn.Module]) -> tuple[str, nn.Module]:
        """A module that stands for a function, the same for the same options, and its path."""
        path = ".".join(filter(None, (self._within[-1] if self._within else "", name)))
        return path, self.cached((path, options), make)

    def cached(self, key: Any, make: Callable[[], nn.Module]) -> nn.Module:
        """The same module for the same key."""
        if key not in self._functions:
            self._functions[key] = make().eval()
        return self._functions[key]

    def named(self, name: str, weight: Tensor) -> str:
        """The path of the module whose weight it is, else of the function."""
        return self.owners.get(id(weight)) or name

    # ---- layers ----

    def called(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """A module of the model called."""
        path = self.paths.get(module, type(module).__name__)
        try:
            if isinstance(module, SpikingNeuron) and type(module) not in self.nodes:
                return self._spiking(path, module, *args, **kwargs)
            if len(args) != 1 or kwargs:
                raise ReasonError("is given more than one tensor; layers take one")
            value = self._readable(args[0])
            if type(module) in self.nodes:
                return own_nodes.called(self, path, module, value)
            if spikingjelly_calls.is_spikingjelly(module):
                return spikingjelly_calls.called(self, path, module, value)
            return self.layer(path, module, value)
        except ReasonError as error:
            raise type(error)(f"{self.described_layer(path, module)}: {error}") from None

    def layer(self, path: str, module: nn.Module, value: Value) -> Value:
        """A module applied to a value of any kind."""
        if isinstance(module, NOTHING):
            return value
        refuse_layer(path, module, source_line())
        if isinstance(value, Sequence):
            if value.axes != "folded" and not isinstance(module, (nn.Linear, Weigh)):
                raise UnsupportedError(
                    f"{self.described_layer(path, module)}: is given all steps at once; fold them into the batch with "
                    "x.flatten(0, 1), or call it step by step"
                )
            return value.map(lambda step: self.layer(path, module, step))
        if isinstance(value, Total):
            if not value.mean and getattr(module, "bias", None) is not None:
                raise UnsupportedError(
                    f"{self.described_layer(path, module)}: is given a sum over the steps; give it the mean"
                )
            return Total(tuple(self.layer(path, module, step) for step in value.steps), value.factor)  # type: ignore[misc]
        if isinstance(value, (Largest, State, Grouped)):
            raise UnsupportedError(
                f"{self.described_layer(path, module)}: is given a maximum, a state or groups; give it what layers give"
            )
        if isinstance(value, Joined):
            return self._joined(path, module, value)
        if isinstance(module, nn.MaxPool2d):
            return max_pooling.called(self, path, module, value)
        return self.op(path, module, value, self.shape_of(path, module, value.shape))

    def _joined(self, path: str, module: nn.Module, value: Joined) -> Value:
        """W cat(a, b) = W_a a + W_b b"""
        if isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, SumPool2d)):
            return Joined(tuple(self.layer(path, module, part) for part in value.parts))  # type: ignore[misc]
        if isinstance(module, nn.Flatten):
            return layouts.flatten(self, value, module.start_dim, module.end_dim)
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) or getattr(module, "groups", 1) != 1:
            raise UnsupportedError(
                f"{self.described_layer(path, module)}: reads tensors that are joined; only weights without groups can"
            )
        first, total = 0, None
        for part in value.parts:
            last = first + part.shape[0]
            places = (first, last)
            sliced = self.cached((path, *places), lambda places=places: columns(module, *places))  # type: ignore[misc]
            found = self.op(path, sliced, part, self.shape_of(path, sliced, part.shape))
            total, first = found if total is None else total.plus(found), last
        assert total is not None
        return total

    def _spiking(self, path: str, module: Any, x: Any, *states: Any, **named: Any) -> Any:
        """One step of a spiking layer, which is its k-th call."""
        refuse_layer(path, module, source_line())
        value = self._readable(x)
        handed = dict(zip(HANDED[kind_in(module)], states, strict=False))
        self.states.check(self.described_layer(path, module), module, self.calls.get(path, []), {**handed, **named})
        spikes = self.fired(path, module, value)
        ((op, _),) = spikes.terms
        if (module.init_hidden and not module.output) or (isinstance(module, LIF) and not states and not named):
            return spikes
        return (spikes, *_states(op))

    def _remembered(self, module: nn.Module, name: str) -> Any:
        """The state of that name after a layer's last call; None where it was not called."""
        calls = self.calls.get(self.paths.get(module, ""))
        if not calls or type(module) in self.nodes:
            return None
        *others, membrane = _states(calls[-1])
        spikes = Sum(((calls[-1], 1.0),), calls[-1].shape)
        return self.wrap({"mem": membrane, "syn": others[0] if others else None, "spk": spikes}[name])

    def fired(self, path: str, module: nn.Module, value: Value, shape: Shape | None = None) -> Sum:
        """The next step of a layer that remembers the one before."""
        if not isinstance(value, Sum):
            raise ReasonError("is given several steps, or tensors that are joined; give it one step of one tensor")
        before = self.calls.setdefault(path, [])
        op = self._new(path, module, value, shape or value.shape, time=len(before), spiking=True)
        before.append(op)
        return Sum(((op, 1.0),), op.shape)

    # ---- operations ----

    def op(self, path: str, module: nn.Module, value: Sum, shape: Shape) -> Sum:
        """A call of a layer that remembers nothing."""
        return Sum(((self._new(path, module, value, shape, time=value.time), 1.0),), shape)

    def _new(
        self, path: str, module: nn.Module, value: Sum, shape: Shape, time: int | None, spiking: bool = False
    ) -> Op:
        self._count += 1
        return Op(path, module, value.terms, time, shape, source_line(), spiking, self._count)

    def shape_of(self, path: str, module: Any, shape: Shape) -> Shape:
        """What a layer gives of one sample, given that shape."""
        if isinstance(module, (Fire, Weigh, Readout)):
            return shape
        if (module, shape) not in self._shapes:
            given = {name: each.to("meta") for name, each in (*module.named_parameters(), *module.named_buffers())}
            try:
                with torch.no_grad():
                    x = torch.empty(self.batch, *shape, device="meta", dtype=_dtype(module))
                    out = functional_call(module, given, (x,))
            except (RuntimeError, ValueError, IndexError) as error:
                reason = first_line(error)
                raise GraphError(f"{self.described_layer(path, module)}: does not take {shape} ({reason})") from None
            if out.shape[:1] != (self.batch,):
                raise UnsupportedError(
                    f"{self.described_layer(path, module)}: reaches into the batch axis; use nn.Flatten()"
                )
            self._shapes[module, shape] = tuple(out.shape[1:])
        return self._shapes[module, shape]

    def described_layer(self, path: str, module: nn.Module) -> str:
        """A layer, and where it is called."""
        line = source_line()
        return f"{path} ({type(module).__name__}){line and f' at {line}'}"

    def described(self, line: str = "") -> str:
        """The model, and where it comes from."""
        line = line or self.origin
        return f"{type(self.model).__name__}{line and f' at {line}'}"

    def answer(self, returned: Any) -> Value:
        """What the forward returns: the first of a tuple, a list of steps, or a tensor."""
        returned = answer(returned)
        if isinstance(returned, list) and returned and all(isinstance(each, StandIn) for each in returned):
            return over_time.stack(self, self._read(returned))
        if isinstance(returned, WrittenTensor):
            try:
                return self.written.read(returned)
            except ReasonError as error:
                raise UnsupportedError(f"{self.described()}: {error}") from None
        if not isinstance(returned, StandIn):
            raise UnsupportedError(f"{self.described()}: gives no output that depends on its input")
        return self._readable(returned._value)


def _is_input(x: Any) -> bool:
    """Whether a stand-in is the network's input itself."""
    value = x._value if isinstance(x, StandIn) else None
    return isinstance(value, Sum) and [op.module for op, _ in value.terms] == [None]


def _dtype(module: nn.Module) -> torch.dtype:
    return next((each.dtype for each in module.parameters()), torch.float32)


def _states(op: Op) -> tuple[State, ...]:
    """What a layer of snnTorch remembers after a call, its membrane last."""
    membrane = MEMBRANE[kind_in(op.module)]
    return tuple(State(op, i, i == membrane, op.shape) for i in range(1, membrane + 1))
