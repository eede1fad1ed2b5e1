"""One network, epoch after epoch: the training step, its watch over loss and firing rates, and the checkpoint.

Order and augmentation are functions of (seed, phase, epoch), and nothing else is random in a step: a run that was
killed in the middle of an epoch starts that epoch again and ends with the same weights, bit for bit (on a CPU).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from idsnn_deploy.errors import DivergedError, RunError
from idsnn_deploy.files import write_bytes

from .config import TrainConfig
from .data import Images, Loader
from .display import Display
from .layout import memory_format
from .networks.resnet import SpikingResNet
from .rates import FiringRates, odd_layers
from .schedule import learning_rate

Loss = Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]
"""The model as Fabric wraps it, images and labels to the loss and the logits."""
_POLL_SECONDS, _RATE_EVERY, _EVAL_BATCH = 0.25, 16, 256


@dataclass
class Checkpoint:
    """What last.ckpt holds: where the run is, and everything that the next epoch depends on."""

    phase: str = "teacher"
    epoch: int = 0
    model: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    scaler: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Writes it beside `path` and renames; a full disk leaves the last one whole."""
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads it; a run that was stopped before its first epoch was done has none and starts anew.

        Raises:
            RunError: the file is no checkpoint.
        """
        if not path.exists():
            return cls()
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as cause:  # the loader raises a dozen kinds over a file that is none of ours
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            raise RunError(f"{path}: cannot be resumed from ({reason}); start again with --force") from cause


@dataclass(frozen=True)
class Fitter:
    """What both phases share.

    Attributes:
        config: the settings.
        fabric: devices, precision, processes.
        loader: training images.
        parts: the images to assess on, "test" and where there is one "val".
        display: what a person sees.
        checkpoint: called after each epoch, in all processes, with the network and the state.
    """

    config: TrainConfig
    fabric: Fabric
    loader: Loader
    parts: dict[str, Images]
    display: Display
    checkpoint: Callable[[nn.Module, Checkpoint], None]

    def fit(self, network: nn.Module, loss: Loss, epochs: int, state: Checkpoint) -> None:
        """Trains `network` in place from `state` (which is kept up to date) to `epochs`."""
        fabric, steps = self.fabric, len(self.loader)
        if state.model is not None:
            network.load_state_dict(state.model)
        network.to(fabric.device).to(memory_format=memory_format(network))
        optimizer = torch.optim.SGD(_groups(network, self.config), lr=self.config.lr, momentum=self.config.momentum)
        if state.optimizer is not None:
            optimizer.load_state_dict(state.optimizer)
        model, wrapped = fabric.setup(network, optimizer)
        if isinstance(network, SpikingResNet):
            model.mark_forward_method("step_logits")
        scaler = getattr(fabric.strategy.precision, "scaler", None)
        if scaler is not None and state.scaler:
            scaler.load_state_dict(state.scaler)
        warned: set[str] = set()
        before = state.seconds
        begun = time.monotonic()
        with self.display.phase(state.phase, epochs * steps, state.epoch * steps):
            for epoch in range(state.epoch, epochs):
                started = time.monotonic()
                row = self._epoch(model, wrapped, loss, epoch, epochs, state)
                if _own_statistics(fabric):
                    _average_statistics(network, fabric)
                row |= self._assess(network, warned) | {"seconds": time.monotonic() - started}
                state.epoch, state.rows = epoch + 1, [*state.rows, row]
                state.model, state.optimizer = network.state_dict(), optimizer.state_dict()
                state.scaler = {} if scaler is None else scaler.state_dict()
                state.seconds = before + time.monotonic() - begun
                self.checkpoint(network, state)
                self.display.epoch(row, epochs)

    def _epoch(
        self, model: Any, optimizer: Any, loss: Loss, epoch: int, epochs: int, state: Checkpoint
    ) -> dict[str, Any]:
        """One pass over the training images; the host waits for the device only when the bar moves."""
        config, fabric, steps, network = self.config, self.fabric, len(self.loader), model.module
        model.train()
        losses, hits = torch.zeros(steps, device=fabric.device), torch.zeros((), device=fabric.device)
        spiking = isinstance(network, SpikingResNet)
        rate: Tensor | None = None
        begun = polled = time.monotonic()
        seen = 0
        layout = memory_format(network)
        for step, (images, labels) in enumerate(self.loader.epoch(state.phase, epoch)):
            images = images.clone(memory_format=layout)  # one channel has both layouts; a clone's strides say which
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, epoch + step / steps, epochs)
            watched = spiking and (config.target_rate is not None or step % _RATE_EVERY == 0)
            with FiringRates(network) if watched else nullcontext() as rates:
                value, logits = loss(model, images, labels)
            if rates is not None:
                rate = rates.total().detach()
                if config.target_rate is not None:
                    value = value + config.rate_weight * rates.pull(config.target_rate)
            optimizer.zero_grad()
            fabric.backward(value)
            optimizer.step()
            losses[step] = value.detach()
            hits += (logits.detach().argmax(1) == labels).sum()
            seen += len(labels)
            now = time.monotonic()
            if now - polled > _POLL_SECONDS:
                polled = now
                self._check(losses[: step + 1], epoch, epochs, state)
                fires = None if rate is None else rate.item()
                speed = seen * fabric.world_size / (now - begun)
                self.display.step(epoch * steps + step + 1, losses[step].item(), hits.item() / seen, fires, speed)
        self._check(losses, epoch, epochs, state)
        means = _reduce(fabric, torch.stack([losses.mean(), hits / seen]), "mean")
        return {
            "phase": state.phase,
            "epoch": epoch + 1,
            "loss": float(means[0]),
            "train_accuracy": float(means[1]),
            "lr": learning_rate(config, epoch, epochs),
            "images_per_second": seen * fabric.world_size / (time.monotonic() - begun),
        }

    def _check(self, losses: Tensor, epoch: int, epochs: int, state: Checkpoint) -> None:
        wrong = (~losses.isfinite()).nonzero()
        if len(wrong):
            step = int(wrong[0])
            lr = learning_rate(self.config, epoch + step / len(self.loader), epochs)
            last = (
                f"last.ckpt holds epoch {state.epoch}, the last finite one" if state.epoch else "no epoch was finished"
            )
            raise DivergedError(
                f"{state.phase}, epoch {epoch + 1}, step {step + 1}: the loss is {float(losses[step])} "
                f"at learning rate {lr:g}; {last}; lower --lr"
            )

    def _assess(self, network: nn.Module, warned: set[str]) -> dict[str, Any]:
        """Accuracies of the parts, and the firing rate on the last of them; odd layers are named, once each."""
        found: dict[str, Any] = {"val_accuracy": None, "firing_rate": None}
        for part, images in self.parts.items():
            found[f"{part}_accuracy"], rates = assess(network, images, self.fabric)
            if rates is not None:
                found["firing_rate"] = float(rates.total())
                for name, what in odd_layers(rates.by_layer()).items():
                    if name not in warned:
                        warned.add(name)
                        self.display.say(f"layer {name} is {what}: it fires at {rates.by_layer()[name]:.2%}")
        return found


@torch.no_grad()
def assess(network: nn.Module, images: Images, fabric: Fabric) -> tuple[float, FiringRates | None]:
    """Accuracy on `images`, shared out among the processes, and a spiking network's firing rates (in this process)."""
    network.eval()
    rates = FiringRates(network) if isinstance(network, SpikingResNet) else None
    mine = torch.arange(fabric.global_rank, len(images), fabric.world_size, device=fabric.device)
    hits = torch.zeros((), device=fabric.device)
    with rates or nullcontext(), fabric.autocast():
        for index in mine.split(_EVAL_BATCH):
            hits += (network(images.batch(index)).argmax(1) == images.labels[index]).sum()
    return float(_reduce(fabric, hits, "sum")) / len(images), rates


def _reduce(fabric: Fabric, value: Tensor, how: str) -> Tensor:
    reduced = fabric.all_reduce(value, reduce_op=how)
    assert isinstance(reduced, Tensor)
    return reduced


def _groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameters with and without weight decay: a learned beta or theta has no reason to go to a raw zero."""
    named = dict(network.named_parameters())
    raw = [each for name, each in named.items() if name.rpartition(".")[2].startswith("raw_")]
    rest = [each for name, each in named.items() if not name.rpartition(".")[2].startswith("raw_")]
    groups = [{"params": rest, "weight_decay": config.weight_decay}, {"params": raw, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _own_statistics(fabric: Fabric) -> bool:
    """Whether each process has its own batch statistics (torch synchronizes them on GPUs only)."""
    return fabric.world_size > 1 and fabric.device.type != "cuda"


def _average_statistics(network: nn.Module, fabric: Fabric) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.copy_(_reduce(fabric, module.running_mean, "mean"))
            module.running_var.copy_(_reduce(fabric, module.running_var, "mean"))
