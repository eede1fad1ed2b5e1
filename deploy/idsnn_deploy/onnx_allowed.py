"""Which ONNX models are run: those that `idsnn-export` writes, by one table of operators and bounds on what they need.

An ONNX file is a program. Operators loop, allocate what a number in the file says, read other files and call what a
plug-in registered. Ours use a short list of them, so before a runtime sees a byte, each file is read by `onnx_wire` and

    versions      are the one IR version and the one operator set that are written
    operators     are rows of `OPERATORS`, with their attributes and numbers of inputs
    constants     have as many bytes as their shape says
    sizes         of all tensors are followed through the graph: per sample at most 2^27 elements in one, 2^31 in all
    work          is at most 2^40 operations per sample

The table cannot be made from the lowering, which the floor must not import; a test holds both together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import onnx_shapes as shapes
from .errors import BundleError
from .onnx_shapes import BATCH, Rule, Tensor, Work
from .onnx_wire import Malformed, Message, read_model

IR_VERSION, OPSET = 8, 17
MAX_ELEMENTS, MAX_TOTAL, MAX_WORK = 2**27, 2**31, 2**40  # per sample
MAX_NODES = 2**15  # onnxruntime takes minutes to load them: its passes grow with the square
MAX_NAME, MAX_RANK = 1024, 8  # characters of a name, axes of a tensor
_NUMBERS_KNOWN = 64  # the most elements of a constant whose numbers a shape can need
# Element types that are written, and their bytes. No texts, which have no fixed size.
ELEMENTS = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}  # float32, uint8, int8, int32, int64, bool
_FLOAT, _INT64 = 1, 7
_INTEGER, _INTEGERS = 2, 7  # types of attributes
_WINDOW = {"kernel_shape": _INTEGERS, "strides": _INTEGERS, "pads": _INTEGERS}
_CONVOLUTION = {**_WINDOW, "dilations": _INTEGERS, "group": _INTEGER}


@dataclass(frozen=True)
class Operator:
    """What is allowed of one operator.

    Attributes:
        rule: its outputs from its inputs.
        inputs: the fewest and the most that it takes.
        attributes: their names and types.
        work: operations per element of the output.
        portable: only the profile for other runtimes writes it.
    """

    rule: Rule
    inputs: tuple[int, int]
    attributes: Mapping[str, int] = field(default_factory=dict)
    work: Work = shapes.once
    portable: bool = False


_MANY = 1 << 16
OPERATORS: dict[str, Operator] = {
    "Add": Operator(shapes.broadcast, (2, 2)),
    "Sub": Operator(shapes.broadcast, (2, 2)),
    "Mul": Operator(shapes.broadcast, (2, 2)),
    "Div": Operator(shapes.broadcast, (2, 2)),
    "Greater": Operator(shapes.broadcast, (2, 2)),
    "Where": Operator(shapes.broadcast, (3, 3)),
    "Identity": Operator(shapes.same, (1, 1)),
    "Cast": Operator(shapes.same, (1, 1), {"to": _INTEGER}),
    "Conv": Operator(shapes.convolution, (2, 3), _CONVOLUTION, shapes.of_weights(1)),
    "QLinearConv": Operator(shapes.quantized_convolution, (8, 9), _CONVOLUTION, shapes.of_weights(3)),
    "DequantizeLinear": Operator(shapes.same, (3, 3), {"axis": _INTEGER}),
    "Gemm": Operator(shapes.gemm, (2, 3), {"transB": _INTEGER}, shapes.of_rows),
    "AveragePool": Operator(shapes.pool, (1, 1), {**_WINDOW, "count_include_pad": _INTEGER}, shapes.of_window),
    "ReduceMean": Operator(shapes.reduced, (1, 1), {"axes": _INTEGERS, "keepdims": _INTEGER}),
    "ReduceMax": Operator(shapes.reduced, (1, 1), {"axes": _INTEGERS, "keepdims": _INTEGER}),
    "ReduceSum": Operator(shapes.reduced, (2, 2), {"keepdims": _INTEGER}),
    "Concat": Operator(shapes.concat, (1, _MANY), {"axis": _INTEGER}),
    "Split": Operator(shapes.split, (1, 1), {"axis": _INTEGER}),
    "Reshape": Operator(shapes.reshape, (2, 2)),
    "Transpose": Operator(shapes.transpose, (1, 1), {"perm": _INTEGERS}),
    "Gather": Operator(shapes.gather, (2, 2), {"axis": _INTEGER}),
    "Squeeze": Operator(shapes.squeeze, (2, 2)),
    "Unsqueeze": Operator(shapes.unsqueeze, (2, 2)),
    "Shape": Operator(shapes.shape_of, (1, 1)),
    "ConstantOfShape": Operator(shapes.of_shape, (1, 1)),
    "Clip": Operator(shapes.same, (3, 3), portable=True),
    "Ceil": Operator(shapes.same, (1, 1), portable=True),
    "Abs": Operator(shapes.same, (1, 1), portable=True),
    "Max": Operator(shapes.broadcast, (2, 2), portable=True),
    "QuantizeLinear": Operator(shapes.same, (3, 3), portable=True),
}


def check_model(data: bytes, where: str) -> None:
    """Looks at an ONNX file before a runtime does.

    Raises:
        BundleError: it is no ONNX model, or holds what `idsnn-export` does not write, or needs more than the bounds.
    """
    try:
        follow(read_model(data))
    except Malformed as cause:
        raise BundleError(f"{where}: no ONNX model that is run ({cause}); export the bundle again") from None
    except (ValueError, KeyError, IndexError, OverflowError) as cause:  # a message without one of its fields: KeyError
        reason = f"without {cause}" if isinstance(cause, KeyError) else str(cause)
        raise BundleError(f"{where}: is not run ({reason}); only what idsnn-export writes is") from None


def follow(model: Message) -> dict[str, Tensor]:
    """Every tensor of a model by name, as far as it is known before anything runs.

    Raises:
        ValueError: what is not allowed, or more than a bound.
        KeyError: a message without one of its fields.
    """
    opsets = [(each.get("domain", ""), each["version"]) for each in model["opsets"]]
    if model["ir_version"] != IR_VERSION or opsets != [("", OPSET)]:
        said = ", ".join(f"{domain} {version}".strip() for domain, version in opsets)
        raise ValueError(f"IR version {model['ir_version']} and operator sets {said}, not {IR_VERSION} and {OPSET}")
    odd = [each["key"] for each in model["properties"] if not each["key"].startswith(("idsnn.", "Image."))]
    if odd:
        raise ValueError(f"the property {odd[0]!r}")
    graph = model["graph"]
    if len(graph["nodes"]) > MAX_NODES:
        raise ValueError(f"{len(graph['nodes']):,} nodes; at most {MAX_NODES:,}")
    known: dict[str, Tensor] = {}
    for name, tensor in (*map(_constant, graph["constants"]), *map(_input, graph["inputs"])):
        _add(known, name, tensor)
    total, work = sum(tensor.size for tensor in known.values()), 0
    for node in graph["nodes"]:
        outputs, operations = _outcome(node, known)
        for name, tensor in zip(node["outputs"], outputs, strict=True):
            _add(known, name, tensor)
        total, work = total + sum(tensor.size for tensor in outputs), work + operations
        for what, found, most in (("elements in all", total, MAX_TOTAL), ("operations", work, MAX_WORK)):
            _bound(found, most, what)
    missing = [port["name"] for port in graph["outputs"] if port["name"] not in known]
    if missing:
        raise ValueError(f"the output {missing[0]!r} comes from nowhere")
    return known


def _outcome(node: Message, known: Mapping[str, Tensor]) -> tuple[list[Tensor], int]:
    """What a node gives, and how many operations that takes."""
    kind, names, count = node["operator"], node["inputs"], len(node["outputs"])
    row = OPERATORS.get(kind)
    if row is None:
        raise ValueError(f"the operator {kind!r}")
    fewest, most = row.inputs
    unknown = [name for name in names if name not in known]
    if unknown or not fewest <= len(names) <= most:
        raise ValueError(f"{kind} of {len(names)} inputs" + (f", {unknown[0]!r} unknown" if unknown else ""))
    if count != 1 and (kind != "Split" or not count):
        raise ValueError(f"{kind} with {count} outputs")
    inputs, attributes = [known[name] for name in names], _attributes(node)
    try:
        outputs = row.rule(inputs, attributes, count)
    except ValueError as cause:
        raise ValueError(f"{kind} {node['outputs'][0]!r}: {cause}") from None
    given = sum(tensor.size for tensor in outputs)
    return outputs, sum(tensor.size for tensor in inputs) + given * row.work(inputs, attributes)


def _attributes(node: Message) -> dict[str, Any]:
    allowed, found = OPERATORS[node["operator"]].attributes, {}
    for each in node["attributes"]:
        name, kind = each["name"], each["type"]
        value = each["integer"] if kind == _INTEGER and "integer" in each else each["integers"]
        right = kind == allowed.get(name) and name not in found and ("integer" in each) == (kind == _INTEGER)
        if not right or (kind == _INTEGER and each["integers"]):
            raise ValueError(f"{node['operator']} with the attribute {name!r}")
        if name == "to" and value not in ELEMENTS:
            raise ValueError(f"a cast to the element type {value}")
        found[name] = value
    return found


def _constant(tensor: Message) -> tuple[str, Tensor]:
    name, element, dims, data = tensor["name"], tensor["element"], tuple(tensor["dims"]), tensor["data"]
    if element not in ELEMENTS:
        raise ValueError(f"the constant {name!r} of element type {element}")
    if min(dims, default=1) < 0 or math.prod(dims) * ELEMENTS[element] != len(data):
        raise ValueError(f"the constant {name!r} of {dims} in {len(data):,} bytes")
    short = element == _INT64 and math.prod(dims) <= _NUMBERS_KNOWN
    return name, Tensor(dims, tuple(np.frombuffer(data, "<i8").tolist()) if short else None)


def _input(port: Message) -> tuple[str, Tensor]:
    name, tensor = port["name"], port["type"]["tensor"]
    sizes = tuple(_size(each) for each in tensor["shape"]["dims"])
    if tensor["element"] != _FLOAT or min(sizes, default=1) < 1:
        raise ValueError(f"the input {name!r} of element type {tensor['element']} and sizes {sizes}")
    return name, Tensor(sizes)


def _size(dimension: Message) -> int:
    """A size; a dimension with a name, or with nothing, is the batch."""
    if "size" in dimension and "symbol" in dimension:
        raise ValueError("a dimension with a size and a name")
    return int(dimension.get("size", BATCH))


def _add(known: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if not 0 < len(name) <= MAX_NAME or name in known:
        raise ValueError(f"the name {name[:60]!r} {'twice' if name in known else f'of {len(name)} characters'}")
    if min(tensor.shape, default=1) < 0 or len(tensor.shape) > MAX_RANK:
        raise ValueError(f"{name!r} of {len(tensor.shape)} axes, or of sizes below 0")
    _bound(tensor.size, MAX_ELEMENTS, f"elements in {name!r}")
    known[name] = tensor


def _bound(count: int, most: int, what: str) -> None:
    """Refuses more than `most` per sample, besides what does not depend on the batch, or what outgrows the batch."""
    here = sum(divmod(count, BATCH))
    if here > most:
        shown = f"{here:,}" if here < BATCH >> 8 else "a number that outgrows the batch"
        raise ValueError(f"{shown} {what}; at most {most:,} per sample")
