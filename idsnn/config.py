"""What a training is: one frozen dataclass, from which the flags of `idsnn-train` are made, and the presets.

No torch here, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import UsageError
from idsnn_deploy.flags import flag
from idsnn_deploy.json_file import read_json_object
from idsnn_deploy.json_types import MalformedError, keys_of, read
from idsnn_deploy.reading import DataSet, Recorded

from .curriculum import MOST_STEPS, Stage, read_stages, total_epochs
from .networks.import_path import is_import_path
from .networks.table import NEURON, OPTIONS, Architecture, architecture, teacher_of


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a training; resolved, it is the run's config.json."""

    dataset: str = flag(
        "digits",
        "digits, mnist, kmnist, fashion-mnist, cifar10, cifar100, svhn, folder, npz; recordings: nmnist, n-caltech101, "
        "cifar10-dvs, dvs128-gesture, events",
        group="data",
    )
    data: str | None = flag(
        None,
        "folder of the data set's files, train/CLASS/* and test/CLASS/*; digits need none, downloads go to ./data",
        "DIR",
    )
    test_fraction: float = flag(0.2, "part of each class that is for testing where --data has no test folder", "X")
    split_seed: int = flag(0, "seed that chooses that part; --seed does not change it")
    val_fraction: float = flag(0.0, "part of the training images that is held out and picks the best epoch", "X")
    limit_train: int | None = flag(None, "at most so many training images, classes in turn", "N")
    limit_test: int | None = flag(None, "at most so many test images, classes in turn", "N")
    image_size: int | None = flag(
        None,
        "height and width to bring folder images to, and frames of events; where not given the images' median, at most "
        "64, and the sensor's",
        "PIXELS",
    )
    gray: bool = flag(False, "bring folder images to one channel, even if some are in colour")
    skip_broken: bool = flag(False, "leave out folder images that do not decode, and list them")
    augment: Literal["auto", "none", "shift", "crop-flip", "events", "events-flip"] = flag(
        "auto",
        "auto: none for digits, shift for mnist, events (shift, turn, drop) for recordings, crop-flip for the rest",
    )
    flip: Literal["random", "alternate"] = flag(
        "random", "which images are mirrored: half of them, drawn each epoch, or each one in every second epoch"
    )
    sensor: tuple[int, ...] = flag(
        (),
        "height and width of the sensor of --dataset events; the least that holds every event where not given",
        "PIXELS",
        nargs="*",
    )
    events_by: Literal["time", "count"] = flag("time", "frames share a recording's time evenly, or its events")
    events_values: Literal["counts", "binary"] = flag(
        "binary", "a frame holds how many events each pixel saw, or 1 where it saw any"
    )
    events_window: int | None = flag(
        None,
        "what the T frames cover together: microseconds by time, events by count; the whole recording where not given",
    )
    network: str = flag(
        "resnet",
        "architecture of the student: resnet, vgg, or package.module:factory, your own (docs/training.md)",
        group="network",
    )
    width: int = flag(16, "channels of the first stage")
    depth: int | None = flag(
        None, "layers of the student: 18, 34, 50, 101 of resnet, 11, 16 of vgg; the first where not given"
    )
    timesteps: int = flag(4, "T, the time steps that a static image is shown, or the frames that a recording becomes")
    residual: Literal["spiking", "sew", "membrane"] = flag(
        "spiking",
        "where the shortcut joins: before the neuron (Fig. 1b), after it (Fig. 1c), or never leaves the membrane (MS)",
    )
    stem: Literal["cifar", "imagenet"] = flag("cifar", "3x3 convolution, or 7x7 with stride 2 and a pool")
    beta: float = flag(0.25, "decay of the membrane per step")
    threshold: float = flag(0.5, "theta, the membrane above which a neuron spikes")
    learn_beta: bool = flag(False, "learn one beta per layer")
    learn_threshold: bool = flag(False, "learn one theta per layer")
    teacher: str | None = flag(
        None,
        "a run folder, a .safetensors or a torchvision-style .pth to take the teacher from; else one is trained here",
        "RUN",
    )
    tune_teacher: bool = flag(False, "train the --teacher that is given further, for the teacher's epochs")
    teacher_network: str | None = flag(
        None, "architecture of the teacher, resnet or vgg; the student's where not given, resnet's for your own"
    )
    teacher_width: int | None = flag(None, "channels of the teacher's first stage; the student's where not given")
    teacher_depth: int | None = flag(
        None, "layers of the teacher, likewise; 34 of resnet and 16 of vgg where not given"
    )
    arm: Literal["baseline", "init", "kd", "idsnn"] = flag(
        "idsnn",
        "baseline: neither; init: initialized from the teacher; kd: distilled from it; idsnn: both",
        group="method",
    )
    start: str | None = flag(None, "a run folder whose student the student starts from, to be tuned further", "RUN")
    init_shortcuts: bool = flag(True, "initialize projection shortcuts from the teacher, too")
    init_scaled: bool = flag(
        True, "multiply the teacher's BN weights and biases by the threshold, at which fresh ones start (not the paper)"
    )
    match: Literal["leading", "proportional"] = flag("leading", "which teacher block starts each student block")
    alpha: float = flag(0.3, "weight of the distillation loss")
    temperature: float = flag(4.0, "tau, which softens the teacher's answer")
    views: int = flag(
        0,
        "crops of each image that the epochs show in turn; the teacher is asked once for each; 0: new ones, each asked",
        "K",
    )
    loss: Literal["mean", "steps"] = flag(
        "steps",
        "what the student's loss judges: the mean of the logits over steps (the paper), or the logits of every step",
    )
    spikes: float | None = flag(
        None, "spikes per neuron and sample (T x firing rate) that the student may have; the training keeps to it", "S"
    )
    side_heads: float = flag(
        0.0, "weight of the loss of heads at the ends of the student's stages, which are gone after training", "W"
    )
    target_rate: float | None = flag(
        None, "firing rate (spikes per neuron and step) that the loss pulls every layer towards"
    )
    rate_weight: float = flag(1.0, "weight of that pull")
    label_smoothing: float = flag(0.0, "share of each label that is spread over all classes, for teacher and student")
    ema: float = flag(
        0.0, "decay per step of an average of the weights, which is what is assessed and kept; 0 keeps the weights"
    )
    teacher_frames: Literal["mean", "each"] = flag(
        "mean", "the teacher of frames sees their mean over time, or each of them, and its logits are averaged"
    )
    epochs: int = flag(15, "epochs of the student, where --stages does not say them", group="schedule")
    teacher_epochs: int | None = flag(
        None, "epochs of the teacher; as many as the student's, and its stages, where not given"
    )
    stages: tuple[str, ...] = flag(
        (),
        "the student's curriculum, EPOCHSxPIXELS@T, such as 2x24@1 4x32@1 2x32@4; @1-4 draws T for each batch",
        "STAGE",
        nargs="*",
    )
    teacher_stages: tuple[str, ...] = flag(
        (),
        "the teacher's, for which T says nothing; the student's where neither this nor --teacher-epochs is given",
        "STAGE",
        nargs="*",
    )
    batch_size: int = flag(64, "images per step, over all processes")
    optimizer: Literal["sgd", "muon"] = flag(
        "sgd", "SGD with momentum, or Muon: steps of the matrices inside the network follow all directions alike"
    )
    lr: float = flag(0.05, "learning rate at the start")
    momentum: float = flag(0.9, "momentum of the gradient")
    weight_decay: float = flag(
        1e-4,
        "weight decay: SGD adds it to the gradient (a learned beta or theta has none), Muon takes it off the matrices",
    )
    nesterov: bool = flag(False, "Nesterov's momentum")
    schedule: Literal["step", "cosine", "constant", "triangle"] = flag(
        "cosine",
        "the learning rate: x0.1 at the milestones, a half cosine, constant, or up from 0 to --lr and down to 0",
    )
    milestones: tuple[int, ...] = flag((), "epochs of the falls of the step schedule", "EPOCH", nargs="*")
    peak: float = flag(0.2, "part of the training after which the triangle is at its height")
    seed: int = flag(0, "seed of weights, order and augmentation", group="run")
    device: str = flag("auto", "auto, cpu, cuda or mps")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = flag(
        "32-true", "arithmetic of the layers without memory; membranes are always at least 32 bit"
    )
    compile: Literal["auto", "on", "off"] = flag("auto", "compile the neuron; auto does on a GPU with Triton")
    logger: Literal["none", "tensorboard"] = flag("none", "write event files for TensorBoard into the run")

    @property
    def needs_teacher(self) -> bool:
        """Whether the arm learns from a teacher at all."""
        return self.arm != "baseline"

    @property
    def trains_teacher(self) -> bool:
        """Whether the teacher's epochs are run: from the beginning, or on from the one that is given."""
        return self.needs_teacher and (self.teacher is None or self.tune_teacher)

    @property
    def own_network(self) -> bool:
        """Whether the student is a user's own, by import path."""
        return is_import_path(self.network)

    def complete(self) -> TrainConfig:
        """The settings with what was left open as the architectures have it, and epochs as the stages say."""
        teacher = self.teacher_network or teacher_of(self.network)
        depth = self.depth or (None if self.own_network else architecture(self.network).student_depth)
        teacher_depth = self.teacher_depth or architecture(teacher).teacher_depth
        epochs = total_epochs(self.curriculum("student"))
        return replace(self, epochs=epochs, teacher_network=teacher, depth=depth, teacher_depth=teacher_depth)

    def curriculum(self, phase: str) -> tuple[Stage, ...]:
        """The stages of "teacher" or "student"; a training without any is one stage."""
        if phase == "student":
            return read_stages(self.stages) or (Stage(self.epochs),)
        if self.teacher_stages:
            return read_stages(self.teacher_stages, "--teacher-stages")
        return (Stage(self.teacher_epochs),) if self.teacher_epochs else self.curriculum("student")

    @property
    def distils(self) -> bool:
        """Whether the student learns from the teacher's answers."""
        return self.arm in ("kd", "idsnn")

    @property
    def initializes(self) -> bool:
        """Whether the student starts from the teacher's weights."""
        return self.arm in ("init", "idsnn")

    def check(self) -> TrainConfig:
        """Returns self.

        Raises:
            UsageError: a value that cannot be used, with its flag.
        """
        if self.dataset not in get_args(DataSet):
            known = known_are(self.dataset, get_args(DataSet))
            raise UsageError(f"--dataset {self.dataset}: unknown data set; {known}")
        for name, kind in get_type_hints(TrainConfig).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise UsageError(f"{_flag(name)} {getattr(self, name)}: one of {', '.join(map(str, get_args(kind)))}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{_flag(name)} {value:g}: must lie in {low:g} to {high:g}")
        self._check_network()
        self._check_stages()
        self._check_start_and_spikes()
        if self.sensor and (len(self.sensor) != 2 or min(self.sensor) < 1):
            raise UsageError(f"--sensor {' '.join(map(str, self.sensor))}: give its height and width")
        if self.schedule == "step" and not self.milestones:
            raise UsageError("--schedule step needs --milestones EPOCH EPOCH ..., or take a preset")
        if self.learn_beta and not 0.01 < self.beta < 0.99:
            raise UsageError(f"--beta {self.beta:g}: a learned beta must start inside 0.01 to 0.99")
        if self.learn_threshold and self.threshold <= 0.01:
            raise UsageError(f"--threshold {self.threshold:g}: a learned theta must start above 0.01")
        return self

    def _check_network(self) -> None:
        teacher = self.teacher_network or teacher_of(self.network)
        teacher_row = architecture(teacher, "--teacher-network")
        self._check_depth("teacher_depth", teacher, teacher_row)
        if self.own_network:
            without = OPTIONS - {*teacher_row.teacher_options} | {"depth", *NEURON}
        else:
            student_row = architecture(self.network)
            self._check_depth("depth", self.network, student_row)
            without = OPTIONS - {*student_row.student_options, *teacher_row.teacher_options}
        for name in sorted(without):
            if getattr(self, name) != getattr(TrainConfig, name):
                raise UsageError(f"{_flag(name)} {getattr(self, name)}: {self.network} has no such choice")

    def _check_stages(self) -> None:
        student, teacher = total_epochs(self.curriculum("student")), total_epochs(self.curriculum("teacher"))
        if self.epochs not in (TrainConfig.epochs, student):
            raise UsageError(f"--epochs {self.epochs}: the stages have {student} together; leave one of the two out")
        if self.teacher_stages and self.teacher_epochs not in (None, teacher):
            raise UsageError(
                f"--teacher-epochs {self.teacher_epochs}: the stages have {teacher} together; leave one of the two out"
            )
        if self.tune_teacher and (self.teacher is None or not self.needs_teacher):
            raise UsageError("--tune-teacher needs a --teacher RUN, and an arm that learns from it")
        if self.nesterov and self.momentum == 0:
            raise UsageError("--nesterov needs a --momentum above 0")

    def _check_start_and_spikes(self) -> None:
        if self.start is not None and self.initializes:
            raise UsageError(
                f"--start {self.start}: --arm {self.arm} starts the student from its teacher; take kd or baseline"
            )
        if self.views and not self.distils:
            raise UsageError(f"--views {self.views}: is for a teacher's answers, which --arm {self.arm} does not learn")
        if self.spikes is not None and self.spikes > self.timesteps:
            raise UsageError(f"--spikes {self.spikes:g}: a neuron has at most {self.timesteps} in T {self.timesteps}")
        if self.spikes is not None and self.target_rate is not None:
            raise UsageError(f"--spikes {self.spikes:g}: --target-rate pulls as well; give one of the two")

    def _check_depth(self, name: str, network: str, row: Architecture) -> None:
        if getattr(self, name) not in (None, *row.depths):
            known = ", ".join(map(str, row.depths))
            raise UsageError(f"{_flag(name)} {getattr(self, name)}: {network} comes with {known}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


_MANY = float(2**31)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "teacher_epochs", "width", "teacher_width"), (1, _MANY)),
    "timesteps": (1, MOST_STEPS),
    "views": (0, 1000),
    **dict.fromkeys(("batch_size", "limit_train", "limit_test", "image_size"), (1, _MANY)),
    **dict.fromkeys(("alpha", "rate_weight", "weight_decay", "side_heads"), (0, 1e6)),
    **dict.fromkeys(("beta", "momentum"), (0, 1)),
    **dict.fromkeys(("lr", "temperature", "threshold"), (1e-6, 1e6)),
    "target_rate": (1e-4, 1),
    "spikes": (1e-4, MOST_STEPS),
    "ema": (0, 0.99999),
    "label_smoothing": (0, 0.99),
    "peak": (0.001, 0.999),
    "val_fraction": (0, 0.9),
    "test_fraction": (0.001, 0.999),
    "events_window": (1, float(2**53)),
    **dict.fromkeys(("seed", "split_seed"), (0, 2**32 - 1)),
}

# 4.1 of the paper: SGD 0.05, batch 64; 4.4: the rate falls at n, 2n and 3n, over 200, 80 and 40 epochs.
_PAPER: dict[str, Any] = {
    "width": 64,
    "schedule": "step",
    "match": "leading",
    "init_scaled": False,
    "loss": "mean",
    "augment": "crop-flip",
}
# All of CIFAR-10 in an evening of two cores: most epochs small and at T 1, the last ones as the network is deployed.
_EVENING: dict[str, Any] = {
    **{"dataset": "cifar10", "image_size": 32, "augment": "crop-flip", "flip": "alternate", "width": 16},
    **{"batch_size": 128, "lr": 0.1, "schedule": "triangle", "nesterov": True, "weight_decay": 5e-4},
    **{"teacher_stages": ("6x16@1", "8x24@1", "14x32@1"), "stages": ("4x24@1", "7x32@1", "4x32@2")},
    **{"timesteps": 2, "spikes": 0.4},
}
# Recordings of event cameras: chosen on a quarter of N-MNIST's 800 training recordings (docs/results.md).
_RECORDINGS: dict[str, Any] = {
    "network": "vgg",
    "depth": 11,
    "teacher_depth": 11,
    "arm": "baseline",
    "timesteps": 5,
    "epochs": 16,
    "batch_size": 32,
    "loss": "mean",
    "teacher_frames": "each",
}
# What `--dataset NAME` starts from where nothing else is said.
DEFAULTS: dict[str, dict[str, Any]] = {name: {**_RECORDINGS, "dataset": name} for name in get_args(Recorded)}
_INTERVALS = {"": (60, 200), "-i20": (20, 80), "-i10": (10, 40)}
PRESETS: dict[str, dict[str, Any]] = {
    **{
        f"paper-c{classes}{suffix}{'-t6' if steps == 6 else ''}": {
            **_PAPER,
            "dataset": f"cifar{classes}",
            "epochs": epochs,
            "milestones": (n, 2 * n, 3 * n),
            "timesteps": steps,
        }
        for classes in (10, 100)
        for suffix, (n, epochs) in _INTERVALS.items()
        for steps in (4, 6)
    },
    "released": {**_PAPER, "dataset": "cifar10", "epochs": 200, "milestones": (60, 120, 160)},
    "cifar10-cpu": _EVENING,
    "fast": {"dataset": "cifar10", "epochs": 8, "limit_train": 10_000, "limit_test": 2_000},
}


def default(dataset: str | None, network: str | None = None) -> TrainConfig:
    """The settings that a data set starts from; depths are those of its own network, not of another `network`."""
    found = TrainConfig(**DEFAULTS.get(dataset or "", {}))
    return found if network in (None, found.network) else replace(found, depth=None, teacher_depth=None)


def preset(name: str) -> TrainConfig:
    """The settings of a preset.

    Raises:
        UsageError: an unknown name.
    """
    if name not in PRESETS:
        raise UsageError(f"--preset {name}: unknown; {known_are(name, PRESETS)}")
    return TrainConfig(**PRESETS[name])


def read_config(path: str | Path) -> TrainConfig:
    """The settings in a config.json; what a run resolved besides (mean, labels, ...) is left aside.

    Raises:
        UsageError: the file is missing, is not JSON, or has a value of another type than the setting.
    """
    found = read_json_object(Path(path), 1 << 24, UsageError)
    if not found.keys() & settings(TrainConfig()).keys():
        raise UsageError(f"{path}: holds no settings of a training")
    try:
        return typed(found)
    except MalformedError as cause:
        raise UsageError(f"{path}: {cause}") from cause


def typed(found: Mapping[str, Any]) -> TrainConfig:
    """The settings among what a config.json holds; one that is not there has its default.

    Raises:
        MalformedError: a value of another type than the setting.
    """
    known = keys_of(TrainConfig)
    return TrainConfig(**{name: read(hint, found[name], name) for name, (hint, _) in known.items() if name in found})


def settings(config: TrainConfig) -> dict[str, Any]:
    """The settings by name, as JSON takes them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
