"""How early a network may stop: a margin chosen on one part of the split, judged on the rest.

    stop at the first t with p1[t] - p2[t] >= margin (idsnn_deploy.anytime), at T in any case
    margin* = the smallest whose accuracy on the validation part is within `TOLERANCE` of running all T steps

The validation part is every other sample of each class, so both parts hold every class; it chooses, the rest is
reported.
"""

from __future__ import annotations

import numpy as np

from idsnn_deploy.anytime import exit_steps
from idsnn_deploy.arrays import Array

from ..document import EarlyExit, ExitPart, ExitPoint
from .scores import Scores

TOLERANCE = 0.005
MARGINS = tuple(hundredth / 100 for hundredth in range(101))


def at_margin(scores: Scores, margin: float) -> ExitPoint:
    """Accuracy and average steps when samples stop at `margin`."""
    steps = exit_steps(scores.margins, margin)
    right = scores.correct[steps - 1, np.arange(len(scores))]
    return {"margin": margin, "accuracy": float(right.mean()), "average_steps": float(steps.mean())}


def early_exit(scores: Scores) -> EarlyExit | None:
    """The report's `early_exit`: the margin, how it was chosen and what it gives; None for under two samples.

    `curve` is accuracy against average steps on the rest; the keys are docs/report.md's.
    """
    validation = validation_part(scores.labels)
    if validation.all() or not validation.any():
        return None
    chosen_on, judged_on = scores.subset(np.flatnonzero(validation)), scores.subset(np.flatnonzero(~validation))
    goal = float(chosen_on.correct[-1].mean()) - TOLERANCE
    # The margin 1 is the last resort: it stops early only where the probabilities have rounded to 1 and 0.
    margin = next((m for m in MARGINS if at_margin(chosen_on, m)["accuracy"] >= goal), 1.0)
    curve = [at_margin(judged_on, m) for m in MARGINS]
    return {
        "margin": margin,
        "tolerance": TOLERANCE,
        "validation": _part(chosen_on, margin),
        "rest": _part(judged_on, margin),
        "curve": [point for i, point in enumerate(curve) if i == 0 or _moved(point, curve[i - 1])],
    }


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
