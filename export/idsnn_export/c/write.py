"""The folder that `--format c` writes: generated tables, the kernels as they are, golden vectors, a Makefile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.c_library import ISAS
from idsnn_deploy.files import write_bytes

from ..reference.integer import IntegerNetwork, run_integer
from ..reference.margin import run_until, separations
from .emit import model_files, resource, wrapped

FIXED = ("idsnn_kernels.c", "idsnn_kernels.h", "idsnn_margin.c", "main.c", "Makefile")
FURTHER = {"portable": (), "avx2": ("idsnn_avx2.h",), "dsp": ("idsnn_dsp.h",)}  # what has the sums of `ISAS`
Bytes = NDArray[np.uint8]


def write_c(
    folder: Path, network: IntegerNetwork, name: str, golden: Bytes, labels: Sequence[str], isa: str = "portable"
) -> None:
    """Writes the network into `folder`; the same bytes every time.

    Args:
        folder: where the files go.
        network: in whole numbers.
        name: of the network, for comments.
        golden: inputs, uint8 (N, *input_shape), or (T, N, *input_shape) where they vary in time; they are answered by
            `run_integer`.
        labels: of the classes.
        isa: a key of `ISAS`.

    Raises:
        UnsupportedError: a network that C has no form for.
    """
    files = model_files(network, name)
    files |= {each: resource(each) for each in (*FIXED, *FURTHER[isa])}
    files["Makefile"] = files["Makefile"].replace("\nISA =\n", f"\nISA = {ISAS[isa]}".rstrip() + "\n")
    files["golden.h"] = _golden(network, golden)
    files["README.md"] = _readme(files, network, name, labels)
    for each, text in files.items():
        write_bytes(folder / each, text.encode())


def channels_last(network: IntegerNetwork, x: NDArray[Any]) -> Bytes:
    """Inputs as C takes them: (N, frames * height * width * channels), from the shapes of `run_integer`."""
    batch_first = x if network.static else np.moveaxis(x, 1, 0)
    channel = batch_first.ndim - len(network.input_shape)
    return np.ascontiguousarray(np.moveaxis(batch_first, channel, -1)).astype(np.uint8).reshape(len(batch_first), -1)


def _golden(network: IntegerNetwork, x: Bytes) -> str:
    logits, _ = run_integer(network, x)
    pixels = channels_last(network, x)
    margin = int(np.median(separations(network, x)[1]))  # about half of the steps reach it
    steps, early = run_until(network, x, margin)
    return (
        "/* Inputs, and what the network answers to them: computed in numpy, not by this code. */\n"
        "#ifndef IDSNN_GOLDEN_H\n#define IDSNN_GOLDEN_H\n\n#include <stdint.h>\n\n"
        f"#define IDSNN_GOLDEN {len(pixels)}\n\n"
        f"static const uint8_t idsnn_golden_pixels[] = {{\n{wrapped(pixels.reshape(-1))}}};\n\n"
        f"static const int32_t idsnn_golden_logits[] = {{\n{wrapped(logits.reshape(-1))}}};\n\n"
        f"/* How many steps they take at a margin, and the answers then. */\n#define IDSNN_GOLDEN_MARGIN {margin}\n"
        f"static const int32_t idsnn_golden_steps[] = {{\n{wrapped(steps)}}};\n\n"
        f"static const int32_t idsnn_golden_early[] = {{\n{wrapped(early.reshape(-1))}}};\n\n#endif\n"
    )


def _readme(files: dict[str, str], network: IntegerNetwork, name: str, labels: Sequence[str]) -> str:
    sizes = dict(re.findall(r"#define (IDSNN_\w+_BYTES) (\d+)", files["idsnn_model.h"]))
    arrays = re.findall(r"extern const u?int(\d+)_t \w+\[(\d+)\]", files["idsnn_weights.h"])
    return resource("README.md.in").format(
        name=name,
        steps=network.timesteps,
        pixels=int(np.prod(network.input_shape)) * (1 if network.static else network.timesteps),
        classes=int(np.prod(network.readout.shape)),
        weights=sum(int(bits) // 8 * int(count) for bits, count in arrays),
        arena=int(sizes["IDSNN_ARENA_BYTES"]),
        stream=int(sizes["IDSNN_STREAM_ARENA_BYTES"]),
        labels=", ".join(labels),
    )
