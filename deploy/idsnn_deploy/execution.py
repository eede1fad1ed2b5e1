"""A bundle's two forms of one network: T steps in a call, or one step with its state handed in and out.

Both answer a batch with `logits` (n, K) and `step_logits` (T, n, K); `fixed` is the batch they were exported for, or
None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from .anytime import separation, stands_out
from .arrays import Array
from .errors import BundleError
from .manifest import Bundle, Manifest, model_file
from .onnx_file import Graph, Options, Shape
from .readout import read_out, running

StepState = dict[str, Array]  # `state.NAME` -> (N, ...)


class Unrolled:
    """T steps in a call: takes `image` (N, ...), or `input` (T, N, ...) where it varies in time.

    `also` names further outputs that the file must have, with their shapes: a probe's.
    """

    def __init__(self, bundle: Bundle, name: str, options: Options, also: Mapping[str, Shape] | None = None) -> None:
        manifest = bundle.manifest
        steps, classes = manifest.timesteps, len(manifest.labels)
        self.axis, self.input = manifest.sample_axis, manifest.input_name
        self.graph = Graph(bundle, name, options)
        self.graph.expect(
            {self.input: manifest.batch_shape(None)},
            {"logits": (None, classes), "step_logits": (steps, None, classes), **(also or {})},
            more=True,
        )
        self.fixed = self.graph.inputs[self.input][self.axis]

    def answer(self, x: Array) -> tuple[Array, Array]:
        """logits and step_logits of a batch."""
        logits, steps = self.run(x, ["logits", "step_logits"])
        count = x.shape[self.axis]
        return logits[:count], steps[:, :count]

    def logits(self, x: Array) -> Array:
        """The logits of a batch."""
        return self.answer(x)[0]

    def run(self, x: Array, outputs: Sequence[str]) -> list[Array]:
        """The named outputs for a batch, with the rows that a fixed batch adds behind it."""
        return self.graph.run(outputs, {self.input: _padded(x, self.fixed, self.axis)})


class Stepper:
    """`model.step.onnx`, a pure function: (frame, state) to (logits, state)."""

    def __init__(self, bundle: Bundle, options: Options) -> None:
        self.manifest = bundle.manifest
        # What one step takes: a frame alone, and where frames come in time, one that the graph does not normalize.
        self.one_step = self.manifest if self.static else replace(self.manifest, encoding="static", mean=None, std=None)
        self.input = self.manifest.input_name
        self.graph = Graph(bundle, model_file("step"), options)
        self.states = {name: shape for name, shape in self.graph.inputs.items() if name.startswith("state.")}
        if any(size is None for shape in self.states.values() for size in shape[1:]):
            raise BundleError(f"{self.graph.where}: a state has no fixed shape; export the bundle again")
        self.graph.expect(
            {self.input: (None, *self.manifest.input_shape), **self.states},
            {"logits": (None, len(self.manifest.labels)), **{_next(n): shape for n, shape in self.states.items()}},
        )
        self.fixed = self.graph.inputs[self.input][0]

    @property
    def static(self) -> bool:
        """Whether every step sees the same image."""
        return self.manifest.sample_axis == 0

    def start(self, count: int) -> StepState:
        """The state before the first step, zeros, for `count` samples."""
        rows = self.fixed or count
        return {name: np.zeros((rows, *(n or 0 for n in s[1:])), np.float32) for name, s in self.states.items()}

    def frame(self, x: Array, step: int) -> Array:
        """What a batch shows the network at a step."""
        return x if self.static else np.asarray(x[step])

    def __call__(self, frame: Array, state: StepState) -> tuple[Array, StepState]:
        """One step's logits `(n, K)` and the state after it."""
        logits, *after = self.graph.run(
            ["logits", *map(_next, self.states)], {self.input: _padded(frame, self.fixed, 0), **state}
        )
        return logits[: len(frame)], dict(zip(self.states, after, strict=True))

    def answer(self, x: Array) -> tuple[Array, Array]:
        """logits and step_logits of a batch."""
        state, found = self.start(len(x) if self.static else x.shape[1]), []
        for t in range(self.manifest.timesteps):
            logits, state = self(self.frame(x, t), state)
            found.append(logits)
        steps = np.stack(found)
        return read_out(steps, self.manifest.readout), steps

    def logits(self, x: Array) -> Array:
        """The logits of a batch."""
        return self.answer(x)[0]

    def until(self, x: Array, margin: float) -> tuple[Array, int]:
        """`stepped_until` of one sample."""
        return stepped_until(self, x, margin)


class Steps(Protocol):
    """A network that is taken step by step, as `Stepper` is."""

    manifest: Manifest

    def start(self, count: int) -> StepState:
        """The state before the first step."""

    def frame(self, x: Array, step: int) -> Array:
        """What a batch shows the network at a step."""

    def __call__(self, frame: Array, state: StepState) -> tuple[Array, StepState]:
        """One step's logits and the state after it."""


def stepped_until(network: Steps, x: Array, margin: float) -> tuple[Array, int]:
    """The logits `(K,)` of one sample, read out until its class stands out (`anytime`), and the number of steps."""
    seen: list[Array] = []
    state = network.start(1)
    for t in range(network.manifest.timesteps):
        logits, state = network(network.frame(x, t), state)
        seen.append(logits[0])
        answer = running(np.stack(seen), network.manifest.readout)[-1]
        if stands_out(separation(answer), margin):
            break
    return answer, len(seen)


def _next(state: str) -> str:
    return "next." + state[len("state.") :]


def _padded(x: Array, fixed: int | None, axis: int) -> Array:
    """`x` with zero samples behind it where the graph was exported for a fixed batch."""
    missing = 0 if fixed is None else fixed - x.shape[axis]
    if missing < 0:
        raise ValueError(f"{x.shape[axis]} samples at once for a graph exported with --batch {fixed}")
    widths = [(0, missing if i == axis else 0) for i in range(x.ndim)]
    return np.pad(x, widths) if missing else x
