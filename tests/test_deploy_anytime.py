"""The margin rule: probabilities, how far the two best are apart, and the step at which that is far enough."""

from __future__ import annotations

import numpy as np

from idsnn_deploy.anytime import exit_steps, separation, softmax, stands_out
from idsnn_deploy.readout import running


def test_probabilities_and_their_separation() -> None:
    logits = np.array([[0.0, np.log(3.0)], [5.0, 5.0], [1e4, -1e4]])
    np.testing.assert_allclose(softmax(logits), [[0.25, 0.75], [0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(separation(logits), [0.5, 0, 1])
    np.testing.assert_allclose(separation(np.ones((3, 1))), 1)


def test_a_sample_exits_at_the_first_step_that_reaches_the_margin() -> None:
    steps = np.array([[[0.0, 0.0]], [[4.0, 0.0]], [[0.0, 4.0]], [[0.0, 0.0]]], dtype=np.float32)
    np.testing.assert_allclose(running(steps, "mean")[:, 0], [[0, 0], [2, 0], [4 / 3, 4 / 3], [1, 1]], rtol=1e-6)
    reached = np.tanh(1.0)  # p1 - p2 of two classes is tanh(half their logits' difference)
    apart = separation(running(steps, "mean"))
    assert [exit_steps(apart, margin).tolist() for margin in (reached - 1e-6, reached + 1e-6, 0.0)] == [[2], [4], [1]]


def test_the_margin_itself_is_enough() -> None:
    assert stands_out(np.array([0.25, 0.5, 0.75]), 0.5).tolist() == [False, True, True]
    apart = np.array([[0.25, 0.5], [0.5, 0.25], [0.0, 0.75]])
    assert exit_steps(apart, 0.5).tolist() == [2, 1]
    assert exit_steps(apart[:, :1], 0.6).tolist() == [3]  # none is: all steps are run
    assert exit_steps(apart[:1], 1.0).tolist() == [1, 1]


def test_probabilities_are_float64_along_the_last_axis_whatever_their_size() -> None:
    logits = np.full((2, 3, 4), 700, np.float32)
    assert softmax(logits).dtype == np.float64
    np.testing.assert_array_equal(softmax(logits), np.full((2, 3, 4), 0.25))
    assert separation(np.zeros((2, 3, 4))).shape == (2, 3)
    np.testing.assert_allclose(separation(np.log([[1.0, 5.0, 2.0]])), [3 / 8])
