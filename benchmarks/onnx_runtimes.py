"""ONNX files in one runtime: do they answer what onnxruntime answers, and how long do they take beside it?

    PYTHON onnx_runtimes.py RUNTIME FOLDER      # FOLDER/*/{file,reference}.onnx, images.npy, expected.npy

`onnx_consumers.py` starts it with the Python of an environment that has the runtimes; nothing of idsnn is needed here.
A runtime is a function: the file's path → a function from {input: array} to {output: array}, one thread, float32.
Each file is run in a forked process, which may die; what came of it is in RUNTIME.json beside it, what was printed in
RUNTIME.txt.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]
Network = Callable[[Arrays], Arrays]
ROUNDS = 31
CLOSE = 1e-4
SECONDS = 10  # of processor time for one file


def onnxruntime(path: Path, provider: str = "CPUExecutionProvider") -> Network:
    ort = importlib.import_module("onnxruntime")
    if provider not in ort.get_available_providers():
        raise RuntimeError(f"this wheel of onnxruntime has no {provider}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=[provider])
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def xnnpack(path: Path) -> Network:
    return onnxruntime(path, "XnnpackExecutionProvider")


def openvino(path: Path) -> Network:
    core = importlib.import_module("openvino").Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    network = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda feeds: {name: np.array(x) for port, x in network(feeds).items() for name in port.names}


def tract(path: Path) -> Network:
    network = importlib.import_module("tract").onnx().load(str(path)).into_model().into_runnable()
    inputs, outputs = ports(path)

    def run(feeds: Arrays) -> Arrays:
        found = network.run([np.ascontiguousarray(feeds[name]) for name in inputs])
        return {name: each.to_numpy() for name, each in zip(outputs, found, strict=True)}

    return run


def mnn(path: Path) -> Network:
    """Converted without MNN's own command, which reports each call to its makers where it can."""
    converted = path.with_suffix(".mnn")
    words = ["MNNConvert", "-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "idsnn"]
    subprocess.run([sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv[1:])", *words], check=False)
    if not converted.exists():
        raise RuntimeError("not converted")
    nn, expr = importlib.import_module("MNN.nn"), importlib.import_module("MNN.expr")
    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": 1, "precision": "high"},))
    inputs, outputs = ports(path)
    network = nn.load_module_from_file(str(converted), list(inputs), outputs, runtime_manager=manager)

    def run(feeds: Arrays) -> Arrays:
        given = [expr.const(np.ascontiguousarray(feeds[name]), shape, expr.NCHW) for name, shape in inputs.items()]
        return {name: np.array(x.read()) for name, x in zip(outputs, network.onForward(given), strict=True)}

    return run


def ncnn(path: Path) -> Network:
    """By way of pnnx. ncnn has no samples' axis: it is taken off the inputs, and missing from the outputs."""
    inputs, outputs = ports(path)
    shapes = ",".join(f"[{','.join(map(str, shape))}]" for shape in inputs.values())
    folders = find_spec("pnnx").submodule_search_locations  # its command in Python imports torch for a second or two
    command = [str(Path(folders[0], "pnnx")), path.name, f"inputshape={shapes}", "fp16=0"]
    subprocess.run(command, cwd=path.parent, check=False)
    library = importlib.import_module("ncnn")
    network = library.Net()
    network.opt.num_threads, network.opt.use_vulkan_compute = 1, False
    for option in ("fp16_arithmetic", "fp16_storage", "fp16_packed", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    parts = (path.with_suffix(".ncnn.param"), path.with_suffix(".ncnn.bin"))
    if network.load_param(str(parts[0])) or network.load_model(str(parts[1])):
        raise RuntimeError("not loaded")

    def run(feeds: Arrays) -> Arrays:
        extractor = network.create_extractor()
        for i, name in enumerate(inputs):
            extractor.input(f"in{i}", library.Mat(np.ascontiguousarray(feeds[name][0])).clone())
        return {name: np.array(extractor.extract(f"out{i}")[1]) for i, name in enumerate(outputs)}

    return run


# The runtime, and the packages that it needs, first the one that is imported.
RUNTIMES: Mapping[str, tuple[Callable[[Path], Network], tuple[str, ...]]] = {
    "onnxruntime": (onnxruntime, ("onnxruntime",)),
    "XNNPACK": (xnnpack, ("onnxruntime",)),
    "OpenVINO": (openvino, ("openvino",)),
    "ncnn": (ncnn, ("ncnn", "pnnx")),
    "MNN": (mnn, ("MNN",)),
    "tract": (tract, ("tract",)),
}


def ports(path: Path) -> tuple[dict[str, list[int]], list[str]]:
    """The inputs with their shapes, 1 for an open size, and the outputs."""
    graph = importlib.import_module("onnx").load(path).graph
    shapes = {each.name: [size.dim_value or 1 for size in each.type.tensor_type.shape.dim] for each in graph.input}
    return shapes, [each.name for each in graph.output]


def answers(network: Network, path: Path, timesteps: int) -> Callable[[Any], Any]:
    """An image (1, C, H, W) → step logits (T, K), also of a file that holds one step."""
    shapes, outputs = ports(path)
    (feed, *states) = shapes

    def steps(image: Any) -> Any:
        if "step_logits" in outputs:
            return np.reshape(network({feed: image})["step_logits"], (timesteps, -1))
        state, found = {name: np.zeros(shapes[name], np.float32) for name in states}, []
        for _ in range(timesteps):
            given = network({feed: image, **state})
            state = {name: np.reshape(given[f"next.{name[6:]}"], shapes[name]) for name in states}
            found.append(np.ravel(given["logits"]))
        return np.stack(found)

    return steps


def main(runtime: str, folder: Path) -> None:
    """Runs every file, or says which package is missing."""
    make, packages = RUNTIMES[runtime]
    try:
        versions = {name: version(name) for name in packages}
    except ImportError as missing:
        found = {"outcome": "not run here", "missing": str(missing.name)}
        for job in jobs(folder):
            (job / f"{runtime}.json").write_text(json.dumps(found))
        return
    for name in ("onnx", "onnxruntime", packages[0]):
        importlib.import_module(name)
    for job in jobs(folder):
        answer = job / f"{runtime}.json"
        answer.write_text(json.dumps({"outcome": f"no answer in {SECONDS} s of processor time, or a crash"}))
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            said = os.open(job / f"{runtime}.txt", os.O_WRONLY | os.O_CREAT)
            os.dup2(said, 1), os.dup2(said, 2)
            answer.write_text(json.dumps({**outcome(make, job, runtime), "versions": versions}))
            os._exit(0)
        os.waitpid(child, 0)


def jobs(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir())


def outcome(make: Callable[[Path], Network], folder: Path, runtime: str) -> dict[str, Any]:
    """`outcome` in words, and `ratio` to onnxruntime's processor time for `reference.onnx`."""
    try:
        return compared(make, folder, runtime)
    except Exception as error:  # a runtime may fail in any way
        return {"outcome": f"{type(error).__name__}: {error}"}


def compared(make: Callable[[Path], Network], folder: Path, runtime: str) -> dict[str, Any]:
    path = Path(shutil.copy(folder / "file.onnx", folder / f"m_{runtime}.onnx"))
    expected, images = np.load(folder / "expected.npy"), np.load(folder / "images.npy")
    run = answers(make(path), path, len(expected))
    found = np.stack([run(image[None]) for image in images], axis=1)
    apart = float(np.abs(found - expected).max())
    others = int((found.mean(0).argmax(1) != expected.mean(0).argmax(1)).sum())
    wrong = f"WRONG: {apart:.2g} apart, another class for {others} of {len(images)}"
    reference = folder / "reference.onnx"
    beside = answers(onnxruntime(reference), reference, len(expected))
    ratio = alternately(lambda: run(images[:1]), lambda: beside(images[:1]))
    return {"outcome": "runs exactly" if apart <= CLOSE else wrong, "apart": apart, "ratio": ratio}


def alternately(one: Callable[[], Any], other: Callable[[], Any]) -> float | None:
    """The processor time of one over that of the other, called in turn; None where the clock saw none."""
    taken = [0.0, 0.0]
    for _ in range(ROUNDS):
        for i, run in enumerate((one, other)):
            start = time.process_time()
            run()
            taken[i] += time.process_time() - start
    return taken[0] / taken[1] if taken[1] else None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
