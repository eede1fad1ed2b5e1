"""A graph under construction: nodes in order, constants by name, and which of them the outputs need.

`Value` is a tensor with what is known about it. Spikes stay bool until somebody needs numbers: a byte instead of four
in every copy, and the cast is made once for all consumers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from idsnn_deploy.arrays import Array

IR_VERSION, OPSET = 8, 17  # what onnxruntime 1.15 and every converter read

FLOAT, BOOL, UINT8 = int(TensorProto.FLOAT), int(TensorProto.BOOL), int(TensorProto.UINT8)
Dim = int | str


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, batch first: its name, and its ONNX element type (FLOAT, BOOL or UINT8)."""

    name: str
    dtype: int = FLOAT


class Profile(Protocol):
    """How the lowering says what not every runtime has the same operators for; `profiles` has the table.

    Attributes:
        folds: layers without memory see time folded into the batch, (T*N, ...), else T times (N, ...).
        pairs: 8-bit layers stand between QuantizeLinear and DequantizeLinear, else they are QLinearConv.
    """

    folds: bool
    pairs: bool

    def fires(self, e: Emitter, node: str, v: str, theta: Any) -> Value:
        """s = v > theta."""

    def reset(self, e: Emitter, node: str, s: Value, v: str, to: Any) -> str:
        """`to` where s, else v."""

    def moved(self, e: Emitter, node: str, s: Value, v: str, by: Any) -> str:
        """v + by where s, else v."""

    def arrived(self, e: Emitter, node: str, past: Sequence[str], delays: Array) -> str:
        """past[k] where the delay is k; 0 where the past is shorter."""

    def nonzero(self, e: Emitter, x: Value) -> Value:
        """1 where x is not 0."""


class Emitter:
    """Collects nodes and constants; every name is given once, with `.1`, `.2`, ... where it would come twice.

    Args:
        dt: the step in seconds, for the constants of neurons.
        profile: which operators say what not every runtime has.
        reserved: names that the graph's inputs and outputs will have.
        formats: how the weights of a layer are stored, by its name (see `int8`); plain float32 where absent.
    """

    def __init__(
        self, dt: float, profile: Profile, reserved: Sequence[str] = (), formats: Mapping[str, Any] | None = None
    ) -> None:
        self.dt, self.profile = dt, profile
        self.formats = dict(formats or {})
        self._suffix = ""
        self._taken = set(reserved)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._casts: dict[tuple[str, int], str] = {}
        self._shared: dict[str, str] = {}

    def at(self, t: int | None) -> None:
        """What is emitted from now on belongs to step t (None: to all of them); its names end in `.t0`, `.t1`, ..."""
        self._suffix = "" if t is None else f".t{t}"

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """The output of a new node."""
        return self.ops(kind, inputs, [name + self._suffix], **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> list[str]:
        """The outputs of a new node."""
        outputs = [self._fresh(name) for name in names]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def shared(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """The output of a node that is made once for all who ask; the same name is the same node."""
        if name not in self._shared:
            self._shared[name] = self.ops(kind, inputs, [name], **attributes)[0]
        return self._shared[name]

    def constant(self, name: str, array: ArrayLike) -> str:
        """A weight or a parameter; the same name is the same constant, however often it is asked for."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.array(array, order="C"), self._fresh(name))
        return self._constants[name].name

    def parameter(self, node: str, what: str, values: ArrayLike) -> str:
        """A parameter of neurons as float32, one number for all of them or per channel where they are equal."""
        return self.constant(f"{node}.{what}", collapse(np.asarray(values, np.float32)))

    def axes(self, *values: int) -> str:
        """An int64 vector: axes, or a shape."""
        text = "x".join(map(str, values))
        return self.constant(f"int64.{text}", np.array(values, np.int64))

    def cast(self, value: Value, dtype: int) -> str:
        """The tensor as `dtype`, cast at most once."""
        if value.dtype == dtype:
            return value.name
        key = (value.name, dtype)
        if key not in self._casts:
            kind = helper.tensor_dtype_to_np_dtype(dtype).name
            self._casts[key] = self.ops("Cast", [value.name], [f"{value.name}.{kind}"], to=dtype)[0]
        return self._casts[key]

    def float(self, value: Value) -> str:
        """The tensor as float32."""
        return self.cast(value, FLOAT)

    def sum(self, values: Sequence[Value], name: str) -> Value:
        """Their sum; a single one stays what it is."""
        if len(values) == 1:
            return values[0]
        total = self.float(values[0])
        for value in values[1:]:
            total = self.op("Add", [total, self.float(value)], name)
        return Value(total)

    def zeros(self, like: str, name: str) -> str:
        """float32 zeros of the shape of a tensor."""
        shape = self.op("Shape", [like], f"{name}.shape")
        return self.op("ConstantOfShape", [shape], f"{name}.zeros")  # its default value is a float32 zero

    def input(self, name: str, shape: Sequence[Dim], dtype: int = FLOAT) -> Value:
        """An input of the model."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return Value(name, dtype)

    def output(
        self, kind: str, inputs: Sequence[str], name: str, shape: Sequence[Dim], dtype: int = FLOAT, **attributes: Any
    ) -> None:
        """An output of the model, made by a new node."""
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def model(self, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model: one file, with what its outputs need and nothing else."""
        nodes, needed = [], {output.name for output in self._outputs}
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            nodes[::-1],
            name,
            self._inputs,
            self._outputs,
            [tensor for tensor in self._constants.values() if tensor.name in needed],
        )
        model = helper.make_model(
            graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="idsnn"
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _fresh(self, name: str) -> str:
        unique, n = name, 0
        while unique in self._taken:
            n += 1
            unique = f"{name}.{n}"
        self._taken.add(unique)
        return unique


def collapse(values: Array) -> Array:
    """The smallest array that broadcasts to the same: a scalar, one value per channel, or all of them."""
    values = np.asarray(values)
    if values.size and (values == values.flat[0]).all():
        return values.reshape(-1)[:1].reshape(())
    per_channel = values[(slice(None),) + (slice(0, 1),) * (values.ndim - 1)]
    return per_channel if (values == per_channel).all() else values
