"""A user's own module whose forward runs over all steps, as snnTorch's tutorials write it, as a network to train.

    net(x) → the outputs of steps 0 ... T-1, in a list or stacked as (T, B, K) or (B, T, K)
           → (B, K) that it reads out itself: one answer, after all steps

T reaches the forward as an argument, as an attribute (`num_steps`, `timesteps`, ...: `arguments.STEPS`), or as the
first axis of frames (T, B, C, H, W), which a static image is repeated to. Every run starts with all layers reset, and
is held to the number of steps that it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UsageError

from .arguments import STEPS, answer, arguments
from .wrapped import Wrapped

GIVEN_FRAMES = "its forward repeats an image and is given frames; let it take (T, N, ...) and loop over the first axis"


class OverTime(Wrapped):
    """A `SpikingNetwork` around a module of all steps.

    Attributes:
        takes_frames: its forward takes `(T, B, ...)`, and no image.
        time_axis: of its answer; None: it reads out itself, and `step_logits` has one entry.
    """

    takes_frames = False
    time_axis: int | None = 0

    @property
    def timesteps(self) -> int:
        """T for static images; frames bring their own. Setting it tells the module, too, where it has such a number."""
        return self._timesteps

    @timesteps.setter
    def timesteps(self, steps: int) -> None:
        self._timesteps = steps
        for name in STEPS:
            if type(getattr(self.net, name, None)) is int:
                setattr(self.net, name, steps)

    @property
    def answers_once(self) -> bool:
        """After all steps, and not at each."""
        return self.time_axis is None

    def step_logits(self, x: Tensor) -> Tensor:
        """The output of each step, `(T, B, K)`; `(1, B, K)` of a module that reads out itself.

        Raises:
            UsageError: the forward runs another number of steps, or takes no frames and is given them.
        """
        frames = x.dim() == 5
        steps = len(x) if frames else self.timesteps
        if frames and not self.takes_frames:
            raise UsageError(GIVEN_FRAMES)
        found = self._ran(x if frames or not self.takes_frames else x.expand(steps, *x.shape), steps)
        return found[None] if self.time_axis is None else found.movedim(self.time_axis, 0)

    def forward_step(self, x: Tensor) -> Tensor:
        """One step from rest, `(B, C, H, W)` → `(B, K)`, of a forward that can be told how many steps it runs."""
        deployed, self.timesteps = self.timesteps, 1
        try:
            return self.step_logits(x)[0]
        finally:
            self.timesteps = deployed

    def runs_over_time(self, x: Tensor) -> bool:
        """Whether the forward runs all steps itself: it asks how many, calls a layer again, or answers for each.

        Args:
            x: images or frames; they go through it.
        """
        asked = arguments(self.net.forward, self.timesteps, None)
        if asked:
            return None not in asked.values()  # it asks for T, or for states
        for given in (x,) if x.dim() == 5 else (x, x.expand(self.timesteps, *x.shape)):
            self.reset()
            try:
                with torch.no_grad(), counting(self) as calls:
                    found = answer(self.net(given))
            except Exception:  # whatever the user's code does; it is said where the network is tried out
                continue
            each = isinstance(found, list) or (isinstance(found, Tensor) and found.dim() == 3)
            if each or max(calls.values(), default=0) > 1:
                return True
        return False

    def try_forms(self, x: Tensor) -> None:
        """Finds out what the forward takes and what it gives.

        Args:
            x: images or frames, not as many of them as there are steps.

        Raises:
            UsageError: it does not run the steps that were asked for.
            ValueError: it gives something of another shape.
        """
        frames = x.dim() == 5
        images, repeated = (x[0], x) if frames else (x, x.expand(self.timesteps, *x.shape))
        as_images = self._tried(images, images)
        if not as_images and not frames:
            return
        self.takes_frames = True
        as_frames = self._tried(repeated, images)
        if as_frames:
            self.takes_frames = False
            raise UsageError(GIVEN_FRAMES) if not as_images else _clearer(as_images, as_frames)

    def _tried(self, given: Tensor, images: Tensor) -> Exception | None:
        """Why the forward does not take it."""
        try:
            self.time_axis = _time_axis(self._ran(given, self.timesteps), self.timesteps, len(images))
        except Exception as error:  # whatever the user's code does
            return error
        return None

    def _ran(self, x: Tensor, steps: int) -> Tensor:
        """What the forward answers, a list of steps stacked."""
        self.reset()
        with counting(self) as calls:
            found = answer(self.net(x, **arguments(self.net.forward, steps, None)))
        if calls and max(calls.values()) != steps:
            raise UsageError(
                f"its forward runs {max(calls.values())} steps where {steps} are asked for; let it take their number "
                "as an argument (num_steps), an attribute (self.num_steps) or the input's first axis"
            )
        return torch.stack(found) if isinstance(found, list) else found


@contextmanager
def counting(network: Wrapped) -> Iterator[dict[str, int]]:
    """How many steps each spiking layer takes inside; those of SpikingJelly may take them all in one call."""
    calls: dict[str, int] = {}

    def count(name: str) -> Any:
        def hook(layer: nn.Module, _inputs: Any, output: Any) -> None:
            several = getattr(layer, "step_mode", "s") == "m"
            calls[name] = calls.get(name, 0) + (len(output) if several else 1)

        return hook

    with ExitStack() as hooks:
        for name, layer in network.neurons().items():
            hooks.callback(layer.register_forward_hook(count(name)).remove)
        yield calls


def answers_of(network: nn.Module, steps: int) -> int:
    """How many answers `step_logits` gives over so many steps."""
    return 1 if isinstance(network, OverTime) and network.answers_once else steps


def _clearer(*reasons: Exception) -> Exception:
    return next((each for each in reasons if isinstance(each, UsageError)), reasons[0])


def _time_axis(found: Tensor, steps: int, batch: int) -> int | None:
    if found.dim() == 2 and len(found) == batch:
        return None
    for axis, shape in enumerate([(steps, batch), (batch, steps)]):
        if found.dim() == 3 and tuple(found.shape[:2]) == shape:
            return axis
    raise ValueError(
        f"gives {list(found.shape)} for {steps} steps of {batch} images; "
        "give (T, images, classes), or (images, classes)"
    )
