"""A bundle's network in C: bytes in, whole numbers out, one sample at a time on one thread (docs/c.md).

    logits = whole numbers x IDSNN_LOGIT_UNIT,     a step's own: x T where the readout is the mean

At once by `idsnn_run_in`, step by step by `idsnn_start` and `idsnn_step`, until a class stands out by
`idsnn_run_until`, with what each needs lying in an array here.
"""

from __future__ import annotations

import ctypes
import math
import re
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array
from .c_library import library
from .errors import BundleError, UsageError
from .execution import StepState, stepped_until
from .manifest import Bundle, C

HEADER = "idsnn_model.h"
MARGIN_ONE = 2**16  # a margin of 1 in C
_PLACE, _WHOLE = ctypes.c_void_p, ctypes.c_int32
# What every function is given before its arena and how large that is; C of an earlier export has no `idsnn_run_until`.
ARGUMENTS: dict[str, list[Any]] = {
    "idsnn_run_in": [_PLACE, _PLACE],
    "idsnn_start": [],
    "idsnn_step": [_PLACE, _PLACE],
    "idsnn_run_until": [_PLACE, _WHOLE, _PLACE, _PLACE],
}
_DEFINED = re.compile(r"^#define IDSNN_(\w+) ([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(?=\s|$)", re.MULTILINE)
_SIZES = ("ARENA_BYTES", "STREAM_ARENA_BYTES")
_LARGEST = 2**31  # bytes of an arena


class CNetwork:
    """The network as the bundle's C computes it, in both of its forms: as `Unrolled` and as `Stepper`.

    Raises:
        BundleError: the bundle has no C, or one that is not of its network.
        UsageError: no compiler, or it fails.
    """

    fixed = None

    def __init__(self, bundle: Bundle) -> None:
        self.manifest = bundle.manifest
        self.axis, self.static = self.manifest.sample_axis, self.manifest.sample_axis == 0
        self.one_step = self.manifest if self.static else replace(self.manifest, encoding="static", mean=None, std=None)
        self._images = self.manifest.mean is not None or self.static
        self._library = library(bundle)
        self._sizes = _sizes(bundle)
        self._stops = hasattr(self._library, "idsnn_run_until")
        for name, arguments in ARGUMENTS.items():
            if hasattr(self._library, name):
                getattr(self._library, name).argtypes = [*arguments, _PLACE, ctypes.c_size_t]
            elif name != "idsnn_run_until":
                raise BundleError(f"{bundle.folder / C}: its C has no function {name}; export it again")
        self._mean = self.manifest.readout == "mean"
        self._unit = self._sizes["LOGIT_UNIT"]
        self._step_unit = self._unit * (self.manifest.timesteps if self._mean else 1)

    def logits(self, x: Array) -> Array:
        """The logits of a batch, all steps at once."""
        pixels = _channels_last(whole_input(x, self._images), self.axis)
        found = np.empty((len(pixels), len(self.manifest.labels)), np.int32)
        arena = _words(self._sizes["ARENA_BYTES"])
        for sample, logits in zip(pixels, found, strict=True):
            self._call("idsnn_run_in", arena, sample, logits)
        return np.asarray(found * self._unit, np.float32)

    def answer(self, x: Array) -> tuple[Array, Array]:
        """logits and step_logits of a batch."""
        state, steps = self.start(x.shape[self.axis]), []
        for t in range(self.manifest.timesteps):
            logits, state = self(self.frame(x, t), state)
            steps.append(logits)
        return self.logits(x), np.stack(steps)

    def start(self, count: int) -> StepState:
        """The state before the first step, for `count` samples."""
        arenas = np.stack([_words(self._sizes["STREAM_ARENA_BYTES"]) for _ in range(count)])
        for arena in arenas:
            self._call("idsnn_start", arena)
        return {"arena": arenas}

    def frame(self, x: Array, step: int) -> Array:
        """What a batch shows the network at a step."""
        return x if self.static else np.asarray(x[step])

    def __call__(self, frame: Array, state: StepState) -> tuple[Array, StepState]:
        """One step's logits `(n, K)`, and the state, which is the one given, changed."""
        pixels = _channels_last(whole_input(frame, self._images), 0)
        found = np.empty((len(pixels), len(self.manifest.labels)), np.int32)
        for sample, logits, arena in zip(pixels, found, state["arena"], strict=True):
            self._call("idsnn_step", arena, sample, logits)
        return np.asarray(found * self._step_unit, np.float32), state

    def until(self, x: Array, margin: float) -> tuple[Array, int]:
        """The logits `(K,)` of one sample, read out until its class stands out, and the number of steps.

        The margin is rounded to 2^-16. C of an earlier export is stepped from here.
        """
        if not self._stops:
            return stepped_until(self, x, margin)
        (pixels,) = _channels_last(whole_input(x, self._images), self.axis)
        found, steps = np.empty(len(self.manifest.labels), np.int32), np.empty(1, np.int32)
        whole = round(MARGIN_ONE * min(max(margin, 0.0), 2.0))  # above 1 none is reached
        self._call("idsnn_run_until", _words(self._sizes["STREAM_ARENA_BYTES"]), pixels, whole, found, steps)
        taken = int(steps[0])
        return np.asarray(found * (self._step_unit / (taken if self._mean else 1)), np.float32), taken

    def _call(self, name: str, arena: Array, *given: Array | int) -> None:
        values = [each if isinstance(each, int) else each.ctypes.data for each in given]
        code = getattr(self._library, name)(*values, arena.ctypes.data, arena.nbytes)
        if code:
            raise BundleError(f"{name} of the bundle's C returns {code}; export the bundle again")


def whole_input(x: Array, images: bool) -> NDArray[np.uint8]:
    """Inputs as bytes: pixels in 0..1 to the nearest of 0..255, counts as they are.

    Raises:
        UsageError: other values; C takes bytes.
    """
    values = np.asarray(x, np.float64) * (255 if images else 1)
    whole = np.rint(values)
    if (not images and (whole != values).any()) or whole.min(initial=0) < 0 or whole.max(initial=0) > 255:
        takes = "pixels in 0..1" if images else "counts, whole numbers in 0..255"
        raise UsageError(f"C takes {takes}; these inputs reach from {np.min(x):g} to {np.max(x):g}")
    return whole.astype(np.uint8)


def _channels_last(x: Array, axis: int) -> Array:
    """(N, frame, row, column, channel) in a row, of (N, C, ...) or (T, N, C, ...)."""
    batch_first = np.moveaxis(x, axis, 0)
    return np.ascontiguousarray(np.moveaxis(batch_first, 1 + axis, -1)).reshape(len(batch_first), -1)


def _words(size: float) -> Array:
    """Zeros of at least `size` bytes, aligned to 8."""
    return np.zeros(-(-int(size) // 8), np.uint64)


def _sizes(bundle: Bundle) -> dict[str, float]:
    """What the header defines, held to the manifest."""
    text = bundle.read(f"{C}/{HEADER}").decode("ascii", "replace")
    found = {name: float(value) for name, value in _DEFINED.findall(text)}
    manifest = bundle.manifest
    frames = manifest.timesteps if manifest.sample_axis else 1
    expected: dict[str, Any] = {
        "TIMESTEPS": manifest.timesteps,
        "CLASSES": len(manifest.labels),
        "FRAMES": frames,
        "PIXELS": frames * prod(manifest.input_shape),
    }
    wrong = [name for name, value in expected.items() if found.get(name) != value]
    wrong += [name for name in _SIZES if not 0 <= found.get(name, -1) < _LARGEST]
    wrong += [] if math.isfinite(found.get("LOGIT_UNIT", math.inf)) else ["LOGIT_UNIT"]
    if wrong:
        raise BundleError(
            f"{bundle.folder / C / HEADER}: is not of this bundle's network ({', '.join(wrong)}); export it again"
        )
    return found
