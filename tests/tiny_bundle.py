"""A network small enough to compute by hand, as a bundle: conv 3x3 (2 kernels), LIF, linear, T = 4.

    v[t] = beta * v[t-1] * (1 - s[t-1]) + I[t]        s[t] = v[t] > theta        beta 0.25, theta 0.5

tests/data/tiny and tests/data/tiny_frames are what `python tests/tiny_bundle.py` writes; they are committed so that the
runtime is tested where onnx, which makes them, is not installed.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.json_types import read
from idsnn_deploy.layer_table import LayerTable
from idsnn_deploy.manifest import Manifest, listing, read_bundle, write_manifest

DATA = Path(__file__).parent / "data"
STATIC, FRAMES = DATA / "tiny", DATA / "tiny_frames"
T, K, SHAPE = 4, 3, (1, 6, 5)
BETA, THETA = np.float32(0.25), np.float32(0.5)
MEAN, STD = np.float32(0.25), np.float32(0.5)

_random = np.random.default_rng(0)
# Multiples of 1/64: float32 sums of them are exact, so that no machine's order of summation shows.
KERNEL = (_random.integers(-32, 48, (2, 1, 3, 3)) / 64).astype(np.float32)
WEIGHT = (_random.integers(-32, 32, (K, 2 * 6 * 5)) / 64).astype(np.float32)


def images(count: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Float32 images (N, 1, 6, 5) in 0..1, multiples of 1/16."""
    return (np.random.default_rng(seed).integers(0, 17, (count, *SHAPE)) / 16).astype(np.float32)


def clip(count: int, seed: int = 2) -> np.ndarray[Any, Any]:
    """Float32 frames (T, N, 1, 6, 5)."""
    return images(T * count, seed).reshape(T, count, *SHAPE)


def answer(frames: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """step_logits (T, N, K) and spike counts (N, 1) of normalized frames (T, N, 1, 6, 5), by the equation above."""
    padded = np.pad(frames[:, :, 0], [(0, 0), (0, 0), (1, 1), (1, 1)])
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # (T, N, H, W, 3, 3)
    current = np.einsum("tnhwij,cij->tnchw", patches, KERNEL[:, 0])
    v, s, steps, count = np.zeros_like(current[0]), np.zeros_like(current[0]), [], 0
    for t in range(T):
        v = BETA * v * (1 - s) + current[t]
        s = (v > THETA).astype(np.float32)
        count = count + s.reshape(len(s), -1).sum(axis=1)
        steps.append(s.reshape(len(s), -1) @ WEIGHT.T)
    return np.stack(steps).astype(np.float32), np.asarray(count).astype(np.int64)[:, None]


def answer_static(pixels: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The same for images (N, 1, 6, 5) in 0..1, shown at every step."""
    return answer(np.repeat(((pixels - MEAN) / STD)[None], T, axis=0))


def graph(kind: str, static: bool) -> bytes:
    """model.onnx ("model"), model.step.onnx ("step") or model.probe.onnx ("probe"), with onnx."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {
        "kernel": KERNEL,
        "weight": WEIGHT.T.copy(),
        "row": np.array([-1, 2 * 6 * 5]),
        "beta": BETA,
        "theta": THETA,
        "one": np.float32(1),
    }
    if static:
        constants |= {"mean": MEAN, "std": STD}

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def layers(x: str, v: str | None, tag: str, logits: str) -> tuple[str, str]:
        """One step; gives the spikes' and the membrane's names, the membrane after reset."""
        current = node("Conv", [x, "kernel"], f"current{tag}", pads=[1, 1, 1, 1])
        v = current if v is None else node("Add", [node("Mul", ["beta", v], f"leak{tag}"), current], f"v{tag}")
        s = node("Cast", [node("Greater", [v, "theta"], f"fires{tag}")], f"s{tag}", to=TensorProto.FLOAT)
        node("Gemm", [node("Reshape", [s, "row"], f"flat{tag}"), "weight"], logits)
        return s, node("Mul", [v, node("Sub", ["one", s], f"holds{tag}")], f"next.lif{tag}")

    def normalized(x: str) -> str:
        return node("Div", [node("Sub", [x, "mean"], "centred"), "std"], "normalized") if static else x

    source = "image" if static else "input"
    outputs: dict[str, list[Any]] = {"logits": ["N", K]}
    if kind == "step":
        inputs = {source: ["N", *SHAPE], "state.lif": ["N", 2, 6, 5]}
        layers(normalized(source), "state.lif", "", "logits")
        outputs["next.lif"] = ["N", 2, 6, 5]
    else:
        inputs = {source: ["N", *SHAPE] if static else [T, "N", *SHAPE]}
        shown, v, counts = normalized(source), None, []
        for t in range(T):
            constants |= {} if static else {f"t{t}": np.int64(t)}
            x = shown if static else node("Gather", [shown, f"t{t}"], f"frame{t}", axis=0)
            s, v = layers(x, v, f"@{t}", f"logits@{t}")
            counts.append(node("ReduceSum", [s, "neurons"], f"count@{t}", keepdims=0))
        each = [node("Unsqueeze", [f"logits@{t}", "first"], f"row@{t}") for t in range(T)]
        node("Concat", each, "step_logits", axis=0)
        node("ReduceMean", ["step_logits"], "logits", axes=[0], keepdims=0)
        outputs["step_logits"] = [T, "N", K]
        constants |= {"first": np.array([0]), "neurons": np.array([1, 2, 3])}
        if kind == "probe":
            node("Concat", [node("Unsqueeze", [c, "last"], f"{c}'") for c in counts], "spikes.lif", axis=1)
            constants["last"] = np.array([1])
            outputs["spikes.lif"] = ["N", T]

    def values(table: dict[str, list[Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in table.items()]

    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    body = helper.make_graph(nodes, "tiny", values(inputs), values(outputs), initial)
    model = helper.make_model(body, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="idsnn")
    return bytes(model.SerializeToString(deterministic=True))


def golden(static: bool) -> bytes:
    """golden.npz."""
    x = images(8) if static else clip(8)
    steps, spikes = answer_static(x) if static else answer(x)
    stream = io.BytesIO()
    np.savez(stream, images=x, logits=steps.mean(axis=0), step_logits=steps, spikes=spikes)
    return stream.getvalue()


def manifest(static: bool) -> Manifest:
    """The manifest, without its files."""
    conv = {"kind": "conv2d", "sources": ["input"], "weight_shape": [2, 1, 3, 3], "stride": [1, 1]}
    conv |= {"padding": [[1, 1], [1, 1]], "dilation": [1, 1], "groups": 1, "in_shape": [1, 6, 5]}
    fc = {"kind": "linear", "sources": ["lif"], "weight_shape": [K, 60], "in_shape": [60], "out_shape": [K]}
    lif = {"kind": "lif", "sources": ["conv"], "shape": [2, 6, 5], "beta": 0.25, "theta": 0.5, "raster": [0, 1]}
    layers = [
        {"name": "conv", **conv, "out_shape": [2, 6, 5], "zero_weights": int((KERNEL == 0).sum()), "bias": False},
        {"name": "lif", **lif},
        {
            "name": "fc",
            **fc,
            "stride": [],
            "padding": [],
            "dilation": [],
            "groups": 1,
            "zero_weights": 0,
            "bias": False,
        },
    ]
    whole = Manifest(
        "folder", T, 1e-4, [0.25], [0.5], ["left", "right", "none"], [*SHAPE], read(LayerTable, layers, "")
    )
    early_exit = {"margin": 0.5}
    if static:
        return replace(whole, early_exit=early_exit, test_accuracy=0.9, versions={"idsnn": "0.1.0"})
    return replace(whole, dataset=None, mean=None, std=None, encoding="frames")


def write(folder: Path, static: bool) -> Path:
    """Writes the bundle that `folder` names, with onnx; the int8 files are the float ones under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.nir").write_bytes(b"not read by the runtime\n")
    for kind, name in (("model", "model"), ("step", "model.step"), ("probe", "model.probe")):
        (folder / f"{name}.onnx").write_bytes(graph(kind, static))
    if static:
        shutil.copy(folder / "model.onnx", folder / "model.int8.onnx")
        shutil.copy(folder / "model.probe.onnx", folder / "model.int8.probe.onnx")
    (folder / "golden.npz").write_bytes(golden(static))
    write_manifest(folder, replace(manifest(static), files=listing(folder)))
    return folder


def resigned(folder: Path, **changes: Any) -> Path:
    """Signs the manifest again after files or keys were changed on purpose."""
    old = read_bundle(folder).manifest
    write_manifest(folder, replace(old, **{"files": listing(folder), **changes}))
    return folder


if __name__ == "__main__":
    write(STATIC, static=True)
    write(FRAMES, static=False)
