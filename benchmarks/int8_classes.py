"""Which layers' 8 bits change classes, and how many: python benchmarks/int8_classes.py RUN [--draws 3] [--noise 0.17]

Every row is one choice of layers that compute in integers: all that can, the last ones with a share of the
multiply-accumulates, each one alone, and 8-bit weights with float32 arithmetic. Ranges come from the first 256 training
images. What is counted is asked of training images with noise in every pixel, of which a network that has learnt them
by heart gets about as many right as of new ones; test images play no part.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from idsnn_export.config import ExportConfig
from idsnn_export.lowering import calibrate, integer_weights, to_onnx
from idsnn_export.source import open_source

CALIBRATED, BATCH = 256, 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=3, help="of noise for every image")
    parser.add_argument("--noise", type=float, default=0.17, help="standard deviation, of pixels in 0..1")
    given = parser.parse_args()
    source = open_source(ExportConfig(given.run))
    steps, said = source.metadata.timesteps, source.metadata
    options: dict[str, Any] = {"mean": said.mean, "std": said.std, "dt": said.dt}
    clean, labels = source.images(2000, "train"), source.labels(2000, "train") if source.labels else np.zeros(0)
    rng = np.random.default_rng(7)
    noisy = [clean + given.noise * rng.standard_normal(clean.shape, np.float32) for _ in range(given.draws)]
    images, labels = np.clip(np.concatenate(noisy), 0, 1), np.tile(labels, given.draws)
    full = logits(to_onnx(source.graph, steps, **options), images)
    ranges = calibrate(source.graph, steps, clean[:CALIBRATED], **options)
    chosen: dict[str, Any] = {"all": ranges, "weights alone": integer_weights(source.graph)}
    for share in (0.9, 0.8, 0.7, 0.6, 0.5, 0.25):
        chosen[f"last {share:.0%}"] = calibrate(source.graph, steps, clean[:CALIBRATED], **options, share=share)
    chosen |= {f"{name} alone": {name: ranges[name]} for name in ranges}
    right = float((full.argmax(1) == labels).mean())
    print(f"{given.run}: {len(images)} images, {right:.2%} right in float32")
    print(f"{'8 bits in':<32} {'layers':>6} {'right':>8} {'other class':>12} {'logits apart':>13}")
    for name, formats in chosen.items():
        found = logits(to_onnx(source.graph, steps, int8=formats, **options), images)
        right, other = (found.argmax(1) == labels).mean(), (found.argmax(1) != full.argmax(1)).mean()
        print(f"{name:<32} {len(formats):>6} {right:>8.2%} {other:>12.2%} {np.abs(found - full).mean():>13.3f}")


def logits(model: onnx.ModelProto, images: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    return np.concatenate([session.run(["logits"], {"image": part})[0] for part in parts])


if __name__ == "__main__":
    main()
