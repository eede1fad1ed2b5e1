"""A bundle from a source: NIR, ONNX compiled from it, the gates between them, golden vectors, the manifest.

    torch ── exact, float64 ── interpreter on the written file ── float32 ── torch as trained, ONNX as it ships

Nothing gets its name before every gate has passed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import onnx

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import ParityError
from idsnn_deploy.files import replacing_folder, reserved, write_bytes
from idsnn_deploy.golden import write_golden
from idsnn_deploy.layer_table import Layer, Neurons, Synapses
from idsnn_deploy.manifest import (
    GOLDEN,
    MANIFEST,
    MODEL_FILES,
    NIR,
    C,
    Manifest,
    listing,
    model_file,
    read_bundle,
    write_manifest,
)
from idsnn_deploy.progress import track
from idsnn_deploy.versions import versions

from .config import ExportConfig
from .gates.activity import Activity, timing_warnings
from .gates.margins import farthest, golden_of
from .gates.onnx_run import OnnxNetwork
from .gates.parity import combined, exact_gate, float_gate
from .graph.equality import differences
from .graph.layers import layer_table
from .graph.metadata import version_of
from .graph.plan import Plan, plan
from .lowering import to_onnx
from .nir_file.reader import read_nir, read_nir_bytes
from .nir_file.writer import write_nir
from .reference.interpreter import Trace, trace
from .source import Source, gate_samples, open_source

PACKAGES = ("idsnn", "numpy", "nir", "onnx", "onnxruntime", "torch", "snntorch")
TRACE_VALUES = 2e7  # membranes held at a time, float64
PARTS = 5  # of the gates' samples, so that the bar moves; each costs a tenth of a second by itself
EVERY, BATCH = sys.maxsize, 100  # images of a whole part, and how many at a time


def export_bundle(config: ExportConfig) -> tuple[Path, Manifest]:
    """Writes what `config` asks for and returns where it is and its manifest.

    `out` with the suffix .nir or .onnx gets that one file; the gates run all the same.

    Raises:
        IdsnnError: the source cannot be read or has no form in NIR, or a parity gate fails; nothing is written.
        ParityError: also where 8 bits lose too much accuracy; then everything but the 8-bit files is written.
    """
    out = config.out or config.beside("bundle")
    if out.suffix not in (".nir", ".onnx"):
        with replacing_folder(out, config.force) as folder:
            manifest = _fill(folder, open_source(config), config)
    else:
        with reserved(out, config.force) as scratch:
            manifest = _fill(scratch, open_source(config), config)
            os.replace(scratch / f"model{out.suffix}", out)
    _refuse_bad_int8(out, manifest.parity.get("int8"))
    return out, manifest


def _refuse_bad_int8(out: Path, figures: dict[str, Any] | None) -> None:
    if figures and figures["outcome"] == "bad":
        from .quantize import finding

        raise ParityError(f"{out} is written, but without its 8-bit files. {finding(figures)}")


def graph_of(config: ExportConfig) -> nir.NIRGraph:
    """The graph of a run folder, a bundle, a network by its import path or a `.nir` file."""
    source = config.source
    if (source / MANIFEST).is_file():
        return read_nir_bytes(read_bundle(source).read(NIR), str(source / NIR))
    if source.is_dir() or config.factory is not None:
        return open_source(replace(config, timesteps=config.timesteps or 1)).graph
    return read_nir(source)


def _fill(folder: Path, source: Source, config: ExportConfig) -> Manifest:
    metadata, file = source.metadata, folder / NIR
    write_nir(file, source.graph)
    graph = read_nir(file)
    changed = differences(source.graph, graph)
    if changed:
        raise ParityError(f"{file.name} does not read back as it was written: {changed[0]}")
    steps = plan(graph)
    layers = layer_table(steps, metadata.dt)
    models = _models(steps, source, config)
    for name, model in models.items():
        write_bytes(folder / name, model.SerializeToString(deterministic=True))
    parity, warnings = _gates(folder, steps, layers, source, config)
    if config.int8 or config.weights_int8:
        from .quantize import finding, write_int8

        parity["int8"] = write_int8(folder, steps, source, config)
        warnings += [said for said in (finding(parity["int8"]),) if said]
    c = None
    if config.with_c:
        from .c_folder import fill_c, sources_of

        (folder / C).mkdir()
        parity["c"] = fill_c(folder / C, source, config.isa, C)
        c = sources_of(folder / C, config.isa)
    if config.format == "onnx":
        file.unlink()
    manifest = Manifest(
        dataset=source.about.get("dataset"),
        timesteps=metadata.timesteps,
        dt=metadata.dt,
        mean=_listed(metadata.mean),
        std=_listed(metadata.std),
        labels=[*(metadata.labels or ())],
        input_shape=[int(n) for n in steps[steps.input].shape],
        layers=layers,
        encoding=metadata.encoding,
        readout=metadata.readout,
        format_version=version_of(metadata.readout),
        events=metadata.events,
        division=source.about.get("division"),
        c=c,
        profile=config.profile,
        files=listing(folder),
        parity=parity,
        warnings=tuple(warnings),
        test_accuracy=_accuracy(source),
        teacher=source.about.get("teacher", {}),
        versions=versions(*PACKAGES, *_frameworks(source)),
    )
    return write_manifest(folder, manifest)


def _frameworks(source: Source) -> list[str]:
    """What the model is written in, beside torch and snnTorch."""
    modules = [] if source.torch is None else source.torch.trained.modules()
    return ["spikingjelly"] if any(type(each).__module__.startswith("spikingjelly.") for each in modules) else []


def _accuracy(source: Source) -> float | None:
    """Of the network in torch on all test images: what the training said, or what is found."""
    if source.labels is None or source.torch is None or "test_accuracy" in source.about:
        known: float | None = source.about.get("test_accuracy")
        return known
    from .from_torch.stepping import run_model

    images, labels = source.images(EVERY, "test"), source.labels(EVERY, "test")
    parts = np.split(images, range(BATCH, len(labels), BATCH), source.metadata.sample_axis)
    run = partial(run_model, source.torch.trained, timesteps=source.metadata.timesteps, frames=source.frames)
    answers = (run(source.metadata.normalized(part).astype(np.float32))[0] for part in track(parts, "accuracy"))
    return float((np.concatenate([logits.argmax(1) for logits in answers]) == labels).mean())


def _models(graph: Plan, source: Source, config: ExportConfig) -> dict[str, onnx.ModelProto]:
    """The float32 models that were asked for, by file name."""
    timesteps, options = source.metadata.timesteps, source.onnx_options(config.fixed_batch, config.profile)
    return {
        file.name: to_onnx(graph, timesteps, kind=file.holds, **options)
        for file in track([each for each in MODEL_FILES if each.precision == "fp32"], "writing ONNX")
        if config.writes(file.holds)
    }


def _gates(
    folder: Path, graph: Plan, layers: Sequence[Layer], source: Source, config: ExportConfig
) -> tuple[dict[str, Any], list[str]]:
    """Runs both gates over the samples, writes the golden vectors; returns the figures by gate, and what to warn of."""
    timesteps, axis = source.metadata.timesteps, source.metadata.sample_axis
    macs = sum(layer.nominal_macs for layer in layers if isinstance(layer, Synapses))
    images = source.images(gate_samples(macs, timesteps), "test")
    figures: dict[str, list[dict[str, Any]]] = {}
    best: tuple[Array, Trace] | None = None
    activity = Activity()
    candidates = dict(_candidates(folder, graph, source, config))
    neurons = sum(layer.size for layer in layers if isinstance(layer, Neurons))
    count = images.shape[axis]
    chunk = max(1, min(-(-count // PARTS), int(TRACE_VALUES // max(1, neurons * timesteps))))
    for start in track(range(0, count, chunk), "parity gates"):
        part = np.take(images, np.arange(start, min(start + chunk, count)), axis)
        x = source.metadata.normalized(part)
        reference = trace(graph, x, timesteps, dt=source.metadata.dt)
        activity.add(reference)
        if source.torch is not None:
            from .from_torch.stepping import run_prepared

            exact = {"torch": run_prepared(source.torch.prepared, x, timesteps, frames=source.frames)}
            figures.setdefault("exact, float64", []).append(exact_gate(reference, exact))
        for name, candidate in candidates.items():
            logits, spikes = candidate(part)
            figures.setdefault(f"{name}, float32", []).append(float_gate(reference, name, logits, spikes))
        best = farthest(part, reference, best, axis)
    if best is not None:
        write_golden(folder / GOLDEN, golden_of(*best))
    warnings = [*source.warnings, *timing_warnings(graph, source.metadata.dt), *activity.warnings()]
    return {gate: combined(each) for gate, each in figures.items()}, warnings


def _candidates(folder: Path, graph: Plan, source: Source, config: ExportConfig) -> Iterator[tuple[str, Any]]:
    """What must answer as the reference does, up to rounding: images in 0..1 → logits and spikes."""
    timesteps = source.metadata.timesteps
    if source.torch is not None:
        from .from_torch.stepping import run_model

        trained = source.torch.trained
        yield (
            "torch",
            lambda images: run_model(
                trained, source.metadata.normalized(images).astype(np.float32), timesteps, frames=source.frames
            ),
        )
    if config.writes("model"):
        options = source.onnx_options(config.fixed_batch, config.profile)
        traced = to_onnx(graph, timesteps, kind="trace", **options)
        yield "onnx", OnnxNetwork((folder / model_file("model")).read_bytes(), traced.SerializeToString())


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
