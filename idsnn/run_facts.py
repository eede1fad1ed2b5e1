"""What the JSON files of a run folder must say for others to use them: config.json and summary.json, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypedDict

from idsnn_deploy.errors import RunError
from idsnn_deploy.json_file import read_json_object
from idsnn_deploy.json_types import ABOVE_0, NOT_EMPTY, Count, Fraction, MalformedError, Positive, Text, read

LIMIT = 1 << 24  # bytes


class Facts(TypedDict):
    """What config.json says beside the settings: the images that the networks take and tell apart."""

    timesteps: Positive
    mean: Annotated[list[float], NOT_EMPTY] | None  # null: frames of events are taken as they are
    std: Annotated[list[Annotated[float, ABOVE_0]], NOT_EMPTY] | None
    labels: Annotated[list[Text], NOT_EMPTY]
    input_shape: tuple[Positive, Positive, Positive]


class Spikes(TypedDict):
    """What --spikes asked for, and what came of it: spikes per neuron and sample."""

    asked: Annotated[float, ABOVE_0]
    got: float
    reached: bool


class _Sometimes(TypedDict, total=False):
    spikes: Spikes
    test_by_step: list[Fraction]


class Summary(_Sometimes):
    """What is shown of summary.json."""

    dataset: str
    arm: str
    timesteps: Positive
    teacher_accuracy: Fraction | None
    student_accuracy: Fraction
    firing_rate: float
    parameters: Count
    seconds: float
    device: str


def read_facts(path: Path) -> dict[str, Any]:
    """Returns a run's config.json.

    Raises:
        RunError: it is missing, not JSON, or does not say what the networks are for.
    """
    return _read(Facts, path)


def read_summary(path: Path) -> dict[str, Any]:
    """Returns a finished run's summary.json.

    Raises:
        RunError: it is missing, not JSON, or does not say what came of the run.
    """
    return _read(Summary, path)


def _read(kind: Any, path: Path) -> dict[str, Any]:
    found = read_json_object(path, LIMIT, RunError)
    try:
        read(kind, found, path.name)
    except MalformedError as cause:
        raise RunError(f"{path}: {cause}") from cause
    return found
