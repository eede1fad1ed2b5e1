"""Running ONNX models in tests: onnxruntime, and onnx's own evaluator as a second opinion."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from idsnn_export.lowering import to_onnx
from idsnn_export.reference.interpreter import interpret

Arrays = dict[str, NDArray[Any]]


def answers(graph: nir.NIRGraph, x: NDArray[Any], timesteps: int) -> tuple[NDArray[Any], Arrays]:
    """The interpreter's outputs (T, N, K), flattened in C order as ONNX files give them, and its spikes."""
    outputs, spikes = interpret(graph, x, timesteps)
    return outputs.reshape(*outputs.shape[:2], -1), spikes


def session(model: onnx.ModelProto, optimized: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, optimized: bool = True, **feeds: Any) -> Arrays:
    """Every output by name, from onnxruntime; `image` or `input`, and states."""
    opened = session(model, optimized)
    names = [output.name for output in opened.get_outputs()]
    values = opened.run(names, {name: np.asarray(value, np.float32) for name, value in feeds.items()})
    return dict(zip(names, values, strict=True))


def traced(graph: nir.NIRGraph, timesteps: int, x: NDArray[Any], frames: bool) -> tuple[NDArray[Any], Arrays]:
    """The logits of a graph's ONNX model, and its spikes (T, N, ...) by layer."""
    found = run(to_onnx(graph, timesteps, static=not frames, kind="trace"), **{"input" if frames else "image": x})
    spikes = {name.removeprefix("spikes."): each for name, each in found.items() if name.startswith("spikes.")}
    return found["logits"], spikes


def run_reference(model: onnx.ModelProto, **feeds: Any) -> Arrays:
    """Every output by name, from onnx's evaluator in numpy."""
    evaluator = ReferenceEvaluator(model)
    values = evaluator.run(None, {name: np.asarray(value, np.float32) for name, value in feeds.items()})
    return dict(zip(evaluator.output_names, values, strict=True))


def stepped(model: onnx.ModelProto, name: str, frames: NDArray[Any]) -> NDArray[Any]:
    """A step model's logits (T, N, ...), with its states handed back from zeros."""
    opened, outputs = session(model), []
    states = {
        i.name: np.zeros((frames.shape[1], *i.shape[1:]), np.float32)
        for i in opened.get_inputs()
        if i.name.startswith("state.")
    }
    nexts = [state.replace("state.", "next.", 1) for state in states]
    for frame in frames:
        logits, *after = opened.run(["logits", *nexts], {name: np.asarray(frame, np.float32), **states})
        states = dict(zip(states, after, strict=True))
        outputs.append(logits)
    return np.stack(outputs)
