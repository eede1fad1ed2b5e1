"""The golden vectors: eight inputs and what the network must answer to them.

A zip archive can claim any size, so each array's shape and type are compared with what the manifest implies before a
byte of it is unpacked, and pickled objects are never read.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from .array_file import array_in, header_in
from .arrays import Array
from .errors import BundleError, first_line
from .files import replacing
from .manifest import GOLDEN, Bundle

MAX_SAMPLES, MAX_BYTES = 1024, 2**30
TYPES: dict[str, type] = {"images": np.float32, "logits": np.float32, "step_logits": np.float32, "spikes": np.int64}


@dataclass(frozen=True)
class Golden:
    """Inputs and answers of n samples.

    Attributes:
        images: float32 `(n, *input_shape)` in 0..1, or `(T, n, *input_shape)` where the input varies in time.
        logits: float32 `(n, K)`.
        step_logits: float32 `(T, n, K)`.
        spikes: int64 `(n, L)`, each neuron layer's spikes over all steps, in the manifest's order.
    """

    images: Array
    logits: Array
    step_logits: Array
    spikes: Array


def read_golden(bundle: Bundle) -> Golden:
    """Returns a bundle's golden vectors.

    Raises:
        BundleError: golden.npz is missing, changed, or holds other arrays than the manifest implies.
    """
    where, data = f"{bundle.folder / GOLDEN}", bundle.read(GOLDEN)
    manifest = bundle.manifest
    steps, classes = manifest.timesteps, len(manifest.labels)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            count = header_in(archive, "logits")[0][0]
            if not 1 <= count <= MAX_SAMPLES:
                raise ValueError(f"{count} samples")
            shapes: dict[str, tuple[int, ...]] = {
                "images": manifest.batch_shape(count),
                "logits": (count, classes),
                "step_logits": (steps, count, classes),
                "spikes": (count, len(manifest.neurons)),
            }
            golden = Golden(**{name: _array(archive, name, shape, TYPES[name]) for name, shape in shapes.items()})
        if not all(np.isfinite(a).all() for a in (golden.images, golden.logits, golden.step_logits)):
            raise ValueError("values that are not finite")
        if manifest.mean is not None and not (golden.images.min() >= 0 and golden.images.max() <= 1):
            raise ValueError("images outside 0..1")
        return golden
    except Exception as cause:  # zipfile, zlib and numpy raise a dozen kinds
        reason = first_line(cause)
        raise BundleError(
            f"{where}: not the golden vectors of this network ({reason}); export the bundle again"
        ) from cause


def write_golden(path: str | os.PathLike[str], golden: Golden) -> None:
    """Writes what `read_golden` reads."""
    with replacing(path) as beside, open(beside, "wb") as stream:
        arrays: dict[str, Any] = {name: values.astype(TYPES[name]) for name, values in vars(golden).items()}
        np.savez(stream, **arrays)


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: type) -> Array:
    found, kind = header_in(archive, name)
    if found != shape or kind != np.dtype(dtype):
        raise ValueError(f"{name} is {kind} {found}, not {np.dtype(dtype)} {shape}")
    if math.prod(shape) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise ValueError(f"{name} is larger than {MAX_BYTES:,} bytes")
    return array_in(archive, name)
