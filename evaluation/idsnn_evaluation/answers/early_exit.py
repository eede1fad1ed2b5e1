"""How early a network may stop: a margin chosen on one part of the split, judged on the rest.

    stop at the first t with p1[t] - p2[t] >= margin (idsnn_deploy.anytime), at T in any case
    b, c      images that only all T steps, and that only the early answer, gets right, of n
    lost      (b - c) / n
    margin*   the smallest from which on lost <= max(`TOLERANCE`, 1 / n), on the validation part

The validation part is every other sample of each class, so both parts hold every class; it chooses, the rest is
judged. One image that changes is no reason to run all steps, even where it weighs more than the tolerance; where it
does, the set is too small to choose on, and `enough` says so. "From which on": a margin that gains by chance what it
loses is not taken beyond one that only loses.
"""

from __future__ import annotations

import numpy as np

from idsnn_deploy.anytime import exit_steps
from idsnn_deploy.arrays import Array

from ..document import EarlyExit, ExitPart, ExitPoint
from .scores import Scores

TOLERANCE = 0.005
# Finer near 1: trained networks are that sure, and between 0.99 and 1 they go from one step to all of them.
MARGINS = (*(hundredth / 100 for hundredth in range(99)), *(thousandth / 1000 for thousandth in range(990, 1001)))


def at_margin(scores: Scores, margin: float) -> ExitPoint:
    """Accuracy and average steps when samples stop at `margin`."""
    right, steps = _answers(scores, margin)
    return {"margin": margin, "accuracy": float(right.mean()), "average_steps": float(steps.mean())}


def early_exit(scores: Scores) -> EarlyExit | None:
    """The report's `early_exit`: the margin, how it was chosen and what it gives; None for under two samples.

    `curve` is accuracy against average steps on the rest; the keys are docs/report.md's.
    """
    validation = validation_part(scores.labels)
    if validation.all() or not validation.any():
        return None
    chosen_on, judged_on = scores.subset(np.flatnonzero(validation)), scores.subset(np.flatnonzero(~validation))
    margin = chosen_margin(chosen_on)
    curve = [at_margin(judged_on, m) for m in MARGINS]
    return {
        "margin": margin,
        "tolerance": TOLERANCE,
        "noise": 1 / len(chosen_on),
        "enough": len(chosen_on) * TOLERANCE >= 1,
        "validation": _part(chosen_on, margin),
        "rest": _part(judged_on, margin),
        "curve": [point for i, point in enumerate(curve) if i == 0 or _moved(point, curve[i - 1])],
    }


def chosen_margin(scores: Scores) -> float:
    """The smallest margin from which on at most the tolerance, or one image, is lost; 1 where none is."""
    chosen = 1.0  # stops early only where the probabilities have rounded to 1 and 0
    allowed = max(TOLERANCE * len(scores), 1.0) + 1e-9
    full = int(scores.correct[-1].sum())
    for margin in reversed(MARGINS):
        if full - int(_answers(scores, margin)[0].sum()) > allowed:
            break
        chosen = margin
    return chosen


def _answers(scores: Scores, margin: float) -> tuple[Array, Array]:
    """Whether each sample is right where it stops, and when that is."""
    steps = exit_steps(scores.margins, margin)
    return scores.correct[steps - 1, np.arange(len(scores))], steps


def validation_part(labels: Array) -> Array:
    """Every other sample of each class in its order, bool `(N,)`."""
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        part[np.flatnonzero(labels == label)[1::2]] = True
    return part


def _part(scores: Scores, margin: float) -> ExitPart:
    return {
        "samples": len(scores),
        "full_accuracy": float(scores.correct[-1].mean()),
        **at_margin(scores, margin),
    }


def _moved(point: ExitPoint, before: ExitPoint) -> bool:
    return (point["accuracy"], point["average_steps"]) != (before["accuracy"], before["average_steps"])
