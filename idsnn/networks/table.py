"""The table of architectures: how student and teacher are built from a run's settings, and what depths exist.

Rows name classes by import path, so that flags are checked before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import UsageError

from .import_path import is_import_path, load

if TYPE_CHECKING:
    from torch import nn

NEURON = ("beta", "threshold", "learn_beta", "learn_threshold")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture: spiking, and with an ordinary activation in the neurons' place.

    Attributes:
        title: its name in prose.
        student: import path of the class; it takes depth, num_classes, width, in_channels, timesteps, `NEURON` and
            `student_options`.
        teacher: import path of the class; it takes depth, num_classes, width, in_channels and `teacher_options`.
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
    """The row of `name`, which `flag` gave; a network by import path has none.

    Raises:
        UsageError: there is none.
    """
    if name not in NETWORKS:
        others = " and package.module:factory" if flag == "--network" else ""
        raise UsageError(f"{flag} {name}: unknown; {known_are(name, NETWORKS)}{others}")
    return NETWORKS[name]


def network_name(config: Mapping[str, Any], which: str = "student") -> str:
    """The student, or the teacher, of a config in words, such as "Spiking ResNet-18" and "ResNet-34"."""
    if which == "teacher":
        return f"{architecture(_teacher(config)).title}-{config['teacher_depth']}"
    name = _name(config)
    return name if is_import_path(name) else f"Spiking {architecture(name).title}-{config['depth']}"


def teacher_of(network: str) -> str:
    """The architecture of a teacher for `network`: its twin where it has one."""
    return network if network in NETWORKS else "resnet"


def build_student(config: Mapping[str, Any]) -> nn.Module:
    """A fresh student of a resolved config (config.json's keys): a `SpikingNetwork`."""
    name = _name(config)
    if is_import_path(name):
        from .by_path import build

        frames = config.get("encoding") == "frames"
        return build(name, len(config["labels"]), tuple(config["input_shape"]), config["timesteps"], frames)
    row = architecture(name)
    settings = {key: config[key] for key in ("timesteps", *NEURON, *row.student_options)}
    return _build(row.student, config, config["depth"], config["width"], settings)


def build_teacher(config: Mapping[str, Any]) -> nn.Module:
    """A fresh teacher of a resolved config: images `(B, C, H, W)` → logits `(B, K)`."""
    row = architecture(_teacher(config))
    settings = {key: config[key] for key in row.teacher_options}
    return _build(row.teacher, config, config["teacher_depth"], config["teacher_width"] or config["width"], settings)


def _name(config: Mapping[str, Any]) -> str:
    return str(config.get("network", "resnet"))  # runs from before there was a choice do not say


def _teacher(config: Mapping[str, Any]) -> str:
    return str(config.get("teacher_network") or teacher_of(_name(config)))


def _build(path: str, config: Mapping[str, Any], depth: int, width: int, settings: dict[str, Any]) -> nn.Module:
    channels = config["input_shape"][0]
    network: nn.Module = load(path)(depth, len(config["labels"]), width=width, in_channels=channels, **settings)
    return network
