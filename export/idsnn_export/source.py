"""What is exported: a graph, how to run it, and inputs to hold it to.

| named | is |
|---|---|
| a folder | a run of `idsnn-train` |
| `package.module:factory` | a torch network of the user's own, its weights from a file (`from_torch.own_network`) |
| anything else | a `.nir` file, of any framework |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nir
import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.commands import require_extra, uninterrupted
from idsnn_deploy.datasets import DIVIDED, Reading
from idsnn_deploy.errors import UsageError
from idsnn_deploy.json_types import fits
from idsnn_deploy.manifest import MANIFEST, ProfileName

from .config import ExportConfig
from .graph.metadata import Metadata, check_channels, read_metadata, write_metadata
from .graph.plan import plan
from .graph.timing import DEFAULT_DT
from .nir_file.reader import read_nir
from .samples import Labelled, labelled, random_inputs

if TYPE_CHECKING:
    from torch import nn

    from .from_torch.network import Network

CONFIG = "config.json"  # of every run
# The parity gates take as many samples as this many multiply-accumulates allow, within bounds.
GATE_MACS, FEWEST, MOST = 8e9, 8, 1000
RANDOM = "the gates saw random inputs, {}; real ones may drive other neurons: name a data set with --dataset NAME"


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
        torch: the network in torch, where the source is a run or a factory.
        about: manifest keys that only the source knows: dataset, test_accuracy, teacher.
        warnings: what a person should know of the inputs.
    """

    graph: nir.NIRGraph
    metadata: Metadata
    images: Callable[[int, str], Array]
    labels: Callable[[int, str], Array] | None = None
    torch: Torch | None = None
    about: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def frames(self) -> bool:
        """The input varies in time."""
        return self.metadata.sample_axis == 1

    def onnx_options(self, batch: int | None = None, profile: ProfileName = "default") -> dict[str, Any]:
        """What every ONNX graph of one export is compiled with; `batch` None is dynamic."""
        return {
            "mean": self.metadata.mean,
            "std": self.metadata.std,
            "dt": self.metadata.dt,
            "batch": batch or "dynamic",
            "static": not self.frames,
            "labels": self.metadata.labels,
            "profile": profile,
        }


def open_source(config: ExportConfig) -> Source:
    """The network that `config.source` names.

    Raises:
        RunError, GraphError: it is incomplete, unsafe or has no form in NIR.
        UsageError: a graph that does not say how many steps it runs, and no --timesteps.
    """
    if config.factory is not None:
        return _from_factory(config, config.factory)
    _refuse(config.source)
    return _from_run(config) if config.source.is_dir() else _from_file(config)


def _refuse(path: Path) -> None:
    """Raises `UsageError`, with what may be meant, where a path is neither a run folder nor a file to read."""
    if not path.exists():
        raise UsageError(f"{path}: no such run folder or .nir file, and no package.module:factory")
    if path.is_dir() and (path / MANIFEST).is_file():
        raise UsageError(
            f"{path}: a bundle already; --format c makes C of it, {path / 'model.nir'} or its run folder another bundle"
        )
    if path.is_dir() and not (path / CONFIG).is_file():
        raise UsageError(f"{path}: not a run folder, for it holds no {CONFIG}; idsnn-train writes one")
    if path.is_file() and path.suffix != ".nir" and (path.parent / CONFIG).is_file():
        raise UsageError(f"{path}: a file of a run; name the run folder: {path.parent}")


def gate_samples(macs_a_step: int, timesteps: int) -> int:
    """How many samples the parity gates compare: 8 at full width, up to 1,000 at small ones."""
    return int(min(MOST, max(FEWEST, GATE_MACS // max(1, macs_a_step * timesteps))))


def _from_run(config: ExportConfig) -> Source:
    require_extra("exporting a run", "train", "torch", "snntorch", "safetensors")
    with uninterrupted():
        import idsnn
        from idsnn.networks.import_path import is_import_path, load
        from idsnn.networks.protocol import spiking
        from idsnn.networks.table import network_name
        from idsnn.networks.wrapped import own_module

        from .from_torch.convert import prepare, to_graph
        from .from_torch.dense_macs import dense_macs

    run = idsnn.load_run(config.source)
    settings = run.config
    shape = tuple(settings["input_shape"])
    reading = Reading.of(settings, shape=shape, timesteps=config.timesteps or settings["timesteps"])
    metadata = _said(settings, reading, config)
    spiking(run.student).timesteps = metadata.timesteps
    student = own_module(run.student)
    made_by = load(settings["network"]) if is_import_path(settings.get("network", "")) else None
    network = prepare(student, shape, dt=metadata.dt, pool=config.pool, timesteps=metadata.timesteps, made_by=made_by)
    metadata = replace(metadata, readout=network.readout)
    graph = to_graph(network, shape)
    write_metadata(graph, metadata)
    teacher = {}
    if run.teacher is not None:
        teacher = {
            "name": network_name(settings, "teacher"),
            "accuracy": run.summary.get("teacher_accuracy"),
            "dense_macs": dense_macs(run.teacher, shape),
        }
    read = Labelled(settings["dataset"], config.data or settings["data"], reading, metadata.labels or ())
    about = {"dataset": settings["dataset"], "test_accuracy": run.summary.get("student_accuracy"), "teacher": teacher}
    about["division"] = reading.division if settings["dataset"] in DIVIDED else None
    return Source(graph, metadata, read.images, read.labels, Torch(student, network), about, _missed(run.summary))


def _missed(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Spikes that were asked for in training and not reached."""
    from idsnn.run_facts import Spikes
    from idsnn.spikes import verdict

    spikes: Any = summary.get("spikes")
    return (f"training: {verdict(spikes)}",) if fits(Spikes, spikes) and not spikes["reached"] else ()


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
        readout=said.readout if said else "mean",
        mean=said.mean if said else None,
        std=said.std if said else None,
        labels=(said.labels if said else None) or tuple(map(str, range(int(np.prod(outputs))))),
        events=said.events if said else None,
    )
    write_metadata(graph, metadata)
    return Source(graph, metadata, _drawn(shape, metadata, pixels=metadata.mean is not None))


def _from_factory(config: ExportConfig, factory: str) -> Source:
    require_extra("exporting a network by its import path", "train", "torch", "snntorch", "safetensors")
    from idsnn.networks.import_path import load

    with uninterrupted():
        from .from_torch.convert import prepare, to_graph
        from .from_torch.own_network import own_network

    shape, timesteps, frames = config.shape, config.timesteps or 1, config.encoding == "frames"
    data = None if config.dataset is None else labelled(config.dataset, config.data, shape, timesteps, frames)
    classes = config.labels or (data.classes if data else None)
    network = own_network(factory, Path(config.weights or ""), len(classes) if classes else None, shape, timesteps)
    prepared = prepare(
        network, shape, dt=config.dt, pool=config.pool, timesteps=config.timesteps, made_by=load(factory)
    )
    timesteps = prepared.timesteps or timesteps
    _refuse_other_encoding(factory, prepared, frames)
    graph = to_graph(prepared, shape)
    outputs = int(np.prod(graph.nodes["output"].output_type["output"]))
    if classes is not None and len(classes) != outputs:
        raise UsageError(
            f"{factory}: gives {outputs} outputs for {len(classes)} classes ({', '.join(classes[:5])} ...)"
        )
    mean, std = config.normalization or (None, None)
    metadata = Metadata(
        timesteps=timesteps,
        dt=config.dt or DEFAULT_DT,
        encoding="frames" if frames else "static",
        readout=prepared.readout,
        mean=mean,
        std=std,
        labels=classes or tuple(map(str, range(outputs))),
        events=data.reading.binning if data and frames else None,
    )
    write_metadata(graph, metadata)
    torch = Torch(network, prepared)
    if data is None:
        images = _drawn(shape, metadata, pixels=not frames)
        return Source(
            graph,
            metadata,
            images,
            torch=torch,
            warnings=(RANDOM.format("half of them 1, the others 0" if frames else "uniform in 0..1"),),
        )
    about = {"dataset": data.name, "division": data.reading.division if data.name in DIVIDED else None}
    return Source(graph, metadata, data.images, data.labels, torch, about)


def _refuse_other_encoding(factory: str, network: Network, frames: bool) -> None:
    """A forward that repeats its image itself takes no frames; one that takes frames takes one image T times, too."""
    if network.timesteps is not None and frames and not network.frames:
        raise UsageError(f"{factory}: its forward takes static input; leave --encoding out")


def _drawn(shape: tuple[int, ...], metadata: Metadata, *, pixels: bool) -> Callable[[int, str], Array]:
    steps = metadata.timesteps if metadata.sample_axis else None
    return lambda count, split: random_inputs(count, split, shape, steps, pixels)
