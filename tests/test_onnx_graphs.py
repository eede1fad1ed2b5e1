"""What an ONNX model is made of, and random networks against the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import nir
import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import CASES, STEPS, affine, conv, graph, inputs, lif
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_runs import answers, run, run_reference, session, stepped

from idsnn_deploy.errors import GraphError
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.lowering import to_onnx

few = settings(derandomize=True, max_examples=20, database=None)


@st.composite
def residual_networks(draw: Any) -> nir.NIRGraph:
    """Blocks of two convolutions with identity or projection, joined before the neuron or after it."""
    channels, size = draw(st.integers(1, 3)), draw(st.integers(4, 6))
    shape = (channels, size, size)
    nodes: dict[str, nir.NIRNode] = {"stem": conv((2, size, size), channels), "lif0": lif(*shape)}
    edges = [("input", "stem"), ("stem", "lif0")]
    ends = ["lif0"]  # their sum is the next block's input
    for i in range(1, draw(st.integers(1, 3)) + 1):
        stride, out = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 3))
        size = (shape[1] - 1) // stride + 1
        after = (out, size, size)
        theta = draw(st.sampled_from([0.25, 0.5, 1.0]))
        nodes |= {
            f"a{i}": conv(shape, out, stride=stride, seed=i),
            f"lif_a{i}": lif(*after, threshold=theta),
            f"b{i}": conv(after, out, seed=i + 10),
            f"lif_b{i}": lif(*after),
        }
        edges += [(end, f"a{i}") for end in ends]
        edges += [(f"a{i}", f"lif_a{i}"), (f"lif_a{i}", f"b{i}"), (f"b{i}", f"lif_b{i}")]
        if after != shape:
            nodes[f"p{i}"] = conv(shape, out, kernel=(1, 1), stride=stride, padding=0, seed=i + 20)
            edges += [(end, f"p{i}") for end in ends]
            ends = [f"p{i}"]
        if draw(st.booleans()) and after == shape:  # SEW: spikes are added
            ends = [f"lif_b{i}", *ends]
        else:
            edges += [(end, f"lif_b{i}") for end in ends]
            ends = [f"lif_b{i}"]
        shape = after
    edges += [(end, "output") for end in ends]
    return graph(nodes, edges, (2, *draw_size(nodes["stem"])), shape)


def draw_size(stem: nir.Conv2d) -> tuple[int, ...]:
    return tuple(stem.input_shape)


@st.composite
def recurrent_networks(draw: Any) -> nir.NIRGraph:
    """Layers of neurons in a row, with edges back to earlier ones, in any order of the file."""
    count, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    nodes: dict[str, nir.NIRNode] = {}
    edges = []
    for i in range(count):
        nodes |= {f"w{i}": affine(width, width, seed=i), f"lif{i}": lif(width, threshold=0.25 * (i + 1))}
        edges += [(f"lif{i - 1}" if i else "input", f"w{i}"), (f"w{i}", f"lif{i}")]
    for i, (tail, head) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), unique=True, max_size=4))
    ):
        nodes[f"back{i}"] = affine(width, width, seed=20 + i)
        edges += [(f"lif{tail}", f"back{i}"), (f"back{i}", f"lif{head}")]
    edges.append((f"lif{count - 1}", "output"))
    return graph(nodes, draw(st.permutations(edges)), (width,), (width,))


@few
@given(residual_networks())
def test_random_residual_networks_equal_the_interpreter(network: nir.NIRGraph) -> None:
    _assert_equal_everywhere(network)


@few
@given(recurrent_networks())
def test_random_recurrent_networks_equal_the_interpreter(network: nir.NIRGraph) -> None:
    _assert_equal_everywhere(network)


def _assert_equal_everywhere(network: nir.NIRGraph) -> None:
    x = inputs(network)
    outputs, spikes = answers(network, x, STEPS)
    model = to_onnx(network, STEPS, static=False, kind="trace")
    for backend in (run, run_reference):
        found = backend(model, input=x)
        np.testing.assert_array_equal(found["step_logits"], outputs)
        for name, expected in spikes.items():
            np.testing.assert_array_equal(found[f"spikes.{name}"], expected, err_msg=name)
    step = to_onnx(network, STEPS, static=False, kind="step")
    np.testing.assert_array_equal(stepped(step, "input", x), outputs)


@pytest.mark.parametrize("kind", ["model", "step", "probe", "trace"])
def test_the_same_graph_gives_the_same_bytes(kind: str) -> None:
    first, second = (to_onnx(CASES["residual"].build(), STEPS, kind=kind).SerializeToString() for _ in range(2))
    assert first == second


def test_what_follows_from_a_static_image_alone_is_computed_once() -> None:
    model = to_onnx(CASES["residual_projection"].build(), STEPS, mean=[0.5, 0.25], std=[0.5, 0.5])
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (kinds["Conv"], kinds["Sub"], kinds["Div"]) == (3, 1, 1)
    tensors = {output: node for node in model.graph.node for output in node.output}
    assert tensors["conv1"].input[0] == tensors["shortcut"].input[0] == "normalized"


def test_weights_are_stored_once_however_many_steps_there_are() -> None:
    few_steps, many_steps = (to_onnx(CASES["recurrent"].build(), steps) for steps in (2, 20))
    assert len(few_steps.graph.initializer) <= len(many_steps.graph.initializer) + 1
    sizes = [sum(len(t.raw_data) for t in model.graph.initializer) for model in (few_steps, many_steps)]
    assert abs(sizes[0] - sizes[1]) < 64


def test_a_dynamic_batch_takes_any_number_and_a_static_one_only_its_own() -> None:
    network = CASES["residual"].build()
    x = inputs(network, batch=5)[0]
    dynamic, static = to_onnx(network, STEPS), to_onnx(network, STEPS, batch=5)
    together = run(static, image=x)
    np.testing.assert_array_equal(run(dynamic, image=x)["step_logits"], together["step_logits"])
    for n in range(5):
        alone = run(dynamic, image=x[n : n + 1])
        np.testing.assert_array_equal(alone["logits"][0], together["logits"][n])
    assert session(static).get_inputs()[0].shape == [5, 2, 4, 4]
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run(static, image=x[:2])


def test_a_batch_of_nothing_gives_nothing() -> None:
    assert run(to_onnx(CASES["residual"].build(), STEPS), image=np.zeros((0, 2, 4, 4)))["logits"].shape == (0, 4)


def test_normalization_is_part_of_the_model() -> None:
    network, mean, std = CASES["residual"].build(), [0.5, 0.25], [0.25, 0.5]
    x = inputs(network)[0]
    expected, _ = answers(network, (x - np.reshape(mean, (2, 1, 1))) / np.reshape(std, (2, 1, 1)), STEPS)
    found = run(to_onnx(network, STEPS, mean=mean, std=std), image=x)
    np.testing.assert_array_equal(found["step_logits"], expected)
    frames = run(to_onnx(network, STEPS, mean=mean, std=std, static=False), input=np.stack([x] * STEPS))
    np.testing.assert_array_equal(frames["step_logits"], expected)


def test_tensors_are_named_after_their_nodes() -> None:
    model = to_onnx(CASES["residual"].build(), STEPS)
    weights = {tensor.name for tensor in model.graph.initializer}
    assert {"conv1.weight", "conv1.bias", "lif1.theta", "lif1.decay", "fc.weight"} <= weights
    outputs = {output for node in model.graph.node for output in node.output}
    assert {"conv1", "conv2", "lif1", "lif1.t0", f"lif1.t{STEPS - 1}", "pool", "flatten", "fc"} <= outputs


@pytest.mark.parametrize(
    "names", [("logits", "image", "step_logits"), ("a", "a.weight", "a.bias"), ("b.theta", "b", "mean")]
)
def test_a_node_may_have_the_name_of_anything_else(names: tuple[str, ...]) -> None:
    first, second, third = names
    network = graph(
        {first: affine(4, 3), second: lif(3), third: affine(3, 2)},
        [("input", first), (first, second), (second, third), (third, "output")],
        (4,),
        (2,),
    )
    x = inputs(network)[0]
    model = to_onnx(network, STEPS, mean=[0.0], std=[1.0])
    onnx.checker.check_model(model, full_check=True)
    found = run(model, image=x)
    np.testing.assert_array_equal(found["step_logits"], answers(network, x, STEPS)[0])


def test_metadata_says_everything_a_runtime_needs() -> None:
    network = graph({"c": conv((3, 4, 4), 2), "lif": lif(2, 4, 4)}, [("input", "c"), ("c", "lif"), ("lif", "output")],
                    (3, 4, 4), (2, 4, 4))  # fmt: skip
    write_metadata(network, Metadata(timesteps=4, dt=1e-3, labels=("cat", "dog")))
    model = to_onnx(network, 4, mean=[0.5], std=[0.25], metadata={"idsnn.run": "r1"})
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found.pop("idsnn.run") == "r1"
    assert {key: found.pop(key) for key in list(found) if key.startswith("Image.")} == {
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "Normalized_0_1",
    }
    assert {key.removeprefix("idsnn."): json.loads(value) for key, value in found.items()} == {
        "format_version": 1,
        "kind": "model",
        "timesteps": 4,
        "dt": 1e-3,
        "encoding": "static",
        "readout": "mean",
        "mean": [0.5],
        "std": [0.25],
        "labels": ["cat", "dog"],
        "input_shape": [3, 4, 4],
        "int8": False,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timesteps": 0}, "at least 1 step"),
        ({"batch": 0}, "above 0"),
        ({"mean": [0.5]}, "belong together"),
        ({"mean": [0.1] * 3, "std": [1.0] * 3}, "2 channels"),
        ({"mean": [0.5], "std": [0.0]}, "above 0"),
        ({"kind": "probes"}, "probes"),
        ({"int8": {"lif1": None}}, "no layer with weights"),
    ],
)
def test_misuse_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_onnx(CASES["residual"].build(), **{"timesteps": STEPS, **options})


def test_a_graph_without_a_meaning_is_refused() -> None:
    with pytest.raises(GraphError, match="no node 'nowhere'"):
        to_onnx(graph({"fc": affine(2, 2)}, [("input", "fc"), ("fc", "nowhere")], (2,), (2,)), 1)


def test_compiling_needs_no_torch() -> None:
    code = "import sys, idsnn_export.lowering; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
