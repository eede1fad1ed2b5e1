"""The step length, and what a time constant means in steps.

NIR's equations are continuous; forward Euler with a step dt makes them difference equations:

    tau dv/dt = (v_leak - v) + r I      →    v[t] = v[t-1] + leak (v_leak - v[t-1] + r I[t]),    leak = dt / tau
    dv/dt     = r I                     →    v[t] = v[t-1] + gain I[t],                          gain = dt r

Both constants are computed in the parameter's own precision, so that a float32 tau = 2 dt gives exactly 1/2 and
tau = dt / (1 - beta) gives beta back; this is also what snnTorch's and SpikingJelly's importers do.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.errors import GraphError

from .metadata import read_metadata

DEFAULT_DT = 1e-4  # seconds; snnTorch's importer knows no other


def resolve_dt(graph: nir.NIRGraph, dt: float | None = None) -> float:
    """The step in seconds: the argument, else the graph's metadata, else 1e-4."""
    if dt is None:
        metadata = read_metadata(graph)
        dt = metadata.dt if metadata else DEFAULT_DT
    if not (np.isfinite(dt) and dt > 0):
        raise GraphError(f"dt = {dt}: a step is a finite number of seconds above 0")
    return float(dt)


def leak(tau: NDArray[Any], dt: float) -> NDArray[np.float64]:
    """dt / tau, elementwise: the share of the distance to its target that a membrane moves in one step."""
    tau = _floating(tau)
    return np.asarray(tau.dtype.type(dt) / tau, np.float64)


def gain(r: NDArray[Any], dt: float) -> NDArray[np.float64]:
    """dt * r, elementwise: what one unit of input adds to a membrane without leak in one step."""
    r = _floating(r)
    return np.asarray(r.dtype.type(dt) * r, np.float64)


def delay_steps(delay: NDArray[Any], dt: float) -> NDArray[np.int64]:
    """delay / dt as whole steps, elementwise.

    Raises:
        GraphError: a delay that is negative, or further than 1e-3 steps from a whole number of them.
    """
    exact = np.asarray(delay, np.float64) / dt
    steps = np.rint(exact)
    if (steps < 0).any() or (np.abs(exact - steps) > 1e-3).any():
        worst = np.asarray(delay).ravel()[np.abs(exact - steps).argmax()]
        raise GraphError(f"a delay of {worst} s is not a whole number of steps of {dt} s; choose a dt that divides it")
    return steps.astype(np.int64)


def _floating(values: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(values)
    return values if values.dtype.kind == "f" else values.astype(np.float64)
