"""The table of architectures: how student and teacher are built from a run's settings, and what depths exist.

Rows name classes by import path, so that flags are checked before torch is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsnn_deploy.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

_NEURON = ("timesteps", "beta", "threshold", "learn_beta", "learn_threshold")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture: spiking, and with an ordinary activation in the neurons' place.

    Attributes:
        title: its name in prose.
        student: import path of the class `(depth, num_classes, width, in_channels, *neuron, *student_options)`.
        teacher: import path of the class `(depth, num_classes, width, in_channels, *teacher_options)`.
        depths: numbers of layers that exist.
        student_depth: the student's, where the settings leave it open.
        teacher_depth: the teacher's, likewise.
        least_pixels: height and width that an image must have.
        student_options: settings of this architecture alone that the student takes.
        teacher_options: and that the teacher takes.
    """

    title: str
    student: str
    teacher: str
    depths: tuple[int, ...]
    student_depth: int
    teacher_depth: int
    least_pixels: int = 1
    student_options: tuple[str, ...] = ()
    teacher_options: tuple[str, ...] = ()


NETWORKS: dict[str, Architecture] = {
    "resnet": Architecture(
        title="ResNet",
        student="idsnn.networks.resnet:SpikingResNet",
        teacher="idsnn.networks.resnet:ResNet",
        depths=(18, 34, 50, 101),
        student_depth=18,
        teacher_depth=34,
        student_options=("residual", "stem"),
        teacher_options=("stem",),
    ),
    "vgg": Architecture(
        title="VGG",
        student="idsnn.networks.vgg:SpikingVGG",
        teacher="idsnn.networks.vgg:VGG",
        depths=(11, 16),
        student_depth=11,
        teacher_depth=16,
        least_pixels=16,
    ),
}


OPTIONS = {option for row in NETWORKS.values() for option in (*row.student_options, *row.teacher_options)}
"""Settings that not every architecture understands."""


def architecture(name: str, flag: str = "--network") -> Architecture:
    """The row of `name`, which `flag` gave.

    Raises:
        UsageError: there is none.
    """
    if name not in NETWORKS:
        raise UsageError(f"{flag} {name}: unknown; known are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def network_name(config: Mapping[str, Any], which: str = "student") -> str:
    """The student, or the teacher, of a config in words, such as "Spiking ResNet-18" and "ResNet-34"."""
    if which == "teacher":
        return f"{architecture(_teacher(config)).title}-{config['teacher_depth']}"
    return f"Spiking {architecture(_name(config)).title}-{config['depth']}"


def build_student(config: Mapping[str, Any]) -> nn.Module:
    """A fresh student of a resolved config (config.json's keys): a `SpikingNetwork`."""
    row = architecture(_name(config))
    settings = {key: config[key] for key in (*_NEURON, *row.student_options)}
    return _build(row.student, config, config["depth"], config["width"], settings)


def build_teacher(config: Mapping[str, Any]) -> nn.Module:
    """A fresh teacher of a resolved config: images `(B, C, H, W)` → logits `(B, K)`."""
    row = architecture(_teacher(config))
    settings = {key: config[key] for key in row.teacher_options}
    return _build(row.teacher, config, config["teacher_depth"], config["teacher_width"] or config["width"], settings)


def _name(config: Mapping[str, Any]) -> str:
    return str(config.get("network", "resnet"))  # runs from before there was a choice do not say


def _teacher(config: Mapping[str, Any]) -> str:
    return str(config.get("teacher_network") or _name(config))


def _build(path: str, config: Mapping[str, Any], depth: int, width: int, settings: dict[str, Any]) -> nn.Module:
    module, _, name = path.partition(":")
    network = getattr(importlib.import_module(module), name)
    built: nn.Module = network(
        depth, len(config["labels"]), width=width, in_channels=config["input_shape"][0], **settings
    )
    return built
