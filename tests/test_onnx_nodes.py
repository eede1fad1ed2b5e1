"""Every node and topology of `graphs.CASES`: ONNX gives what the interpreter gives, to the last bit."""

from __future__ import annotations

from collections import Counter

import nir
import numpy as np
import onnx
import pytest
from graphs import CASES, DT, STEPS, chain, full, inputs
from onnx_runs import answers, run, run_reference, stepped

from idsnn_export.graph.soft_reset import SoftReset
from idsnn_export.lowering import to_onnx
from idsnn_export.lowering.emitter import collapse
from idsnn_export.lowering.table import LOWERINGS
from idsnn_export.reference.equations import CELLS

every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_onnx_equals_the_interpreter(name: str) -> None:
    graph = CASES[name].build()
    x = inputs(graph)
    outputs, spikes = answers(graph, x, STEPS)
    model = to_onnx(graph, STEPS, static=False, kind="trace")
    for backend in (run, run_reference):
        found = backend(model, input=x)
        np.testing.assert_array_equal(found["step_logits"], outputs)
        np.testing.assert_allclose(found["logits"], outputs.mean(0), rtol=1e-6, atol=1e-7)
        for layer, expected in spikes.items():
            np.testing.assert_array_equal(found[f"spikes.{layer}"], expected, err_msg=layer)


@every_case
def test_a_static_image_gives_the_same_as_repeated_frames(name: str) -> None:
    graph = CASES[name].build()
    image = inputs(graph)[0]
    found = run(to_onnx(graph, STEPS), image=image)
    np.testing.assert_array_equal(found["step_logits"], answers(graph, image, STEPS)[0])


@every_case
def test_stepping_equals_unrolling(name: str) -> None:
    graph = CASES[name].build()
    x = inputs(graph)
    expected, _ = answers(graph, x, STEPS)
    np.testing.assert_array_equal(stepped(to_onnx(graph, STEPS, static=False, kind="step"), "input", x), expected)


@every_case
@pytest.mark.parametrize("kind", ["model", "step", "probe", "trace"])
def test_every_kind_is_a_valid_plain_model(name: str, kind: str) -> None:
    model = to_onnx(CASES[name].build(), STEPS, kind=kind)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert model.ir_version == 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_every_node_of_the_interpreter_has_a_lowering_and_a_case() -> None:
    assert set(LOWERINGS) == {*CELLS, SoftReset}
    shown = {kind for case in CASES.values() for kind in case.shows}
    assert set(CELLS) <= shown


@pytest.mark.parametrize("gain", [0.0, -2.0])
def test_a_neuron_whose_input_weakens_it_still_follows_its_equation(gain: float) -> None:
    graph = CASES["leaky_integrate_and_fire"].build()
    graph.nodes["n0"].r = np.full((2, 3, 3), gain, np.float32)
    graph.nodes["n0"].v_threshold = np.full((2, 3, 3), -0.5, np.float32)
    x = inputs(graph)
    outputs, _ = answers(graph, x, STEPS)
    assert outputs.mean() > 0 or gain == 0
    np.testing.assert_array_equal(run(to_onnx(graph, STEPS, static=False), input=x)["step_logits"], outputs)


@pytest.mark.parametrize(
    ("values", "smallest"),
    [
        (full((2, 3, 3), 0.5), ()),
        (np.broadcast_to(np.array([[[0.5]], [[0.25]]]), (2, 3, 3)), (2, 1, 1)),
        (np.arange(18).reshape(2, 3, 3), (2, 3, 3)),
        (np.array([1.0, 2.0]), (2,)),
        (np.array([3.0]), ()),
        (np.zeros((0, 3)), (0, 1)),
    ],
)
def test_a_constant_is_the_smallest_that_broadcasts_to_the_same(values: np.ndarray, smallest: tuple[int, ...]) -> None:
    small = collapse(values)
    assert small.shape == smallest
    np.testing.assert_array_equal(np.broadcast_to(small, values.shape), values)


def operators(node: nir.NIRNode) -> dict[str, int]:
    """What one layer of two neurons is over 4 steps of frames, without the reading of frames and the mean of steps."""
    model = to_onnx(chain((2,), (2,), node), 4, static=False)
    kinds = Counter(each.op_type for each in model.graph.node)
    return {kind: kinds[kind] for kind in ("Mul", "Add", "Greater", "Where", "Sub", "Div") if kinds[kind]}


def test_our_own_neuron_is_four_elementwise_nodes_per_step_and_two_at_the_first() -> None:
    node = nir.LIF(full((2,), 2 * DT), full((2,), 1), full((2,), 0), full((2,), 0.25), full((2,), 0))
    assert operators(node) == {"Mul": 3, "Add": 3, "Greater": 4, "Where": 3}  # nobody reads the last membrane


def test_neutral_factors_and_summands_leave_no_node() -> None:
    unit, dt, zero = full((2,), 1), full((2,), DT), full((2,), 0)
    assert operators(nir.I(unit / np.float32(DT))) == {"Add": 3}
    assert operators(nir.I(2 * unit / np.float32(DT))) == {"Mul": 4, "Add": 3}
    assert operators(nir.IF(unit / np.float32(DT), unit, zero)) == {"Add": 3, "Greater": 4, "Where": 3}
    assert operators(nir.LI(dt, unit, zero)) == {}  # it forgets everything: what comes in goes out
    assert operators(nir.LI(dt, unit, unit)) == {"Add": 4}
    assert operators(nir.LI(2 * dt, unit, unit)) == {"Mul": 4 + 3, "Add": 4 + 3}


def test_a_membrane_on_the_threshold_is_no_spike() -> None:
    theta = np.array([0.5], np.float32)
    graph = nir.NIRGraph.from_list(nir.Threshold(theta))
    x = np.array([[np.nextafter(theta, 0)], [theta], [np.nextafter(theta, 1)]], np.float32).reshape(3, 1)
    assert run(to_onnx(graph, 1), image=x)["logits"].ravel().tolist() == [0, 0, 1]
