"""What a training is: one frozen dataclass, from which the flags of `idsnn-train` are made, and the presets.

No torch here, so that `--help` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from idsnn_deploy.errors import UsageError

Arm = Literal["baseline", "init", "kd", "idsnn"]
Dataset = Literal["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder"]
Schedule = Literal["step", "cosine", "constant"]
Augment = Literal["auto", "none", "shift", "crop-flip"]
Switch = Literal["auto", "on", "off"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a training; the resolved one is the run's config.json."""

    dataset: str = "digits"
    """digits, mnist, fashion-mnist, cifar10, cifar100, or folder (train/CLASS/* and test/CLASS/* under --data)."""
    data: str | None = None
    """Folder of the data set's files; digits need none, downloads go to ./data."""
    arm: Arm = "idsnn"
    """baseline: neither; init: initialized from the teacher; kd: distilled from it; idsnn: both."""
    epochs: int = 15
    """Epochs of the student."""
    teacher_epochs: int | None = None
    """Epochs of the teacher; as many as the student's where not given."""
    timesteps: int = 4
    """T, time steps a static image is shown."""
    width: int = 16
    """Channels of the first stage."""
    teacher_width: int | None = None
    """Channels of the teacher's first stage; the student's where not given."""
    depth: Literal[18, 34, 50, 101] = 18
    """Layers of the student."""
    teacher_depth: Literal[18, 34, 50, 101] = 34
    """Layers of the teacher."""
    residual: Literal["spiking", "sew"] = "spiking"
    """Where the shortcut joins: before the neuron (Fig. 1b) or after it (Fig. 1c)."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """3x3 convolution, or 7x7 with stride 2 and a pool."""
    teacher: str | None = None
    """A run folder, a .safetensors or a torchvision-style .pth to take the teacher from; else one is trained here."""
    match: Literal["leading", "proportional"] = "leading"
    """Which teacher block starts each student block."""
    init_shortcuts: bool = True
    """Initialize projection shortcuts from the teacher, too."""
    alpha: float = 0.3
    """Weight of the distillation loss."""
    temperature: float = 4.0
    """tau, which softens the labels of the teacher."""
    beta: float = 0.25
    """Decay of the membrane a step."""
    threshold: float = 0.5
    """theta, the membrane above which a neuron spikes."""
    learn_beta: bool = False
    """Learn one beta a layer."""
    learn_threshold: bool = False
    """Learn one theta a layer."""
    target_rate: float | None = None
    """Firing rate (spikes a neuron and step) that the loss pulls towards."""
    rate_weight: float = 1.0
    """Weight of that pull."""
    lr: float = 0.05
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Weight decay of SGD."""
    batch_size: int = 64
    """Images a step, over all processes."""
    schedule: Schedule = "cosine"
    """How the learning rate falls: by 0.1 at the milestones, along a half cosine, or not at all."""
    interval: int | None = None
    """For the step schedule: epochs between falls, at n, 2n and 3n."""
    milestones: tuple[int, ...] | None = None
    """For the step schedule: the epochs of the falls; they hold over the interval."""
    augment: Augment = "auto"
    """auto: shift (by one pixel) for digits, shift by two for mnist, crop-flip for the rest."""
    val_fraction: float = 0.0
    """Part of the training images that is held out and picks the best epoch."""
    limit_train: int | None = None
    """At most so many training images, classes in turn."""
    limit_test: int | None = None
    """At most so many test images, classes in turn."""
    image_size: int | None = None
    """Height and width to bring folder images to; the first image's where not given."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    devices: int = 1
    """Processes on this machine where torchrun or SLURM does not say."""
    precision: Precision = "32-true"
    """32-true, bf16-mixed or 16-mixed."""
    compile: Switch = "auto"
    """Compile the neuron; auto does where a compiler is found and the training is long enough to gain by it."""
    logger: Literal["none", "tensorboard"] = "none"
    """Write event files for TensorBoard into the run."""

    def check(self) -> TrainConfig:
        """Returns self.

        Raises:
            UsageError: a value that cannot be used, with its flag.
        """
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} {value}: at least 1")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"--{name.replace('_', '-')} {value:g}: from {low:g} to {high:g}")
        if self.schedule == "step" and not (self.interval or self.milestones):
            raise UsageError("--schedule step needs --interval N or --milestones N N N")
        return self

    def falls(self, epochs: int) -> tuple[int, ...]:
        """The epochs at whose start the step schedule multiplies the learning rate by 0.1."""
        del epochs
        return self.milestones or tuple(n * self.interval for n in (1, 2, 3) if self.interval)


_AT_LEAST_ONE = (
    "epochs", "teacher_epochs", "timesteps", "width", "teacher_width", "batch_size", "interval", "limit_train",
    "limit_test", "image_size", "devices",
)  # fmt: skip
_RANGES = {
    "alpha": (0, 1e6), "temperature": (1e-3, 1e6), "beta": (0, 1), "threshold": (1e-6, 1e6), "target_rate": (0, 1),
    "rate_weight": (0, 1e6), "lr": (1e-9, 1e3), "momentum": (0, 1), "weight_decay": (0, 1e3), "val_fraction": (0, 0.9),
    "seed": (0, 2**32 - 1),
}  # fmt: skip
