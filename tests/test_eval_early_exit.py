"""Stopping early: the margin that is chosen, on which samples, and what it gives on the others."""

from __future__ import annotations

import numpy as np
import pytest

from idsnn_deploy.anytime import exit_steps, separation, softmax
from idsnn_deploy.readout import running
from idsnn_evaluation.answers.early_exit import at_margin, early_exit, validation_part
from idsnn_evaluation.answers.scores import Scores

N, T, K = 40, 3, 4
LABELS = np.arange(N) % K
_draw = np.random.default_rng(0).normal(size=(T, N, K))
LOGITS = (_draw + 1.5 * np.eye(K)[LABELS]).astype(np.float32)


def test_early_exit_is_chosen_on_one_part_and_judged_on_the_other() -> None:
    scores = Scores.of(LABELS, LOGITS)
    found = early_exit(scores)
    assert found is not None
    part = validation_part(LABELS)
    assert part.sum() == found["validation"]["samples"] == N // 2
    steps = exit_steps(separation(running(LOGITS[:, ~part], "mean")), found["margin"])
    means = running(LOGITS[:, ~part], "mean")
    right = means.argmax(axis=2)[steps - 1, np.arange(len(steps))] == LABELS[~part]
    assert found["rest"]["average_steps"] == pytest.approx(steps.mean())
    assert found["rest"]["accuracy"] == pytest.approx(right.mean())
    assert found["validation"]["accuracy"] >= found["validation"]["full_accuracy"] - 0.005 - found["noise"]
    assert not found["enough"]
    assert found["curve"][0]["average_steps"] == 1
    assert found["curve"][0]["margin"] == 0


@pytest.mark.parametrize(("wrong", "steps"), [(0, 1.0), (5, 1.0), (6, 2.0)])
def test_half_a_point_of_accuracy_may_be_lost_and_no_more(wrong: int, steps: float) -> None:
    """1,000 images choose; `wrong` of them are wrong after the first of two steps, all are right after the second."""
    labels = np.zeros(2000, dtype=np.int64)
    classes, margins = np.zeros((2, 2000), dtype=np.int32), np.full((2, 2000), 0.5, dtype=np.float32)
    classes[0, np.flatnonzero(validation_part(labels))[:wrong]] = 1
    found = early_exit(Scores(labels, classes, margins))
    assert found is not None
    assert found["tolerance"] == 0.005
    assert found["validation"]["average_steps"] == steps


@pytest.mark.parametrize("samples", [178, 356])
def test_one_image_that_flips_does_not_keep_all_steps(samples: int) -> None:
    """Nearly all stop at a margin of 0.5; one of the images that choose is right after the last step alone."""
    labels = np.zeros(samples, dtype=np.int64)
    classes, margins = np.zeros((4, samples), dtype=np.int32), np.full((4, samples), 0.9, dtype=np.float32)
    odd = np.flatnonzero(validation_part(labels))[0]
    classes[:3, odd] = 1
    margins[:3, odd] = 0.99
    found = early_exit(Scores(labels, classes, margins))
    assert found is not None
    assert found["margin"] == 0
    assert found["rest"]["average_steps"] == 1


def test_a_smaller_margin_that_happens_to_be_better_is_not_taken_beyond_a_worse_one() -> None:
    """Stopping at 0.2 gains what stopping at 0.5 loses; the choice goes down from 1 to where too much is lost."""
    labels = np.zeros(2000, dtype=np.int64)
    classes, margins = np.zeros((2, 2000), dtype=np.int32), np.full((2, 2000), 0.9, dtype=np.float32)
    chosen_on = np.flatnonzero(validation_part(labels))
    lost, gained = chosen_on[:30], chosen_on[30:60]
    classes[0, lost], margins[0, lost] = 1, 0.5
    classes[1, gained], margins[0, gained] = 1, 0.2
    found = early_exit(Scores(labels, classes, margins))
    assert found is not None
    assert 0.5 < found["margin"] <= 0.9
    assert found["enough"]


def test_the_evaluator_exits_where_the_device_does() -> None:
    """A device stops at the first step whose mean so far stands out, and knows no later one."""
    logits = LOGITS
    scores = Scores.of(LABELS, logits)
    for margin in (0.0, 0.3, 0.6, 1.0):
        steps = []
        for sample in np.moveaxis(logits, 1, 0):
            each = enumerate(np.cumsum(sample, axis=0), 1)
            found = (t for t, total in each if np.diff(np.sort(softmax(total / t))[-2:])[0] >= margin)
            steps.append(next(found, len(logits)))
        assert at_margin(scores, margin)["average_steps"] == np.mean(steps)


def test_one_sample_has_no_early_exit() -> None:
    assert early_exit(Scores.of(LABELS[:1], LOGITS[:, :1])) is None


def test_every_other_sample_of_each_class_chooses() -> None:
    assert validation_part(np.array([0, 1, 0, 1, 0, 2, 0])).tolist() == [0, 0, 1, 1, 0, 0, 1]


def test_the_report_s_keys_by_hand() -> None:
    """Of one class: samples 1, 3, 5 choose, 0, 2, 4 are judged; what each answers, how sure it is, at three steps."""
    classes = np.array([[0, 1, 1, 0, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0]], dtype=np.int32)
    margins = np.array([[0.3, 0.2, 0.55, 0.2, 0.995, 0.2], [0.9] * 6, [0.9] * 6], dtype=np.float32)
    assert early_exit(Scores(np.zeros(6, np.int64), classes, margins)) == {
        "margin": 0.0,
        "tolerance": 0.005,
        "noise": 1 / 3,
        "enough": False,
        "validation": {"samples": 3, "full_accuracy": 1.0, "margin": 0.0, "accuracy": 2 / 3, "average_steps": 1.0},
        "rest": {"samples": 3, "full_accuracy": 2 / 3, "margin": 0.0, "accuracy": 2 / 3, "average_steps": 1.0},
        "curve": [
            {"margin": 0.0, "accuracy": 2 / 3, "average_steps": 1.0},
            {"margin": 0.31, "accuracy": 2 / 3, "average_steps": 4 / 3},
            {"margin": 0.56, "accuracy": 2 / 3, "average_steps": 5 / 3},
            {"margin": 0.91, "accuracy": 1.0, "average_steps": 7 / 3},
            {"margin": 0.996, "accuracy": 2 / 3, "average_steps": 3.0},
        ],
    }


@pytest.mark.parametrize(("images", "enough"), [(398, False), (400, True)])
def test_200_images_are_enough_to_choose_on(images: int, enough: bool) -> None:
    right = Scores(np.zeros(images, np.int64), np.zeros((2, images), np.int32), np.ones((2, images), np.float32))
    found = early_exit(right)
    assert found is not None
    assert found["enough"] == enough
    assert found["curve"] == [{"margin": 0.0, "accuracy": 1.0, "average_steps": 1.0}]  # and no margin changes that


@pytest.mark.parametrize(("wrong", "margin"), [(1, 0.0), (2, 1.0)])
def test_a_margin_of_1_is_for_those_that_none_suits(wrong: int, margin: float) -> None:
    """`wrong` of 100 images are sure of another class at first, as sure as can be."""
    labels = np.zeros(200, np.int64)
    classes, margins = np.zeros((2, 200), np.int32), np.ones((2, 200), np.float32)
    classes[0, np.flatnonzero(validation_part(labels))[:wrong]] = 1
    found = early_exit(Scores(labels, classes, margins))
    assert found is not None
    assert found["margin"] == margin


def test_where_networks_are_very_sure_the_margins_are_finer() -> None:
    """Two of 100 images are wrong at first, at 0.992; the others stop there at 0.9985, and are right."""
    labels = np.zeros(200, np.int64)
    classes, margins = np.zeros((4, 200), np.int32), np.full((4, 200), 0.9985, np.float32)
    odd = np.flatnonzero(validation_part(labels))[:2]
    classes[0, odd], margins[0, odd] = 1, 0.992
    found = early_exit(Scores(labels, classes, margins))
    assert found is not None
    assert found["margin"] == 0.993
    assert found["validation"]["average_steps"] == 1.02
    assert [point["margin"] for point in found["curve"]] == [0.0, 0.999]


def test_margins_are_hundredths_and_from_0_99_on_thousandths() -> None:
    """One sample between any two margins, so that each of them is a point of the curve."""
    between = [*(i / 100 + 0.005 for i in range(99)), *(i / 1000 + 0.0005 for i in range(990, 1000))]
    margins = np.ones((2, 2 * len(between)), np.float32)
    margins[0, ::2] = between  # the other half chooses
    found = early_exit(Scores(np.zeros(margins.shape[1], np.int64), np.zeros(margins.shape, np.int32), margins))
    assert found is not None
    expected = [*(i / 100 for i in range(100)), *(i / 1000 for i in range(991, 1001))]
    assert [point["margin"] for point in found["curve"]] == expected


def test_two_samples_of_one_class_are_a_choice_and_two_of_two_are_none() -> None:
    assert early_exit(Scores.of(np.array([0, 0]), LOGITS[:, :2])) is not None
    assert early_exit(Scores.of(np.array([0, 1]), LOGITS[:, :2])) is None
