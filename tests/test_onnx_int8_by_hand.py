"""8-bit layers by hand: which they are, their scales, weights and biases, and the steps of their currents."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from graphs import chain, full
from graphs import graph as build
from onnx_runs import run

from idsnn_export.graph.plan import plan
from idsnn_export.lowering import to_onnx
from idsnn_export.lowering.int8 import Range, integer_layers, integers


@pytest.mark.parametrize(("size", "able"), [(8_421_634, True), (8_421_635, False)])
def test_a_sum_that_could_overflow_is_no_integer_layer(size: int, able: bool) -> None:
    """Two spikes meet in each input: 127 * 2 * size < 2^31 - 2^23."""
    nodes = {"a": nir.Threshold(np.broadcast_to(np.float32(0), (size,)))}
    nodes |= {"b": nir.Threshold(np.broadcast_to(np.float32(1), (size,)))}
    nodes |= {"w": nir.Linear(np.broadcast_to(np.float32(1), (2, size))), "n": nir.Threshold(full((2,), 0))}
    edges = [("input", "a"), ("input", "b"), ("a", "w"), ("b", "w"), ("w", "n"), ("n", "output")]
    assert [step.name for step in integer_layers(plan(build(nodes, edges, (size,), (2,))))] == ["w"] * able


@pytest.mark.parametrize(("window", "able"), [(127, True), (128, False)])
def test_an_input_that_could_saturate_is_for_no_integer_layer(window: int, able: bool) -> None:
    """2 * 127 * 127 < 2^15: two products of bytes are added in 16 bits."""
    pool = nir.SumPool2d(np.array([1, window]), np.array([1, window]), np.array([0, 0]))
    conv = nir.Conv2d((1, 1), np.ones((2, 1, 1, 1), np.float32), 1, 0, 1, 1, np.zeros(2, np.float32))
    nodes = [nir.Threshold(full((1, 1, window), 0)), pool, conv, nir.Threshold(full((2, 1, 1), 0))]
    found = integer_layers(plan(chain((1, 1, window), (2, 1, 1), *nodes)))
    assert [step.name for step in found] == ["n2"] * able


def test_a_share_counts_every_position_of_a_window() -> None:
    """2 x 9 weights at 4 x 4 positions, and 3 x 32: 288 and 96 multiply-accumulates."""
    conv = nir.Conv2d((4, 4), np.ones((2, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(2, np.float32))
    nodes = [nir.Threshold(full((1, 4, 4), 0)), conv, nir.Threshold(full((2, 4, 4), 0))]
    nodes += [
        nir.Flatten(np.array([2, 4, 4]), -3, -1),
        nir.Linear(np.ones((3, 32), np.float32)),
        nir.Threshold(full((3,), 0)),
    ]
    steps = plan(chain((1, 4, 4), (3,), *nodes))
    for share, names in ((0.249, []), (0.25, ["n4"]), (0.999, ["n4"]), (1.0, ["n1", "n4"])):
        assert [step.name for step in integer_layers(steps, share)] == names


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (-1.3, 2.7, 4 / 255, 83),  # 82.875
        (0.4, 2.0, 2 / 255, 0),
        (-3.0, -1.0, 3 / 255, 255),
        (0.0, 0.0, 1.0, 0),
        (0.0, 1e-40, 2.0**-126, 0),
    ],
)
def test_a_range_reaches_0_and_has_255_steps(low: float, high: float, scale: float, zero: int) -> None:
    reach = Range(low, high)
    assert (reach.scale, reach.zero) == (np.float32(scale), zero)
    beyond = reach.rounded(np.array([-1e6, 0, 1e6]) * reach.scale)
    np.testing.assert_allclose(beyond, np.array([-zero, 0, 255 - zero]) * float(np.float32(scale)), rtol=1e-12)


def test_a_layer_in_integers_by_hand() -> None:
    """A step of the current, y, is 1."""
    w = np.array([[127, -63.5], [0, 0], [0, 0], [0, 0], [1270, 0], [-127_000, 0], [0.0127, 0]])
    b = np.array([3, 2**21, -0.25, 0, 5, 6, 0.25])
    found = integers(w, b, Range(-128, 127))
    scale = [1, 0.5, 2.0**-24, 2.0**-30, 10, 256, 1e-4]  # 256 in the place of 1000: one unit spans all there is
    np.testing.assert_array_equal(found.weights.scale, np.float32(scale))
    assert found.weights.values.tolist() == [[127, -64], [0, 0], [0, 0], [0, 0], [127, 0], [-127, 0], [127, 0]]
    assert found.bias.tolist() == [3, 2**22, -(2**22), 0, 0, 0, 2500]
    assert found.rest.tolist() == [0, 0, 0, 0, 5, 6, 0]


def test_a_bias_too_fine_for_its_channel_s_steps_is_added_behind_a_convolution() -> None:
    conv = nir.Conv2d((3, 3), np.ones((2, 1, 3, 3), np.float32), 1, 1, 1, 1, np.float32([0.3, 0.3]))
    conv.weight[0] *= 1e6
    graph = chain((1, 3, 3), (2, 3, 3), nir.Threshold(full((1, 3, 3), 0)), conv, nir.Threshold(full((2, 3, 3), 0)))
    frames = np.arange(2).reshape(1, 2, 1, 1, 1) * np.ones((3, 3))  # silent, and heard: the largest current, 0.55
    for theta, fires in ((0.29, [1, 1, 1, 1]), (0.31, [0, 0, 1, 1]), (0.54, [0, 0, 1, 1]), (0.56, [0, 0, 1, 0]),
                         (0.84, [0, 0, 1, 0]), (0.86, [0, 0, 0, 0])):  # fmt: skip
        graph.nodes["n2"].threshold[:] = theta
        model = to_onnx(graph, 1, static=False, int8={"n1": Range(-2.0, 0.55)})  # y is 0.01
        assert (run(model, input=frames)["step_logits"].reshape(4, 9) == np.array(fires)[:, None]).all()
