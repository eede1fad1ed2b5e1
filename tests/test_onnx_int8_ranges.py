"""What an 8-bit layer's currents are cut and rounded to: the range that costs least, theta between two of its steps."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import nir
import numpy as np
import pytest
from graphs import DT, chain, full

from idsnn_export.graph.plan import plan
from idsnn_export.lowering import calibrate
from idsnn_export.lowering.calibrate import best_range, firing_currents
from idsnn_export.reference.interpreter import interpret


@hypothesis.given(st.floats(0.05, 5), st.floats(-4, 1), st.floats(0.3, 3), st.integers(0, 99))
@hypothesis.settings(max_examples=60)
def test_rounding_changes_no_spike_of_a_neuron_at_rest(theta: float, mean: float, spread: float, seed: int) -> None:
    """Nor where hardly a current reaches theta; and the range is widened by less than what makes theta a step less."""
    currents = np.random.default_rng(seed).normal(mean * theta, spread * theta, 4000).astype(np.float32)
    reach = best_range(currents, np.array([theta], np.float32))
    seen = np.append(currents, np.float32([1.001, 2, 1000]) * np.float32(theta))
    clear = abs(seen - theta) > 1e-4 * theta
    np.testing.assert_array_equal((reach.rounded(seen) > theta)[clear], (seen > theta)[clear])
    steps = theta / float(reach.scale)
    assert abs(steps % 1 - 0.5) < 1e-3
    near, cuts = np.clip(currents, -8 * theta, 8 * theta), np.array([0, 1e-4, 1e-3, 3e-3, 1e-2])
    lows, highs = np.quantile(near, cuts), np.quantile(near, 1 - cuts)
    before = 255 * theta / (np.maximum(highs, theta) - np.minimum(lows, 0))
    assert ((before - 1.001 < steps) & (steps < before + 0.001)).any()


def test_a_threshold_at_the_end_of_the_range_has_a_step_above_it() -> None:
    """-153.5 to 101.5 steps of 1/64 are 255; with 0 rounded to the 154th, what fires would be the 256th."""
    found = best_range(np.full(5, -153.5 / 64, np.float32), np.float32([101.5 / 64]))
    assert (found.low, found.high) == pytest.approx((-153 / 64, 102 / 64))


@pytest.mark.parametrize("beyond", [0, 1, 19, 59, 199])
def test_the_range_cuts_off_the_share_that_costs_least(beyond: int) -> None:
    """Of 20,001 currents all lie on hundredths; -1.27 to 1.28 in 255 steps are those, and no other range is."""
    edge = 3 if beyond else 1
    inner = np.resize(np.arange(-120, 121), 20_001 - 2 * (beyond + edge))
    outer = [np.repeat([130, 128], [beyond, edge]), np.repeat([-130, -127], [beyond, edge])]
    found = best_range((np.concatenate([inner, *outer]) / 100).astype(np.float32))
    assert (found.low, found.high) == pytest.approx((-1.27, 1.28))


def test_what_is_above_eight_thresholds_counts_as_eight() -> None:
    currents = np.linspace(-100, 100, 2001, dtype=np.float32)
    for firing in (np.float32([1, 2]), np.float32([-2, 1])):
        found = best_range(currents, firing)
        assert (found.low, found.high) == (-16, 16)
    assert best_range(currents, np.float32([0])) == best_range(currents)


def test_the_current_that_fires_is_that_of_one_step_from_rest() -> None:
    size, dt = 3, 1e-4
    tau = full((size,), 4 * dt)
    nodes = [
        nir.Threshold(full((size,), 0.3)),
        nir.IF(full((size,), 0.5 / dt), full((size,), 0.3), full((size,), 0)),
        nir.LIF(tau, full((size,), 3), full((size,), 0.1), full((size,), 0.3), full((size,), 0)),
        nir.CubaLIF(tau, 2 * tau, full((size,), 3), full((size,), 0.1), full((size,), 0.3), full((size,), 0),
                    full((size,), 1.5)),
    ]  # fmt: skip
    for node in nodes:
        graph = chain(
            (size,),
            (size,),
            nir.Threshold(full((size,), 0)),
            nir.Affine(np.eye(size, dtype=np.float32), full((size,), 0)),
            node,
        )
        found = firing_currents(plan(graph), "n1", dt)
        assert found is not None
        alone = chain((1,), (1,), type(node)(**{k: v[:1] for k, v in vars(node).items() if isinstance(v, np.ndarray)}))
        for factor, fires in ((0.999, 0), (1.001, 1)):
            assert (
                interpret(alone, np.full((1, 1), factor * found.item()), 1, dt=dt, dtype=np.float64)[0].item() == fires
            )


@pytest.mark.parametrize(("r", "theta"), [(0, 0.5), (0, 0), (1e-30, 1e30)])
def test_what_no_current_makes_fire_has_no_current_that_does(r: float, theta: float) -> None:
    cell = nir.LIF(full((3,), 2 * DT), np.float32([1, 1, r]), full((3,), 0), full((3,), theta), full((3,), 0))
    graph = chain((3,), (3,), nir.Threshold(full((3,), 0)), nir.Linear(np.eye(3, dtype=np.float32)), cell)
    assert firing_currents(plan(graph), "n1", DT) is None


def test_calibration_is_on_what_the_network_is_given_at_its_own_step() -> None:
    rng, size = np.random.default_rng(0), 4
    conv = nir.Conv2d((4, 4), rng.uniform(-1, 1, (3, 2, 3, 3)).astype(np.float32), 1, 1, 1, 1, np.zeros(3, np.float32))
    cells = nir.LIF(*(full((3, 4, 4), each) for each in (4 * DT, 1, 0, 0.1, 0)))
    slower = nir.LIF(*(full((3, 4, 4), each) for each in (8 * DT, 1, 0, 0.1, 0)))
    second = nir.Conv2d(
        (4, 4), rng.uniform(-0.1, 0.1, (3, 3, 3, 3)).astype(np.float32), 1, 1, 1, 1, np.zeros(3, np.float32)
    )
    one, other = (chain((2, size, size), (3, size, size), conv, each, second, each) for each in (cells, slower))
    images = rng.integers(0, 17, (5, 2, size, size)).astype(np.float32) / 16
    plain = calibrate(one, 3, (images - 0.5) / np.float32([0.25, 0.5]).reshape(2, 1, 1))
    assert calibrate(one, 3, images, mean=(0.5, 0.5), std=(0.25, 0.5)) == plain
    assert calibrate(other, 3, images, mean=(0.5, 0.5), std=(0.25, 0.5), dt=2 * DT) == plain
    assert [*plain] == ["n2"]


@pytest.mark.parametrize("heard", [0, 15, 16])
def test_every_image_counts_in_whichever_batch_it_is(heard: int) -> None:
    cell = nir.LIF(full((2,), 2 * DT), full((2,), 1), full((2,), 0), full((2,), 0.5), full((2,), 0))
    graph = chain((3,), (2,), nir.Threshold(full((3,), 0.5)), nir.Linear(np.ones((2, 3), np.float32)), cell)
    images = np.zeros((17, 3), np.float32)
    images[heard] = 1
    assert calibrate(graph, 1, images)["n1"].high == pytest.approx(3, rel=0.05)
    frames = np.zeros((17, 17, 3), np.float32)
    frames[heard, heard] = 1
    assert calibrate(graph, 17, frames, static=False)["n1"].high == pytest.approx(3, rel=0.1)
