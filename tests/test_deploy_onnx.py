"""ONNX files from outside: what is not ours does not run, and nothing of it is read, followed or allocated."""

from __future__ import annotations

import itertools
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle as tiny
from tiny_bundle import FRAMES, STATIC, resigned

from idsnn_deploy.errors import BundleError
from idsnn_deploy.onnx_allowed import IR_VERSION, OPSET, check_model
from idsnn_deploy.onnx_wire import Malformed, read_model
from idsnn_deploy.session import Session

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
MIB = 2**20


def model(*nodes: Any, shape: tuple[Any, ...] = ("N", 4), more: dict[str, Any] | None = None, **constants: Any) -> Any:
    """A model with the input `image` and the output `logits`; `more` are arguments of `make_graph`."""
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    port, logits = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("image", "logits"))
    graph = helper.make_graph(list(nodes), "g", [port], [logits], initial, **(more or {}))
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def node(kind: str, inputs: str, output: str = "logits", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def changed(change: Callable[[Any], Any]) -> Any:
    found = model(node("Identity", "image"), w=np.zeros((4, 4), np.float32))
    change(found)
    return found


def external() -> Any:
    found = model(node("Gemm", "image w"), w=np.zeros((4, 4), np.float32))
    weight = found.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "64")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return found


def endless_loop() -> Any:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", "more_in", "more_out"), node("Identity", "x", "y")],
        "body",
        [info("i", TensorProto.INT64, []), info("more_in", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, None)],
        [info("more_out", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, None)],
    )
    return model(node("Loop", "count go image", body=body), count=np.int64(2**62), go=np.bool_(True))


def doubled(times: int) -> Any:
    names = ["image", *(f"x{i}" for i in range(1, times)), "logits"]
    return model(*(node("Concat", f"{a} {a}", b, axis=1) for a, b in itertools.pairwise(names)))


def outer(times: int) -> Any:
    """(1000, 1) + (1, 1000), and again of the result."""
    nodes, x = [], "column"
    for i in range(times):
        nodes += [node("Reshape", f"{x} down", f"a{i}"), node("Reshape", f"{x} across", f"b{i}")]
        nodes += [node("Add", f"a{i} b{i}", f"c{i}")]
        x = f"c{i}"
    return model(
        *nodes, node("Identity", "image"), column=np.zeros((1000, 1), np.float32),
        down=np.array([-1, 1]), across=np.array([1, -1]),
    )  # fmt: skip


def of_the_batch_squared() -> Any:
    nodes = [node("Reshape", "image down", "a"), node("Reshape", "image across", "b"), node("Add", "a b", "c")]
    return model(*nodes, node("Identity", "image"), shape=("N", 1), down=np.array([-1, 1]), across=np.array([1, -1]))


def laborious() -> Any:
    """Forty convolutions of 512 x 512 weights over 512 x 512 pixels: no tensor is large, the work is."""
    weight = np.zeros((1, 1, 512, 512), np.float32)
    names = ["image", *(f"x{i}" for i in range(40)), "logits"]
    pads = [256, 256, 255, 255]
    convs = [node("Conv", f"{a} w", b, pads=pads) for a, b in itertools.pairwise(names)]
    return model(*convs, shape=("N", 1, 512, 512), w=weight)


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "external data": (external, "the tensor at byte .* external data"),
    "a loop": (endless_loop, "the attribute at byte .* a subgraph"),
    "a branch": (
        lambda: model(node("If", "image", then_branch=helper.make_graph([], "a", [], []))),
        "the attribute at byte .* a subgraph",
    ),
    "a function": (
        lambda: changed(lambda m: m.functions.add(name="f", domain="d")),
        "the model at byte .* a function",
    ),
    "training": (lambda: changed(lambda m: m.training_info.add()), "the model at byte .* training"),
    "another domain": (
        lambda: model(node("FusedConv", "image", domain="com.microsoft")),
        "the node at byte .* a domain",
    ),
    "an operator set of others": (
        lambda: changed(lambda m: m.opset_import.add(domain="com.microsoft", version=1)),
        "operator sets",
    ),
    "another operator set": (lambda: changed(lambda m: setattr(m.opset_import[0], "version", 18)), "18, not 8 and 17"),
    "another IR version": (lambda: changed(lambda m: setattr(m, "ir_version", 10)), "IR version 10"),
    "an operator that ours never use": (lambda: model(node("Einsum", "image", equation="ij->ij")), "byte .* field 4"),
    "an operator without attributes": (lambda: model(node("Softmax", "image")), "the operator 'Softmax'"),
    "an attribute that ours never use": (
        lambda: model(node("Conv", "image w", group=1, auto_pad=1), w=np.zeros((4, 4), np.float32)),
        "attribute 'auto_pad'",
    ),
    "an attribute of another type": (lambda: model(node("Concat", "image image", axis=[1])), "attribute 'axis'"),
    "a cast to text": (lambda: model(node("Cast", "image", to=8)), "cast to the element type 8"),
    "a constant of text": (
        lambda: changed(lambda m: setattr(m.graph.initializer[0], "data_type", 8)),
        "element type 8",
    ),
    "a constant shorter than its shape": (
        lambda: changed(lambda m: m.graph.initializer[0].dims.append(10**9)),
        "64 bytes",
    ),
    "a sparse constant": (lambda: changed(lambda m: m.graph.sparse_initializer.add()), "the graph at byte .* a sparse"),
    "a setting of the runtime": (
        lambda: changed(lambda m: m.metadata_props.add(key="ort_config", value="{}")),
        "property 'ort_config'",
    ),
    "a large constant of a shape": (
        lambda: model(node("ConstantOfShape", "size"), size=np.array([2**16, 2**16])),
        "4,294,967,296 elements in 'logits'",
    ),
    "a shape that only running it tells": (
        lambda: model(node("Cast", "image", "size", to=7), node("ConstantOfShape", "size")),
        "only running it",
    ),
    "doubling": (lambda: doubled(40), "at most 134,217,728"),
    "an outer sum of outer sums": (lambda: outer(3), "elements in 'c1'"),
    "the batch squared": (of_the_batch_squared, "outgrows the batch"),
    "padding": (
        lambda: model(
            node("Conv", "image w", pads=[10**6] * 4), shape=("N", 1, 4, 4), w=np.zeros((1, 1, 1, 1), np.float32)
        ),
        "elements in 'logits'",
    ),
    "a gather of many": (
        lambda: model(
            node("Gather", "image i", "a", axis=1), node("Gather", "a i", "b", axis=1), node("Identity", "image"),
            i=np.zeros((1000, 1000), np.int64),
        ),
        "elements in 'b'",
    ),
    "many axes": (
        lambda: model(node("Unsqueeze", "image axes"), axes=np.arange(2, 12)),
        "12 axes",
    ),
    "work": (laborious, "operations; at most"),
    "a name twice": (lambda: model(node("Identity", "image", "image")), "the name 'image' twice"),
    "a constant in the place of an input": (
        lambda: model(node("Identity", "image"), image=np.zeros((4, 4), np.float32)),
        "the name 'image' twice",
    ),
    "an input from nowhere": (lambda: model(node("Identity", "gone")), "'gone' unknown"),
    "an output from nowhere": (lambda: model(node("Identity", "image", "x")), "'logits' comes from nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_model_that_is_not_ours_is_refused_by_what_is_in_it(what: str) -> None:
    build, words = HOSTILE[what]
    data = build().SerializeToString()
    tracemalloc.start()
    with pytest.raises(BundleError, match=words) as caught:
        check_model(data, "model.onnx")
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB + 4 * len(data)
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_a_models_own_pieces_are_allowed() -> None:
    """What the refusals above are told from."""
    for fine in (doubled(4), outer(1), changed(lambda m: None), model(node("Concat", "image image", axis=1))):
        check_model(fine.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("file", ["model.onnx", "model.step.onnx", "model.probe.onnx", "model.int8.onnx"])
def test_every_file_of_a_bundle_is_looked_at(file: str, tmp_path: Path) -> None:
    from idsnn_deploy.check import check_bundle
    from idsnn_deploy.manifest import read_bundle

    folder = Path(shutil.copytree(STATIC, tmp_path / "tiny"))
    (folder / file).write_bytes(endless_loop().SerializeToString())
    with pytest.raises(BundleError, match=f"{file}: .* a subgraph"):
        check_bundle(read_bundle(resigned(folder)))


def test_a_weight_in_another_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime would read 64 bytes of the file `secret.bin` here and answer with them."""
    folder = Path(shutil.copytree(STATIC, tmp_path / "tiny"))
    monkeypatch.chdir(tmp_path)
    Path("secret.bin").write_bytes(np.arange(180, dtype=np.float32).tobytes())
    stolen = onnx.load_model(folder / "model.onnx")
    (weight,) = (each for each in stolen.graph.initializer if each.name == "weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    (folder / "model.onnx").write_bytes(stolen.SerializeToString())
    with pytest.raises(BundleError, match="external data"):
        Session(resigned(folder))(tiny.images(1))


def good() -> bytes:
    return (STATIC / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # A parser of Protocol Buffers merges two graphs, and takes the last of two versions.
        (lambda data: data + data[data.index(b":") :], "two of `graph`"),
        (lambda data: data + b"\x08\x08", "two of `ir_version`"),
        (lambda data: data + b"\x7d\x00\x00\x00\x00", "the model at byte .* field 15"),  # a number of four bytes
        (lambda data: data + b"\x0b\x0c", "the model at byte .* field 1"),  # a group, which Protocol Buffers dropped
        (lambda data: b"\x88\x00" + data[1:], "longer than it need be"),  # the key 8 in two bytes
        (lambda data: data[:1] + b"\x88" + b"\x80" * 8 + b"\x7f" + data[2:], "longer than it need be"),  # over 64 bits
        (lambda data: data + b"\x12\x09ab", "it ends inside `producer`"),
        (lambda data: b"\x12\x09abORTM\xff\xff\xff" + data, "format of onnxruntime"),
        (lambda data: data.replace(b"idsnn", b"\xff\xfe\xfd\xfc\xfb", 1), "not UTF-8"),
        (lambda data: data + b"\x72\x04\x0a\x02id" * 2**18, "more than 262,144 fields"),
        (lambda data: b"", "without 'ir_version'"),
    ],
)
def test_bytes_that_could_be_read_in_two_ways_are_refused(change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        check_model(change(good()), "model.onnx")


def test_a_file_cut_at_any_byte_is_refused() -> None:
    data = (FRAMES / "model.step.onnx").read_bytes()
    check_model(data, "model.onnx")
    for length in range(len(data)):
        with pytest.raises(BundleError):
            check_model(data[:length], "model.onnx")


def test_the_reader_reads_what_onnx_reads() -> None:
    """The package's own parser, in C++, on every committed file."""
    for file in sorted([*STATIC.glob("*.onnx"), *FRAMES.glob("*.onnx")]):
        theirs, ours = onnx.load_model(file).graph, read_model(file.read_bytes())["graph"]
        assert [n["operator"] for n in ours["nodes"]] == [n.op_type for n in theirs.node]
        assert [(n["inputs"], n["outputs"]) for n in ours["nodes"]] == [
            (list(n.input), list(n.output)) for n in theirs.node
        ]
        for constant, tensor in zip(ours["constants"], theirs.initializer, strict=True):
            assert (constant["name"], bytes(constant["data"])) == (tensor.name, tensor.raw_data)
        for ours_node, theirs_node in zip(ours["nodes"], theirs.node, strict=True):
            for attribute, own in zip(ours_node["attributes"], theirs_node.attribute, strict=True):
                value = attribute["integer"] if own.type == own.INT else attribute["integers"]
                assert value == helper.get_attribute_value(own)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**62, 2**63 - 1, -1, -(2**63)])
def test_integers_are_read_as_64_bits_with_a_sign(number: int) -> None:
    found = onnx.ModelProto(ir_version=number).SerializeToString()
    assert read_model(found)["ir_version"] == number


def test_no_three_bytes_before_a_model_are_read_as_something_else() -> None:
    """Whatever stands in front is refused or changes what is read."""
    for key in range(256):
        data = struct.pack("BBB", key, 1, 0x41) + good()
        try:
            assert read_model(data) != read_model(good())
        except Malformed:
            continue
