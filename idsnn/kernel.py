"""The neuron over T steps, forward and backward, in one pass each: run eagerly, or compiled where a compiler is.

With `s[t]` the spikes, `v[t]` the membrane before reset and `w(v) = 1/(2a) where |v - theta| < a, else 0`:

    forward     v[t] = beta * v[t-1] * (1 - s[t-1]) + I[t]        s[t] = v[t] > theta
    backward    dv[t] = ds[t] * w(v[t]) + beta * (1 - s[t]) * dv[t+1]        dI[t] = dv[t]

Tensors are flat in memory, `(T, n)`, whatever the layout of the layer: one compiled kernel serves every shape. The
membrane is always float32 or float64; in half precision only what is kept for backward is rounded.
"""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from idsnn_deploy.errors import first_line


class Kernel(NamedTuple):
    """A forward and a backward over `(T, n)`.

    Attributes:
        forward: `(currents, membranes, beta, theta)`: replaces the currents by spikes and fills in the membranes.
        backward: `(grad_spikes, spikes, membranes, grad_currents, beta, theta, half_width)`: fills in `grad_currents`.
    """

    forward: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float], None]


def _forward(x: Tensor, v_out: Tensor, beta: Tensor, theta: Tensor) -> None:
    v = s = torch.zeros_like(x[0], dtype=_wide(x))
    for t in range(x.shape[0]):
        v = beta * (v * (1 - s)) + x[t]
        s = (v > theta).to(v.dtype)
        v_out[t] = v
        x[t] = s


def _backward(ds: Tensor, s: Tensor, v: Tensor, dx: Tensor, beta: Tensor, theta: Tensor, a: float) -> None:
    wide = _wide(ds)
    dv = torch.zeros_like(ds[0], dtype=wide)
    for t in reversed(range(ds.shape[0])):
        through = torch.where((v[t].to(wide) - theta).abs() < a, ds[t].to(wide) / (2 * a), 0)
        dv = through + beta * ((1 - s[t]) * dv)
        dx[t] = dv


def _eager_forward(x: Tensor, v_out: Tensor, beta: Tensor, theta: Tensor) -> None:
    """The same numbers as `_forward` in five passes per step and no allocation but one."""
    if x.dtype != v_out.dtype or x.dtype != _wide(x):
        return _forward(x, v_out, beta, theta)
    kept = torch.empty_like(x[0])
    for t in range(x.shape[0]):
        if t:
            torch.mul(v_out[t - 1], x[t - 1], out=kept)
            torch.sub(v_out[t - 1], kept, out=kept)
            torch.add(x[t], kept.mul_(beta), out=v_out[t])
        else:
            v_out[0].copy_(x[0])
        torch.gt(v_out[t], theta, out=x[t])


def _eager_backward(ds: Tensor, s: Tensor, v: Tensor, dx: Tensor, beta: Tensor, theta: Tensor, a: float) -> None:
    """The same numbers as `_backward` in eight passes per step and no allocation but one."""
    if any(each.dtype != _wide(ds) for each in (ds, s, v)):
        return _backward(ds, s, v, dx, beta, theta, a)
    torch.sub(v, theta, out=dx)
    torch.lt(dx.abs_(), a, out=dx)
    dx.mul_(ds).div_(2 * a)
    reset = torch.empty_like(dx[0])
    for t in reversed(range(ds.shape[0] - 1)):
        torch.mul(s[t], dx[t + 1], out=reset)
        dx[t].add_(torch.sub(dx[t + 1], reset, out=reset).mul_(beta))


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


EAGER = Kernel(_eager_forward, _eager_backward)


def compiler_for(device: torch.device) -> str | None:
    """The name of what would compile a kernel for `device`, or None: a C++ compiler, or Triton."""
    if device.type == "cpu":
        return next(filter(None, map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))), None)
    return "triton" if device.type == "cuda" and torch.utils._triton.has_triton() else None


@functools.cache
def compiled(device: torch.device) -> Kernel:
    """Kernels compiled for `device` and tried on it; the eager ones, with a warning, where compiling fails."""
    kernel = Kernel(torch.compile(_forward, dynamic=True), torch.compile(_backward, dynamic=True))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, about matters of its own
            beta, theta = torch.full((2,), 0.5, device=device)
            x, v, dx = (torch.zeros(2, 64, device=device) for _ in range(3))
            kernel.forward(x, v, beta, theta)
            kernel.backward(v, x, v, dx, beta, theta, 0.5)
    except Exception as cause:  # whatever a tool chain can do wrong must not stop a training that runs without it
        warnings.warn(f"the neuron runs uncompiled on {device}: {first_line(cause)}", RuntimeWarning, stacklevel=2)
        return EAGER
    return kernel
