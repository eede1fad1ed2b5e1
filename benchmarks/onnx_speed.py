"""How fast the ONNX models are, as ratios within one run: python benchmarks/onnx_speed.py [--width 64] [--json FILE]

    fp32 / ann       T steps of the spiking network against T passes of the same network with ReLU, both onnxruntime
    fp32 / torch     against the torch model that was exported, eager
    fp32 / int8      what integers gain; int8 and weights_int8 are also compared in bytes
    probe / fp32     what counting spikes costs
    step x T / fp32  what stepping costs against unrolling

Every round runs every model once, in turn; a ratio is the median of the rounds' ratios. Times are wall-clock: on a
machine that does other work, use `--threads 1 --clock cpu`, which counts this thread's processor time alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import onnx
import onnxruntime
import torch

import idsnn
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.graph.plan import plan
from idsnn_export.lowering import calibrate, integer_weights, to_onnx
from idsnn_export.lowering.emitter import Emitter, Value
from idsnn_export.lowering.table import LOWERINGS

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    shape, steps = (3, arguments.size, arguments.size), arguments.timesteps
    student = _lively(arguments.width, shape, steps)
    images = np.random.default_rng(0).random((32, *shape), dtype=np.float32)
    models, seconds, graph = _export(student, shape, steps, images, arguments.int8_share)
    x = images[: arguments.batch]
    rounds = _race(_contenders(models, student, x, steps, arguments.threads), arguments)
    ratios = {
        "fp32 / ann": ("fp32", "ann"),
        "fp32 / torch": ("fp32", "torch"),
        "fp32 / int8": ("fp32", "int8"),
        "fp32 / weights_int8": ("fp32", "weights_int8"),
        "probe / fp32": ("probe", "fp32"),
        "int8 probe / int8": ("int8_probe", "int8"),
        "step x T / fp32": ("step", "fp32"),
    }
    sizes = {name: len(model.SerializeToString()) for name, model in models.items()}
    report = {
        "settings": {k: v for k, v in vars(arguments).items() if k != "json"},
        "machine": {
            "cpu": _cpu(),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
        },
        "milliseconds": {name: 1e3 * statistics.median(times) for name, times in rounds.items()},
        "ratios": {
            name: statistics.median(a / b for a, b in zip(rounds[over], rounds[under], strict=True))
            for name, (over, under) in ratios.items()
        },
        "bytes": sizes,
        "fp32 bytes / int8 bytes": sizes["fp32"] / sizes["int8"],
        "export_seconds": seconds,
        "nodes": len(graph.nodes),
    }
    _print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--int8-share", type=float, default=1.0, help="of the work that can be done in 8 bits")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: this thread's time; for --threads 1")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _lively(width: int, shape: tuple[int, int, int], steps: int) -> torch.nn.Module:
    """A Spiking ResNet-18 with random weights whose every layer spikes: batch statistics are those of its input."""
    torch.manual_seed(0)
    student = idsnn.SpikingResNet(18, 10, width=width, in_channels=shape[0], timesteps=steps).train()
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(4):
            student(torch.rand(8, *shape))
    return student.eval()


def _export(
    student: torch.nn.Module, shape: tuple[int, int, int], steps: int, images: np.ndarray[Any, Any], share: float
) -> tuple[dict[str, onnx.ModelProto], dict[str, float], nir.NIRGraph]:
    """Every model, and the seconds that making them took; serialization counts."""
    start = time.perf_counter()
    graph = to_nir(student, shape)
    traced = time.perf_counter()
    models = {
        "fp32": to_onnx(graph, steps),
        "step": to_onnx(graph, steps, kind="step"),
        "probe": to_onnx(graph, steps, kind="probe"),
    }
    for model in models.values():
        model.SerializeToString()
    compiled = time.perf_counter()
    ranges = calibrate(graph, steps, images, share=share)
    calibrated = time.perf_counter()
    models["int8"] = to_onnx(graph, steps, int8=ranges)
    models["int8_probe"] = to_onnx(graph, steps, int8=ranges, kind="probe")
    models["weights_int8"] = to_onnx(graph, steps, int8=integer_weights(graph))
    models["ann"] = _ann(graph)
    seconds = {
        "torch to NIR": traced - start,
        "model, step and probe": compiled - traced,
        f"calibration on {len(images)} images": calibrated - compiled,
    }
    return models, seconds, graph


def _ann(graph: nir.NIRGraph) -> onnx.ModelProto:
    """One pass of the same network with ReLU where it has neurons."""
    p = plan(graph)
    e = Emitter(1.0, ["image", "logits"])
    values = {p.input: e.input("image", ("N", *p[p.input].shape))}
    for step in p.steps[1:]:
        x = e.sum([values[source.name] for source in step.sources], f"{step.name}.sum")
        if step.name in p.neurons:
            values[step.name] = Value(e.op("Relu", [e.float(x)], step.name))
        else:
            values[step.name], _ = LOWERINGS[type(step.node)].cell(e, step, x, None)
    e.output("Identity", [e.float(values[p.output])], "logits", ("N", *p[p.output].shape))
    return e.model("ann", {})


def _contenders(
    models: dict[str, onnx.ModelProto],
    student: torch.nn.Module,
    x: np.ndarray[Any, Any],
    steps: int,
    threads: int,
) -> dict[str, Callable[[], object]]:
    """What one round calls, by name."""

    def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def once(model: onnx.ModelProto) -> Callable[[], object]:
        opened = session(model)
        return lambda: opened.run(None, {"image": x})

    def passes(model: onnx.ModelProto) -> Callable[[], object]:
        opened = session(model)
        return lambda: [opened.run(None, {"image": x}) for _ in range(steps)]

    def stepping(model: onnx.ModelProto) -> Callable[[], object]:
        opened = session(model)
        names = [each.name for each in opened.get_inputs()[1:]]
        rest = {each.name: np.zeros((len(x), *each.shape[1:]), np.float32) for each in opened.get_inputs()[1:]}
        nexts = ["logits", *(name.replace("state.", "next.", 1) for name in names)]

        def run() -> None:
            state = rest
            for _ in range(steps):
                state = dict(zip(names, opened.run(nexts, {"image": x, **state})[1:], strict=True))

        return run

    def eager() -> object:
        with torch.inference_mode():
            return student(torch.from_numpy(x))

    special = {"ann": passes, "step": stepping}
    return {**{name: special.get(name, once)(model) for name, model in models.items()}, "torch": eager}


def _race(contenders: dict[str, Callable[[], object]], arguments: argparse.Namespace) -> dict[str, list[float]]:
    clock = CLOCKS[arguments.clock]
    for run in contenders.values():  # warm up
        run()
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, run in contenders.items():
            start = clock()
            run()
            rounds[name].append(clock() - start)
    return rounds


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())
    known = ["avx2", "avx512f", "avx512_vnni", "avx_vnni"]
    return f"{model} ({', '.join(flag for flag in known if flag in flags) or 'no known vector extension'})"


def _print(report: dict[str, Any]) -> None:
    settings, machine = report["settings"], report["machine"]
    print(", ".join(f"{k} {v}" for k, v in {**settings, **machine}.items()))
    for name, milliseconds in report["milliseconds"].items():
        size = report["bytes"].get(name)
        print(f"  {name:14s} {milliseconds:9.2f} ms {f'{size / 1e6:8.2f} MB' if size else ''}")
    for name, ratio in report["ratios"].items():
        print(f"  {name:22s} {ratio:6.3f}")
    print(f"  {'bytes, fp32 / int8':22s} {report['fp32 bytes / int8 bytes']:6.3f}")
    for name, seconds in report["export_seconds"].items():
        print(f"  {name:32s} {seconds:6.2f} s")


if __name__ == "__main__":
    main()
