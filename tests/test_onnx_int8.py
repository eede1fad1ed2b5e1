"""Layers that compute in integers: exact where they claim to be, close where they round, gated where it matters."""

from __future__ import annotations

import itertools

import nir
import numpy as np
import onnx
import pytest
from graphs import CASES, DT, STEPS, affine, chain, conv, full, graph, inputs, lif
from onnx_runs import run, stepped

from idsnn_export.graph.plan import plan
from idsnn_export.lowering import calibrate, integer_weights, to_onnx
from idsnn_export.lowering.calibrate import best_range
from idsnn_export.lowering.int8 import Range, quantize_weights
from idsnn_export.reference.interpreter import interpret


def spiking() -> nir.NIRGraph:
    """Two convolutions, a linear layer and a head; the middle three read spikes or sums of them."""
    rng = np.random.default_rng(0)
    nodes = {
        "stem": conv((2, 8, 8), 6),
        "lif1": lif(6, 8, 8),
        "conv1": conv((6, 8, 8), 6, seed=2),
        "lif2": lif(6, 8, 8),
        "conv2": conv((6, 8, 8), 4, stride=2, seed=4),
        "lif3": lif(4, 4, 4),
        "flat": nir.Flatten(np.array([4, 4, 4]), start_dim=-3, end_dim=-1),
        "hidden": affine(64, 8, seed=6),
        "lif4": lif(8),
        "head": affine(8, 3, seed=8),
    }
    for node in nodes.values():
        if hasattr(node, "weight"):
            node.weight = (rng.standard_normal(node.weight.shape) / 4).astype(np.float32)
    chained = ["input", "stem", "lif1", "conv1", "lif2", "conv2", "lif3", "flat", "hidden", "lif4", "head", "output"]
    edges = [*itertools.pairwise(chained), ("lif1", "conv2")]  # conv2 reads a sum of spikes, as in SEW
    return graph(nodes, edges, (2, 8, 8), (3,))


def test_layers_that_read_spikes_and_are_heard_by_neurons_compute_in_integers() -> None:
    network = spiking()
    ranges = calibrate(network, STEPS, inputs(network)[0])
    assert list(ranges) == list(integer_weights(network)) == ["conv1", "conv2", "hidden"]
    model = to_onnx(network, STEPS, int8=ranges)
    onnx.checker.check_model(model, full_check=True)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in ranges:
        assert tensors[f"{name}.weight"].data_type == onnx.TensorProto.INT8
        assert tensors[f"{name}.bias"].data_type == onnx.TensorProto.INT32
    for name in ("stem", "head"):
        assert tensors[f"{name}.weight"].data_type == onnx.TensorProto.FLOAT
    assert [node.op_type for node in model.graph.node].count("QLinearConv") == 3


@pytest.mark.parametrize("optimized", [True, False])  # onnx's evaluator has no DequantizeLinear of opset 13
def test_integer_currents_are_those_of_the_quantized_weights_rounded(optimized: bool) -> None:
    network = chain((3, 5, 5), (2, 5, 5), nir.Threshold(np.full((3, 5, 5), 0.9, np.float32)), conv((3, 5, 5), 2),
                    lif(2, 5, 5))  # fmt: skip
    reach = Range(-3.0, 2.0)
    x = inputs(network)
    values, scale = quantize_weights(network.nodes["n1"].weight)
    quantized = chain((3, 5, 5), (2, 5, 5), network.nodes["n0"], conv((3, 5, 5), 2))
    quantized.nodes["n1"].weight = (values * scale[:, None, None, None]).astype(np.float32)
    quantized.nodes["n1"].bias = np.float32(np.rint(quantized.nodes["n1"].bias / scale) * scale)
    currents, _ = interpret(quantized, x, STEPS, dtype=np.float64)
    assert (currents > reach.high).any()
    assert (currents < reach.low).any()
    model = to_onnx(network, STEPS, static=False, int8={"n1": reach})
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("n1"))
    found = run(model, optimized, input=x)["n1"].reshape(currents.shape)
    units = np.abs(found - reach.rounded(currents)) / reach.scale
    assert units.max() < 1.01  # a current halfway between two units may fall either way
    assert (units > 0.01).mean() < 0.01


def test_a_zero_current_stays_zero() -> None:
    for reach in (Range(-1.3, 2.7), Range(0.4, 2.0), Range(-3.0, -1.0), Range(0.0, 0.0)):
        assert reach.rounded(np.zeros(1)) == 0
        inside = np.linspace(min(reach.low, 0), max(reach.high, 0), 1000)
        assert np.abs(reach.rounded(inside) - inside).max() <= reach.scale * 0.501 + 1e-12


def test_weights_use_their_whole_channels_range() -> None:
    w = np.array([[0.5, -1.0], [0.0, 0.0], [1e-3, 5e-4]], np.float32)
    values, scale = quantize_weights(w)
    assert values.tolist() == [[64, -127], [0, 0], [127, 64]]
    assert np.abs(values * scale[:, None] - w).max() <= scale.max() / 2


def test_outliers_do_not_set_the_range() -> None:
    currents = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    currents[:3] = 1000
    assert best_range(currents).high < 10


def test_rare_currents_that_matter_do() -> None:
    currents = np.full(100_000, -0.1, np.float32)  # most neurons hear nothing but their bias
    currents[:1500] = np.linspace(0.5, 2, 1500)
    assert best_range(currents).high > 1.5


@pytest.mark.parametrize("form", ["int8", "weights"])
def test_int8_follows_float32_closely(form: str) -> None:
    network = spiking()
    image = inputs(network, batch=16)[0]
    formats = calibrate(network, STEPS, image) if form == "int8" else integer_weights(network)
    expected = run(to_onnx(network, STEPS, kind="trace"), image=image)
    found = run(to_onnx(network, STEPS, kind="trace", int8=formats), image=image)
    flips = [(found[name] != expected[name]).mean() for name in expected if name.startswith("spikes.")]
    assert flips[0] == 0  # the stem is float32
    assert 0 < max(flips) < 0.06


def test_int8_is_a_quarter_of_the_size() -> None:
    node = conv((64, 4, 4), 64)
    network = chain((64, 4, 4), (64, 4, 4), nir.Threshold(np.ones((64, 4, 4), np.float32)), node, lif(64, 4, 4))
    x = inputs(network)[0]
    plain = len(to_onnx(network, 2).SerializeToString())
    for formats in (calibrate(network, 2, x), integer_weights(network)):
        assert plain > 3.5 * len(to_onnx(network, 2, int8=formats).SerializeToString())


def test_the_int8_probe_counts_its_own_spikes() -> None:
    network = spiking()
    image = inputs(network)[0]
    ranges = calibrate(network, STEPS, image)
    traced = run(to_onnx(network, STEPS, kind="trace", int8=ranges), image=image)
    found = run(to_onnx(network, STEPS, kind="probe", int8=ranges), image=image)
    for name in ("lif1", "lif2", "lif3"):
        np.testing.assert_array_equal(found[f"spikes.{name}"], traced[f"spikes.{name}"].sum((2, 3, 4)).T)
    summed = traced["spikes.lif1"].astype(int) + traced["spikes.lif2"]
    np.testing.assert_array_equal(found["sum.conv2"], summed.sum((0, 2)))
    np.testing.assert_array_equal(found["nnz.conv2"], (summed != 0).sum((0, 2)))


def test_calibration_on_frames_is_that_on_the_same_images() -> None:
    network = spiking()
    image = inputs(network)[0]
    assert calibrate(network, 3, image) == calibrate(network, 3, np.stack([image] * 3), static=False)


def test_calibration_needs_images() -> None:
    with pytest.raises(ValueError, match="no images"):
        calibrate(spiking(), 2, np.zeros((0, 2, 8, 8), np.float32))


def test_a_network_without_such_layers_stays_float32() -> None:
    network = CASES["affine_alone"].build()
    assert calibrate(network, 2, inputs(network)[0]) == {} == integer_weights(network)


def late_spikes() -> nir.NIRGraph:
    """An integer layer that reads spikes of this step and of the step before."""
    nodes = {"f0": affine(4, 16), "l0": lif(16), "w": affine(16, 16, seed=3), "l1": lif(16)}
    nodes["head"] = affine(16, 2, seed=5)
    edges = [("input", "f0"), ("f0", "l0"), ("l0", "w"), ("w", "l1"), ("l1", "w"), ("l1", "head"), ("head", "output")]
    return graph(nodes, edges, (4,), (2,))


def late_membranes() -> nir.NIRGraph:
    """The same, but what comes late are membranes, which no integer layer can read, not even at the first step."""
    network = late_spikes()
    network.nodes["l1"] = nir.LI(full((16,), 2 * DT), full((16,), 1), full((16,), 0))
    return network


TOPOLOGIES = {name: case.build for name, case in CASES.items()} | {
    build.__name__: build for build in (late_spikes, late_membranes)
}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_int8_steps_and_probe_answer_as_the_int8_model(name: str) -> None:
    network = TOPOLOGIES[name]()
    frames = inputs(network, batch=64)
    ranges = {name: Range(-11.0, 9.0) for name in [*integer_weights(network), *late(network)]}
    model, probe = (to_onnx(network, STEPS, kind=kind, static=False, int8=ranges) for kind in ("model", "probe"))
    expected = run(model, input=frames)["step_logits"]
    np.testing.assert_array_equal(run(probe, input=frames)["step_logits"], expected)
    step = to_onnx(network, STEPS, kind="step", static=False, int8=ranges)
    np.testing.assert_array_equal(stepped(step, "input", frames), expected)


def late(network: nir.NIRGraph) -> set[str]:
    """The flat graph's layers with weights that an edge reaches late; asked for, whether they can or not."""
    return {
        step.name
        for step in plan(network).steps
        if hasattr(step.node, "weight") and any(source.delayed for source in step.sources)
    }


def test_int8_is_deterministic() -> None:
    network = spiking()
    image = inputs(network)[0]
    first, second = (to_onnx(network, 3, int8=calibrate(network, 3, image)).SerializeToString() for _ in range(2))
    assert first == second
