"""NIR in numpy: a graph is its plan taken T times, each node its equation (`equations`).

Small on purpose and independent of everything it checks: no torch, no ONNX, no code shared with either but the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import DTypeLike, NDArray

from idsnn_deploy.arrays import Array
from idsnn_deploy.readout import Readout, read_out

from ..graph.bounds import check_run
from ..graph.metadata import readout_of
from ..graph.plan import Plan, Step
from ..graph.plan import plan as plan_of
from ..graph.timing import resolve_dt
from .equations import CELLS, threshold


@dataclass(frozen=True)
class Trace:
    """Everything that a run of a graph shows.

    Attributes:
        outputs: (T, N, ...) of the output node.
        spikes: {node: (T, N, ...) bool} of the spiking nodes, in the plan's order.
        membranes: {node: (T, N, ...)} the same nodes' membranes before reset.
        thresholds: {node: (...)} what the membranes were compared with.
        readout: what becomes of the outputs over the steps; the graph's metadata say it.
    """

    outputs: Array
    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, Array]
    thresholds: dict[str, Array]
    readout: Readout = "mean"

    @property
    def logits(self) -> Array:
        """(N, ...): the outputs read out over T."""
        return read_out(self.outputs, self.readout)


def interpret(
    graph: nir.NIRGraph | Plan,
    x: Array,
    timesteps: int,
    *,
    dt: float | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Array, dict[str, Array]]:
    """Outputs (T, N, ...) and {node: spikes (T, N, ...)} of a graph, started from rest.

    Args:
        graph: one time step, as NIR means it, or its plan.
        x: (N, ...), the same at every step, or (T, N, ...).
        timesteps: T.
        dt: the step in seconds; None: the graph's metadata, else 1e-4.
        dtype: of every number on the way, float32 or float64.

    Raises:
        GraphError: a graph without a meaning (see `plan`).
        ValueError: x is of neither shape.

    Examples:
        >>> graph = nir.NIRGraph.from_list(nir.Threshold(np.array([0.5])))
        >>> outputs, spikes = interpret(graph, np.array([[0.2], [0.7]]), timesteps=1)
        >>> outputs[0, :, 0].tolist()
        [0.0, 1.0]
    """
    result = _run(graph, x, timesteps, dt, dtype, keep_membranes=False)
    return result.outputs, {name: spikes.astype(dtype) for name, spikes in result.spikes.items()}


def trace(
    graph: nir.NIRGraph | Plan,
    x: Array,
    timesteps: int,
    *,
    dt: float | None = None,
    dtype: DTypeLike = np.float64,
) -> Trace:
    """As `interpret`, with the membranes before reset and the thresholds; what the parity gates compare with."""
    return _run(graph, x, timesteps, dt, dtype, keep_membranes=True)


def _run(
    graph: nir.NIRGraph | Plan, x: Array, timesteps: int, dt: float | None, dtype: DTypeLike, keep_membranes: bool
) -> Trace:
    plan = plan_of(graph)
    dt = resolve_dt(plan.graph, dt)
    check_run(plan, timesteps)
    frames = _frames(plan, np.asarray(x, dtype), timesteps)
    cells = {step.name: CELLS[type(step.node)](step.node, dt, np.dtype(dtype).type) for step in plan.steps}
    states: dict[str, Any] = dict.fromkeys(cells)
    last: dict[str, Array] = {}
    outputs: list[Array] = []
    spikes: dict[str, list[Array]] = {name: [] for name in plan.neurons}
    membranes: dict[str, list[Array]] = {name: [] for name in plan.neurons}
    with np.errstate(over="ignore", invalid="ignore"):  # an unsuitable dt diverges, as the equations say
        for frame in frames:
            now: dict[str, Array] = {}
            for step in plan.steps:
                y, states[step.name], membrane = cells[step.name](_input(step, frame, now, last), states[step.name])
                now[step.name] = y
                if step.name in spikes:
                    spikes[step.name].append(y > 0)
                    if keep_membranes and membrane is not None:
                        membranes[step.name].append(membrane)
            outputs.append(now[plan.output])
            last = now
    return Trace(
        np.stack(outputs),
        {name: np.stack(each) for name, each in spikes.items()},
        {name: np.stack(each) for name, each in membranes.items() if each},
        {name: np.asarray(threshold(plan[name].node), dtype) for name in plan.neurons},
        readout_of(plan.graph),
    )


def _frames(plan: Plan, x: Array, timesteps: int) -> Array:
    shape = plan[plan.input].shape
    if timesteps < 1:
        raise ValueError(f"timesteps = {timesteps}: a network runs at least 1 step")
    if x.shape[1:] == shape:
        return np.broadcast_to(x, (timesteps, *x.shape))
    if x.shape[2:] == shape and len(x) == timesteps:
        return x
    raise ValueError(f"x of shape {x.shape}: the graph takes (N, *{shape}) or ({timesteps}, N, *{shape})")


def _input(step: Step, frame: Array, now: dict[str, Array], last: dict[str, Array]) -> Array:
    if not step.sources:
        return frame
    nothing = np.zeros((len(frame), *step.in_shape), frame.dtype)
    parts = [last.get(s.name, nothing) if s.delayed else now[s.name] for s in step.sources]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
