"""What reset by subtraction costs beside reset to zero: python benchmarks/soft_reset.py [--width 16] [--rounds 41]

    subtract / zero    a Spiking ResNet-18 as exported, and the same graph with LI, Threshold and Scale for every LIF
    three / zero       those three nodes taken one by one, as they are where they are not known as one neuron

Every round runs every model, in turn; a ratio is that of the medians of this thread's processor time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import nir
import numpy as np
import onnx
import onnxruntime
import torch

import idsnn
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.lowering import compiler, to_onnx


def main() -> None:
    arguments = _arguments()
    torch.manual_seed(0)
    shape = (3, 32, 32)
    zero = to_nir(idsnn.SpikingResNet(18, 10, width=arguments.width).eval(), shape)
    soft = subtracting(zero)
    models = {"zero": to_onnx(zero, arguments.timesteps), "subtract": to_onnx(soft, arguments.timesteps)}
    models["three"] = _unfused(soft, arguments.timesteps)
    image = np.random.default_rng(0).random((arguments.batch, *shape), dtype=np.float32)
    seconds = _race({name: _session(model) for name, model in models.items()}, image, arguments.rounds)
    for name in ("subtract", "three"):
        print(f"{name} / zero  {seconds[name] / seconds['zero']:.3f}   {len(models[name].graph.node):,} nodes")
    print(f"zero  {1000 * seconds['zero']:.2f} ms   {len(models['zero'].graph.node):,} nodes")


def subtracting(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with reset by subtraction of theta for every LIF of idsnn's form."""
    graph = copy.deepcopy(graph)
    for name, node in list(graph.nodes.items()):
        if isinstance(node, nir.LIF):
            theta = (node.v_threshold * node.tau / np.float32(1e-4)).astype(np.float32)
            membrane, reset = f"{name}_membrane", f"{name}_reset"
            graph.nodes[membrane] = nir.LI(tau=node.tau, r=node.r, v_leak=node.v_leak)
            graph.nodes[name], graph.nodes[reset] = nir.Threshold(node.v_threshold), nir.Scale(-theta)
            graph.edges = [(a, membrane if b == name else b) for a, b in graph.edges]
            graph.edges += [(membrane, name), (name, reset), (reset, membrane)]
    return graph


def _unfused(graph: nir.NIRGraph, timesteps: int) -> onnx.ModelProto:
    fused, compiler.fused = compiler.fused, lambda plan: plan
    try:
        return to_onnx(graph, timesteps)
    finally:
        compiler.fused = fused


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _race(sessions: dict[str, onnxruntime.InferenceSession], image: np.ndarray, rounds: int) -> dict[str, float]:
    """The median seconds of one run of each."""
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for i in range(rounds + 3):  # three to warm up
        for name, session in sessions.items():
            start = time.thread_time()
            session.run(["logits"], {"image": image})
            if i >= 3:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag, default in (("--width", 16), ("--timesteps", 4), ("--batch", 1), ("--rounds", 41)):
        parser.add_argument(flag, type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
