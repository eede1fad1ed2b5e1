r"""Exact operation counts of one synaptic layer, in integers.

For an input map x entering a convolution (kernel k, stride s, padding p before, dilation d) along one axis:

    A[τ, i] = #{o : 0 <= o < out, o s - p + τ d = i}               does tap τ of some output read position i? 0 or 1
    F[c, i, j] = sum over κ, λ of nz[c, κ, λ] A_H[κ, i] A_W[λ, j]    the weights that an event at (c, i, j) meets
    operations = sum over c, i, j of F[c, i, j] x[c, i, j]

nz[c, κ, λ] counts the weights != 0 that read channel c at tap (κ, λ). Without zero weights it is C_out / groups
everywhere and

    operations = (C_out / groups) f_H^T (sum over c of x[c]) f_W,        f = sum over τ of A[τ]

so one H x W map per layer is enough: borders and strides included, no convolution run. With x = spikes summed over time
these are accumulates (ACs); with x = 1 they are the dense operations of one step; with x = [value != 0] they are
NeuroBench's effective operations (NeuroBench 2.3, `SynapticOperations`: bias left out, zero weights skipped).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from idsnn_deploy.errors import BundleError
from idsnn_deploy.layer_table import Synapses

Counts = np.ndarray[Any, np.dtype[np.int64]]
# float32 holds every integer up to here; a probe's sums beyond it would be rounded.
EXACT = 2**24


def touches(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> Counts:
    """A[τ, i] of the module docstring, int64 `(kernel, size)`."""
    before, after = padding
    out = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    position = np.arange(out) * stride - before + dilation * np.arange(kernel)[:, None]  # (kernel, out)
    return np.asarray((position[:, :, None] == np.arange(size)).sum(axis=1), dtype=np.int64)


def fan_out(layer: Synapses) -> Counts:
    """F of the module docstring: `(H, W)` where all channels are alike, `(C, H, W)` where weights are zero.

    For conv1d one axis less; for linear `()` or `(I,)`.

    Raises:
        BundleError: a window that has not every axis, or zero weights without the table of which they are.
    """
    windows = (layer.stride, layer.padding, layer.dilation)
    if layer.kernel and any(len(each) != len(layer.kernel) for each in (layer.in_shape[1:], *windows)):
        raise BundleError(
            f"layer {layer.name!r}: stride, padding and dilation need {len(layer.kernel)} entries; "
            f"export the bundle again"
        )
    taps = [touches(*axis) for axis in zip(layer.in_shape[1:], layer.kernel, *windows, strict=False)]
    if layer.zero_weights:
        found: Counts = _nonzero(layer)
    else:
        found = np.full(layer.kernel, layer.weight_shape[0] // layer.groups, dtype=np.int64)
    for tap in taps:  # the first kernel axis becomes the last spatial one; after all of them they are in order
        found = np.tensordot(found, tap, axes=([found.ndim - len(layer.kernel)], [0]))
    return found


def dense(layer: Synapses) -> int:
    """Operations of one step were every input and every weight non-zero (NeuroBench's Dense); exact at borders."""
    channels = layer.in_shape[0] if layer.kernel else layer.inputs
    return int(channels * fan_out(replace(layer, zero_weights=0)).sum())


def operations(maps: Counts, fan: Counts) -> Counts:
    """Operations of each sample, int64 `(n,)`, for event maps `(n, ...)` whose last axes are those of `fan`.

    Raises:
        BundleError: maps of another shape.
    """
    if fan.ndim and maps.shape[maps.ndim - fan.ndim :] != fan.shape:
        raise BundleError(f"event maps of shape {maps.shape[1:]} where the layer table says {fan.shape}")
    return np.asarray((maps * fan).reshape(len(maps), -1).sum(axis=1), dtype=np.int64)


def integers(values: np.ndarray[Any, Any], what: str) -> Counts:
    """A probe's float32 sums as the int64 they stand for.

    Raises:
        BundleError: a sum that is no integer or too large to be exact.
    """
    whole = np.rint(values)
    if not is_whole(values) or (values.size and np.abs(whole).max() >= EXACT):
        raise BundleError(f"{what}: not exact integer counts below {EXACT:,}; export the bundle again")
    return np.asarray(whole, dtype=np.int64)


def is_whole(values: np.ndarray[Any, Any]) -> bool:
    """Whether all values are integers, up to the rounding of float32 where spikes were averaged over 7 x 7."""
    return bool(near_whole(values).all())


def near_whole(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The same of each value."""
    return np.asarray(np.abs(values - np.rint(values)) <= 1e-3 + 1e-6 * np.abs(values))


def _nonzero(layer: Synapses) -> Counts:
    shape = (layer.in_shape[0] if layer.kernel else layer.inputs, *layer.kernel)
    # Lists of unequal lengths are no array, and no table either.
    table = np.array(layer.nonzero, dtype=object)
    if table.shape != shape:
        raise BundleError(
            f"layer {layer.name!r}: {layer.zero_weights} weights are zero, and `nonzero` of shape {shape} does not say "
            f"which ones; export the bundle again"
        )
    return np.asarray(table, dtype=np.int64)
