"""The 8-bit forms of a bundle's model, and the gate of accuracy that they must pass.

    lost = accuracy(model.onnx) - accuracy(model.int8.onnx)        on the same labelled images; at most 0.5 points

An 8-bit current is another number, so spikes differ and parity cannot be asked for: what counts is the class. Images
are few and the classes of few of them change, so the gate asks what they can tell (`gates.paired`), and has three
outcomes: `good`, `bad`, and `undecided`, which is exported with a warning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.array_file import read_npz
from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import UsageError
from idsnn_deploy.files import write_bytes
from idsnn_deploy.manifest import GOLDEN, Holds, model_file
from idsnn_deploy.progress import track

from .config import ExportConfig
from .gates.onnx_run import run, session
from .gates.paired import Paired, in_words
from .graph.plan import Plan
from .lowering import calibrate, integer_weights, to_onnx
from .source import Source

MOST_LOST = 0.005  # half a point of accuracy
EVALUATED, BATCH = 2000, 100  # test images, and how many at a time


def write_int8(folder: Path, graph: Plan, source: Source, config: ExportConfig) -> dict[str, Any]:
    """Writes the 8-bit model and, with `--int8`, its probe into `folder`, unless the gate finds them `bad`.

    Returns:
        The figures of the gate: the manifest's `parity.int8`.

    Raises:
        UsageError: a graph without a data set: nothing to calibrate with, and no accuracy to hold.
    """
    if source.labels is None:
        raise UsageError("--int8 needs a run folder: its training images set the ranges, its test images the gate")
    timesteps, options = source.metadata.timesteps, source.onnx_options(config.fixed_batch, config.profile)
    formats, about = _formats(graph, source, config, options)
    kinds: tuple[Holds, ...] = ("model", "probe") if config.int8 else ("model",)
    models = {
        model_file(kind, "int8"): to_onnx(graph, timesteps, kind=kind, int8=formats, **options).SerializeToString(
            deterministic=True
        )
        for kind in kinds
    }
    small = models[model_file("model", "int8")]
    figures = accuracy_gate(
        (folder / model_file("model")).read_bytes(), small,
        source.images(EVALUATED, "test"), source.labels(EVALUATED, "test"), axis=int(source.frames),
    )  # fmt: skip
    figures |= {"layers": len(formats), **about}
    if figures["outcome"] == "bad":
        return figures
    for name, data in models.items():
        write_bytes(folder / name, data)
    golden = read_npz((folder / GOLDEN).read_bytes(), ["images"])["images"]
    (logits,) = run(session(small), golden, ["logits"])
    return {**figures, "golden_classes": logits.argmax(1).tolist()}


def _formats(graph: Plan, source: Source, config: ExportConfig, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Which layers become 8-bit ones and how, and what the manifest says of that."""
    if not config.int8:
        return integer_weights(graph), {}
    images = source.images(config.calibrate, "train")
    shared = {key: options[key] for key in ("mean", "std", "dt", "static")}
    ranges = calibrate(graph, source.metadata.timesteps, images, **shared, share=config.int8_share)
    return ranges, {"calibrated_on": images.shape[int(source.frames)], "share": config.int8_share}


def accuracy_gate(full: bytes, small: bytes, images: Array, labels: Array, axis: int = 0) -> dict[str, Any]:
    """Figures of two models on the same images: accuracy of both, what is lost and between which bounds, the outcome.

    Args:
        full, small: the bytes of the float32 and of the 8-bit model.
        images: float32 (N, C, H, W) in 0..1.
        labels: (N,).
        axis: where the samples lie: 1 for frames (T, N, C, H, W).
    """
    chosen = []
    for name, model in (("float32", full), ("8 bits", small)):
        ready = session(model)
        parts = np.split(images, range(BATCH, len(labels), BATCH), axis)
        answers = (run(ready, part, ["logits"])[0] for part in track(parts, f"accuracy, {name}"))
        chosen.append(np.concatenate([logits.argmax(1) for logits in answers]))
    found = Paired.of(chosen[0], chosen[1], labels)
    return {
        "samples": len(labels),
        "accuracy_float32": float((chosen[0] == labels).mean()),
        "accuracy_int8": float((chosen[1] == labels).mean()),
        "other_class": int((chosen[0] != chosen[1]).sum()),
        "other_class_share": float((chosen[0] != chosen[1]).mean()),
        "only_float32_right": found.lost,
        "only_int8_right": found.gained,
        "mcnemar_p": found.p,
    } | found.judged(MOST_LOST)


def finding(figures: dict[str, Any]) -> str | None:
    """What the gate has to say, in one line; None where 8 bits are good."""
    if figures["outcome"] == "good":
        return None
    accuracy = f"{figures['accuracy_int8']:.2%} instead of {figures['accuracy_float32']:.2%}"
    known = f"8 bits: {accuracy} of {figures['samples']:,} test images are right, {in_words(figures)}"
    if figures["outcome"] == "bad":
        return (
            f"{known}: the 8-bit files are left out. "
            f"Leave more layers in float32 (--int8-share X), or calibrate on more images (--calibrate N)"
        )
    return (
        f"{known}. The 8-bit files are written; idsnn-evaluate BUNDLE --compare --data MORE shows the accuracy of both "
        f"networks on more labelled images"
    )
