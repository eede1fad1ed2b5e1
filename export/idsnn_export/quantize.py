"""The 8-bit forms of a bundle's model, and the gate of accuracy that they must pass.

    lost = accuracy(model.onnx) - accuracy(model.int8.onnx)        on the same labelled images; at most 0.5 points

An 8-bit current is another number, so spikes differ and parity cannot be asked for: what counts is the class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np

from idsnn_deploy.array_file import read_npz
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import ParityError, UsageError
from idsnn_deploy.files import write_bytes
from idsnn_deploy.manifest import GOLDEN, Holds, model_file
from idsnn_deploy.progress import track

from .config import ExportConfig
from .gates.onnx_run import run, session
from .lowering import calibrate, integer_weights, to_onnx
from .source import Source

MOST_LOST = 5  # images in a thousand: half a point of accuracy
EVALUATED, BATCH = 2000, 100  # test images, and how many at a time


def write_int8(folder: Path, graph: nir.NIRGraph, source: Source, config: ExportConfig) -> dict[str, Any]:
    """Writes the 8-bit model and, with `--int8`, its probe into `folder`; returns the figures of the gate.

    Raises:
        UsageError: a graph without a data set: nothing to calibrate with, and no accuracy to hold.
        ParityError: the 8-bit model loses more than 0.5 points of accuracy.
    """
    if source.labels is None:
        raise UsageError("--int8 needs a run folder: its training images set the ranges, its test images the gate")
    timesteps, options = source.metadata.timesteps, source.onnx_options(config.fixed_batch)
    if config.int8:
        images = source.images(config.calibrate, "train")
        shared = {key: options[key] for key in ("mean", "std", "dt", "static")}
        formats: Any = calibrate(graph, timesteps, images, **shared, share=config.int8_share)
    else:
        formats = integer_weights(graph)
    kinds: tuple[Holds, ...] = ("model", "probe") if config.int8 else ("model",)
    for kind in kinds:
        model = to_onnx(graph, timesteps, kind=kind, int8=formats, **options)
        write_bytes(folder / model_file(kind, "int8"), model.SerializeToString(deterministic=True))
    small = (folder / model_file("model", "int8")).read_bytes()
    figures = accuracy_gate(
        (folder / model_file("model")).read_bytes(), small,
        source.images(EVALUATED, "test"), source.labels(EVALUATED, "test"), axis=int(source.frames),
    )  # fmt: skip
    golden = read_npz((folder / GOLDEN).read_bytes(), ["images"])["images"]
    (logits,) = run(session(small), golden, ["logits"])
    figures["golden_classes"] = logits.argmax(1).tolist()
    return {
        **figures,
        "layers": len(formats),
        **({"calibrated_on": images.shape[int(source.frames)]} if config.int8 else {}),
    }


def accuracy_gate(full: bytes, small: bytes, images: Array, labels: Array, axis: int = 0) -> dict[str, Any]:
    """Figures of two models on the same images: accuracy of both, and how many samples got another class.

    Args:
        full, small: the bytes of the float32 and of the 8-bit model.
        images: float32 (N, C, H, W) in 0..1.
        labels: (N,).
        axis: where the samples lie: 1 for frames (T, N, C, H, W).

    Raises:
        ParityError: `small` is right on more than 0.5 points fewer of them.
    """
    chosen = []
    for model in (full, small):
        ready = session(model)
        parts = np.split(images, range(BATCH, len(labels), BATCH), axis)
        answers = (run(ready, part, ["logits"])[0] for part in track(parts, "accuracy of 8 bits"))
        chosen.append(np.concatenate([logits.argmax(1) for logits in answers]))
    right = [int((each == labels).sum()) for each in chosen]
    accuracy = [count / len(labels) for count in right]
    if 1000 * (right[0] - right[1]) > MOST_LOST * len(labels):
        raise ParityError(
            f"8 bits lose {100 * (accuracy[0] - accuracy[1]):.2f} points on {len(labels)} test images "
            f"({accuracy[0]:.2%} in float32, {accuracy[1]:.2%} in 8 bits); at most {MOST_LOST / 10} may be lost. "
            f"Calibrate on more images (--calibrate N), or export without --int8"
        )
    return {
        "samples": len(labels),
        "accuracy_float32": accuracy[0],
        "accuracy_int8": accuracy[1],
        "other_class": int((chosen[0] != chosen[1]).sum()),
    }
