"""One network, epoch after epoch: the training step, its watch over loss and firing rates, and the checkpoint.

Order, augmentation, drawn numbers of steps and what a user's layers draw are functions of (seed, phase, epoch, step): a
run that was killed in the middle of an epoch starts that epoch again and ends with the same weights, bit for bit (on a
CPU).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from idsnn_deploy.errors import DivergedError, RunError, first_line

from .assess import assess, reduced
from .average import Average, copied
from .checkpoint import load_weights
from .config import TrainConfig
from .curriculum import Stage, stage_at, total_epochs
from .data import Frames, Images, Loader, ordinary, resized, seed_of
from .display import Display
from .distill import distillation_loss
from .last_checkpoint import Checkpoint
from .layout import memory_format
from .meter import Meter
from .networks.protocol import SpikingNetwork
from .optimizer import optimizer
from .rates import FiringRates, odd_layers
from .schedule import learning_rate
from .side_heads import SideHeads, beside, listening
from .spikes import AIM, Pull, some
from .views import Views

_RATE_EVERY = 16


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
    parts: dict[str, Images | Frames]
    display: Display
    checkpoint: Callable[[nn.Module, Checkpoint], None]

    def fit(
        self, network: nn.Module, stages: Sequence[Stage], state: Checkpoint, teacher: nn.Module | None = None
    ) -> None:
        """Trains `network` in place from `state` (which is kept up to date) to the end of the last stage.

        Args:
            network: an ordinary one, or a `SpikingNetwork`.
            stages: what its epochs show.
            state: where it is; its phase is part of the seed of order and augmentation.
            teacher: whose answers the network learns beside the labels; None leaves the labels alone.
        """
        phase, epochs = _Phase(self, network, stages, state, teacher), total_epochs(stages)
        before, begun = state.seconds, time.monotonic()
        with self.display.phase(state.phase, epochs * len(self.loader), state.epoch * len(self.loader)):
            for epoch in range(state.epoch, epochs):
                row = phase.epoch(epoch)
                phase.advance(epoch, row, before + time.monotonic() - begun)
                self.checkpoint(network, state)
                self.display.epoch(row, epochs)
        phase.end()


class _Phase:
    """One network on its way."""

    def __init__(
        self, fitter: Fitter, network: nn.Module, stages: Sequence[Stage], state: Checkpoint, teacher: nn.Module | None
    ) -> None:
        self.config, self.fabric, self.loader = fitter.config, fitter.fabric, fitter.loader
        self.parts, self.display = fitter.parts, fitter.display
        self.network, self.stages, self.state, self.teacher = network, stages, state, teacher
        self.epochs = total_epochs(stages)
        self.spiking = network if isinstance(network, SpikingNetwork) else None
        self.warned: set[str] = set()
        if state.epoch > self.epochs:
            raise RunError(f"last.ckpt holds epoch {state.epoch} of {self.epochs}; start again with --force")
        network.to(self.fabric.device).to(memory_format=memory_format(network))
        self.average, self.pull, self.side = self._averaged(), self._pulled(), self._sided()
        views = self.config.views if teacher is not None else 0
        self.views = Views(views, len(self.loader.images)) if views else None
        if state.model is not None:
            load_weights(network, state.model, "last.ckpt")
        self._set_up()

    def _averaged(self) -> Average | None:
        """The average where the state left it, which passes through the network to be checked."""
        config, state = self.config, self.state
        if not config.ema:
            return None
        if state.average is not None:
            load_weights(self.network, state.average, "last.ckpt")
        elif state.epoch:
            raise RunError("last.ckpt: has no average of the weights for --ema; start again with --force")
        return Average(self.network, config.ema)

    def _pulled(self) -> Pull | None:
        """The pull on the firing rate where the state left it."""
        config, state = self.config, self.state
        if self.spiking is None or config.spikes is None:
            return None
        if state.epoch and state.pull is None:
            raise RunError("last.ckpt: has no pull for --spikes; start again with --force")
        self.counted = some(self.loader.images, config.seed)
        steps, mean = self.epochs * len(self.loader), partial(reduced, self.fabric, how="mean")
        return Pull(AIM * config.spikes / config.timesteps, steps, state.pull, mean)

    def _sided(self) -> SideHeads | None:
        """The heads beside the student's own where the state left them."""
        config, state = self.config, self.state
        if self.spiking is None or not config.side_heads:
            return None
        if state.epoch and state.side is None:
            raise RunError("last.ckpt: has no heads for --side-heads; start again with --force")
        images = self.loader.images.batch(torch.arange(min(2, len(self.loader.images))))
        side = beside(self.network, images, seed_of(config.seed, state.phase, "side heads"))
        if state.side is not None:
            load_weights(side, state.side, "last.ckpt")
        return side.to(self.fabric.device)

    def _set_up(self) -> None:
        """The optimizer, and what it moves as Fabric wraps them, where the state left them."""
        config, state = self.config, self.state
        self.optimizer = optimizer(self.network, self.side, config)
        if state.optimizer is not None:
            _load_optimizer(self.optimizer, state.optimizer)
        self.model, self.wrapped = self.fabric.setup(self.network, self.optimizer)
        self.beside = None if self.side is None else self.fabric.setup_module(self.side)
        if self.spiking:
            self.model.mark_forward_method("step_logits")
        self.scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if self.scaler is not None and state.scaler:
            self.scaler.load_state_dict(state.scaler)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """One pass over the training images, and what it led to: a row of metrics.csv."""
        started, stage = time.monotonic(), stage_at(self.stages, epoch)
        if self.average is not None and self.state.model is not None:
            self.network.load_state_dict(self.state.model)  # what was assessed is the average
        row = self._learn(epoch, stage)
        if _own_statistics(self.fabric):
            _average_statistics(self.network, self.fabric)
        self.learned = copied(self.network) if self.average else self.network.state_dict()
        self.end()
        shown = {"pixels": stage.pixels, "timesteps": stage.shown if self.spiking else None} if stage.pixels else {}
        return row | self._assess() | self._count_spikes() | {"seconds": time.monotonic() - started} | shown

    def end(self) -> None:
        """Puts the average into the network, where there is one."""
        if self.average is not None:
            self.network.load_state_dict(self.average.values)
            if _own_statistics(self.fabric):
                _average_statistics(self.network, self.fabric)
                self.average.values = copied(self.network)

    def advance(self, epoch: int, row: dict[str, Any], seconds: float) -> None:
        """Brings the state to the end of an epoch."""
        state = self.state
        state.epoch, state.rows, state.seconds = epoch + 1, [*state.rows, row], seconds
        state.model, state.optimizer = self.learned, self.optimizer.state_dict()
        state.pull = None if self.pull is None else self.pull.state
        state.side = None if self.side is None else self.side.state_dict()
        state.average = None if self.average is None else self.average.values
        state.scaler = {} if self.scaler is None else self.scaler.state_dict()

    def _learn(self, epoch: int, stage: Stage) -> dict[str, Any]:
        """From the loader to the loss and back; the host waits for the device only when the bar moves."""
        self.model.train()
        # What a user's layers draw (dropout) is the same when a killed epoch is started again.
        torch.manual_seed(seed_of(self.config.seed, self.state.phase, epoch, self.fabric.global_rank))
        meter = Meter(len(self.loader), self.fabric.device)
        layout = memory_format(self.network)
        view = None if self.views is None else self.views.of(epoch)
        for step, (images, labels, index) in enumerate(self.loader.epoch(self.state.phase, epoch, view)):
            images = _laid_out(resized(images, stage.pixels), layout)
            self._set_rate(epoch + step / len(self.loader))
            soft = self._soft(images, index, epoch, stage)
            timesteps = stage.steps(seed_of(self.config.seed, self.state.phase, "timesteps", epoch, step))
            with self._watch(step) as rates, self._showing(timesteps), self._listening() as heard:
                answers = self._answers(images)
            loss, logits = self._loss(answers, soft, labels, rates)
            if heard is not None:
                loss = loss + self.config.side_heads * self._beside(heard, soft, labels)
            if self.pull is not None and rates is not None:
                loss = loss + self.pull.term(rates, epoch * len(self.loader) + step)
            self.wrapped.zero_grad()
            self.fabric.backward(loss)
            self.wrapped.step()
            if self.average is not None:
                self.average.update(self.network, epoch * len(self.loader) + step)
            meter.add(loss, logits, labels, rates)
            if meter.due():
                self._check_finite(meter, epoch)
                shown = meter.shown(self.fabric.world_size)
                self.display.step(epoch * len(self.loader) + step + 1, *shown)
        self._check_finite(meter, epoch)
        return self._row(meter, epoch)

    def _set_rate(self, done: float) -> None:
        for group in self.wrapped.param_groups:
            group["lr"] = learning_rate(self.config, done, self.epochs)

    def _soft(self, images: Tensor, index: Tensor, epoch: int, stage: Stage) -> Tensor | None:
        """What the teacher says of a batch: `(B, K)`, or `(T, B, K)` where it sees each frame."""
        if self.teacher is None:
            return None
        ask = partial(self._asked, self.teacher, images)
        return ask() if self.views is None else self.views.logits(self.views.of(epoch), stage.pixels, index, ask)

    def _asked(self, teacher: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad(), self.fabric.autocast():
            return ordinary(teacher, images, self.config.teacher_frames).float()

    def _watch(self, step: int) -> AbstractContextManager[FiringRates | None]:
        """Firing rates of the forward inside: of every step where they are part of the loss, else now and then."""
        always = self.config.target_rate is not None or self.pull is not None
        if self.spiking and (always or step % _RATE_EVERY == 0):
            return FiringRates(self.spiking)
        return nullcontext()

    @contextmanager
    def _showing(self, timesteps: int | None) -> Iterator[None]:
        """Inside, a spiking network shows static images for `timesteps` steps."""
        if self.spiking is None or timesteps is None:
            yield
            return
        deployed, self.spiking.timesteps = self.spiking.timesteps, timesteps
        try:
            yield
        finally:
            self.spiking.timesteps = deployed

    def _answers(self, images: Tensor) -> Tensor:
        """`(T, B, K)` of a spiking network, `(B, K)` of an ordinary one that does not see each frame."""
        if self.spiking is None:
            return ordinary(self.model, images, self.config.teacher_frames)
        answers: Tensor = self.model.step_logits(images)
        return answers

    def _loss(
        self, answers: Tensor, soft: Tensor | None, labels: Tensor, rates: FiringRates | None
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the logits `(B, K)` that the answers come to."""
        config = self.config
        logits = answers.mean(0) if answers.dim() == 3 else answers
        judged = answers if config.loss == "steps" else logits
        if soft is not None and soft.dim() == 3 and soft.shape != judged.shape:
            soft = soft.mean(0)
        loss = distillation_loss(judged, soft, labels, config.alpha, config.temperature, config.label_smoothing)
        if rates is not None and config.target_rate is not None:
            loss = loss + config.rate_weight * rates.pull(config.target_rate)
        return loss, logits

    def _listening(self) -> AbstractContextManager[dict[str, list[Tensor]] | None]:
        """What the side heads read of the forward inside."""
        return nullcontext() if self.side is None else listening(self.network)

    def _beside(self, heard: dict[str, list[Tensor]], soft: Tensor | None, labels: Tensor) -> Tensor:
        """The sum of the side heads' losses."""
        assert self.beside is not None
        answers = [each.unflatten(0, (-1, len(labels))) for each in self.beside(heard)]
        return torch.stack([self._loss(each, soft, labels, None)[0] for each in answers]).sum()

    def _row(self, meter: Meter, epoch: int) -> dict[str, Any]:
        means = reduced(self.fabric, meter.means(), "mean")
        return {
            "phase": self.state.phase,
            "epoch": epoch + 1,
            "loss": float(means[0]),
            "train_accuracy": float(means[1]),
            "lr": learning_rate(self.config, epoch, self.epochs),
            "images_per_second": meter.speed(self.fabric.world_size),
        }

    def _check_finite(self, meter: Meter, epoch: int) -> None:
        wrong = meter.first_not_finite()
        if wrong is None:
            return
        step, loss = wrong
        lr, last = learning_rate(self.config, epoch + step / len(self.loader), self.epochs), "no epoch was finished"
        if self.state.epoch:
            last = f"last.ckpt holds epoch {self.state.epoch}, the last finite one"
        raise DivergedError(
            f"{self.state.phase}, epoch {epoch + 1}, step {step + 1}: the loss is {loss} "
            f"at learning rate {lr:g}; {last}; lower --lr"
        )

    def _assess(self) -> dict[str, Any]:
        """Accuracies of the parts, and the firing rate on the last of them; odd layers are named, once each."""
        found: dict[str, Any] = {"val_accuracy": None, "firing_rate": None}
        for part, images in self.parts.items():
            by_step, rates = assess(self.network, images, self.fabric, self.config.teacher_frames)
            found[f"{part}_accuracy"] = by_step[-1]
            if rates is not None:
                found[f"{part}_by_step"], found["firing_rate"] = by_step, float(rates.total())
                self._name_odd_layers(rates.by_layer())
        return found

    def _count_spikes(self) -> dict[str, float]:
        """Spikes per neuron and sample of the network as it is deployed, on training images, and the pull's weight."""
        if self.pull is None:
            return {}
        _, rates = assess(self.network, self.counted, self.fabric)
        assert rates is not None
        self.pull.learn(rates.total())
        return {"spikes": self.config.timesteps * float(rates.total()), "pull": float(self.pull.state["integral"])}

    def _name_odd_layers(self, rates: dict[str, float]) -> None:
        odd = {name: what for name, what in odd_layers(rates).items() if name not in self.warned}
        self.warned |= odd.keys()
        for what, means in (("dead", "hardly ever"), ("saturated", "nearly always")):
            names = [f"{name} {rates[name]:.2%}" for name, each in odd.items() if each == what]
            if names:
                self.display.say(f"{what} so far, of {len(rates)} layers (they fire {means}): {', '.join(names)}")


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts an optimizer where its state left it.

    Raises:
        RunError: the state is of other parameters, or none.
    """
    try:
        optimizer.load_state_dict(state)
        for parameter, memory in optimizer.state.items():
            for name, each in memory.items():
                if isinstance(each, Tensor) and each.dim() and each.shape != parameter.shape:
                    raise ValueError(f"{name} of shape {list(each.shape)} for {list(parameter.shape)}")
    except Exception as cause:  # torch raises what its parsing happens to meet
        reason = first_line(cause)
        raise RunError(
            f"last.ckpt: its optimizer is of another network ({reason}); start again with --force"
        ) from cause


def _laid_out(images: Tensor, layout: torch.memory_format) -> Tensor:
    """Images, or frames `(T, n, C, H, W)`, in `layout`: one channel has both, and only a clone's strides say which."""
    if images.dim() == 5:
        return _laid_out(images.flatten(0, 1), layout).unflatten(0, images.shape[:2])
    return images.clone(memory_format=layout)


def _own_statistics(fabric: Fabric) -> bool:
    """Whether each process has its own batch statistics (torch synchronizes them on GPUs only)."""
    return fabric.world_size > 1 and fabric.device.type != "cuda"


def _average_statistics(network: nn.Module, fabric: Fabric) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.copy_(reduced(fabric, module.running_mean, "mean"))
            module.running_var.copy_(reduced(fabric, module.running_var, "mean"))
