"""Every kind of file that a command opens: where a good one lies, and the commands that open it.

No command opens report.json; it is written alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import mutations as m
from .worker import Command


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        file: where it lies in the workplace.
        commands: that open it, from the workplace's path; a mutant is given to one of them.
        content: the mutation of what it holds, where there is one besides those of bytes.
        others: a folder of good files of the same kind, one of which is mutated instead.
        guarded: the manifest of its folder lists its hash.
    """

    file: str
    commands: Callable[[str], list[Command]]
    content: m.Mutation | None = None
    others: str | None = None
    guarded: bool = False

    @property
    def folder(self) -> str:
        """What it belongs to: the first part of its path."""
        return self.file.partition("/")[0]

    def mutations(self) -> Mapping[str, m.Mutation]:
        """By name."""
        return {**m.BYTES, **({"content": self.content} if self.content else {})}

    def needs(self, at: str) -> set[str]:
        """What its commands find in the workplace, of everything that may be there."""
        words = [word for _, arguments in self.commands(at) for word in arguments if word.startswith(f"{at}/")]
        return {Path(word).relative_to(at).parts[0] for word in words} | {self.folder}


def _deploy(*words: str) -> Command:
    return "idsnn_deploy.cli", list(words)


def _export(*words: str) -> Command:
    return "idsnn_export.cli", list(words)


def _train(*words: str) -> Command:
    return "idsnn.cli", list(words)


def _resume(folder: str) -> Command:
    return _train("--resume", "--json", "--out", folder)


def _would_train(at: str, *words: str) -> Command:
    return _train(*words, "--dry-run", "--out", f"{at}/new")


def _evaluate(bundle: str, data: str, *words: str, dataset: str = "npz") -> Command:
    flags = ["--dataset", dataset, "--data", data, "--limit", "4", "--batch-size", "4", "--json"]
    return "idsnn_evaluation.cli", [bundle, *flags, *words, "--out", f"{bundle}-report"]


def _run(bundle: str, sample: str, *words: str) -> Command:
    return _deploy("run", bundle, sample, "--json", *words)


def _check(bundle: str) -> Command:
    return _deploy("check", bundle, "--json")


def _device(at: str) -> list[Command]:
    bundle = f"{at}/bundle"
    image = _run(bundle, f"{at}/image.png", "--top", "3", "--steps")
    return [_check(bundle), image, _deploy("info", bundle, "--json", "--layers")]


def _lint(source: str, target: str) -> Command:
    return _export(source, "--lint", target, "--json")


def _diff(artefact: str) -> Command:
    return _export("--diff", artefact, artefact, "--json")


def _teacher(at: str, source: str) -> list[Command]:
    return [_would_train(at, "--config", f"{at}/settings.json", "--teacher", f"{at}/{source}")]


def _platform(at: str, file: str) -> list[Command]:
    return [_counted(at, "--platform", f"{at}/{file}")]


def _recording(at: str, file: str, *words: str) -> list[Command]:
    return [_run(f"{at}/recorded", f"{at}/{file}", "--steps", *words)]


def _counted(at: str, *words: str) -> Command:
    return _evaluate(f"{at}/recorded", f"{at}/tree", *words, dataset="events")


def _sample(at: str, file: str) -> list[Command]:
    return [_run(f"{at}/clips", f"{at}/{file}", "--steps")]


KINDS: dict[str, Kind] = {
    "manifest.json": Kind("bundle/manifest.json", _device, m.json_value, guarded=True),
    "model.onnx": Kind("bundle/model.onnx", lambda at: _device(at)[:2], m.model, guarded=True),
    "model.step.onnx": Kind(
        "bundle/model.step.onnx",
        lambda at: [_check(f"{at}/bundle"), _run(f"{at}/bundle", f"{at}/image.png", "--anytime", "--margin", "0.9")],
        m.model,
        guarded=True,
    ),
    "model.probe.onnx": Kind(
        "bundle/model.probe.onnx", lambda at: [_evaluate(f"{at}/bundle", f"{at}/data.npz")], m.model, guarded=True
    ),
    "model.int8.onnx": Kind(
        "recorded/model.int8.onnx",
        lambda at: [_check(f"{at}/recorded"), *_recording(at, "events.npy", "--int8")],
        m.model,
        guarded=True,
    ),
    "model.int8.probe.onnx": Kind(
        "recorded/model.int8.probe.onnx",
        lambda at: [_counted(at, "--variant", "int8")],
        m.model,
        guarded=True,
    ),
    "model.nir": Kind(
        "bundle/model.nir", lambda at: [_lint(f"{at}/bundle", "loihi"), _diff(f"{at}/bundle")], m.graph, guarded=True
    ),
    "golden.npz": Kind("bundle/golden.npz", lambda at: [_check(f"{at}/bundle")], m.arrays, guarded=True),
    "x.nir": Kind(
        "x.nir",
        lambda at: [
            _lint(f"{at}/x.nir", "snntorch"),
            _diff(f"{at}/x.nir"),
            _export(f"{at}/x.nir", "--json", "--out", f"{at}/new"),
            _export(f"{at}/x.nir", "--format", "c", "--json", "--out", f"{at}/new"),
        ],
        m.graph,
        others="graphs",
    ),
    "x.onnx": Kind("x.onnx", lambda at: [_diff(f"{at}/x.onnx")], m.model),
    "images": Kind("image.png", lambda at: [_device(at)[1]], others="images"),
    "images of a folder": Kind(
        "pictures/train/0/0.png",
        lambda at: [_would_train(at, "--dataset", "folder", "--data", f"{at}/pictures", "--width", "2")],
        others="images",
    ),
    "x.bin": Kind(
        "tree/test/a-right/000.bin",
        lambda at: [*_recording(at, "tree/test/a-right/000.bin"), _counted(at)],
    ),
    "events.npy": Kind("events.npy", lambda at: _recording(at, "events.npy"), m.array),
    "events.npz": Kind("events.npz", lambda at: _recording(at, "events.npz"), m.arrays),
    "events.aedat": Kind("events.aedat", lambda at: _recording(at, "events.aedat"), others="aedats"),
    "events.dat": Kind("events.dat", lambda at: _recording(at, "events.dat")),
    "events.raw": Kind("events.raw", lambda at: _recording(at, "events.raw"), others="raws"),
    "sample.npy": Kind("sample.npy", lambda at: _sample(at, "sample.npy"), m.array),
    "sample.npz": Kind("sample.npz", lambda at: _sample(at, "sample.npz"), m.arrays),
    "data.npz": Kind(
        "data.npz",
        lambda at: [
            _evaluate(f"{at}/bundle", f"{at}/data.npz"),
            _would_train(at, "--dataset", "npz", "--data", f"{at}/data.npz", "--width", "2"),
        ],
        m.arrays,
    ),
    "platform.json": Kind("platform.json", lambda at: _platform(at, "platform.json"), m.json_value),
    "platform.toml": Kind("platform.toml", lambda at: _platform(at, "platform.toml")),
    "x.pth": Kind("x.pth", lambda at: _teacher(at, "x.pth"), m.pickled),
    "x.safetensors": Kind("x.safetensors", lambda at: _teacher(at, "x.safetensors"), m.safetensors),
    "student.safetensors": Kind(
        "run/student.safetensors", lambda at: [_lint(f"{at}/run", "loihi"), _diff(f"{at}/run")], m.safetensors
    ),
    "config.json": Kind(
        "run/config.json",
        lambda at: [
            _lint(f"{at}/run", "loihi"),
            _would_train(at, "--config", f"{at}/run/config.json"),
            *_teacher(at, "run"),
        ],
        m.json_value,
    ),
    "summary.json": Kind(
        "run/summary.json", lambda at: [_resume(f"{at}/run"), _lint(f"{at}/run", "loihi")], m.json_value
    ),
    ".next.json": Kind(
        "next/.next.json", lambda at: [_train("--resume", "--dry-run", "--out", f"{at}/next")], m.json_value
    ),
    "last.ckpt": Kind("stopped/last.ckpt", lambda at: [_resume(f"{at}/stopped")], m.pickled),
}
