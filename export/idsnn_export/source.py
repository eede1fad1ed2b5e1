"""What is exported: a graph, how to run it, and inputs to hold it to, from a run folder or from any `.nir` file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nir
import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.commands import require_extra
from idsnn_deploy.datasets import DIVIDED, Reading, load_split
from idsnn_deploy.errors import RunError, UsageError

from .config import ExportConfig
from .graph.metadata import Metadata, check_channels, read_metadata, write_metadata
from .graph.plan import plan
from .graph.timing import DEFAULT_DT
from .nir_file.reader import read_nir

if TYPE_CHECKING:
    from torch import nn

    from .from_torch.network import Network

# The parity gates take as many samples as this many multiply-accumulates allow, within bounds.
GATE_MACS, FEWEST, MOST = 8e9, 8, 1000


class Torch(NamedTuple):
    """A network in torch: as trained (float32, eval mode), and as the graph will describe it, number for number."""

    trained: nn.Module
    prepared: Network


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        graph: one time step, with its metadata.
        metadata: T, dt, encoding, normalization, labels.
        images: (count, split) → float32 (n, C, H, W) in 0..1, or (T, n, ...) frames, to compare and calibrate with.
        labels: the same for their classes; None where nobody knows them.
        torch: the network in torch, where the source is a run.
        about: manifest keys that only the source knows: dataset, test_accuracy, teacher.
    """

    graph: nir.NIRGraph
    metadata: Metadata
    images: Callable[[int, str], Array]
    labels: Callable[[int, str], Array] | None = None
    torch: Torch | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> bool:
        """The input varies in time."""
        return self.metadata.sample_axis == 1

    def onnx_options(self, batch: int | None = None) -> dict[str, Any]:
        """What every ONNX graph of one export is compiled with; `batch` None is dynamic."""
        return {
            "mean": self.metadata.mean,
            "std": self.metadata.std,
            "dt": self.metadata.dt,
            "batch": batch or "dynamic",
            "static": not self.frames,
            "labels": self.metadata.labels,
        }


def open_source(config: ExportConfig) -> Source:
    """The network that `config.source` names.

    Raises:
        RunError, GraphError: it is incomplete, unsafe or has no form in NIR.
        UsageError: a graph that does not say how many steps it runs, and no --timesteps.
    """
    return _from_run(config) if config.source.is_dir() else _from_file(config)


def gate_samples(macs_a_step: int, timesteps: int) -> int:
    """How many samples the parity gates compare: 8 at full width, up to 1,000 at small ones."""
    return int(min(MOST, max(FEWEST, GATE_MACS // max(1, macs_a_step * timesteps))))


def _from_run(config: ExportConfig) -> Source:
    require_extra("exporting a run", "train", "torch", "snntorch", "safetensors")
    import idsnn
    from idsnn.networks.stepped import own_module
    from idsnn.networks.table import network_name

    from .from_torch.convert import prepare, to_graph
    from .from_torch.dense_macs import dense_macs

    run = idsnn.load_run(config.source)
    settings = run.config
    shape = tuple(settings["input_shape"])
    reading = Reading.of(settings, shape=shape, timesteps=config.timesteps or settings["timesteps"])
    metadata = _said(settings, reading, config)
    student = own_module(run.student)
    network = prepare(student, shape, dt=metadata.dt, pool=config.pool)
    graph = to_graph(network, shape)
    write_metadata(graph, metadata)
    teacher = {}
    if run.teacher is not None:
        teacher = {
            "name": network_name(settings, "teacher"),
            "accuracy": run.summary.get("teacher_accuracy"),
            "dense_macs": dense_macs(run.teacher, shape),
        }
    read = _Reader(settings["dataset"], config.data or settings["data"], reading, metadata.labels or ())
    about = {"dataset": settings["dataset"], "test_accuracy": run.summary.get("student_accuracy"), "teacher": teacher}
    about["division"] = reading.division if settings["dataset"] in DIVIDED else None
    return Source(graph, metadata, read.images, read.labels, Torch(student, network), about)


def _said(settings: dict[str, Any], reading: Reading, config: ExportConfig) -> Metadata:
    """How a run's graph is run."""
    frames = settings.get("encoding") == "frames"
    if config.encoding is not None and (config.encoding == "frames") != frames:
        raise UsageError(f"--encoding {config.encoding} is for NIR files; the run was trained on the other one")
    return Metadata(
        timesteps=reading.timesteps,
        dt=config.dt or DEFAULT_DT,
        encoding="frames" if frames else "static",
        mean=None if settings["mean"] is None else tuple(settings["mean"]),
        std=None if settings["std"] is None else tuple(settings["std"]),
        labels=tuple(settings["labels"]),
        events=reading.binning if frames else None,
    )


def _from_file(config: ExportConfig) -> Source:
    graph = read_nir(config.source)
    said = read_metadata(graph)
    timesteps = config.timesteps or (said.timesteps if said else None)
    if timesteps is None:
        raise UsageError(f"{config.source}: does not say how many steps it runs; give --timesteps T")
    steps = plan(graph)
    shape, outputs = steps[steps.input].shape, steps[steps.output].shape
    if said is not None:
        check_channels(said, shape)
    metadata = Metadata(
        timesteps=timesteps,
        dt=config.dt or (said.dt if said else DEFAULT_DT),
        encoding=config.encoding or (said.encoding if said else "frames"),
        mean=said.mean if said else None,
        std=said.std if said else None,
        labels=(said.labels if said else None) or tuple(map(str, range(int(np.prod(outputs))))),
        events=said.events if said else None,
    )
    write_metadata(graph, metadata)
    leading = (timesteps,) * metadata.sample_axis

    def images(count: int, split: str) -> Array:
        # Nobody knows what a foreign network's inputs look like: half of them on, the same ones every time.
        rng = np.random.default_rng(0 if split == "test" else 1)
        draw = rng.random((*leading, count, *shape), dtype=np.float32)
        return draw if metadata.mean is not None else (draw < 0.5).astype(np.float32)

    return Source(graph, metadata, images)


class _Reader:
    """The first images of a data set's parts, read once each."""

    def __init__(self, name: str, data: str | Path | None, reading: Reading, classes: tuple[str, ...]) -> None:
        self.name, self.data, self.reading, self.classes = name, data, reading, classes
        self._read: dict[tuple[int, str], tuple[Array, Array]] = {}

    def images(self, count: int, split: str) -> Array:
        return self._part(count, split)[0]

    def labels(self, count: int, split: str) -> Array:
        return self._part(count, split)[1]

    def _part(self, count: int, split: str) -> tuple[Array, Array]:
        if (count, split) not in self._read:
            found = load_split(self.name, split, self.data, None, count, self.reading)
            if found.classes != self.classes:
                raise RunError(f"{self.data}: other classes than the run was trained on; name its data with --data DIR")
            self._read[count, split] = found.pixels(), found.labels
        return self._read[count, split]
