"""The learning rate as a function of time.

step        lr * 0.1 ** (number of milestones reached)
cosine      lr * (1 + cos(pi * p)) / 2                      p the part of the training that is done
constant    lr
triangle    lr * min(p / peak, (1 - p) / (1 - peak))        0 at the first step and after the last
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .config import TrainConfig


def _step(config: TrainConfig, done: float, epochs: int) -> float:
    return config.lr * 0.1 ** sum(done >= milestone for milestone in config.milestones)


def _cosine(config: TrainConfig, done: float, epochs: int) -> float:
    return config.lr * (1 + math.cos(math.pi * done / epochs)) / 2


def _constant(config: TrainConfig, done: float, epochs: int) -> float:
    return config.lr


def _triangle(config: TrainConfig, done: float, epochs: int) -> float:
    p = done / epochs
    return config.lr * min(p / config.peak, (1 - p) / (1 - config.peak))


_SCHEDULES: dict[str, Callable[[TrainConfig, float, int], float]] = {
    "step": _step,
    "cosine": _cosine,
    "constant": _constant,
    "triangle": _triangle,
}


def learning_rate(config: TrainConfig, done: float, epochs: int) -> float:
    """The learning rate after `done` of `epochs` epochs (a fraction inside an epoch)."""
    return _SCHEDULES[config.schedule](config, done, epochs)
