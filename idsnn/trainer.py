"""Algorithm 1 of the paper: train a teacher, start a student from it, distil it; resumable after any epoch.

teacher     min CE(teacher(x), y), or loaded, or both
student     initialize_from(teacher), then min CE + alpha tau^2 KL        arms: neither, one, the other, both
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from idsnn_deploy.errors import RunError, UsageError
from idsnn_deploy.files import write_bytes, write_json
from idsnn_deploy.given import write_given
from idsnn_deploy.reading import Division
from idsnn_deploy.versions import versions

from .assess import assess
from .checkpoint import load_teacher, load_weights, read_weights, save_weights
from .config import TrainConfig, settings
from .curriculum import total_epochs
from .curves import draw_curves
from .data import Loader, load_data
from .devices import device_name, kernel_for, make_fabric
from .display import Display
from .dry_run import check_sizes, try_stages
from .fit import Fitter
from .initialize import initialize_from
from .kernel import EAGER
from .last_checkpoint import Checkpoint
from .networks.protocol import spiking
from .networks.table import build_student, build_teacher, network_name
from .networks.wrapped import own_module
from .neuron import LIF
from .run_folder import BEST, CURVES, EVENTS, LAST, METRICS, STUDENT, SUMMARY, TEACHER, begin, begun, held
from .spikes import outcome, verdict
from .start import Start

PACKAGES = ("python", "idsnn", "torch", "snntorch", "lightning-fabric", "numpy")
COLUMNS = (
    *("phase", "epoch", "loss", "train_accuracy", "val_accuracy", "test_accuracy"),
    *("firing_rate", "lr", "seconds", "images_per_second"),
)
MORE_COLUMNS = ("pixels", "timesteps", "spikes", "pull")  # where there are stages, and with --spikes


_SUMMARIZED = ("dataset", "network", "arm", "start", "timesteps", "epochs", "stages", "teacher_stages", "seed", "width")


def train(
    config: TrainConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    force: bool = False,
    display: Display | None = None,
    data: Any = None,
) -> dict[str, Any]:
    """Trains as `config` says, writes the run folder and returns its summary.

    Args:
        config: the settings; when resuming, those that the run was started with.
        folder: the run folder.
        resume: go on from the folder's last.ckpt; where no run was begun, begin.
        force: replace the run that is there; files that are not a run's stay.
        display: where progress is shown.
        data: arrays, a torch Dataset or a Hugging Face data set, or (train, test) of them (`given`), instead of the
            config's data set; they are written to a file beside the run, from which it exports and evaluates.

    Raises:
        UsageError: a value that cannot be used, a folder that exists or another process's; nothing is written.
        DataError: images that cannot be read as the data set; nothing is written.
        RunError: a teacher that does not fit, or a run that cannot be resumed; nothing is written.
        DivergedError: the loss left the finite numbers; the last checkpoint stays.
    """
    config.check()
    folder = Path(folder)
    with held(folder, resume, force):
        if data is not None:
            file = folder.with_name(f"{folder.name}-data.npz")
            write_given(data, file, Division(config.test_fraction, config.split_seed))
            config = replace(config, dataset="npz", data=str(file))
        fabric = make_fabric(config)
        return Trainer(config, folder, fabric, display or Display(quiet=not fabric.is_global_zero), resume).run()


class Trainer:
    """A run before anything is written: everything that can be refused has been."""

    def __init__(self, config: TrainConfig, folder: Path, fabric: Fabric, display: Display, resume: bool) -> None:
        if config.batch_size % fabric.world_size:
            raise UsageError(f"--batch-size {config.batch_size} does not divide among {fabric.world_size} processes")
        config = config.complete()
        self.config, self.folder, self.fabric, self.display = config, folder, fabric, display
        # Asked before the processes first wait for each other: afterwards one of them writes.
        self.resume = resume and begun(folder) is not None
        self.taught = self.resume and (folder / TEACHER).exists()
        with fabric.rank_zero_first(local=True):  # so that one process downloads
            self.data = load_data(config, folder.parent)
        for note in (*self.data.train.notes, *self.data.test.notes):
            display.say(note)
        self.resolved: dict[str, Any] = {**settings(config), **self.data.facts(), "versions": versions(*PACKAGES)}
        self.given: nn.Module | None = None
        if config.teacher is not None and config.needs_teacher and not self.taught:
            self.given, settled = load_teacher(config.teacher, self.resolved)
            self.resolved |= settled
        self.state = Checkpoint.load(folder / LAST) if self.resume else Checkpoint()
        begun_student = self.state.phase == "student" and self.state.epoch
        self.start = None if config.start is None or begun_student else Start(config.start, self.resolved)
        self._dry_run()
        self.kernel = kernel_for(config, fabric.device)

    def _dry_run(self) -> None:
        """On throw-away networks, so that mismatched shapes fail before anything is written."""
        config, resolved = self.config, self.resolved
        keys = {"student": "network", **({"teacher": "teacher_network"} if config.needs_teacher else {})}
        check_sizes(config, self.data, {role: resolved[key] for role, key in keys.items()})
        builders = {"student": build_student, "teacher": build_teacher}
        networks = {role: builders[role](resolved) for role in keys}
        if config.initializes:
            self._initialize(networks["teacher"], networks["student"])
        if self.start is not None:
            self.start.into(networks["student"])
            for note in self.start.notes:
                self.display.say(note)
        try_stages(config, self.data, networks, resolved)

    def plan(self) -> dict[str, str]:
        """What `run` would do, for `--dry-run`."""
        data, config = self.data, self.config
        student, teacher = build_student(self.resolved), build_teacher(self.resolved)
        batches = max(1, len(data.train) // config.batch_size)
        trained = f"{total_epochs(config.curriculum('teacher'))} epochs" if config.trains_teacher else None
        source = " + ".join(filter(None, (config.teacher, trained)))
        return {
            "images": f"{len(data.train):,} to train, {len(data.validation or ()):,} held out, {len(data.test):,} test",
            "classes, image": f"{len(data.train.classes)}, {'x'.join(map(str, data.train.shape))}",
            "teacher": f"{network_name(self.resolved, 'teacher')}, {_size(teacher)}, {source}"
            if config.needs_teacher
            else "none",
            "student": f"{network_name(self.resolved)}, {_size(student)}, {config.epochs} epochs, T {config.timesteps}"
            + ("" if config.start is None else f", from {config.start}"),
            "steps per epoch": f"{batches:,} of {config.batch_size} images",
            "device": f"{self.fabric.device}, {config.precision}, {self.fabric.world_size} process(es)",
            "neuron": "eager" if self.kernel is EAGER else "compiled",
            "run folder": str(self.folder),
        }

    def run(self) -> dict[str, Any]:
        """Trains both networks, writes the folder and returns the summary."""
        if not self.resume:
            self._write(lambda: begin(self.folder, self.resolved))
        device, data, config = self.fabric.device, self.data, self.config
        loader = Loader(
            data.on(data.train, device),
            *(config.batch_size, data.augment, config.seed, self.fabric.global_rank, self.fabric.world_size),
        )
        parts = {} if data.validation is None else {"val": data.on(data.validation, device)}
        parts["test"] = data.on(data.test, device)
        if self.fabric.world_size > 1 and device.type != "cuda":
            self.display.say("batch normalization sees each process's own images: torch joins them on GPUs only")
        self.fitter = Fitter(config, self.fabric, loader, parts, self.display, self._checkpoint)
        teacher = self._teacher() if config.needs_teacher else None
        student = self._student(teacher)
        summary = self._summary(
            student,
            None if teacher is None else assess(teacher, parts["test"], self.fabric, config.teacher_frames)[0][-1],
        )
        self._write(lambda: save_weights(student, self.folder / STUDENT))
        self._write(lambda: draw_curves(self.state.rows, self.folder / CURVES))
        self._write(lambda: write_json(self.folder / SUMMARY, summary))
        return summary

    def _teacher(self) -> nn.Module:
        torch.manual_seed(self.config.seed)
        path = self.folder / TEACHER
        teacher = self.given or build_teacher(self.resolved)
        if self.taught or self.state.phase == "student":
            load_weights(teacher, read_weights(path), path)
        elif self.config.trains_teacher:
            self._fit(teacher, "teacher")
        if not self.taught:
            self._write(lambda: save_weights(teacher, path))
        teacher.to(self.fabric.device).to(memory_format=torch.channels_last)
        return teacher.eval().requires_grad_(False)

    def _student(self, teacher: nn.Module | None) -> nn.Module:
        if self.state.phase == "teacher":
            self.state = Checkpoint("student", rows=self.state.rows, seconds=self.state.seconds)
        torch.manual_seed(self.config.seed + 1)
        student = build_student(self.resolved)
        student.to(self.fabric.device)
        if teacher is not None and self.config.initializes:
            self._initialize(teacher, student)
        if self.start is not None:
            self.start.into(student)
        for layer in spiking(student).neurons().values():
            if isinstance(layer, LIF):
                layer.kernel = self.kernel
        self._fit(student, "student", teacher if self.config.distils else None)
        return student

    def _fit(self, network: nn.Module, phase: str, teacher: nn.Module | None = None) -> None:
        if self.fabric.world_size > 1 and self.fabric.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.fitter.fit(network, self.config.curriculum(phase), self.state, teacher)

    def _initialize(self, teacher: nn.Module, student: nn.Module) -> None:
        config = self.config
        scale = _theta(student, config) if config.init_scaled else 1.0
        initialize_from(teacher, own_module(student), config.match, config.init_shortcuts, scale)

    def _checkpoint(self, network: nn.Module, state: Checkpoint) -> None:
        self._write(lambda: self._write_checkpoint(network, state))

    def _write_checkpoint(self, network: nn.Module, state: Checkpoint) -> None:
        mine = [row for row in state.rows if row["phase"] == "student"]
        if mine and mine[-1] is _best(mine, "val_accuracy"):
            save_weights(network, self.folder / BEST)
        text = io.StringIO()
        more = [name for name in MORE_COLUMNS if any(name in row for row in state.rows)]
        writer = csv.DictWriter(text, [*COLUMNS, *more], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(state.rows)
        write_bytes(self.folder / METRICS, text.getvalue().encode())
        state.save(self.folder / LAST)  # last: what it counts as done is on the disk
        if self.config.logger == "tensorboard":
            _log_events(self.folder / EVENTS, state.rows[-1])

    def _write(self, what: Callable[[], object]) -> None:
        """One process writes; the others wait for it."""
        if self.fabric.is_global_zero:
            what()
        self.fabric.barrier()

    def _summary(self, student: nn.Module, teacher_accuracy: float | None) -> dict[str, Any]:
        mine = [row for row in self.state.rows if row["phase"] == "student"]
        held_out, tested = _best(mine, "val_accuracy"), _best(mine, "test_accuracy")
        if held_out is not None:
            best = {"best_epoch": held_out["epoch"], "best_val_accuracy": held_out["val_accuracy"]}
            best["best_val_test_accuracy"] = held_out["test_accuracy"]
        else:
            best = {"best_test_epoch": tested["epoch"], "best_test_accuracy": tested["test_accuracy"]} if tested else {}
        return {
            **{name: self.resolved[name] for name in _SUMMARIZED},
            "teacher_accuracy": teacher_accuracy,
            "student_accuracy": mine[-1]["test_accuracy"],
            **best,
            **{f"{part}_by_step": by_step for part in ("val", "test") if (by_step := mine[-1].get(f"{part}_by_step"))},
            "firing_rate": mine[-1]["firing_rate"],
            **self._spikes(mine[-1]["firing_rate"]),
            "parameters": sum(each.numel() for each in student.parameters()),
            "train_images": self.resolved["train_images"],
            "seconds": self.state.seconds,
            "device": device_name(self.fabric.device),
            "processes": self.fabric.world_size,
            "versions": versions(*PACKAGES),
        }

    def _spikes(self, firing_rate: float) -> dict[str, Any]:
        """What --spikes asked for, and what came of it; said, too."""
        asked, got = self.config.spikes, self.config.timesteps * firing_rate
        if asked is None:
            return {}
        found = outcome(asked, got)
        self.display.say(verdict(found))
        return {"spikes": found}


def _best(rows: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    """The first row with the highest value."""
    return max((row for row in rows if row[key] is not None), key=lambda row: float(row[key]), default=None)


def _log_events(folder: Path, row: dict[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter  # here, for it is no requirement of the rest

    with SummaryWriter(str(folder)) as writer:
        for name, value in row.items():
            if isinstance(value, float):
                writer.add_scalar(f"{row['phase']}/{name}", value, row["epoch"])


def _theta(student: nn.Module, config: TrainConfig) -> float:
    """The threshold, which a user's own network brings along."""
    if not config.own_network:
        return config.threshold
    found = {
        theta
        for layer in spiking(student).neurons().values()
        for theta in torch.as_tensor(layer.threshold).flatten().tolist()
    }
    if len(found) > 1:
        raise RunError(f"{config.network}: thresholds from {min(found):g} to {max(found):g}; take --no-init-scaled")
    return found.pop()


def _size(network: nn.Module) -> str:
    return f"{sum(each.numel() for each in network.parameters()):,} parameters"
