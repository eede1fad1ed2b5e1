"""ONNX models run for the gates: the logits of the model that ships, and every spike of its traced twin."""

from __future__ import annotations

import numpy as np
import onnxruntime

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import BundleError, first_line
from idsnn_deploy.onnx_allowed import check_model


class OnnxNetwork:
    """A shipped model and its twin that shows all spikes, from the same lowering.

    Args:
        model: the bytes of the model that ships.
        traced: the bytes of the same model of kind "trace".
    """

    def __init__(self, model: bytes, traced: bytes) -> None:
        self._model, self._traced = session(model), session(traced)

    def __call__(self, x: Array) -> tuple[Array, dict[str, Array]]:
        """The logits (N, K) of the model that ships, and {node: spikes (T, N, ...)} of its twin."""
        (logits,) = run(self._model, x, ["logits"])
        names = [each.name for each in self._traced.get_outputs() if each.name.startswith("spikes.")]
        spikes = run(self._traced, x, names)
        return logits, {name.removeprefix("spikes."): each for name, each in zip(names, spikes, strict=True)}


def session(model: bytes, where: str = "model") -> onnxruntime.InferenceSession:
    """A session over a model's bytes, on the CPU; whoever wrote them, they are looked at first."""
    check_model(model, where)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are exceptions too
    options.enable_mem_pattern = False  # onnxruntime 1.17 and 1.18 answer wrong from the second run on with it
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(ready: onnxruntime.InferenceSession, x: Array, outputs: list[str]) -> list[Array]:
    """The named outputs for an input of any batch size, a fixed one's too (in pieces, the last one padded)."""
    if not outputs:  # onnxruntime takes no names for all names
        return []
    try:
        return _run(ready, x, outputs)
    except Exception as cause:  # onnxruntime's errors share no base class
        raise BundleError(f"model: fails while running ({first_line(cause)})") from cause


def _run(ready: onnxruntime.InferenceSession, x: Array, outputs: list[str]) -> list[Array]:
    port = ready.get_inputs()[0]
    axis = int(port.name == "input")
    x = x.astype(np.float32)
    fixed = port.shape[axis]
    if not isinstance(fixed, int):
        return list(ready.run(outputs, {port.name: x}))
    pieces: list[list[Array]] = []
    for start in range(0, x.shape[axis], fixed):
        rows = np.minimum(np.arange(start, start + fixed), x.shape[axis] - 1)
        pieces.append(list(ready.run(outputs, {port.name: np.take(x, rows, axis)})))
    ranks = [0 if name == "logits" else 1 for name in outputs]
    joined = (np.concatenate(each, rank) for each, rank in zip(zip(*pieces, strict=True), ranks, strict=True))
    return [np.take(each, np.arange(x.shape[axis]), rank) for each, rank in zip(joined, ranks, strict=True)]
