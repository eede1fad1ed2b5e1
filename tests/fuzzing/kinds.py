"""Every kind of file that a command opens: a good one, where it lies, and the command that opens it.

No command opens report.json; it is written alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from idsnn.checkpoint import read_weights
from idsnn_deploy.files import canonical_json, sha256
from idsnn_deploy.manifest import listing

from . import mutations as m

TINY = ["--width", "2", "--epochs", "2", "--teacher-depth", "18", "--limit-train", "64", "--limit-test", "20"]
TINY += ["--batch-size", "32", "--timesteps", "2"]
PLATFORM = {
    "name": "chip", "synop_pj": [1.2, 2.0], "update_pj": 10, "counts": "events", "node": "28 nm", "year": 2026,
    "includes": "what", "source": "where",
}  # fmt: skip
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM"}
Command = tuple[str, list[str]]  # the module whose `main` it is, and its arguments


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        file: where it lies in the workplace, which holds `bundle/`, `run/` and single files.
        commands: that open it, from the workplace's path; a mutant is given to one of them.
        content: the mutation of what it holds, where there is one besides those of bytes.
        guarded: a manifest lists its hash.
    """

    file: str
    commands: Callable[[str], list[Command]]
    content: m.Mutation | None = None
    guarded: bool = False

    def mutations(self) -> Mapping[str, m.Mutation]:
        """By name."""
        return {**m.BYTES, **({"content": self.content} if self.content else {})}


def _deploy(*words: str) -> Command:
    return "idsnn_deploy.cli", list(words)


def _export(*words: str) -> Command:
    return "idsnn_export.cli", list(words)


def _train(*words: str) -> Command:
    return "idsnn.cli", list(words)


def _resume(folder: str) -> Command:
    return _train("--resume", "--json", "--out", folder)


def _evaluate(at: str, *words: str) -> Command:
    flags = ["--dataset", "npz", "--data", f"{at}/data.npz", "--limit", "4", "--batch-size", "4", "--json"]
    return "idsnn_evaluation.cli", [f"{at}/bundle", *flags, *words, "--out", f"{at}/report"]


def _device(at: str) -> list[Command]:
    bundle, image = f"{at}/bundle", f"{at}/image.png"
    return [
        _deploy("check", bundle, "--json"),
        _deploy("run", bundle, image, "--json", "--top", "3", "--steps"),
        _deploy("info", bundle, "--json", "--layers"),
    ]


def _teacher(at: str, file: str) -> list[Command]:
    return [_train("--config", f"{at}/settings.json", "--teacher", f"{at}/{file}", "--dry-run", "--out", f"{at}/new")]


KINDS: dict[str, Kind] = {
    "manifest.json": Kind("bundle/manifest.json", _device, m.json_value, guarded=True),
    "model.onnx": Kind("bundle/model.onnx", lambda at: _device(at)[:2], m.model, guarded=True),
    "model.step.onnx": Kind(
        "bundle/model.step.onnx",
        lambda at: [
            _device(at)[0],
            _deploy("run", f"{at}/bundle", f"{at}/image.png", "--json", "--anytime", "--margin", "0.9"),
        ],
        m.model,
        guarded=True,
    ),
    "model.probe.onnx": Kind("bundle/model.probe.onnx", lambda at: [_evaluate(at)], m.model, guarded=True),
    "model.nir": Kind(
        "bundle/model.nir",
        lambda at: [
            _export(f"{at}/bundle", "--lint", "loihi", "--json"),
            _export("--diff", f"{at}/bundle", f"{at}/bundle", "--json"),
        ],
        m.graph,
        guarded=True,
    ),
    "golden.npz": Kind("bundle/golden.npz", lambda at: _device(at)[:1], m.arrays, guarded=True),
    "x.nir": Kind("x.nir", lambda at: [_export(f"{at}/x.nir", "--lint", "snntorch", "--json")], m.graph),
    "x.onnx": Kind("x.onnx", lambda at: [_export("--diff", f"{at}/x.onnx", f"{at}/x.onnx", "--json")], m.model),
    "images": Kind("image.png", lambda at: [_device(at)[1]]),
    "data.npz": Kind("data.npz", lambda at: [_evaluate(at)], m.arrays),
    "platform.json": Kind(
        "platform.json", lambda at: [_evaluate(at, "--platform", f"{at}/platform.json")], m.json_value
    ),
    "platform.toml": Kind("platform.toml", lambda at: [_evaluate(at, "--platform", f"{at}/platform.toml")]),
    "x.pth": Kind("x.pth", lambda at: _teacher(at, "x.pth"), m.pickled),
    "x.safetensors": Kind("x.safetensors", lambda at: _teacher(at, "x.safetensors"), m.safetensors),
    "config.json": Kind(
        "run/config.json",
        lambda at: [
            _export(f"{at}/run", "--lint", "loihi", "--json"),
            _train("--config", f"{at}/run/config.json", "--dry-run", "--out", f"{at}/new"),
        ],
        m.json_value,
    ),
    "summary.json": Kind("run/summary.json", lambda at: [_resume(f"{at}/run")], m.json_value),
    "last.ckpt": Kind("stopped/last.ckpt", lambda at: [_resume(f"{at}/stopped")], m.pickled),
}


def samples(run: Path, bundle: Path, into: Path) -> Path:
    """A workplace of good files, from a run folder and its bundle with every graph."""
    import torch

    into.mkdir(parents=True, exist_ok=True)
    shutil.copytree(bundle, into / "bundle")
    shutil.copytree(run, into / "run", ignore=shutil.ignore_patterns("bundle", "*.png"))
    shutil.copytree(into / "run", into / "stopped", ignore=shutil.ignore_patterns("summary.json"))
    for name, file in (("x.nir", "model.nir"), ("x.onnx", "model.probe.onnx")):
        shutil.copy(bundle / file, into / name)
    shutil.copy(run / "config.json", into / "settings.json")
    shutil.copy(run / "teacher.safetensors", into / "x.safetensors")
    torch.save(read_weights(run / "teacher.safetensors"), into / "x.pth")
    rng = np.random.default_rng(0)
    np.savez(into / "data.npz", images=rng.random((8, 1, 8, 8), np.float32), labels=np.arange(8))
    (into / "platform.json").write_text(json.dumps({"platforms": [PLATFORM]}))
    lines = [f"{key} = {json.dumps(value)}" for key, value in PLATFORM.items()]
    (into / "platform.toml").write_text("\n".join(["[[platforms]]", *lines, ""]))
    (into / "images").mkdir()
    for mode in ("L", "RGB"):
        image = Image.fromarray(rng.integers(0, 256, (24, 31, 3)).astype(np.uint8)).convert(mode)
        for ending, name in FORMATS.items():
            image.save(into / "images" / f"{mode}.{ending}", name)
        image.save(into / "images" / f"{mode}-lzw.tif", "TIFF", compression="tiff_lzw")
    shutil.copy(into / "images" / "L.png", into / "image.png")
    return into


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
