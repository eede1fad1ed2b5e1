"""Weights and configs on disk: run folders, Hugging Face style folders, and teachers from elsewhere.

| folder | files |
|---|---|
| run | config.json, student.safetensors, teacher.safetensors where there is one, summary.json once finished |
| pretrained | config.json, model.safetensors |

Weights are safetensors; a `.pth` is read with torch's weights-only loader and never otherwise.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from idsnn_deploy.errors import RunError, UsageError, first_line
from idsnn_deploy.files import read_bytes, replacing_folder, write_bytes, write_json
from idsnn_deploy.json_file import read_json_object
from idsnn_deploy.json_types import MalformedError

from .config import settings, typed
from .networks.table import build_student, build_teacher
from .networks.wrapped import own_module
from .run_facts import LIMIT, read_facts
from .run_folder import CONFIG, STUDENT, SUMMARY, TEACHER, refuse_half_replaced

PRETRAINED = "model.safetensors"
_WEIGHTS_LIMIT = 1 << 33


@dataclass(frozen=True)
class Run:
    """A training's outcome.

    Attributes:
        student: the spiking network (a `networks.protocol.SpikingNetwork`), in eval mode, on the CPU.
        teacher: the ordinary network, likewise, where the run has one.
        config: config.json: every setting, and `mean`, `std`, `labels`, `input_shape` [C, H, W] of the images.
        summary: summary.json; empty while the run is not finished.
        path: the folder.
    """

    student: nn.Module
    teacher: nn.Module | None
    config: dict[str, Any]
    summary: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None


def load_run(path: str | Path) -> Run:
    """Returns the run, or the pretrained student, in a folder.

    Examples:
        >>> run = idsnn.load_run("runs/digits-idsnn-s0")  # doctest: +SKIP
        >>> logits = run.student((image - mean) / std)  # doctest: +SKIP

    Raises:
        RunError: no such folder, files missing, or weights that do not fit the config.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; train one with idsnn-train --out {folder}")
    refuse_half_replaced(folder)
    config = read_facts(folder / CONFIG)
    weights = folder / (PRETRAINED if (folder / PRETRAINED).exists() else STUDENT)
    try:
        student, teacher = build_student(config), build_teacher(config)
        every = {**settings(typed(config)), **config}  # an older run has not all of them
    except (UsageError, MalformedError) as cause:
        raise RunError(f"{folder / CONFIG}: {cause}") from cause
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, MemoryError) as cause:
        raise RunError(f"{folder / CONFIG}: describes no network ({type(cause).__name__}: {cause})") from cause
    load_weights(student, read_weights(weights), weights)
    has_teacher = (folder / TEACHER).exists()
    if has_teacher:
        load_weights(teacher, read_weights(folder / TEACHER), folder / TEACHER)
    summary = read_json_object(folder / SUMMARY, LIMIT, RunError) if (folder / SUMMARY).exists() else {}
    refuse_half_replaced(folder)
    if read_facts(folder / CONFIG) != config:
        raise RunError(f"{folder}: a new run took its place while it was read; load it once that is finished")
    return Run(student.eval(), teacher.eval() if has_teacher else None, every, summary, folder)


def save_pretrained(run: Run, directory: str | Path) -> None:
    """Writes the student as a Hugging Face style folder: config.json and model.safetensors, in one instant.

    What else lies in a folder that is there already stays in it.
    """
    about = {"model_type": "idsnn", "architectures": [type(own_module(run.student)).__name__], **run.config}
    Path(directory).absolute().parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(directory, force=True, keep=True) as folder:
        write_json(folder / CONFIG, about)
        save_weights(run.student, folder / PRETRAINED)
        (folder / SUMMARY).unlink(missing_ok=True)
        if run.summary:
            write_json(folder / SUMMARY, run.summary)


def save_weights(module: nn.Module, path: Path) -> None:
    """Writes a module's parameters and buffers as safetensors, whole or not at all."""
    # Copies, for safetensors refuses tensors that share memory (tied weights).
    tensors = {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in module.state_dict().items()
    }
    write_bytes(path, safetensors.torch.save(tensors))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a `.safetensors` or torchvision-style `.pth` file.

    Raises:
        RunError: the file is missing, broken, or holds anything but tensors by name.
    """
    file = Path(path)
    data = read_bytes(file, _WEIGHTS_LIMIT, RunError)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(data)
        found = load_pickle(data)
    except Exception as cause:  # the loaders raise a dozen kinds over files that are none of ours
        reason = first_line(cause)
        raise RunError(f"{file}: holds no weights that can be read safely ({reason})") from cause
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(each, Tensor) for name, each in found.items()
    ):
        raise RunError(f"{file}: holds {type(found).__name__}, not tensors by name; save a state_dict")
    return {name.removeprefix("module."): each for name, each in found.items()}


def load_pickle(data: bytes) -> Any:
    """What torch saved in `data`, by its weights-only loader, which runs nothing; its warnings are not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: str | Path) -> None:
    """Copies `state` into `module`.

    Raises:
        RunError: names the first layer that is missing, superfluous or of another shape.
    """
    own = module.state_dict()
    for name, tensor in own.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue  # files from before torch 0.4.1
            raise RunError(f"{where}: has no {name}; the network has one of shape {list(tensor.shape)}")
        if state[name].shape != tensor.shape:
            raise RunError(f"{where}: {name} has shape {list(state[name].shape)}, the network's {list(tensor.shape)}")
    odd = next((name for name in state if name not in own), None)
    if odd is not None:
        raise RunError(f"{where}: {odd} has no place in the network; is it of another depth or kind?")
    module.load_state_dict(dict(state), strict=False)


def load_teacher(source: str, config: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a teacher from a run folder or a weights file, and what of the config it settles.

    Raises:
        RunError: no such thing, or the first layer whose shape does not match.
    """
    settled: dict[str, Any] = {}
    path = Path(source)
    if path.is_dir():
        theirs = read_json_object(path / CONFIG, LIMIT, RunError)
        settled = {"teacher_depth": theirs.get("teacher_depth", config["teacher_depth"])}
        settled["teacher_network"] = theirs.get("teacher_network") or theirs.get("network", "resnet")
        settled["teacher_width"] = theirs.get("teacher_width") or theirs.get("width") or config["width"]
        path = path / TEACHER
        if theirs.get("labels", config["labels"]) != config["labels"]:
            raise RunError(f"{source}: its teacher tells other classes apart than the data set has")
    teacher = build_teacher({**config, **settled})
    load_weights(teacher, read_weights(path), path)
    return teacher.eval(), settled
