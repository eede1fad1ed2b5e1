"""What graphs show beside their logits: the probe's counts, the trace's spikes, the currents for calibration.

Spikes and synaptic operations are counted from sums. Each is taken over channels first, once per signal however many
layers read it, and over time on the small map that is left. It is a whole number below 2**24 where its input is, so
float32 holds it exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph.layers import is_synaptic, raster_indices, zero_weights
from ..graph.peaks import peaks
from ..graph.plan import Plan, Step
from .emitter import BOOL, Dim, Emitter, Value
from .int8 import integer_layers
from .time_layout import Signal
from .unroll import Unrolled

SAMPLES = 64  # currents kept per layer, image and step


def probe(e: Emitter, plan: Plan, done: Unrolled, batch: Dim) -> None:
    """Adds the outputs `sum.*`, `nnz.*`, `spikes.*` and `raster.*`."""
    counts, given = _Counts(e), peaks(plan)
    for step in plan.steps:
        if is_synaptic(step):
            counts.input_of(step, done.inputs[step.name], batch, binary=given[step.name] == 1)
    for name in plan.neurons:
        counts.spikes_of(plan[name], done.outputs[name], batch)


def traces(e: Emitter, plan: Plan, done: Unrolled, batch: Dim) -> None:
    """Adds every spike: `spikes.NAME` (T, N, ...) bool, for the parity gate."""
    for name in plan.neurons:
        signal, shape = done.outputs[name], plan[name].shape
        by_step = e.axes(signal.timesteps, -1, *shape)
        e.output(
            "Reshape", [e.cast(signal.folded, BOOL), by_step], f"spikes.{name}", (signal.timesteps, batch, *shape), BOOL
        )


def currents(e: Emitter, plan: Plan, done: Unrolled) -> None:
    """Adds a sample of the currents of every layer that can compute in integers: `current.NAME`, for calibration.

    Candidates for int8: the input is spikes (or sums of few) and a neuron follows. The classifier head stays float32:
    its error would go straight into the logits, where a neuron's threshold absorbs most of it.
    """
    for step in integer_layers(plan):
        flat = e.op("Reshape", [e.float(done.outputs[step.name].folded), e.axes(-1)], f"{step.name}.flat")
        stride = int(np.prod(step.shape)) // SAMPLES | 1  # odd: every row, column and channel gets its turn
        ends = [e.axes(0), e.axes(2**62), e.axes(0), e.axes(stride)]
        e.output("Slice", [flat, *ends], f"current.{step.name}", ("samples",))


class _Counts:
    """Sums of signals, shared among all that ask for the same one."""

    def __init__(self, e: Emitter) -> None:
        self._e = e
        self._ones: dict[str, Value] = {}
        self._maps: dict[tuple[str, int], str] = {}

    def input_of(self, step: Step, x: Signal, batch: Dim, binary: bool) -> None:
        """sum.NAME and, where the input is not 0 or 1, nnz.NAME."""
        by_channel = zero_weights(step) > 0
        shape = step.in_shape if by_channel else step.in_shape[1:]
        value = x.folded if x.still is None else x.still
        counted = {f"sum.{step.name}": value}
        if not binary:
            counted[f"nnz.{step.name}"] = self._nonzero(value)
        for name, each in counted.items():
            each_map = self._e.float(each) if by_channel else self._over_channels(each)
            self._over_time(each_map, name, x, (batch, *shape))

    def spikes_of(self, step: Step, s: Signal, batch: Dim) -> None:
        """spikes.NAME and raster.NAME."""
        e, steps = self._e, s.timesteps
        value = s.folded
        total = self._over_channels(value)
        if len(step.shape) > 1:
            total = e.op("ReduceSum", [total, e.axes(*range(1, len(step.shape)))], f"{step.name}.count", keepdims=0)
        by_step = e.op("Reshape", [total, e.axes(steps, -1)], f"{step.name}.counts")
        e.output("Transpose", [by_step], f"spikes.{step.name}", (batch, steps), perm=(1, 0))

        size = int(np.prod(step.shape))
        indices = raster_indices(size)
        flat = e.op("Reshape", [value.name, e.axes(-1, size)], f"{step.name}.flat")
        shown = e.op("Gather", [flat, e.axes(*indices)], f"{step.name}.shown", axis=1)
        numbers = e.float(Value(shown, value.dtype))
        by_step = e.op("Reshape", [numbers, e.axes(steps, -1, len(indices))], f"{step.name}.rasters")
        e.output("Transpose", [by_step], f"raster.{step.name}", (batch, steps, len(indices)), perm=(1, 0, 2))

    def _over_channels(self, value: Value) -> str:
        """(N, C, ...) → (N, ...)"""
        key = (value.name, value.dtype)
        if key not in self._maps:
            inputs = [self._e.float(value), self._e.axes(1)]
            self._maps[key] = self._e.op("ReduceSum", inputs, f"{value.name}.over_channels", keepdims=0)
        return self._maps[key]

    def _over_time(self, name: str, output: str, signal: Signal, shape: Sequence[Dim]) -> None:
        """(T*N, ...) → (N, ...); a still signal counts T times."""
        e, steps = self._e, signal.timesteps
        if signal.still is not None:
            e.output("Mul", [name, e.constant("timesteps", np.float32(steps))], output, shape)
            return
        by_step = e.op("Reshape", [name, e.axes(steps, -1, *(int(n) for n in shape[1:]))], f"{output}.steps")
        e.output("ReduceSum", [by_step, e.axes(0)], output, shape, keepdims=0)

    def _nonzero(self, value: Value) -> Value:
        if value.name not in self._ones:
            self._ones[value.name] = self._e.profile.nonzero(self._e, value)
        return self._ones[value.name]
