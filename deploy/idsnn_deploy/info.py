"""`idsnn-deploy info`: what a bundle is, from its manifest alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from .errors import EXIT_OK
from .layer_table import Layer, Synapses
from .manifest import Bundle, Manifest, listed, read_bundle
from .printable import printable
from .reading import Binning
from .text_table import format_table


def describe(manifest: Manifest) -> dict[str, str]:
    """A bundle's properties as words, in the order in which one asks for them."""
    synapses, neurons = manifest.synapses, manifest.neurons
    labels = ", ".join(manifest.labels[:12]) + (", ..." if len(manifest.labels) > 12 else "")
    normalized = (
        "none" if manifest.mean is None or manifest.std is None else _normalization(manifest.mean, manifest.std)
    )
    return {
        "trained on": manifest.dataset or "unknown",
        "classes": f"{len(manifest.labels)}: {labels}",
        "input": f"{_sizes(manifest.input_shape)}, {_ENCODINGS[manifest.encoding]}",
        **({} if manifest.events is None else {"events": _binned(manifest.events)}),
        "normalization": normalized,
        "time steps": f"{manifest.timesteps}, dt {manifest.dt:g} s",
        "synaptic layers": f"{len(synapses)}, {sum(math.prod(layer.weight_shape) for layer in synapses):,} weights",
        "neuron layers": f"{len(neurons)}, {sum(layer.size for layer in neurons):,} neurons",
        "test accuracy": "unknown" if manifest.test_accuracy is None else f"{manifest.test_accuracy:.2%} (in torch)",
        "anytime margin": f"{manifest.early_exit['margin']}" if "margin" in manifest.early_exit else "not chosen",
        "parity": _pairs(manifest.parity),
        "exported with": _pairs(manifest.versions),
        "digest": manifest.digest,
    }


_ENCODINGS = {"static": "the same image at every step", "frames": "one frame per step"}


def _binned(events: Binning) -> str:
    unit = "µs" if events.by == "time" else "events"
    window = "the whole recording" if events.window is None else f"{events.window:,} {unit} from the first event"
    return f"{events.values} by {events.by}, {window}"


def _normalization(mean: list[float], std: list[float]) -> str:
    return f"(image - {[round(m, 4) for m in mean]}) / {[round(s, 4) for s in std]}, in the graph"


def _pairs(table: dict[str, Any]) -> str:
    """A manifest's free table as words, the tables within it in parentheses."""
    words = [
        f"{key} ({_pairs(value)})" if isinstance(value, dict) else f"{key} {value}" for key, value in table.items()
    ]
    return ", ".join(words) or "nothing recorded"


def info(folder: str | os.PathLike[str], as_json: bool, layers: bool, say: Callable[[Any], None]) -> int:
    """Runs the command; every file's hash is verified on the way."""
    bundle: Bundle = read_bundle(folder)
    bundle.verify()
    manifest = bundle.manifest
    if as_json:
        say(manifest.to_dict())
        return EXIT_OK
    words = describe(manifest)
    width = max(map(len, words))
    say("\n".join(f"{key.ljust(width)}  {printable(value)}" for key, value in words.items()))
    say("\n" + format_table(("file", "bytes"), [(name, f"{f['bytes']:,}") for name, f in listed(manifest).items()]))
    if layers:
        say(
            "\n"
            + format_table(("layer", "kind", "weights", "from", "shape"), [_row(entry) for entry in manifest.layers])
        )
    return EXIT_OK


def _row(layer: Layer) -> tuple[str, ...]:
    weights, shape = (layer.weight_shape, layer.out_shape) if isinstance(layer, Synapses) else ((), layer.shape)
    return layer.name, layer.kind, _sizes(weights), ", ".join(layer.sources), _sizes(shape)


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
