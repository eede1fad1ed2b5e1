"""`idsnn-export --diff A B`: two artefacts opened, run on the same inputs, and compared.

An artefact is a `.nir` file, a bundle (its model.nir), a run folder (its student, folded, in torch) or an `.onnx` file
with an output `step_logits` (T, N, ...); a probe's spike counts are compared too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import BundleError, GraphError, UsageError, first_line
from idsnn_deploy.files import read_bytes
from idsnn_deploy.golden import read_golden
from idsnn_deploy.json_file import parse_json
from idsnn_deploy.manifest import MANIFEST, NIR, read_bundle

from .config import ExportConfig
from .gates.diff import Difference, diff
from .gates.onnx_run import run as run_onnx
from .gates.onnx_run import session
from .graph.equality import differences
from .graph.metadata import Metadata, check_channels, metadata_of, read_metadata
from .graph.plan import plan
from .nir_file.reader import read_nir, read_nir_bytes
from .reference.interpreter import Trace, trace
from .source import open_source

SAMPLES, TIMESTEPS = 8, 10  # where neither artefact says


@dataclass(frozen=True)
class Artefact:
    """Something that can be run.

    Attributes:
        shape: of one sample at one step.
        metadata: how it is run; None where it does not say.
        run: (inputs in 0..1 where it normalizes them, T) → its trace.
        graph: None where it is none.
        samples: inputs that it brings along.
    """

    shape: tuple[int, ...]
    metadata: Metadata | None
    run: Callable[[Array, int], Trace]
    graph: nir.NIRGraph | None = None
    samples: Array | None = None


def compare(a: Path, b: Path) -> Difference:
    """What differs between two artefacts, on the samples of a bundle or on eight fixed random ones.

    Raises:
        UsageError: something that is no artefact, or two that take inputs of different shapes.
    """
    first, second = open_artefact(a), open_artefact(b)
    if first.shape != second.shape:
        raise UsageError(f"{a} takes inputs of {first.shape}, {b} of {second.shape}; they cannot be compared")
    said = first.metadata or second.metadata
    timesteps = said.timesteps if said else TIMESTEPS
    x = _inputs(first, second, timesteps, said)
    structure = differences(first.graph, second.graph) if first.graph and second.graph else []
    names, runs = (str(a), str(b)), (first.run(x, timesteps), second.run(x, timesteps))
    if not runs[0].membranes and runs[1].membranes:  # the one that shows membranes is the reference
        names, runs = names[::-1], runs[::-1]
    return diff(names, *runs, structure)


def open_artefact(path: Path) -> Artefact:
    """The artefact that a path names."""
    if (path / MANIFEST).is_file():
        bundle = read_bundle(path)
        return _graph(read_nir_bytes(bundle.read(NIR), str(path / NIR)), read_golden(bundle).images)
    if (path / "config.json").is_file():
        return _run(path)
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.is_dir():
        raise UsageError(f"{path}: neither a bundle nor a run folder")
    return _graph(read_nir(path))


def _graph(graph: nir.NIRGraph, samples: Array | None = None) -> Artefact:
    metadata = read_metadata(graph)
    steps = plan(graph)
    if metadata is not None:
        check_channels(metadata, steps[steps.input].shape)

    def run(x: Array, timesteps: int) -> Trace:
        return trace(graph, x if metadata is None else metadata.normalized(x), timesteps)

    return Artefact(steps[steps.input].shape, metadata, run, graph, samples)


def _run(folder: Path) -> Artefact:
    source = open_source(ExportConfig(folder))
    assert source.torch is not None
    from .from_torch.stepping import run_prepared

    network, metadata, steps = source.torch.prepared, source.metadata, plan(source.graph)
    shape = steps[steps.input].shape

    def run(x: Array, timesteps: int) -> Trace:
        return run_prepared(network, metadata.normalized(x), timesteps, frames=x.ndim == len(shape) + 2)

    return Artefact(shape, metadata, run)


def _onnx(path: Path) -> Artefact:
    try:
        ready = session(read_bytes(path, 2 << 30, error=BundleError), str(path))
    except BundleError:
        raise
    except Exception as error:  # onnxruntime's own errors share no class
        raise BundleError(f"{path}: not a model that onnxruntime loads ({first_line(error)})") from error
    port, outputs = ready.get_inputs()[0], {each.name: each.shape for each in ready.get_outputs()}
    if port.name not in ("image", "input") or "step_logits" not in outputs:
        raise UsageError(f"{path}: has no `image` or `input`, or no `step_logits`; compare model.onnx or a probe")
    shape = tuple(port.shape[1 + (port.name == "input") :])
    if not shape or not all(isinstance(size, int) for size in shape):
        raise BundleError(f"{path}: its {port.name} has the open shape {shape}; export it again")
    about = ready.get_modelmeta().custom_metadata_map
    try:
        said = {key: parse_json(about[f"idsnn.{key}"]) for key in ("timesteps", "encoding", "readout", "mean", "std")}
        metadata = metadata_of(said, shape)
    except (KeyError, ValueError, GraphError) as error:
        raise BundleError(f"{path}: does not say how it is run ({error}); export it again") from None
    if outputs["step_logits"][:1] != [metadata.timesteps]:
        raise BundleError(f"{path}: gives step_logits of {outputs['step_logits']} for {metadata.timesteps} steps")

    def run(x: Array, timesteps: int) -> Trace:
        names = [name for name in outputs if name.startswith("spikes.")]
        steps, *spikes = run_onnx(ready, x, ["step_logits", *names])
        shown = {name.removeprefix("spikes."): each for name, each in zip(names, spikes, strict=True)}
        return Trace(steps, {name: _in_time(each, steps) for name, each in shown.items()}, {}, {}, metadata.readout)

    return Artefact(shape, metadata, run)


def _in_time(spikes: Array, steps: Array) -> Array:
    """A probe's counts (N, T) as (T, N); full spikes as they are."""
    return spikes.T if spikes.ndim == 2 and spikes.shape == steps.shape[1::-1] else spikes > 0


def _inputs(a: Artefact, b: Artefact, timesteps: int, said: Metadata | None) -> Array:
    for artefact in (a, b):
        if artefact.samples is not None:
            return artefact.samples
    frames = said is None or said.sample_axis == 1
    draw = np.random.default_rng(0).random(((timesteps,) if frames else ()) + (SAMPLES, *a.shape), dtype=np.float32)
    binary = not any(artefact.metadata and artefact.metadata.mean for artefact in (a, b))
    return (draw < 0.5).astype(np.float32) if binary else draw
