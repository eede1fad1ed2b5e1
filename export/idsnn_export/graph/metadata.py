"""What a NIR graph does not say about itself: one JSON string under the graph's metadata key `idsnn`.

A graph is one time step of one sample. How many steps, how long, how the image enters and how the outputs become
logits stand here. One string, because HDF5 hands lists back as bytes and numbers as numpy scalars.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args

import nir
import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import GraphError
from idsnn_deploy.json_file import parse_json
from idsnn_deploy.json_types import Text, fits
from idsnn_deploy.json_types import read as read_json
from idsnn_deploy.json_types import write as write_json
from idsnn_deploy.manifest import Encoding
from idsnn_deploy.reading import Binning
from idsnn_deploy.readout import Readout

KEY = "idsnn"
VERSIONS = (1, 2)  # 2 where the readout is no mean
ENCODINGS, READOUTS = get_args(Encoding), get_args(Readout)


@dataclass(frozen=True)
class Metadata:
    """How to run a graph.

    Attributes:
        timesteps: T, the number of steps.
        dt: the step in seconds.
        encoding: `static`: the same input at every step; `frames`: one input per step.
        readout: what the logits are of the outputs over T: their mean, sum, last or largest.
        mean, std: per input channel, of `(image - mean) / std`; None where inputs are taken as they are.
        labels: the classes' names in the order of the outputs.
        format_version: of this string.
        events: how the frames were binned, where they are those of an event camera.
    """

    timesteps: int
    dt: float = 1e-4
    encoding: Encoding = "static"
    readout: Readout = "mean"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    format_version: int = VERSIONS[0]
    events: Binning | None = None

    @property
    def sample_axis(self) -> int:
        """Where samples lie in the input: 0 in `(N, ...)`, 1 in frames `(T, N, ...)`."""
        return 1 if self.encoding == "frames" else 0

    def normalized(self, images: Array) -> Array:
        """Images in 0..1 as the graph takes them, float64."""
        images = images.astype(np.float64)
        if self.mean is None or self.std is None:
            return images
        mean, std = (np.asarray(each, np.float64).reshape(-1, 1, 1) for each in (self.mean, self.std))
        return np.asarray((images - mean) / std)


_NAMES = frozenset(field.name for field in fields(Metadata))


def write_metadata(graph: nir.NIRGraph, metadata: Metadata) -> None:
    """Puts `metadata` into the graph, in place, in the format version that its readout needs."""
    metadata = replace(metadata, format_version=version_of(metadata.readout))
    _check(metadata)
    said = asdict(replace(metadata, events=None))
    if metadata.events is None:
        del said["events"]
    else:
        said["events"] = write_json(metadata.events)
    graph.metadata = {**graph.metadata, KEY: json.dumps(said, sort_keys=True)}


def read_metadata(graph: nir.NIRGraph) -> Metadata | None:
    """The graph's own metadata, None where another framework wrote the graph.

    Raises:
        GraphError: the string is there and is not what `write_metadata` writes.
    """
    text = graph.metadata.get(KEY)
    if text is None:
        return None
    try:
        content = parse_json(_plain(text))
    except (ValueError, TypeError) as error:
        raise GraphError(f"metadata `{KEY}` of the graph is not what idsnn writes: {error}") from None
    return metadata_of(content)


def metadata_of(content: Any, shape: tuple[int, ...] | None = None) -> Metadata:
    """The metadata that a JSON object holds; where `shape`, the input's, is given, they must fit it.

    Raises:
        GraphError: a key is missing or has a value that `write_metadata` does not write.
    """
    try:
        found = {name: value for name, value in content.items() if name in _NAMES}
        for name in ("mean", "std", "labels"):
            if found.get(name) is not None:
                found[name] = tuple(found[name])
        if found.get("events") is not None:
            found["events"] = read_json(Binning, found["events"], "events")
        metadata = Metadata(**found)
        _check(metadata)
    except (ValueError, TypeError, AttributeError) as error:
        raise GraphError(f"metadata `{KEY}` is not what idsnn writes: {error}") from None
    if shape is not None:
        check_channels(metadata, shape)
    return metadata


def readout_of(graph: nir.NIRGraph) -> Readout:
    """What becomes of a graph's outputs over the steps; their mean where it does not say."""
    known = read_metadata(graph)
    return known.readout if known else "mean"


def version_of(readout: Readout) -> int:
    """The format version that says a readout."""
    return VERSIONS[readout != "mean"]


def check_channels(metadata: Metadata, shape: tuple[int, ...]) -> None:
    """Raises `GraphError` where mean and std do not fit an input of `shape`."""
    if metadata.mean is not None and (len(shape) != 3 or len(metadata.mean) not in (1, shape[0])):
        raise GraphError(
            f"metadata `{KEY}`: mean and std have {len(metadata.mean)} values for an input of shape {shape}; they have "
            f"one, or one per channel, of images (C, H, W)"
        )


def _plain(text: Any) -> str:
    if isinstance(text, np.ndarray):
        text = text.item()
    return text.decode() if isinstance(text, bytes) else str(text)


def _check(m: Metadata) -> None:
    def numbers(values: Any) -> bool:
        return values is None or (len(values) > 0 and all(fits(float, value) for value in values))

    wrong = [
        name
        for name, right in (
            ("format_version", m.format_version in VERSIONS[m.readout != "mean" :]),
            ("timesteps", isinstance(m.timesteps, int) and not isinstance(m.timesteps, bool) and m.timesteps >= 1),
            ("dt", fits(float, m.dt) and m.dt > 0),
            ("encoding", m.encoding in ENCODINGS),
            ("readout", m.readout in READOUTS),
            ("mean", numbers(m.mean)),
            ("std", numbers(m.std) and (m.std is None or all(value > 0 for value in m.std))),
            ("labels", m.labels is None or all(fits(Text, label) for label in m.labels)),
        )
        if not right
    ]
    if wrong:
        got = ", ".join(f"{name} = {getattr(m, name)!r}" for name in wrong)
        raise GraphError(f"metadata `{KEY}`: {got}; expected versions {VERSIONS[0]} and {VERSIONS[1]} of docs/nir.md")
    if (m.mean is None) != (m.std is None) or (m.mean and m.std and len(m.mean) != len(m.std)):
        raise GraphError(f"metadata `{KEY}`: mean and std belong together, one value per channel each")
