"""The tables of a network as C: `idsnn_weights.c`, `idsnn_model.c`, `idsnn_model.h`, `idsnn_bits.h`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np

from idsnn_deploy.errors import UnsupportedError
from idsnn_deploy.readout import Readout

from ..graph.shapes import Window
from ..reference.integer import IntegerNetwork, Layer
from ..reference.margin import octaves
from .arena import Arena, bits_width, place
from .tables import PathRow, Shape3, constant, map_shape, rows

KINDS = {True: "IDSNN_FIRES", False: "IDSNN_INTEGRATES"}
OVER_TIME: dict[Readout, str] = {"mean": "sum", "sum": "sum", "last": "last", "max": "max"}
MOST_STEPS = 32


@dataclass
class Arrays:
    """Constant arrays by content: the same numbers are written once."""

    names: dict[tuple[str, bytes], str] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    def add(self, kind: str, values: Any, what: str) -> str:
        """The C name of an array of `kind` (int8_t ...) with these values; `what` goes into the comment beside it."""
        flat = np.asarray(values).astype(np.int64).reshape(-1)
        key = kind, flat.tobytes()
        if key not in self.names:
            self.names[key] = f"idsnn_a{len(self.names)}"
            self.text.append(
                f"/* {_text(what)} */\nconst {kind} {self.names[key]}[{len(flat)}] = {{\n{wrapped(flat)}}};\n"
            )
        return self.names[key]

    def declarations(self) -> str:
        """One line per array."""
        lines = []
        for (kind, data), name in self.names.items():
            lines.append(f"extern const {kind} {name}[{len(data) // 8}];")
        return "\n".join(lines)


def wrapped(values: Any) -> str:
    """Numbers, comma-separated, in lines of at most 118 columns."""
    lines, line = [], ""
    for value in values.tolist():
        item = f"{value},"
        if len(line) + len(item) > 116:
            lines.append(line)
            line = ""
        line += item
    return "\n".join([*lines, line]) + "\n"


def model_files(network: IntegerNetwork, name: str) -> dict[str, str]:
    """The generated files by name, deterministic.

    Raises:
        UnsupportedError: more than 32 steps, or sizes beyond 32 bits.
    """
    if network.timesteps > MOST_STEPS:
        raise UnsupportedError(
            f"{network.timesteps} steps; C keeps a neuron's spikes in one word, {MOST_STEPS} at most"
        )
    layers = [*network.layers, network.readout]
    table = {layer.name: rows(network, layer) for layer in layers}
    arena = place(network, table)
    if arena.total >= 2**31:
        raise UnsupportedError(f"an arena of {arena.total:,} bytes; C counts in 31 bits")
    arrays = Arrays()
    order = {layer.name: i for i, layer in enumerate(network.layers)} | {network.input: -1}
    body = [
        _paths(i, layer, table[layer.name], arena.lists[layer.name], order, arrays) for i, layer in enumerate(layers)
    ]
    body.append("static const idsnn_layer layers[] = {")
    late = {row.source for each in table.values() for row in each if row.delayed}
    body += [_layer(layer, i, network, arena, arrays, layer.name in late) for i, layer in enumerate(layers)]
    body.append("};\n")
    pixel = arrays.add("int16_t", network.table, "what a pixel stands for, [channel][256]")
    return {
        "idsnn_bits.h": _bits(network.timesteps, arena.place, max(len(rows) for rows in table.values())),
        "idsnn_model.h": _header(network, arena, name),
        "idsnn_model.c": _model(network, arena, body, pixel, arrays),
        "idsnn_weights.c": WEIGHTS_HEAD + "\n".join(arrays.text),
        "idsnn_weights.h": WEIGHTS_H.format(declarations=arrays.declarations()),
    }


def _bits(timesteps: int, place: int, paths: int) -> str:
    return (
        "/* The sizes that types depend on. */\n"
        "#ifndef IDSNN_BITS_H\n#define IDSNN_BITS_H\n\n#include <stdint.h>\n\n"
        f"#define IDSNN_STEPS {timesteps}\n#define IDSNN_PATHS {max(1, paths)}\n"
        f"typedef uint{8 * bits_width(timesteps)}_t idsnn_bits; /* bit t is set where a neuron fired at step t */\n"
        f"typedef uint{8 * place}_t idsnn_place;\n\n#endif\n"
    )


def _paths(
    index: int,
    layer: Layer,
    paths: Sequence[PathRow],
    lists: Sequence[tuple[int, int, int]],
    order: dict[str, int],
    arrays: Arrays,
) -> str:
    lines = [f"static const idsnn_path paths_{index}[] = {{ /* into {_text(layer.name)} */"]
    for row, places in zip(paths, lists, strict=True):
        weights8 = weights16 = amplitude = shift = "NULL"
        if row.weights is None:
            amplitude = arrays.add("int32_t", row.amplitude, f"{layer.name}: what a spike of {row.source} counts for")
        else:
            shift = arrays.add("int32_t", 1 << row.shift, f"{layer.name}: what the sums over {row.source} count for")
            what = f"{layer.name} reads {row.source}: " + " x ".join(map(str, row.weights.shape))
            if np.abs(row.weights).max(initial=0) < 128:
                weights8 = arrays.add("int8_t", row.weights, what)
            else:
                weights16 = arrays.add("int16_t", row.weights, what)
        fields = (
            order[row.source], int(row.delayed), _shape(row.from_), _window(row.pool), _shape(row.pooled),
            weights8, weights16, _window(row.window), _shape(row.to), row.groups, _window(row.pool_after),
            row.exact, amplitude, shift, row.stride, *places,
        )  # fmt: skip
        lines.append(f"    {{{', '.join(map(str, fields))}}},")
    if not paths:
        lines.append("    {0}")
    return "\n".join([*lines, "};\n"])


def _layer(layer: Layer, index: int, network: IntegerNetwork, arena: Arena, arrays: Arrays, late: bool) -> str:
    readout = layer is network.readout
    kind = "IDSNN_READOUT" if readout else KINDS[layer.theta is not None]

    def one(values: Any, what: str) -> str:
        found, each = constant(values, layer)
        # A synapse that forgets at once is one, too, and nothing taken off is no reset.
        there = any(values is each for each in (layer.synapse, layer.rho))
        if found is None or not (found.any() or there):
            return "{NULL, 0}"
        return f"{{{arrays.add('int32_t', found, f'{layer.name}: {what}')}, {int(each)}}}"

    constants = [
        one(layer.offset, "offset"),
        one(layer.late, "offset from the second step on"),
        "{NULL, 0}" if readout else one(layer.decay, "k"),
        one(layer.synapse, "k_syn"),
        one(layer.membrane_offset, "offset of the membrane"),
        one(layer.theta, "theta"),
        one(layer.reset, "reset"),
        one(layer.rho, "rho, what a spike takes off"),
    ]
    count = len(layer.paths)
    where = (*arena.layers.get(layer.name, (-1, -1, -1)), int(late))
    return (
        f'    {{"{_text(layer.name)}", {kind}, {_shape(map_shape(layer.shape))}, paths_{index}, {count},\n'
        f"     {', '.join(constants)},\n     {', '.join(map(str, where))}}},"
    )


def _shape(shape: Shape3) -> str:
    return "{" + ", ".join(map(str, shape)) + "}"


def _window(window: Window) -> str:
    before = (pair[0] for pair in window.padding)
    return "{" + ", ".join(map(str, (*window.kernel, *window.stride, *before, *window.dilation))) + "}"


def _text(name: str) -> str:
    """Words with names from outside, as they may stand in a C string or comment."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-:, ") else "_" for c in name)


def _header(network: IntegerNetwork, arena: Arena, name: str) -> str:
    height, width, channels = map_shape(network.input_shape)
    frames = 1 if network.static else network.timesteps
    return resource("idsnn_model.h.in").format(
        name=_text(name),
        timesteps=network.timesteps,
        height=height,
        width=width,
        channels=channels,
        frames=frames,
        pixels=frames * height * width * channels,
        classes=int(np.prod(network.readout.shape)),
        unit=repr(network.answer_unit),
        readout=OVER_TIME[network.over_time],
        early=" IDSNN_TIMESTEPS / *steps" if network.over_time == "mean" else "",
        run=arena.run,
        stream=arena.total,
    )


def _model(network: IntegerNetwork, arena: Arena, body: Sequence[str], pixel: str, arrays: Arrays) -> str:
    fields = ", ".join(
        str(value)
        for value in (
            "layers", len(network.layers) + 1, pixel, _shape(map_shape(network.input_shape)), int(network.static),
            arena.scratch, f"IDSNN_{OVER_TIME[network.over_time].upper()}",
        )
    )  # fmt: skip
    table = "\n".join([*body, f"static const idsnn_network network = {{{fields}}};\n"])
    each, shift = octaves(network)
    filled = {
        "TABLE": table,
        "STEPWISE": int(arena.stepwise),
        "SHIFT": shift,
        "OCTAVES": ", ".join(map(str, each.tolist())),
    }
    text = resource("idsnn_model.c.in")
    for name, value in filled.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def resource(name: str) -> str:
    """A file that lies beside this module, in `source`."""
    return resources.files(__package__).joinpath("source", name).read_text(encoding="utf-8")


WEIGHTS_HEAD = """/* The network's numbers; idsnn_model.c says what each is for. */
#include "idsnn_weights.h"

"""
WEIGHTS_H = """#ifndef IDSNN_WEIGHTS_H
#define IDSNN_WEIGHTS_H

#include <stdint.h>

{declarations}

#endif
"""
