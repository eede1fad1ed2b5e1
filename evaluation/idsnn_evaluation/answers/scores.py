"""What the network answered at every step, kept small: its class and how sure it was, not the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from idsnn_deploy.anytime import separation
from idsnn_deploy.arrays import Array
from idsnn_deploy.readout import Readout, running

from ..document import Accuracy, ClassAccuracy


@dataclass(frozen=True)
class Scores:
    """The answers over a split.

    Attributes:
        labels: the true classes, int64 `(N,)`.
        classes: the class after each step, from what is read out of the logits so far, `(T, N)`.
        margins: p1 - p2 of softmax of that, float32 `(T, N)`.
    """

    labels: Array
    classes: Array
    margins: Array

    @staticmethod
    def of(labels: Array, step_logits: Array, readout: Readout = "mean") -> Scores:
        """The scores of a batch, from `step_logits` `(T, n, K)`."""
        answers = running(step_logits, readout)
        return Scores(labels, answers.argmax(axis=2).astype(np.int32), separation(answers).astype(np.float32))

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        """The scores of several batches, in order."""
        return Scores(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.classes for part in parts], axis=1),
            np.concatenate([part.margins for part in parts], axis=1),
        )

    def subset(self, index: Array) -> Scores:
        """The scores of the samples at `index`."""
        return Scores(self.labels[index], self.classes[:, index], self.margins[:, index])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Array:
        """Whether each sample is right after each step, bool `(T, N)`."""
        return np.asarray(self.classes == self.labels)


def accuracy(scores: Scores, names: Sequence[str], torch: float | None) -> Accuracy:
    """The report's `accuracy`: top-1, by class and by step, beside the figure from training (`torch`)."""
    right = scores.correct
    per_class: dict[str, ClassAccuracy] = {}
    for label, name in enumerate(names):
        members = scores.labels == label
        if members.any():
            per_class[name] = {"accuracy": float(right[-1, members].mean()), "samples": int(members.sum())}
    return {
        "top1": float(right[-1].mean()),
        "correct": int(right[-1].sum()),
        "samples": len(scores),
        "by_step": [float(step.mean()) for step in right],
        "per_class": per_class,
        "torch": torch,
    }
