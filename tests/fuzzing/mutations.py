"""What is done to a file: to its bytes, whatever they are, or to its content, by its format."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import onnx
import torch

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]
WORDS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**53 + 1, 10**30, 1e300, -0.5, "", "x", "\x1b[2J", "[/x]", "$\\frac$", "\u202e",
    "../x",
    "a" * 5000, [], {}, [[]], [None], {"": None}, [1, [2, [3]]], "static", "frames", "NaN", float("1e308"),
)  # fmt: skip


def pick(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


# ---- bytes ----------------------------------------------------------------------------------------------------------


def bit(data: bytes, rng: Rng) -> bytes:
    found = bytearray(data)
    found[rng.integers(len(found))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def some_bytes(data: bytes, rng: Rng) -> bytes:
    found = bytearray(data)
    for place in rng.integers(len(found), size=int(rng.integers(1, 20))):
        found[place] = rng.integers(256)
    return bytes(found)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def number(data: bytes, rng: Rng) -> bytes:
    size = pick(rng, (1, 2, 4, 8))
    place = int(rng.integers(max(1, len(data) - size)))
    word = (pick(rng, WORDS) % 256**size).to_bytes(size, pick(rng, ("little", "big")))
    return data[:place] + word + data[place + size :]


def moved(data: bytes, rng: Rng) -> bytes:
    a, b = (int(v) for v in rng.integers(len(data), size=2))
    size = int(rng.integers(1, 256))
    return data[:a] + data[b : b + size] + data[a + pick(rng, (0, size)) :]


def taken_out(data: bytes, rng: Rng) -> bytes:
    a = int(rng.integers(len(data)))
    return data[:a] + data[a + int(rng.integers(1, 64)) :]


BYTES: dict[str, Mutation] = {
    "bit": bit,
    "bytes": some_bytes,
    "cut": cut,
    "number": number,
    "moved": moved,
    "taken out": taken_out,
}


# ---- content --------------------------------------------------------------------------------------------------------


def odd_value(value: Any, rng: Rng) -> Any:
    """A JSON value with one odd thing in it: a value replaced, a key gone, an item twice."""
    value = copy.deepcopy(value)
    holders, stack = [], [value]
    while stack:
        each = stack.pop()
        if isinstance(each, (dict, list)) and each:
            holders.append(each)
            stack.extend(each.values() if isinstance(each, dict) else each[:50])
    if not holders:
        return pick(rng, ODD)
    holder = pick(rng, holders)
    key = pick(rng, list(holder) if isinstance(holder, dict) else range(len(holder)))
    match int(rng.integers(5)):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.extend([holder[key]] * int(rng.integers(1, 4)))
        case 2 if isinstance(holder, dict):
            holder[f"{key}{pick(rng, ('x', chr(27), '[/b]', '$'))}"] = holder.pop(key)
        case _:
            holder[key] = copy.deepcopy(pick(rng, ODD))
    return value


def json_value(data: bytes, rng: Rng) -> bytes:
    return json.dumps(odd_value(json.loads(data), rng)).encode()


def _odd_array(array: np.ndarray[Any, Any], rng: Rng) -> np.ndarray[Any, Any]:
    match int(rng.integers(8)):
        case 0:
            return array.reshape(-1)
        case 1:
            return array[..., None]
        case 2:
            return array[:0] if array.ndim else array[None]
        case 3:
            return array.astype(pick(rng, ("f8", "f2", "i8", "u1", "?", "U4", "c8")))
        case 4:
            return np.full_like(array, pick(rng, (np.nan, np.inf, 1e30, -1e30, 0)) if array.dtype.kind == "f" else -1)
        case 5:
            return np.concatenate([array, array], axis=-1) if array.ndim else array[None]
        case 6:
            return array * 1000 if array.dtype.kind in "fiu" else array
        case _:
            found = array.copy()
            if found.size:
                found.reshape(-1)[int(rng.integers(found.size))] = 1
            return found


def arrays(data: bytes, rng: Rng) -> bytes:
    with np.load(io.BytesIO(data)) as file:
        held = dict(file)
    name = pick(rng, list(held))
    if rng.integers(6):
        held[name] = _odd_array(held[name], rng)
    else:
        held[pick(rng, ("x", "../x", "images", name + ".npy"))] = held.pop(name)
    stream = io.BytesIO()
    np.savez(stream, **held)
    return stream.getvalue()


def array(data: bytes, rng: Rng) -> bytes:
    """The array of an .npy file, or its fields under other names."""
    held = np.load(io.BytesIO(data))
    if held.dtype.names is None:
        held = _odd_array(held, rng)
    else:
        name = pick(rng, held.dtype.names)
        match int(rng.integers(4)):
            case 0:
                held = held.astype(
                    [(each, pick(rng, ("f8", "f2", "i8", "u1", "?", "U4"))) for each in held.dtype.names]
                )
            case 1:
                held.dtype.names = tuple(
                    each if each != name else pick(rng, ("z", "x " * 99)) for each in held.dtype.names
                )
            case 2:
                held[name] = np.iinfo(held.dtype[name]).min if held.dtype[name].kind == "i" else 1
            case _:
                held = held[[each for each in held.dtype.names if each != name]].copy()
    stream = io.BytesIO()
    np.save(stream, held)
    return stream.getvalue()


def model(data: bytes, rng: Rng) -> bytes:
    """An ONNX model with one thing changed, as protobuf writes it."""
    found = onnx.load_model_from_string(data)
    graph = found.graph
    node, constant = pick(rng, graph.node), pick(rng, graph.initializer)
    others = (*(n for each in graph.node for n in (*each.input, *each.output)), "", "gone")
    match int(rng.integers(11)):
        case 0:
            node.op_type = pick(rng, ("Loop", "Mul", "Concat", "Sqrt", "Identity", "Exp", "Where", "Reshape", "Clip"))
        case 1:
            node.input[int(rng.integers(len(node.input)))] = pick(rng, others)
        case 2:
            graph.node.remove(node)
        case 3:
            graph.node.append(node)
        case 4 if node.attribute:
            attribute = pick(rng, node.attribute)
            values = attribute.ints
            if values:
                values[int(rng.integers(len(values)))] = pick(rng, (-1, 0, 1, 2, 7, 2**20, 2**31, 2**62))
            else:
                attribute.i = pick(rng, (-1, 0, 1, 2, 7, 2**20, 2**31, 2**62))
        case 5 if constant.dims:
            constant.dims[int(rng.integers(len(constant.dims)))] = pick(rng, (0, 1, 2, 3, 2**20, 2**40))
        case 6:
            array = _odd_array(onnx.numpy_helper.to_array(constant), rng)
            constant.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), constant.name))
        case 7 if found.metadata_props:
            entry = pick(rng, found.metadata_props)
            entry.value = json.dumps(pick(rng, ODD))
        case 8:
            port = pick(rng, [*graph.input, *graph.output])
            size = pick(rng, port.type.tensor_type.shape.dim)
            size.dim_value = pick(rng, (0, 1, 2, 5, 2**20, 2**40))
        case 9:
            pick(rng, [*graph.input, *graph.output]).name = pick(rng, others)
        case _:
            constant.data_location = onnx.TensorProto.EXTERNAL
            constant.external_data.add(key="location", value="manifest.json")
    return found.SerializeToString()


def graph(data: bytes, rng: Rng) -> bytes:
    """A NIR file with one data set or group changed, as h5py writes it."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = pick(rng, names)
        item = file[name]
        if isinstance(item, h5py.Group) or not rng.integers(5):
            del file[name]
        elif name.endswith("idsnn"):
            text = json_value(item[()], rng).decode()
            del file[name]
            file.create_dataset(name, data=text.replace("\0", ""), dtype=h5py.string_dtype())
        elif item.dtype.kind == "O":
            del file[name]
            text = pick(rng, ("LIF", "Affine", "Input", "input", "output", "", "x" * 10_000, "\x1b", "é"))
            file.create_dataset(name, data=text, dtype=h5py.string_dtype())
        else:
            array = np.asarray(_odd_array(np.asarray(item[()]), rng))
            del file[name]
            if array.dtype.kind == "U":
                array = array.astype("S4")
            file.create_dataset(name, data=array)
    return stream.getvalue()


def _odd_tensors(held: Any, rng: Rng) -> Any:
    held = dict(held)
    name = pick(rng, list(held))
    each = held[name]
    if isinstance(each, torch.Tensor) and rng.integers(4):
        array = _odd_array(each.numpy(), rng)
        held[name] = torch.zeros(3) if array.dtype.kind == "U" else torch.from_numpy(np.ascontiguousarray(array))
    elif isinstance(each, dict) and each and rng.integers(4):
        held[name] = _odd_tensors(each, rng)
    elif rng.integers(2):
        held[name] = pick(rng, ODD)
    else:
        held[pick(rng, (1, "x", "module.x", None))] = held.pop(name)
    return held


def pickled(data: bytes, rng: Rng) -> bytes:
    """What torch saved, with one entry changed."""
    stream = io.BytesIO()
    torch.save(_odd_tensors(torch.load(io.BytesIO(data), weights_only=True), rng), stream)
    return stream.getvalue()


def safetensors(data: bytes, rng: Rng) -> bytes:
    """Another header before the same bytes."""
    size = int.from_bytes(data[:8], "little")
    head = json.dumps(odd_value(json.loads(data[8 : 8 + size]), rng)).encode()
    return len(head).to_bytes(8, "little") + head + data[8 + size :]
