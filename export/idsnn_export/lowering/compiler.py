"""NIR to ONNX: a graph's plan, its nodes lowered by one table, and the inputs and outputs of each kind of model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import nir
import numpy as np
import onnx

from idsnn_deploy.manifest import ProfileName
from idsnn_deploy.readout import Readout

from ..graph.bounds import check_unrolled
from ..graph.layers import is_synaptic
from ..graph.metadata import read_metadata, readout_of, version_of
from ..graph.plan import Plan
from ..graph.plan import plan as plan_of
from ..graph.soft_reset import fused
from ..graph.timing import resolve_dt
from .emitter import Dim, Emitter, Value
from .int8 import Range, whole_inputs
from .probe import currents, probe, traces
from .profiles import PROFILES
from .table import LOWERINGS
from .time_layout import Signal
from .unroll import Unrolled, unroll

Kind = Literal["model", "step", "probe", "trace", "currents"]


@dataclass(frozen=True)
class _Job:
    """One call of `to_onnx`, checked."""

    plan: Plan
    dt: float
    timesteps: int
    batch: Dim
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    static: bool
    readout: Readout


def to_onnx(
    graph: nir.NIRGraph | Plan,
    timesteps: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dt: float | None = None,
    kind: Kind = "model",
    batch: Literal["dynamic"] | int = "dynamic",
    static: bool = True,
    labels: Sequence[str] | None = None,
    int8: Mapping[str, Range | None] | None = None,
    metadata: Mapping[str, str] | None = None,
    profile: ProfileName = "default",
) -> onnx.ModelProto:
    """An ONNX model of T steps of a NIR graph (IR 8, opset 17, one file, no custom operator).

    Args:
        graph: one time step, as NIR means it, or its plan.
        timesteps: T.
        mean: one value per channel; the model then takes images in 0..1 and begins with (image - mean) / std.
            None: no such node.
        std: beside it.
        dt: the step in seconds; None: the graph's metadata, else 1e-4.
        kind: which outputs, all float32 unless said:
            model: `logits` (N, K), the mean (or what the graph's metadata say) of `step_logits` (T, N, K), outputs of
                any shape flattened in C order;
            step: one step; `state.*` (zeros at first) goes in, `logits` (N, K) of this step and `next.*` come out;
            probe: the model's, and the counts of docs/onnx.md;
            trace: the model's, and `spikes.NAME` (T, N, ...) bool of every layer that spikes;
            currents: the model's, and what `calibrate` needs.
        batch: N, "dynamic" for any.
        static: True: `image` (N, ...) is the input of every step, and what follows from it alone is computed once;
            False: `input` (T, N, ...), for kind "step" `input` (N, ...).
        labels: names of the K outputs; None: the graph's metadata.
        int8: the layers that compute in integers and the range of their currents, from `calibrate`; where the range is
            None, as from `integer_weights`, only the weights are int8 and the layer computes in float32.
        metadata: further `idsnn.*` properties of the model.
        profile: "default" for onnxruntime; "portable" for other runtimes: no Greater, Where, bool or ReduceMean, and
            `batch` is a number. The same spikes.

    Raises:
        GraphError: a graph without a meaning (see `plan`).
        ValueError: a value out of its range.

    Examples:
        >>> graph = nir.NIRGraph.from_list(nir.Threshold(np.array([0.5], np.float32)))
        >>> [node.op_type for node in to_onnx(graph, timesteps=2).graph.node]
        ['Greater', 'Concat', 'Cast', 'Reshape', 'ReduceMean']
    """
    if timesteps < 1:
        raise ValueError(f"timesteps = {timesteps}: a network runs at least 1 step")
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: one of {', '.join(KINDS)}")
    if batch != "dynamic" and (not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch = {batch!r}: 'dynamic' or a whole number above 0")
    if profile not in PROFILES or (profile == "portable" and batch == "dynamic"):
        raise ValueError(
            f"profile = {profile!r}: one of {', '.join(PROFILES)}, the portable one with a number as batch"
        )
    plan = fused(plan_of(graph))
    check_unrolled(plan, 1 if kind == "step" else timesteps)
    job = _Job(
        plan=plan,
        dt=resolve_dt(plan.graph, dt),
        timesteps=timesteps,
        batch="N" if batch == "dynamic" else batch,
        mean=_per_channel("mean", mean, plan),
        std=_per_channel("std", std, plan),
        static=static,
        readout=readout_of(plan.graph),
    )
    if (job.mean is None) != (job.std is None):
        raise ValueError("mean and std belong together")
    e = Emitter(job.dt, PROFILES[profile], _reserved(plan), _formats(plan, int8 or {}))
    KINDS[kind](e, job)
    known = read_metadata(plan.graph)
    labels = labels if labels is not None else known.labels if known else None
    properties = _properties(job, kind, labels, bool(int8))
    if profile != "default":
        properties["idsnn.profile"] = json.dumps(profile)
    return e.model("idsnn", {**properties, **dict(metadata or {})})


def _unrolled(e: Emitter, job: _Job) -> Unrolled:
    """The plan over T steps, with `logits` and `step_logits`."""
    plan, timesteps = job.plan, job.timesteps
    shape = plan[plan.input].shape
    if job.static:
        # One layout, `still`, for all steps: what follows from the image alone (the stem) is emitted once.
        image = _normalized(e, job, e.input("image", (job.batch, *shape)))
        signal = Signal(e, timesteps, plan.input, still=image)
    else:
        frames = e.input("input", (timesteps, job.batch, *shape))
        flat = Value(e.op("Reshape", [frames.name, e.axes(-1, *shape)], "frames"))
        signal = Signal(e, timesteps, plan.input, folded=_normalized(e, job, flat))
    done = unroll(e, plan, signal)
    (_folded_logits if e.profile.folds else _logits_by_step)(e, job, done)
    return done


def _logits_by_step(e: Emitter, job: _Job, done: Unrolled) -> None:
    """`step_logits` and `logits`, from each step's own: nothing is joined or read along the first axis."""
    steps, shape = [e.float(done.outputs[job.plan.output].at(t)) for t in range(job.timesteps)], _shape(job)
    batch, classes = int(job.batch), _classes(job.plan)
    if len(job.plan[job.plan.output].shape) > 1:
        steps = [e.op("Reshape", [each, e.axes(batch, classes)], f"logits.t{t}") for t, each in enumerate(steps)]
    joined = e.op("Concat", steps, "step_logits.joined", axis=1)
    by_sample = e.op("Reshape", [joined, e.axes(batch, job.timesteps, classes)], "step_logits.by_sample")
    e.output("Transpose", [by_sample], "step_logits", shape, perm=(1, 0, 2))
    total = steps[-1]
    if job.readout != "last":
        kind = "Max" if job.readout == "max" else "Add"
        total = reduce(lambda found, each: e.op(kind, [found, each], f"logits.{kind}"), steps)
    if job.readout == "mean":
        total = e.op("Div", [total, e.constant("timesteps", np.float32(job.timesteps))], "logits.mean")
    e.output("Identity", [total], "logits", shape[1:])


def _folded_logits(e: Emitter, job: _Job, done: Unrolled) -> None:
    """`step_logits`, and `logits` of them."""
    shape = _shape(job)
    folded = e.float(done.outputs[job.plan.output].folded)
    e.output("Reshape", [folded, e.axes(job.timesteps, -1, int(shape[-1]))], "step_logits", shape)
    if job.readout == "last":
        last = done.outputs[job.plan.output].at(job.timesteps - 1)
        _step_logits(e, job.plan, e.float(last), job.batch)
        return
    if job.readout == "sum":
        e.output("ReduceSum", ["step_logits", e.axes(0)], "logits", shape[1:], keepdims=0)
    else:
        kind = {"mean": "ReduceMean", "max": "ReduceMax"}[job.readout]
        e.output(kind, ["step_logits"], "logits", shape[1:], axes=[0], keepdims=0)


def _shape(job: _Job) -> tuple[Dim, ...]:
    """(T, N, K)"""
    return job.timesteps, job.batch, _classes(job.plan)


def _classes(plan: Plan) -> int:
    """K: outputs of any shape are K logits in C order, so that every reader of `logits` (N, K) reads every network."""
    return math.prod(plan[plan.output].shape)


def _step_logits(e: Emitter, plan: Plan, value: str, batch: Dim) -> None:
    shape = (batch, _classes(plan))
    if len(plan[plan.output].shape) == 1:
        e.output("Identity", [value], "logits", shape)
    else:
        e.output("Reshape", [value, e.axes(-1, _classes(plan))], "logits", shape)


def _model(e: Emitter, job: _Job) -> None:
    _unrolled(e, job)


def _probe(e: Emitter, job: _Job) -> None:
    probe(e, job.plan, _unrolled(e, job), job.batch)


def _trace(e: Emitter, job: _Job) -> None:
    traces(e, job.plan, _unrolled(e, job), job.batch)


def _currents(e: Emitter, job: _Job) -> None:
    currents(e, job.plan, _unrolled(e, job))


def _step(e: Emitter, job: _Job) -> None:
    """One step, with the states of neurons and the last outputs of delayed edges handed in and out."""
    plan, batch = job.plan, job.batch
    x = _normalized(e, job, e.input("image" if job.static else "input", (batch, *plan[plan.input].shape)))
    memories = {
        step.name: (lowering.states(step, job.dt), step.in_shape)
        for step in plan.steps
        if (lowering := LOWERINGS[type(step.node)]).states is not None
    }
    echoes = dict.fromkeys(source.name for step in plan.steps for source in step.sources if source.delayed)
    states = {
        name: tuple(e.input(f"state.{part}", (batch, *shape)).name for part in parts)
        for name, (parts, shape) in memories.items()
    }
    last = {name: e.input(f"state.{name}.output", (batch, *plan[name].shape)) for name in echoes}
    done = unroll(e, plan, Signal(e, 1, plan.input, folded=x), states, last)
    _step_logits(e, plan, e.float(done.outputs[plan.output].folded), batch)
    for name, (parts, shape) in memories.items():
        for part, state in zip(parts, done.states[name] or (), strict=True):
            e.output("Identity", [state], f"next.{part}", (batch, *shape))
    for name in echoes:
        e.output("Identity", [e.float(done.last[name])], f"next.{name}.output", (batch, *plan[name].shape))


KINDS: dict[str, Callable[[Emitter, _Job], None]] = {
    "model": _model,
    "step": _step,
    "probe": _probe,
    "trace": _trace,
    "currents": _currents,
}


def _normalized(e: Emitter, job: _Job, x: Value) -> Value:
    """(x - mean) / std"""
    if job.mean is None or job.std is None:
        return x
    axes = (1,) * (len(job.plan[job.plan.input].shape) - 1)
    mean, std = (np.array(values, np.float32).reshape(-1, *axes) for values in (job.mean, job.std))
    centred = e.op("Sub", [x.name, e.constant("mean", mean)], "centred")
    return Value(e.op("Div", [centred, e.constant("std", std)], "normalized"))


def _per_channel(what: str, values: Sequence[float] | None, plan: Plan) -> tuple[float, ...] | None:
    if values is None:
        return None
    channels = plan[plan.input].shape[0]
    if len(values) not in (1, channels):
        raise ValueError(f"{what} has {len(values)} values, the input {channels} channels")
    if what == "std" and not all(value > 0 for value in values):
        raise ValueError(f"std = {tuple(values)}: every value must be above 0")
    return tuple(float(value) for value in values)


def _formats(plan: Plan, formats: Mapping[str, Range | None]) -> dict[str, Range | None]:
    """What was asked for, checked; a layer that is given more than small whole numbers computes in float32."""
    synaptic = {step.name for step in plan.steps if is_synaptic(step)}
    for name in formats:
        if name not in synaptic:
            raise ValueError(f"int8 names {name!r}, which is no layer with weights; there are {sorted(synaptic)}")
    whole = whole_inputs(plan)
    return {name: reach if name in whole else None for name, reach in formats.items()}


def _reserved(plan: Plan) -> list[str]:
    """Every name that an input or an output can have."""
    prefixes = ("state", "next", "sum", "nnz", "spikes", "raster")
    fixed = ["image", "input", "logits", "step_logits"]
    return fixed + [f"{prefix}.{step.name}" for prefix in prefixes for step in plan.steps]


COLORS = {1: "Gray8", 3: "Rgb8"}


def _properties(job: _Job, kind: str, labels: Sequence[str] | None, int8: bool) -> dict[str, str]:
    """What a runtime needs to know, under `idsnn.*`, and ONNX's own keys for images; every value but those is JSON."""
    shape = job.plan[job.plan.input].shape
    own = {
        "format_version": version_of(job.readout),
        "kind": kind,
        "timesteps": job.timesteps,
        "dt": job.dt,
        "encoding": "static" if job.static else "frames",
        "readout": job.readout,
        "mean": job.mean,
        "std": job.std,
        "labels": None if labels is None else list(labels),
        "input_shape": shape,
        "int8": int8,
    }
    properties = {f"idsnn.{key}": json.dumps(value) for key, value in own.items()}
    if job.static and len(shape) == 3 and shape[0] in COLORS and job.mean is not None:
        properties["Image.BitmapPixelFormat"] = COLORS[shape[0]]
        properties["Image.ColorSpaceGamma"] = "SRGB"
        properties["Image.NominalPixelRange"] = "Normalized_0_1"
    return properties
