"""What reproduce.py runs: scales, recipes, and the runs that each experiment is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

ARMS = ("idsnn", "baseline", "init", "kd")

_COSINE: dict[str, Any] = {"schedule": "cosine", "milestones": ()}
# What differs from the paper's method; "paper" is it.
PAPER: dict[str, Any] = {"schedule": "step", "match": "leading", "init_scaled": False, "loss": "mean"}
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "scaled": {"init_scaled": True},
    "cosine": _COSINE,
    "steps": {"loss": "steps"},
    "cosine+steps": {**_COSINE, "loss": "steps"},
    "scaled+cosine": {"init_scaled": True, **_COSINE},
    "scaled+steps": {"init_scaled": True, "loss": "steps"},
    "scaled+cosine+steps": {"init_scaled": True, **_COSINE, "loss": "steps"},
    "lr 0.02": {"lr": 0.02},  # of the paper's 0.05 at a batch of 64
    "alpha 1": {"alpha": 1.0},
    "tau 2": {"temperature": 2.0},
    "proportional": {"match": "proportional"},
    "fresh shortcuts": {"init_shortcuts": False},
    "learned neurons": {"learn_beta": True, "learn_threshold": True},
}
# What the other arms may use, too: is it the start that helps, or the rest?
CONTROLS = ("paper", "cosine", "cosine+steps")


@dataclass(frozen=True)
class Scale:
    """How large a reproduction is.

    Attributes:
        settings: of every training, teacher's too.
        teacher_epochs: of the teacher, whose rate falls along a half cosine.
        intervals: n to the epochs of a training whose rate falls at n, 2n and 3n (4.4 of the paper).
        interval: of ablation, timesteps and beyond.
        timesteps: the T of the timesteps experiment.
        seeds: each with its own teacher and its own held-out images.
        samples: test images whose operations are counted.
    """

    settings: dict[str, Any]
    teacher_epochs: int
    intervals: dict[int, int]
    interval: int
    timesteps: tuple[int, ...]
    seeds: tuple[int, ...]
    samples: int = 500


_PAPER = {10: 40, 20: 80, 60: 200}
# The paper's 64 images a step at 0.05, four times as many at four times the rate.
_GPU: dict[str, Any] = {"width": 64, "batch_size": 256, "lr": 0.2, "precision": "bf16-mixed", "val_fraction": 0.1}
SCALES: dict[tuple[str, str], Scale] = {
    ("cpu", "digits"): Scale(
        settings={"width": 16, "val_fraction": 0.2},
        teacher_epochs=40,
        intervals={2: 8, 5: 20, 10: 40},
        interval=5,
        timesteps=(1, 2, 4, 6),
        seeds=(0, 1, 2, 3, 4),
    ),
    ("cpu", "cifar10-jpeg"): Scale(
        settings={"width": 16, "limit_train": 5000, "limit_test": 2000, "val_fraction": 0.2},
        teacher_epochs=20,
        intervals={1: 4, 2: 8, 4: 16},
        interval=2,
        timesteps=(1, 2, 4, 6),
        seeds=(0, 1, 2),
    ),
    ("gpu", "cifar10-jpeg"): Scale(
        settings=_GPU,
        teacher_epochs=60,
        intervals=_PAPER,
        interval=10,
        timesteps=(1, 2, 4, 6),
        seeds=(0,),
        samples=200,
    ),
    # Every command of the above, thin, on a hundredth of the images, in minutes of a CPU: benchmarks/gpu.md.
    ("rehearsal", "cifar10-jpeg"): Scale(
        settings={**_GPU, "width": 4, "limit_train": 500, "limit_test": 50},
        teacher_epochs=3,
        intervals={10: 4},
        interval=10,
        timesteps=(1, 2, 4, 6),
        seeds=(0,),
        samples=20,
    ),
    ("paper", "cifar10-jpeg"): Scale(
        settings={"width": 64, "val_fraction": 0.1},
        teacher_epochs=200,
        intervals=_PAPER,
        interval=60,
        timesteps=(4, 6),
        seeds=(0, 1, 2),
        samples=200,
    ),
}


@dataclass(frozen=True)
class Run:
    """One training of a student; what is equal in two experiments is run once."""

    dataset: str
    arm: str
    width: int
    epochs: int
    interval: int
    timesteps: int
    seed: int
    recipe: str = "paper"
    experiment: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The run folder's."""
        recipe = "" if self.recipe == "paper" else "-" + self.recipe.replace(" ", "")
        return f"{self.dataset}-{self.arm}{recipe}-w{self.width}-i{self.interval}-t{self.timesteps}-s{self.seed}"


def plan(scale: Scale, dataset: str, experiments: Sequence[str], seeds: Sequence[int]) -> Iterator[Run]:
    """Every run of the experiments, seed after seed."""
    near, width = scale.interval, int(scale.settings["width"])
    for seed in seeds:
        for experiment in experiments:
            for arm, interval, timesteps, recipe in {
                "ablation": [(arm, near, 4, "paper") for arm in ARMS],
                "convergence": [(arm, n, 4, "paper") for n in scale.intervals for arm in ARMS[:2]],
                "timesteps": [(arm, near, t, "paper") for t in scale.timesteps for arm in ARMS[:2]],
                "beyond": [("idsnn", near, 4, recipe) for recipe in RECIPES]
                + [(arm, near, 4, recipe) for arm in ("baseline", "kd") for recipe in CONTROLS],
            }[experiment]:
                epochs = scale.intervals[interval]
                yield Run(dataset, arm, width, epochs, interval, timesteps, seed, recipe, experiment)
