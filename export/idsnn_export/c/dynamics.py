"""What a neuron does in one step, in the graph's numbers: a table from node type to its constants.

v = k m + g I + c,   s = v > theta,   m = v_reset where s, else v         (current-based: I through i = k_syn i + ...)

Reset by subtraction: v = k m + g (I - rho [the last s]) + c, m = v.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.errors import UnsupportedError

from ..graph.plan import Step
from ..graph.soft_reset import SoftReset
from ..graph.timing import gain, leak

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Dynamics:
    """A neuron's constants, elementwise: `gain` g, `decay` k, `synapse` k_syn, `rho`, and `offset` c / g."""

    gain: Reals
    decay: Reals
    offset: Reals
    theta: Reals | None
    reset: Reals
    synapse: Reals | None = None
    rho: Reals | None = None


def dynamics(step: Step, dt: float) -> Dynamics:
    """A neuron's constants, each of the step's shape.

    Raises:
        UnsupportedError: a gain that is not above 0.
    """
    make = DYNAMICS[type(step.node)]
    found = make(step.node, dt, np.zeros(step.shape))
    if not (found.gain > 0).all():
        raise UnsupportedError(f"{step.name}: a gain of {found.gain.min():g}; C needs it above 0")
    return found


def _threshold(node: nir.Threshold, dt: float, zero: Reals) -> Dynamics:
    return Dynamics(zero + 1, zero, zero, zero + node.threshold, zero)


def _if(node: Any, dt: float, zero: Reals) -> Dynamics:
    g = zero + gain(node.r, dt)
    fires = hasattr(node, "v_threshold")
    return Dynamics(g, zero + 1, zero, zero + node.v_threshold if fires else None, zero + getattr(node, "v_reset", 0))


def _lif(node: Any, dt: float, zero: Reals) -> Dynamics:
    a = zero + leak(node.tau, dt)
    return _leaky(node, a, a * node.r, zero)


def _cuba(node: Any, dt: float, zero: Reals) -> Dynamics:
    a, a_syn = zero + leak(node.tau_mem, dt), zero + leak(node.tau_syn, dt)
    return _leaky(node, a, a * node.r * a_syn * node.w_in, zero, 1 - a_syn)


def _leaky(node: Any, a: Reals, g: Reals, zero: Reals, synapse: Reals | None = None) -> Dynamics:
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = np.where(node.v_leak == 0, 0, a * node.v_leak / g)
    fires = hasattr(node, "v_threshold")
    theta = zero + node.v_threshold if fires else None
    return Dynamics(g, 1 - a, offset, theta, zero + getattr(node, "v_reset", 0), synapse)


def _soft(node: SoftReset, dt: float, zero: Reals) -> Dynamics:
    k, g, c = (zero + each for each in node.constants(dt))
    return Dynamics(g, k, np.where(c == 0, 0, c / g), zero + node.threshold, zero, rho=zero - node.scale)


DYNAMICS: dict[type[nir.NIRNode], Callable[[Any, float, Reals], Dynamics]] = {
    nir.Threshold: _threshold,
    nir.IF: _if,
    nir.I: _if,
    nir.LIF: _lif,
    nir.LI: _lif,
    nir.CubaLIF: _cuba,
    nir.CubaLI: _cuba,
    SoftReset: _soft,
}


def readout_dynamics(shape: tuple[int, ...]) -> Dynamics:
    """The readout: what arrives, added up over the steps."""
    zero = np.zeros(shape)
    return Dynamics(zero + 1, zero + 1, zero, None, zero)
