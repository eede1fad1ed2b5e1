"""A bundle whose network answers from a tape: every count of it is chosen by hand.

The one pixel of sample i is i / 64, and the graphs look up row i of each table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from idsnn_deploy.files import write_bytes
from idsnn_deploy.json_types import read
from idsnn_deploy.layer_table import Layer, LayerTable
from idsnn_deploy.manifest import Manifest, listing, write_manifest

SCALE = 64


def tape_images(count: int) -> np.ndarray:
    return (np.arange(count, dtype=np.float32) / SCALE).reshape(count, 1, 1, 1)


def tape_graph(tables: dict[str, np.ndarray], batch: int | str = "N") -> bytes:
    """An ONNX file that looks its outputs up: tables are (N, ...), `step_logits` (T, N, K)."""
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["pixel"]),
        helper.make_node("Mul", ["pixel", "scale"], ["position"]),
        helper.make_node("Cast", ["position"], ["index"], to=TensorProto.INT64),
    ]
    constants = {"flat": np.array([-1], np.int64), "scale": np.array(SCALE, np.float32)}
    outputs = []
    for name, table in tables.items():
        axis = int(name == "step_logits")
        constants[f"table.{name}"] = table.astype(np.float32)
        nodes.append(helper.make_node("Gather", [f"table.{name}", "index"], [name], axis=axis))
        shape = [batch if i == axis else size for i, size in enumerate(table.shape)]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph = helper.make_graph(
        nodes,
        "tape",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 1, 1])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tape_bundle(
    folder: Path,
    layers: list[dict[str, Any]],
    tables: dict[str, np.ndarray],
    int8: dict[str, np.ndarray] | None = None,
    **manifest: Any,
) -> Path:
    """Writes a bundle whose probe answers `tables` (its 8-bit probe `int8`); `logits` is the mean of `step_logits`."""
    folder.mkdir(parents=True, exist_ok=True)
    batch = manifest.pop("batch", "N")
    for middle, answers in (("", tables), (".int8", int8)):
        if answers is not None:
            steps = answers["step_logits"]
            model = {"logits": steps.mean(axis=0), "step_logits": steps}
            write_bytes(folder / f"model{middle}.onnx", tape_graph(model, batch))
            write_bytes(folder / f"model{middle}.probe.onnx", tape_graph({**model, **answers}, batch))
    steps = tables["step_logits"]
    labels = [f"class {k}" for k in range(steps.shape[2])]
    return _finished(
        folder, len(steps), manifest.pop("labels", labels), [1, 1, 1], read(LayerTable, layers, "layers"), **manifest
    )


def torch_bundle(model: Any, folder: Path, shape: tuple[int, ...], timesteps: int, classes: int) -> Path:
    """The least that `evaluate` reads of a torch network's bundle: no normalization, no parity gates."""
    import idsnn_export

    return graph_bundle(idsnn_export.to_nir(model, shape), folder, shape, timesteps, classes)


def graph_bundle(graph: Any, folder: Path, shape: tuple[int, ...], timesteps: int, classes: int) -> Path:
    """The same of a NIR graph."""
    import idsnn_export
    from idsnn_export.graph.layers import layer_table

    folder.mkdir(parents=True)
    for name, kind in (("model.onnx", "model"), ("model.probe.onnx", "probe")):
        write_bytes(folder / name, idsnn_export.to_onnx(graph, timesteps, kind=kind).SerializeToString())
    return _finished(folder, timesteps, [str(k) for k in range(classes)], list(shape), layer_table(graph))


def _finished(
    folder: Path, timesteps: int, labels: list[str], shape: list[int], layers: tuple[Layer, ...], **more: Any
) -> Path:
    for name in ("model.nir", "golden.npz"):
        write_bytes(folder / name, b"not read here")
    plain = {"dataset": None, "dt": 1e-4, "mean": None, "std": None, "labels": labels, "input_shape": shape}
    manifest = {**plain, "timesteps": timesteps, "layers": layers, "files": listing(folder)}
    write_manifest(folder, Manifest(**{**manifest, **more}))
    return folder


def conv(name: str, source: str, channels: tuple[int, int], size: int, stride: int = 1, **more: Any) -> dict[str, Any]:
    """A 3 x 3 convolution's entry, padding 1, on square maps."""
    inputs, outputs = channels
    out = (size - 1) // stride + 1
    entry = {
        "name": name,
        "kind": "conv2d",
        "sources": [source],
        "weight_shape": [outputs, inputs, 3, 3],
        "stride": [stride, stride],
        "padding": [[1, 1], [1, 1]],
        "dilation": [1, 1],
        "groups": 1,
        "in_shape": [inputs, size, size],
        "out_shape": [outputs, out, out],
        "zero_weights": 0,
        "bias": True,
    }
    return {**entry, **more}


def lif(name: str, source: str, shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    entry = {"name": name, "kind": "lif", "sources": [source], "shape": list(shape), "beta": 0.25, "theta": 0.5}
    return {**entry, "raster": list(range(min(64, int(np.prod(shape))))), **more}


def fc(name: str, source: str, inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    entry = {
        "name": name,
        "kind": "linear",
        "sources": [source],
        "weight_shape": [outputs, inputs],
        "stride": [],
        "padding": [],
        "dilation": [],
        "groups": 1,
        "in_shape": [inputs],
        "out_shape": [outputs],
        "zero_weights": 0,
        "bias": True,
    }
    return {**entry, **more}
