"""One time step of a torch module, traced into a `Network`.

Every network of idsnn has a method `forward_step(x)` for this; of other modules `forward` is taken. Spiking layers are
called as `lif(x)`, as `lif(x, mem)` with `mem` an argument of the forward, or with snnTorch's `init_hidden=True`;
their spikes go on, and so may their membranes. Dropout and identities are left out, as in eval mode.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from snntorch._neurons.neurons import SpikingNeuron
from torch import fx, nn

from idsnn_deploy.errors import UnsupportedError

from .hooks import refuse_hooks
from .network import INPUT, OUTPUT, Layer, Network
from .snntorch_neurons import MEMBRANE, Readout, kind_in

Sources = tuple[str, ...]
STATE = object()  # stands for a state that is handed in or out


class Held(NamedTuple):
    """Stands for the membrane that a spiking layer hands out; it may be read."""

    layer: Layer


ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

# The layer that a call of a function or method stands for, given its arguments after the first.
FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {
    torch.flatten: lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    "flatten": lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.dropout: lambda p=0.5, training=False, inplace=False: nn.Dropout(p),
}


def trace_step(model: nn.Module) -> Network:
    """The layers of one time step, in order; modules are shared with the model, not copied.

    Raises:
        UnsupportedError: control flow that depends on data, a function that is not a layer, a spiking layer that is
            called twice or given its state by anything but the caller, a hook or parametrization; named by its dotted
            path.
    """
    refuse_hooks(model)
    function = "forward_step" if hasattr(model, "forward_step") else "forward"
    try:
        graph = _Tracer(function).trace(model)
    except Exception as error:  # whatever the model's own code raises at a stand-in for a tensor
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(
            f"{type(model).__name__}.{function} cannot be traced as one time step: {reason}"
        ) from error
    return _Reader(model, graph).network()


class _Tracer(fx.Tracer):
    def __init__(self, function: str) -> None:
        super().__init__()
        self.traced_func_name = function

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SpikingNeuron) or super().is_leaf_module(m, module_qualified_name)


class _Reader:
    """Walks an fx graph once; a value is the tuple of layers that it is the sum of."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.model, self.graph = model, graph
        self.layers: dict[str, Layer] = {}
        self.values: dict[fx.Node, Any] = {}

    def network(self) -> Network:
        read = {
            "placeholder": self._placeholder,
            "call_module": self._module,
            "call_function": self._function,
            "call_method": self._function,
            "get_attr": self._attribute,
        }
        for node in self.graph.nodes:
            if node.op == "output":
                outputs = self._output(node)
                return Network(tuple(self.layers.values()), outputs).pruned()
            self.values[node] = read[node.op](node)
        raise UnsupportedError(f"{type(self.model).__name__}: gives no output")

    def _placeholder(self, node: fx.Node) -> Any:
        return (INPUT,) if not self.values else STATE

    def _attribute(self, node: fx.Node) -> Any:
        if all(user.op == "call_module" and node in user.args[1:] for user in node.users):
            return None  # a spiking layer's state; `_module` says what is wrong with it
        raise UnsupportedError(f"{node.target}: a parameter that is used outside a layer has no NIR form")

    def _module(self, node: fx.Node) -> Any:
        module = self.model.get_submodule(str(node.target))
        if isinstance(module, NOTHING):
            return self._sources(node, node.args[0])
        return self._add(node, str(node.target), module)

    def _function(self, node: fx.Node) -> Any:
        if node.target in ADDITIONS:
            return self._sum(node)
        if node.target is operator.getitem:
            return self._item(node)
        make = FUNCTIONS.get(node.target)
        if make is None:
            name = getattr(node.target, "__name__", str(node.target))
            raise UnsupportedError(f"{_owner(node)}: `{name}` has no NIR form; use layers, `+` and torch.flatten")
        module = make(*node.args[1:], **node.kwargs)
        if isinstance(module, NOTHING):
            return self._sources(node, node.args[0])
        return self._add(node, ".".join(filter(None, (_owner(node, ""), node.name))), module)

    def _add(self, node: fx.Node, path: str, module: nn.Module) -> Sources:
        sources = self._sources(node, node.args[0])
        name = base = path.replace(".", "_")
        if isinstance(module, SpikingNeuron):
            if any(layer.module is module for layer in self.layers.values()):
                raise UnsupportedError(f"{path}: called twice in one time step; a spiking layer has one state")
            if any(self.values.get(state, state) not in (STATE, None) for state in self._states(node)):
                raise UnsupportedError(f"{path}: its state must be an argument of the forward, or left out")
        count = 0
        while name in self.layers or name in (INPUT, OUTPUT):
            count += 1
            name = f"{base}_{count}"
        self.layers[name] = Layer(name, path, module, sources)
        return (name,)

    def _states(self, node: fx.Node) -> list[Any]:
        given = [*node.args[1:], *node.kwargs.values()]
        if any(isinstance(each, fx.Node) and each.op == "get_attr" for each in given):
            raise UnsupportedError(f"{node.target}: its state must be an argument of the forward, or left out")
        return given

    def _sum(self, node: fx.Node) -> Sources:
        if node.kwargs.get("alpha", 1) != 1 or len(node.args) != 2:
            raise UnsupportedError(f"{_owner(node)}: a sum with a factor has no NIR form; scale the weights before it")
        total = (*self._sources(node, node.args[0]), *self._sources(node, node.args[1]))
        if len(set(total)) < len(total):
            twice = next(name for i, name in enumerate(total) if name in total[:i])
            raise UnsupportedError(
                f"{_owner(node)}: adds the output of `{twice}` twice; NIR has one edge between two nodes"
            )
        return total

    def _item(self, node: fx.Node) -> Any:
        value, index = self._value(node.args[0]), node.args[1]
        layer = self.layers.get(value[0]) if isinstance(value, tuple) and len(value) == 1 else None
        if layer is None or not isinstance(layer.module, SpikingNeuron) or not isinstance(index, int):
            raise UnsupportedError(f"{_owner(node)}: indexing has no NIR form, but for `spikes, membrane = lif(x)`")
        if index == MEMBRANE.get(kind_in(layer.module)):
            return Held(layer)
        return value if index == 0 else STATE

    def _sources(self, node: fx.Node, argument: Any) -> Sources:
        value = self._value(argument)
        if isinstance(value, Held):
            return self._membrane(value.layer)
        if not isinstance(value, tuple):
            what = "a membrane" if value is STATE else f"`{argument}`"
            raise UnsupportedError(f"{_owner(node)}: takes {what} as its input; only layers' outputs have a NIR form")
        return value

    def _membrane(self, neuron: Layer) -> Sources:
        """A layer that stands for the membrane of a spiking layer."""
        name = f"{neuron.name}_membrane"
        known = self.layers.setdefault(name, Layer(name, neuron.path, Readout(neuron.module), (neuron.name,)))
        if not isinstance(known.module, Readout):
            raise UnsupportedError(f"{known}: has the name that the membrane of {neuron.path} needs; rename it")
        return (name,)

    def _output(self, node: fx.Node) -> Sources:
        (result,) = node.args
        first, *others = result if isinstance(result, (tuple, list)) else (result,)
        if any(self._value(other) is not STATE and not isinstance(self._value(other), Held) for other in others):
            raise UnsupportedError("the model returns several outputs; besides the first only membranes are understood")
        return self._sources(node, first)

    def _value(self, argument: Any) -> Any:
        return self.values.get(argument) if isinstance(argument, fx.Node) else None


def _owner(node: fx.Node, root: str = "the model") -> str:
    """The dotted path of the module in whose forward a node stands."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] if isinstance(entry, tuple) else key for key, entry in stack.items()]
    return str(paths[-1]) if paths and paths[-1] else root
