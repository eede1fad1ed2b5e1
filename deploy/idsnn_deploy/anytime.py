"""When to stop: the margin rule of anytime inference.

    m[t] = (1/t) sum of logits[1..t]        p[t] = softmax(m[t])        (or their sum, last or largest: `readout`)
    stop at the first t where p1[t] - p2[t] >= margin, the two largest of p[t]; at T in any case

One rule for the device, which steps until it holds, and for the evaluator, which has every step and asks where it
would have held.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Array


class Decision(NamedTuple):
    """What anytime inference answered for one image.

    Attributes:
        label: the class, an index into the manifest's labels.
        steps: how many steps were run, 1..T.
        logits: float32 `(K,)`, read out over those steps.
    """

    label: int
    steps: int
    logits: Array


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis, float64."""
    shifted = np.exp(np.asarray(logits, dtype=np.float64) - np.max(logits, axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def separation(logits: Array) -> Array:
    """p1 - p2 of softmax(logits) `(..., K)`, in 0..1, shape `(...)`; 1 where there is but one class."""
    p = np.sort(softmax(logits), axis=-1)
    return np.asarray(p[..., -1] - p[..., -2] if p.shape[-1] > 1 else p[..., -1])


def stands_out(separations: Array, margin: float) -> Array:
    """Whether p1 - p2 has reached the margin: the rule, for one step of one sample and for all of all."""
    return np.asarray(separations >= margin)


def exit_steps(separations: Array, margin: float) -> Array:
    """The step, 1..T, at which each sample stops; int64 `(N,)` from p1 - p2 after each step `(T, N)`."""
    reached = stands_out(separations, margin)
    reached[-1] = True
    return np.asarray(reached.argmax(axis=0) + 1)
