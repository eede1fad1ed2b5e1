"""Good files of every kind: a trained run, a small network for images and one for recordings, and what they take."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import event_trees
import nir
import numpy as np
import tiny_bundle
from PIL import Image
from test_deploy_layouts import packet, version_2, version_3

from idsnn.checkpoint import read_weights
from idsnn_deploy.files import canonical_json, sha256
from idsnn_deploy.manifest import Encoding, listing, read_bundle, write_manifest
from idsnn_deploy.reading import Binning
from idsnn_export.bundle import export_bundle
from idsnn_export.config import ExportConfig
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.graph.plan import plan
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.quantize import write_int8
from idsnn_export.source import open_source

TINY = ["--width", "2", "--epochs", "2", "--teacher-depth", "18", "--limit-train", "64", "--limit-test", "20"]
TINY += ["--batch-size", "32", "--timesteps", "2"]
PLATFORM = {
    "name": "chip", "synop_pj": [1.2, 2.0], "update_pj": 10, "counts": "events", "node": "28 nm", "year": 2026,
    "includes": "what", "source": "where",
}  # fmt: skip
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM"}


def samples(run: Path, into: Path) -> Path:
    """A workplace of good files, from a run folder."""
    into.mkdir(parents=True, exist_ok=True)
    shutil.copytree(tiny_bundle.FRAMES, into / "clips")
    _run_folders(run, into)
    _graphs(into)
    _arrays(into)
    _recordings(into)
    _pictures(into)
    (into / "platform.json").write_text(json.dumps({"platforms": [PLATFORM]}))
    lines = [f"{key} = {json.dumps(value)}" for key, value in PLATFORM.items()]
    (into / "platform.toml").write_text("\n".join(["[[platforms]]", *lines, ""]))
    return into


def small_graph(frames: bool) -> nir.NIRGraph:
    """At T = 3, of recordings (2, 12, 12) or images (1, 12, 12): two convolutions, one passed by, and two layers."""
    rng, size, channels = np.random.default_rng(0), event_trees.SIZE, 1 + frames
    numbers = {"tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.3, "v_reset": 0.0}

    def cells(*shape: int) -> nir.LIF:
        return nir.LIF(**{key: np.full(shape, value) for key, value in numbers.items()})

    nodes = {
        "input": nir.Input(np.array([channels, size, size])),
        "conv": nir.Conv2d((size, size), rng.normal(size=(3, channels, 3, 3)), 1, 1, 1, 1, rng.normal(size=3)),
        "lif": cells(3, 12, 12),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "conv2": nir.Conv2d((6, 6), rng.normal(size=(3, 3, 3, 3)) / 4, 1, 1, 1, 1, rng.normal(size=3)),
        "lif2": cells(3, 6, 6),
        "flat": nir.Flatten({"input": np.array([3, 6, 6])}, 0, -1),
        "a": nir.Affine(rng.normal(size=(4, 108)) / 4, rng.normal(size=4)),
        "lif3": cells(4),
        "b": nir.Linear(rng.normal(size=(2, 4))),
        "output": nir.Output(np.array([2])),
    }
    graph = nir.NIRGraph(nodes, [*pairwise(nodes), ("pool", "lif2")])
    normal: dict[str, Any] = {"events": Binning()} if frames else {"mean": (0.3,), "std": (0.4,)}
    encoding: Encoding = "frames" if frames else "static"
    write_metadata(graph, Metadata(3, encoding=encoding, labels=("a-right", "b-left"), **normal))
    return graph


def _graphs(into: Path) -> None:
    """Graphs of events and of images as files and bundles; beside ours a file without checksums, as others write it."""
    for name, frames in (("recorded", True), ("bundle", False)):
        (into / "graphs").mkdir(exist_ok=True)
        graph = small_graph(frames)
        write_nir(into / "graphs" / f"{name}.nir", graph)
        nir.write(into / "graphs" / f"{name}-theirs.nir", graph)
        _bundle(into / "graphs" / f"{name}.nir", into / name)
    shutil.copy(into / "graphs" / "bundle.nir", into / "x.nir")
    shutil.copy(into / "bundle" / "model.probe.onnx", into / "x.onnx")


def _bundle(graph: Path, bundle: Path) -> None:
    """The graph's bundle, with the 8-bit files that are otherwise made from a run and its labelled data."""
    config = ExportConfig(graph, bundle, int8=True)
    export_bundle(replace(config, int8=False))
    source = replace(open_source(config), labels=lambda count, split: np.zeros(count, np.int64))
    figures = write_int8(bundle, plan(source.graph), source, config)
    manifest = read_bundle(bundle).manifest
    parity = {**manifest.parity, "int8": figures}
    write_manifest(bundle, replace(manifest, parity=parity, files=listing(bundle)))


def resign(bundle: Path) -> None:
    """Recomputes every hash and the digest, whatever the manifest says besides."""
    path = bundle / "manifest.json"
    try:
        body = json.loads(path.read_bytes())
        if not isinstance(body, dict):
            return
        if isinstance(body.get("files"), dict):
            there: Any = listing(bundle)
            body["files"] = {name: there.get(name, entry) for name, entry in body["files"].items()}
        body.pop("digest", None)
        body["digest"] = sha256(canonical_json(body))
        path.write_text(json.dumps(body))
    except (ValueError, RecursionError):
        return


def _run_folders(run: Path, into: Path) -> None:
    import torch

    shutil.copytree(run, into / "run", ignore=shutil.ignore_patterns("bundle", "*.png", "tensorboard"))
    shutil.copytree(into / "run", into / "stopped", ignore=shutil.ignore_patterns("summary.json"))
    (into / "next").mkdir()
    for name in ("settings.json", "next/.next.json"):
        shutil.copy(run / "config.json", into / name)
    shutil.copy(run / "teacher.safetensors", into / "x.safetensors")
    torch.save(read_weights(run / "teacher.safetensors"), into / "x.pth")


def _arrays(into: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(into / "data.npz", images=rng.random((20, 1, 12, 12), np.float32), labels=np.arange(20) % 2)
    np.save(into / "sample.npy", tiny_bundle.clip(1)[:, 0])
    np.savez(into / "sample.npz", input=tiny_bundle.clip(2), other=np.arange(3))


def _recordings(into: Path) -> None:
    events = event_trees.sweep(0, 0)
    event_trees.write_tree(into / "tree", train=2, test=2)
    np.save(into / "events.npy", events)
    np.savez(into / "events.npz", **{name: events[name] for name in events.dtype.names or ()})
    (into / "aedats").mkdir()
    rows = [(x, y, t, int(p)) for x, y, t, p in events.tolist()]
    for number, data in ((2, version_2(*rows)), (3, version_3(packet(*rows[:100]), packet(*rows[100:])))):
        (into / "aedats" / f"{number}.aedat").write_bytes(data)
    shutil.copy(into / "aedats" / "3.aedat", into / "events.aedat")
    if find_spec("expelliarmus"):
        from expelliarmus import Wizard

        (into / "raws").mkdir()
        theirs = np.empty(len(events), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
        for name in theirs.dtype.names or ():
            theirs[name] = events[name]
        for encoding, name in (("dat", "events.dat"), ("evt2", "raws/2.raw"), ("evt3", "raws/3.raw")):
            Wizard(encoding=encoding).save(fpath=into / name, arr=theirs)
        shutil.copy(into / "raws" / "3.raw", into / "events.raw")


def _pictures(into: Path) -> None:
    rng = np.random.default_rng(0)
    (into / "images").mkdir()
    for mode in ("L", "RGB"):
        image = Image.fromarray(rng.integers(0, 256, (24, 31, 3)).astype(np.uint8)).convert(mode)
        for ending, name in FORMATS.items():
            image.save(into / "images" / f"{mode}.{ending}", name)
        image.save(into / "images" / f"{mode}-lzw.tif", "TIFF", compression="tiff_lzw")
    shutil.copy(into / "images" / "L.png", into / "image.png")
    for part in ("train", "test"):
        for label in "01":
            (into / "pictures" / part / label).mkdir(parents=True)
            shutil.copy(into / "images" / "L.png", into / "pictures" / part / label / "0.png")
