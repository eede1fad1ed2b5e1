"""What this machine needs for one image: latency, and energy where its counters can be read."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from idsnn_deploy.c_network import CNetwork
from idsnn_deploy.errors import UsageError
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import Bundle, Precision, model_file
from idsnn_deploy.onnx_file import Graph, Options

from ..document import Latency, Measured, MeasuredC
from .powercap import joules, read_counters

_WARM_UP, _SECONDS, _LEAST, _MOST = 5, 2.0, 20, 1000
DENSE_NOTE = (
    "onnxruntime's kernels are dense: they multiply by every zero, so sparse spikes make this machine neither "
    "faster nor cheaper. The readings above hold for hardware that skips zeros."
)
NO_COUNTER = (
    "unavailable: the kernel shows no energy counter that this user may read (RAPL through /sys/class/powercap)"
)


C_NOTE = "compiled on this machine, one thread, the bundle's golden inputs in turn"
NO_C = "the bundle has none; idsnn-export BUNDLE --format c adds it"


def measure(bundle: Bundle, variant: Precision = "fp32", threads: int | None = None, c: bool = False) -> Measured:
    """The report's `measured`: milliseconds and millijoules for one image at batch 1 with the shipped model.

    Args:
        bundle: opened.
        variant: of the network.
        threads: of onnxruntime; None takes every core.
        c: time the bundle's C, too, which compiles and runs it.
    """
    name = model_file("model", variant)
    graph = Graph(bundle, name, Options(threads=threads))
    call = _warm(graph)
    before = read_counters()
    laps = _laps(call)
    energy = joules(before, read_counters())
    (shape,) = graph.inputs.values()
    batch = shape[bundle.manifest.sample_axis] or 1
    found: Measured = {
        "model": name,
        "batch": batch,
        "runs": len(laps),
        "latency_ms": _latency(laps, batch),
        "one_step_ms": _one_step(bundle, variant, threads),
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
    return {**found, "c": _in_c(bundle)} if c else found


def _in_c(bundle: Bundle) -> MeasuredC:
    """The C of a bundle on its golden inputs, whose spikes its work follows.

    Raises:
        BundleError: a file of it is missing or changed.
    """
    if bundle.manifest.c is None:
        return {"runs": 0, "latency_ms": None, "note": NO_C}
    axis, golden = bundle.manifest.sample_axis, read_golden(bundle).images
    inputs = itertools.cycle([golden.take([i], axis) for i in range(golden.shape[axis])])
    try:
        network = CNetwork(bundle)
        network.logits(golden)  # warms up
    except UsageError as error:  # no compiler, one that fails, or inputs that are no bytes
        return {"runs": 0, "latency_ms": None, "note": str(error)}
    laps = _laps(lambda: network.logits(next(inputs)))
    return {"runs": len(laps), "latency_ms": _latency(laps), "note": C_NOTE}


def _latency(laps: Sequence[float], batch: int = 1) -> Latency:
    p50, p90 = (float(q) / batch for q in np.percentile(laps, [50, 90]))
    return {"p50": p50, "p90": p90}


def _one_step(bundle: Bundle, variant: Precision, threads: int | None) -> float | None:
    """Milliseconds of one step: every layer computed once, as an ANN does; None where the bundle has no such graph."""
    name = model_file("step")
    if variant != "fp32" or not bundle.has(name):
        return None
    graph = Graph(bundle, name, Options(threads=threads))
    batch = graph.inputs[bundle.manifest.input_name][0] or 1
    return float(np.median(_laps(_warm(graph)))) / batch


def _warm(graph: Graph) -> Callable[[], object]:
    """A call at the smallest batch, warmed up; the network's input is 0.5, its state is 0."""
    feeds = {
        name: np.full([size or 1 for size in shape], 0.0 if name.startswith("state.") else 0.5, dtype=np.float32)
        for name, shape in graph.inputs.items()
    }
    outputs = [name for name in graph.outputs if name != "step_logits"]
    for _ in range(_WARM_UP):
        graph.run(outputs, feeds)
    return lambda: graph.run(outputs, feeds)


def _laps(call: Callable[[], object]) -> list[float]:
    """Milliseconds of each call."""
    laps: list[float] = []
    start = time.perf_counter()
    while len(laps) < _LEAST or (len(laps) < _MOST and time.perf_counter() - start < _SECONDS):
        lap = time.perf_counter()
        call()
        laps.append(1e3 * (time.perf_counter() - lap))
    return laps


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
