"""The readout: what becomes of a network's outputs over the steps, one row each.

logits = mean | sum | last | max over t of step_logits[t]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Array
from .reading import Readout as Readout

# Of (T, ...) the values after the last step, and after each of them.
WHOLE: dict[Readout, Callable[[Array], Array]] = {
    "mean": lambda steps: steps.mean(axis=0),
    "sum": lambda steps: steps.sum(axis=0),
    "last": lambda steps: steps[-1],
    "max": lambda steps: steps.max(axis=0),
}
RUNNING: dict[Readout, Callable[[Array], Array]] = {
    "mean": lambda steps: np.cumsum(steps, axis=0) / _counts(steps),
    "sum": lambda steps: np.cumsum(steps, axis=0),
    "last": lambda steps: steps,
    "max": lambda steps: np.maximum.accumulate(steps, axis=0),
}


def read_out(step_logits: Array, readout: Readout) -> Array:
    """The logits of outputs `(T, ...)`, in their precision."""
    return np.asarray(WHOLE[readout](step_logits))


def running(step_logits: Array, readout: Readout) -> Array:
    """The logits after each step, `(T, ...)` float32: what a network that stopped there would answer."""
    return np.asarray(RUNNING[readout](np.asarray(step_logits, np.float32)), np.float32)


def _counts(steps: Array) -> Array:
    return np.arange(1, len(steps) + 1, dtype=np.float32).reshape(-1, *[1] * (steps.ndim - 1))
