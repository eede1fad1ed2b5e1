"""What compare.py compares: lists of trainings that differ in one thing each.

steps       how one network comes to answer after any number of steps, at equal images x T
spikes      ways to fewer spikes, from one finished student, at equal epochs
switches    one setting of the trainer at a time
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The scale of all of them: photographs of 16x16 pixels, a network of width 8, one thread for a minute or less a run.
SCALE: dict[str, Any] = {
    **{"image_size": 16, "limit_train": 5000, "limit_test": 100, "val_fraction": 0.3, "augment": "crop-flip"},
    **{"width": 8, "teacher_depth": 18, "batch_size": 64, "lr": 0.1, "schedule": "triangle"},
}
# The student that the list `spikes` starts from, and the teacher of all.
COMMON: dict[str, Any] = {"teacher_stages": ("10x16@1",), "stages": ("5x16@1", "6x16@1-4")}


@dataclass(frozen=True)
class Entry:
    """One training of a list.

    Attributes:
        settings: what it adds to the scale and its list's base.
        pull: what `--spikes` pulls: "spikes", or "synapses", each spike weighted by its fan-out.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    pull: str = "spikes"


_TUNED: dict[str, Any] = {"arm": "kd", "lr": 0.05, "stages": ("4x16@4",)}


def _few(timesteps: int, **settings: Any) -> dict[str, Any]:
    return {"timesteps": timesteps, "stages": (f"4x16@{timesteps}",), **settings}


LISTS: dict[str, tuple[dict[str, Any], Mapping[str, Entry]]] = {
    "steps": (
        {"arm": "idsnn"},
        {
            "T 4 at the end": Entry({"stages": ("5x16@1", "1x16@2", "4x16@4")}),
            "T drawn at the end": Entry({"stages": ("5x16@1", "7x16@1-4")}),
            "T 4 at the end, mean judged": Entry({"stages": ("5x16@1", "1x16@2", "4x16@4"), "loss": "mean"}),
            "T drawn at the end, mean judged": Entry({"stages": ("5x16@1", "7x16@1-4"), "loss": "mean"}),
        },
    ),
    "spikes": (
        _TUNED,
        {
            "no pull": Entry(),
            "each layer to 0.1": Entry({"target_rate": 0.1}),
            "each layer to 0.05": Entry({"target_rate": 0.05}),
            "spikes 0.4": Entry({"spikes": 0.4}),
            "spikes 0.2": Entry({"spikes": 0.2}),
            "spikes 0.4 by fan-out": Entry({"spikes": 0.4}, pull="synapses"),
            "spikes 0.2 by fan-out": Entry({"spikes": 0.2}, pull="synapses"),
            "spikes 0.4, theta learned": Entry({"spikes": 0.4, "learn_threshold": True}),
            "spikes 0.2, theta learned": Entry({"spikes": 0.2, "learn_threshold": True}),
            "theta 0.75": Entry({"threshold": 0.75}),
            "theta 1": Entry({"threshold": 1.0}),
            "T 2": Entry(_few(2)),
            "T 1": Entry(_few(1)),
            "T 2, spikes 0.4": Entry(_few(2, spikes=0.4)),
            "T 2, spikes 0.2": Entry(_few(2, spikes=0.2)),
            "T 1, spikes 0.2": Entry(_few(1, spikes=0.2)),
        },
    ),
    "switches": (
        {"arm": "idsnn", "timesteps": 1, "stages": ("6x16@1",), "schedule": "cosine"},
        {
            "as it is": Entry(),
            "schedule triangle": Entry({"schedule": "triangle"}),
            "nesterov": Entry({"nesterov": True}),
            "label-smoothing 0.1": Entry({"label_smoothing": 0.1}),
            "ema 0.98": Entry({"ema": 0.98}),
            "flip alternate": Entry({"flip": "alternate"}),
            "weight-decay 5e-4": Entry({"weight_decay": 5e-4}),
            "residual sew": Entry({"residual": "sew"}),
            "arm kd": Entry({"arm": "kd"}),
            "arm init": Entry({"arm": "init"}),
            "arm baseline": Entry({"arm": "baseline"}),
        },
    ),
}
