"""What this machine needs for one image: latency, and energy where its counters can be read."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

from idsnn_deploy.manifest import Bundle, Precision, model_file
from idsnn_deploy.onnx_file import Graph, Options

from ..document import Measured
from .powercap import joules, read_counters

_WARM_UP, _SECONDS, _LEAST, _MOST = 5, 2.0, 20, 1000
DENSE_NOTE = (
    "onnxruntime's kernels are dense: they multiply by every zero, so sparse spikes make this machine neither "
    "faster nor cheaper. The readings above hold for hardware that skips zeros."
)
NO_COUNTER = (
    "unavailable: the kernel shows no energy counter that this user may read (RAPL through /sys/class/powercap)"
)


def measure(bundle: Bundle, variant: Precision = "fp32", threads: int | None = None) -> Measured:
    """The report's `measured`: milliseconds and millijoules for one image at batch 1 with the shipped model."""
    manifest = bundle.manifest
    graph = Graph(bundle, model_file("model", variant), Options(threads=threads))
    ((name, shape),) = graph.inputs.items()
    feeds = {name: np.full([size or 1 for size in shape], 0.5, dtype=np.float32)}
    batch = shape[manifest.sample_axis] or 1
    for _ in range(_WARM_UP):
        graph.run(["logits"], feeds)
    laps: list[float] = []
    before, start = read_counters(), time.perf_counter()
    while len(laps) < _LEAST or (len(laps) < _MOST and time.perf_counter() - start < _SECONDS):
        lap = time.perf_counter()
        graph.run(["logits"], feeds)
        laps.append(time.perf_counter() - lap)
    energy = joules(before, read_counters())
    p50, p90 = (1e3 * float(q) / batch for q in np.percentile(laps, [50, 90]))
    return {
        "model": model_file("model", variant),
        "batch": batch,
        "runs": len(laps),
        "latency_ms": {"p50": p50, "p90": p90},
        "energy_mj": None if energy is None else 1e3 * energy / (len(laps) * batch),
        "energy_note": "whole processor package, everything that ran meanwhile included" if energy else NO_COUNTER,
        "note": DENSE_NOTE,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads,
            "system": platform.system(),
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
