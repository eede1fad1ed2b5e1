"""`idsnn-export SOURCE --format c`: a run, a bundle or a `.nir` file becomes a folder of C; or a bundle has one.

What is written answers as `reference.integer` does, bit for bit; how that answers beside float64 on the same inputs is
reported: its classes, and its accuracy where labels are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.arrays import Array
from idsnn_deploy.c_network import whole_input
from idsnn_deploy.errors import ParityError
from idsnn_deploy.files import refuse_existing, replacing_folder
from idsnn_deploy.golden import read_golden
from idsnn_deploy.layer_table import Synapses
from idsnn_deploy.manifest import MANIFEST, C, CSources, listing, read_bundle, write_manifest

from .c.quantize import integer_network
from .c.write import write_c
from .config import ExportConfig
from .gates.paired import Paired, in_words
from .graph.layers import layer_table
from .quantize import MOST_LOST
from .reference.integer import IntegerNetwork, run_integer
from .reference.interpreter import trace
from .source import Source, gate_samples, open_source

GOLDEN = 8  # inputs that the self-test answers


def export_c(config: ExportConfig) -> tuple[Path, dict[str, Any]]:
    """Writes the folder; returns where it is, and the figures of its answers beside float64.

    A bundle's own folder of C is listed in its manifest, so that the runtime takes it.

    Raises:
        UnsupportedError: a node without a form in C, by name; nothing is written.
        ParityError: accuracy is lost, beyond doubt (`judged`); nothing is written.
        UsageError: inputs that are no bytes.
        IdsnnError: the source cannot be read.
    """
    out = config.out or config.beside(C)
    refuse_existing(out, config.force)
    source = _source(config)
    with replacing_folder(out, config.force) as folder:
        figures = fill_c(folder, source, config.isa, out.name)
    if config.out is None and (config.source / MANIFEST).is_file():
        write_manifest(config.source, replace(read_bundle(config.source).manifest, c=sources_of(out, config.isa)))
    return out, figures


def sources_of(folder: Path, isa: str) -> CSources:
    """What a manifest says of a folder of C."""
    return CSources(isa, listing(folder))


def fill_c(folder: Path, source: Source, isa: str, name: str) -> dict[str, Any]:
    """Writes a source's C into an empty folder; raises as `export_c` does."""
    data = source.metadata
    network = integer_network(
        source.graph,
        data.timesteps,
        mean=data.mean,
        std=data.std,
        dt=data.dt,
        static=not source.frames,
        readout=data.readout,
    )
    count = gate_samples(_macs(source), data.timesteps)
    pixels = whole_input(source.images(count, "test"), images=data.mean is not None or not source.frames)
    figures = compared(network, source, pixels, None if source.labels is None else source.labels(count, "test"))
    axis = int(source.frames)
    golden = np.take(pixels, np.arange(min(GOLDEN, pixels.shape[axis])), axis)
    labels = data.labels or tuple(map(str, range(int(np.prod(network.readout.shape)))))
    write_c(folder, network, name, golden, labels, isa)
    return figures


def compared(
    network: IntegerNetwork, source: Source, pixels: NDArray[np.uint8], labels: Array | None
) -> dict[str, Any]:
    """The figures of the network in whole numbers beside float64, on the same bytes."""
    data = source.metadata
    images = data.mean is not None or not source.frames
    x = data.normalized(pixels / np.float32(255 if images else 1))
    reference = trace(source.graph, x, data.timesteps, dt=data.dt)
    logits, spikes = run_integer(network, pixels)
    ours, theirs = (v.reshape(len(v), -1).argmax(1) for v in (logits, reference.logits))
    sizes = [(int((spikes[name] != fired).sum()), fired.size) for name, fired in reference.spikes.items()]
    figures: dict[str, Any] = {
        "samples": len(ours),
        "other_class": int((ours != theirs).sum()),
        "other_spikes": sum(n for n, _ in sizes) / max(1, sum(n for _, n in sizes)),
    }
    return figures if labels is None else figures | judged(theirs, ours, labels)


def judged(theirs: Array, ours: Array, labels: Array) -> dict[str, Any]:
    """Both accuracies, and what can be known of the loss: the gate of 8 bits.

    Raises:
        ParityError: more than half a point is lost, at 95 %.
    """
    found = Paired.of(theirs, ours, labels)
    figures = {
        "samples": len(labels),
        "accuracy_float64": float((theirs == labels).mean()),
        "accuracy_c": float((ours == labels).mean()),
    } | found.judged(MOST_LOST)
    if figures["outcome"] == "bad":
        raise ParityError(f"whole numbers lose too much: {accuracy_in_words(figures)}")
    return figures


def beside_float64(figures: Mapping[str, Any]) -> str:
    """What `compared` found, for people."""
    other, share = f"{figures['other_class']:,} of {figures['samples']:,}", figures["other_spikes"]
    said = f"beside float64: another class for {other} samples, another spike in {share:.2%} of all neurons and steps"
    return said if "outcome" not in figures else f"{said}; {accuracy_in_words(figures)}"


def accuracy_in_words(figures: Mapping[str, Any]) -> str:
    """What `judged` found, for people."""
    accuracy = f"{figures['accuracy_c']:.2%} instead of {figures['accuracy_float64']:.2%}"
    return f"{accuracy} of {figures['samples']:,} images are right, {in_words(figures)}"


def _source(config: ExportConfig) -> Source:
    """As for a bundle; a bundle is a source, too, with its golden vectors for inputs."""
    if not (config.source / MANIFEST).is_file():
        return open_source(config)
    bundle = read_bundle(config.source)
    bundle.read("model.nir")  # whole and unchanged
    manifest, golden = bundle.manifest, read_golden(bundle)
    source = open_source(
        replace(
            config,
            source=config.source / "model.nir",
            timesteps=config.timesteps or manifest.timesteps,
            dt=config.dt or manifest.dt,
            encoding=config.encoding or manifest.encoding,
        )
    )
    return replace(source, images=lambda count, split: golden.images)


def _macs(source: Source) -> int:
    """Nominal multiply-accumulates of one step."""
    layers = layer_table(source.graph, source.metadata.dt)
    return sum(layer.nominal_macs for layer in layers if isinstance(layer, Synapses))
