"""When a class stands out, in whole numbers: the margin rule of `idsnn_deploy.anytime`, bit for bit as C has it.

    a[t]   = the readout over steps 1..t (their sum where it is a mean)        1 of it stands for u_t
    d_k    = max a[t] - a_k[t]
    z_k    = floor((d_k c_t + 2^(S-1)) / 2^S)          c_t = round(2^(16+S) u_t / ln 2): z counts 2^-16 octaves
    e_k    = 2^30 2^(-z_k / 2^16)                      = 2^30 exp(-u_t d_k), a factor 2^(-2^-b) per bit, rounded down
    stop at the first t where (2^30 - e_2) 2^16 >= margin sum over k of e_k; at T in any case

e_2 is that of the second largest, 0 where there is but one class, so both sides are p1 - p2 >= margin / 2^16 times the
sum; p1 - p2 is within 2e-5 of what float64 makes of the same outputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idsnn_deploy.readout import RUNNING

from .integer import IntegerNetwork, Integers, run_steps

ONE = 2**30  # e of the largest
MARGIN_ONE = 2**16  # a margin of 1
OCTAVE = 16  # bits of z behind the point
ROOTS = tuple(round(ONE * 2.0 ** -(2.0**-b)) for b in range(1, OCTAVE + 1))
FINEST = 62  # S at most: z is rounded in 64 bits


def octaves(network: IntegerNetwork) -> tuple[Integers, int]:
    """c_t of every step, int64 (T,) below 2^31, and S, for which c_1 has 31 bits where it can."""
    unit = network.logit_unit * 2.0**OCTAVE / math.log(2)
    shift = min(max(31 - math.frexp(unit)[1], 0), FINEST)
    counts = range(1, network.timesteps + 1) if network.over_time == "mean" else [1] * network.timesteps
    found = [min(round(unit / count * 2.0**shift), 2**31 - 1) for count in counts]
    return np.array(found, np.int64), shift


def separation(answer: Integers, octave: int, shift: int) -> Integers:
    """The largest margin that each answer (N, K) reaches: p1 - p2 in 2^-16, rounded down."""
    e = np.sort(_powers(answer.max(1, keepdims=True) - answer, octave, shift))
    second = e[:, -2] if e.shape[1] > 1 else np.zeros(len(e), np.int64)
    return np.asarray((ONE - second) * MARGIN_ONE // e.sum(1))


def run_until(network: IntegerNetwork, x: NDArray[Any], margin: int) -> tuple[Integers, Integers]:
    """Steps (N,), 1..T, and the answers (N, ...) int64 after them; x as for `run_integer`."""
    answers, apart = separations(network, x)
    reached = apart >= margin
    reached[-1] = True
    at = reached.argmax(0)
    return at + 1, answers[at, np.arange(len(at))]


def separations(network: IntegerNetwork, x: NDArray[Any]) -> tuple[Integers, Integers]:
    """The answers after each step (T, N, ...), and p1 - p2 of them in 2^-16, rounded down (T, N)."""
    over_time = "sum" if network.over_time == "mean" else network.over_time
    answers = np.asarray(RUNNING[over_time](run_steps(network, x)[0]))
    each, shift = octaves(network)
    apart = [separation(a.reshape(len(a), -1), int(c), shift) for a, c in zip(answers, each, strict=True)]
    return answers, np.stack(apart)


def _powers(d: Integers, octave: int, shift: int) -> Integers:
    """e of differences, of their shape."""
    z = (d.astype(np.uint64) * np.uint64(octave) + np.uint64((1 << shift) >> 1)) >> np.uint64(shift)
    whole = np.minimum(z >> np.uint64(OCTAVE), np.uint64(31)).astype(np.int64)
    part = (z & np.uint64(2**OCTAVE - 1)).astype(np.int64)
    e: Integers = np.full(d.shape, ONE, np.int64)
    for b, root in enumerate(ROOTS, 1):
        e = np.where(part >> (OCTAVE - b) & 1, e * root >> 30, e)
    return np.asarray(e >> whole)
