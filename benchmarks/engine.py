"""C against onnxruntime, one thread: python benchmarks/engine.py [BUNDLE ...] [--width 16 32] [--gain 1 1.3 2.2]

    c portable, c avx2      the folder of `--format c`, compiled with -O3 -march=native, its whole run of T steps
    ..., first step         idsnn_run_until at a margin of 0: what an answer takes that stops after one step
    int8, fp32              model.int8.onnx and model.onnx in onnxruntime

Networks are bundles, or untrained Spiking ResNet-18s of each width whose BN gains make them fire more or less. Every
round runs each of them once, in turn, on the same image; figures are the medians over the rounds of this thread's
processor time, and of its ratio to int8's in the same round. The C's logits are compared with numpy's first.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from idsnn import SpikingResNet
from idsnn_deploy.c_library import ISAS
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import read_bundle
from idsnn_export import read_nir, to_nir, to_onnx
from idsnn_export.c.quantize import integer_network
from idsnn_export.c.write import channels_last, write_c
from idsnn_export.graph.metadata import read_metadata
from idsnn_export.lowering import calibrate
from idsnn_export.reference.integer import IntegerNetwork, run_integer
from idsnn_export.reference.margin import run_until

MEAN, STD, STEPS = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 4
Run = Callable[[int], Any]


def untrained(width: int, gain: float) -> nn.Module:
    """A network whose BN has seen random images, and multiplies by `gain` of what it was made with."""
    torch.manual_seed(0)
    network = SpikingResNet(18, 10, width=width, timesteps=STEPS)
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(32, 3, 32, 32))
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight *= gain
    return network.eval()


def networks(bundles: list[Path], widths: list[int], gains: list[float]) -> Iterator[tuple[str, Any, Any, Any]]:
    """(name, graph, metadata as keywords, images in 0..1)."""
    for path in bundles:
        bundle = read_bundle(path)
        graph = read_nir(path / "model.nir")
        found = read_metadata(graph)
        yield (
            path.name,
            graph,
            {"timesteps": found.timesteps, "mean": found.mean, "std": found.std},
            read_golden(bundle).images,
        )
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (8, 3, 32, 32)) / 255).astype(np.float32)
    for width in widths:
        for gain in gains:
            graph = to_nir(untrained(width, gain), (3, 32, 32))
            yield f"width {width}, gain {gain:g}", graph, {"timesteps": STEPS, "mean": MEAN, "std": STD}, images


def compiled(network: IntegerNetwork, pixels: Any, isa: str, folder: Path) -> tuple[Run, Run]:
    """The network in C, as a shared library: all of its steps, and the first one alone."""
    folder.mkdir()
    write_c(folder, network, "network", pixels[:2], [str(k) for k in range(int(np.prod(network.readout.shape)))], isa)
    sources = [file for file in folder.glob("*.c") if file.name != "main.c"]
    flags = ["-O3", "-march=native", "-std=c99", *ISAS[isa].split(), "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", folder / "lib.so", *sources], check=True)
    library, inputs = ctypes.CDLL(str(folder / "lib.so")), channels_last(network, pixels)
    logits, steps = np.zeros(network.readout.shape, np.int32), np.zeros(1, np.int32)
    (size,) = re.findall(r"IDSNN_STREAM_ARENA_BYTES (\d+)", (folder / "idsnn_model.h").read_text())
    arena = np.zeros(-(-int(size) // 8), np.uint64)

    def at(array: Any) -> Any:
        return array.ctypes.data_as(ctypes.c_void_p)

    def run(i: int) -> Any:
        library.idsnn_run(at(inputs[i]), at(logits))
        return logits.reshape(-1)

    def first(i: int) -> Any:
        library.idsnn_run_until(at(inputs[i]), 0, at(logits), at(steps), at(arena), ctypes.c_size_t(arena.nbytes))
        return logits.reshape(-1)

    return run, first


def session(model: Any, images: Any) -> Run:
    """A model in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern = 1, False
    found = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda i: found.run(["logits"], {"image": images[i : i + 1]})


def race(runs: dict[str, Run], count: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, after one to warm up."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begun = time.thread_time()
            run(number % count)
            if number:
                took[name].append(1e3 * (time.thread_time() - begun))
    return took


def row(name: str, graph: Any, settings: dict[str, Any], images: Any, rounds: int, isas: list[str]) -> dict[str, Any]:
    """One network's figures."""
    steps, normal = settings["timesteps"], {key: settings[key] for key in ("mean", "std")}
    network = integer_network(graph, steps, **normal)
    pixels = np.rint(images * 255).astype(np.uint8)
    wanted, spikes = run_integer(network, pixels[:2].astype(int))
    early = run_until(network, pixels[:2].astype(int), 0)[1]
    with tempfile.TemporaryDirectory() as place:
        runs: dict[str, Run] = {}
        for isa in isas:
            run, first = compiled(network, pixels, isa, Path(place, isa))
            for one, logits in ((run, wanted), (first, early)):
                if any((one(i) != logits[i].reshape(-1)).any() for i in range(2)):
                    raise SystemExit(f"{name}: c {isa} differs from numpy")
            runs |= {f"c {isa}": run, f"c {isa}, first step": first}
        ranges = calibrate(graph, steps, images, **normal)
        runs["int8"] = session(to_onnx(graph, steps, **normal, int8=ranges), images)
        runs["fp32"] = session(to_onnx(graph, steps, **normal), images)
        took = race(runs, len(images), rounds)
    neurons = sum(each[:, :1].size for each in spikes.values())
    return {
        "network": name,
        "rate": sum(each[:, :1].sum() for each in spikes.values()) / neurons,
        "fired": sum(each[:, :1].any(0).sum() for each in spikes.values()) * steps / neurons,
        "ms": {each: statistics.median(times) for each, times in took.items()},
        "of int8": {
            each: statistics.median(ours / theirs for ours, theirs in zip(times, took["int8"], strict=True))
            for each, times in took.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--width", nargs="*", type=int, default=[])
    parser.add_argument("--gain", nargs="*", type=float, default=[1.0, 1.3, 2.2])
    parser.add_argument("--isa", nargs="*", choices=ISAS, default=["portable", "avx2"])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if shutil.which("cc") is None:
        raise SystemExit("engine: no C compiler here")
    rows = []
    for name, graph, settings, images in networks(given.bundles, given.width, given.gain):
        found = row(name, graph, settings, images, given.rounds, given.isa)
        rows.append(found)
        figures = "  ".join(f"{each} {ms:.2f} ms ({found['of int8'][each]:.2f})" for each, ms in found["ms"].items())
        print(f"{name:<24} rate {found['rate']:.1%}, fired at all {found['fired']:.1%}  {figures}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
