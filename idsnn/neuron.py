"""The leaky integrate-and-fire neuron with a rectangular surrogate gradient.

    v[t] = beta * v[t-1] * (1 - s[t-1]) + I[t]          s[t] = 1 if v[t] > theta else 0          v[0] starts from 0
    ds/dv := 1/(2a) where |v - theta| < a, else 0       the reset path carries no gradient

`v` membrane before reset, `I` input current, `s` spikes, `beta` decay per step, `theta` threshold, `a` half the width
of the surrogate. Equations 1 to 4 of the paper (STBP's iterative form).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from snntorch import Leaky
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .kernel import EAGER, Kernel


class _Rectangle(torch.autograd.Function):
    """Spikes of `v - theta`, with the rectangular surrogate as their derivative."""

    @staticmethod
    def forward(ctx: Any, shifted: Tensor, a: float) -> Tensor:
        ctx.save_for_backward(shifted)
        ctx.a = a
        return (shifted > 0).to(shifted.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (shifted,) = ctx.saved_tensors
        return torch.where(shifted.abs() < ctx.a, grads[0] / (2 * ctx.a), 0), None


def spike(shifted: Tensor, a: float = 0.5) -> Tensor:
    """1 where `shifted` (the membrane minus theta) is positive, else 0; differentiable by the surrogate."""
    return _Rectangle.apply(shifted, a)


def lif_step(
    current: Tensor, v: Tensor, beta: Tensor | float, theta: Tensor | float, a: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Returns spikes and membrane (before reset) of one step, from the membrane before reset of the last one."""
    with torch.no_grad():
        s_last = (v > theta).to(v.dtype)
    v = beta * v * (1 - s_last) + current
    return spike(v - theta, a), v


class _MultiStep(torch.autograd.Function):
    """All T steps at once, in place: `(T*B, ...)` currents become spikes; only they and the membranes are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: Tensor, theta: Tensor, a: float, steps: int, kernel: Kernel) -> Tensor:
        v = torch.empty_like(x)
        kernel.forward(_flat(x, steps), _flat(v, steps), beta, theta)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, v, beta, theta)
        ctx.a, ctx.steps, ctx.kernel = a, steps, kernel
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        s, v, beta, theta = ctx.saved_tensors
        ds = grads[0] if grads[0].stride() == v.stride() else torch.empty_like(v).copy_(grads[0])
        dx = torch.empty_like(v)
        s_tn, v_tn, ds_tn, dx_tn = (_flat(each, ctx.steps) for each in (s, v, ds, dx))
        ctx.kernel.backward(ds_tn, s_tn, v_tn, dx_tn, beta, theta, ctx.a)
        d_beta = d_theta = None
        if ctx.needs_input_grad[1]:
            d_beta = (dx_tn[1:] * v_tn[:-1] * (1 - s_tn[:-1])).sum(dtype=beta.dtype)
        if ctx.needs_input_grad[2]:
            near = (v_tn - theta).abs() < ctx.a
            d_theta = -torch.where(near, ds_tn / (2 * ctx.a), 0).sum(dtype=theta.dtype)
        return dx, d_beta, d_theta, None, None, None


def lif_steps(x: Tensor, beta: Tensor, theta: Tensor, steps: int, a: float = 0.5, kernel: Kernel = EAGER) -> Tensor:
    """Replaces currents `(T*B, ...)`, time first, by the spikes of T steps from rest, and returns them.

    Equal to stepping `lif_step`, gradients too; `x` must be dense in memory (contiguous or channels_last).
    """
    return _MultiStep.apply(x, beta, theta, a, steps, kernel)


def _flat(x: Tensor, steps: int) -> Tensor:
    """The memory of a dense tensor as `(T, n)`."""
    return x.as_strided((steps, x.numel() // steps), (x.numel() // steps, 1))


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


class LIF(Leaky):
    """A layer of the neuron above: a `snntorch.Leaky` by type and parameters that runs all its steps at once.

    `lif(x)` takes a sequence from rest and returns its spikes, in the shape of `x`: `(T, B, ...)`, or `(T*B, ...)`
    where `timesteps` says how many steps are folded into the first axis. `lif(current, v)` is one step and returns
    spikes and membrane, as snnTorch's does. No state stays in the layer.

    Args:
        beta: decay per step, in 0..1.
        threshold: theta, positive.
        half_width: a, half the width of the surrogate.
        learn_beta: make beta a parameter: 0.01 + 0.98 * sigmoid(raw_beta).
        learn_threshold: make theta a parameter: softplus(raw_threshold) + 0.01.
        inplace: write the spikes over the currents; for inputs that nobody else needs.
    """

    LOW, HIGH = 0.01, 0.99

    def __init__(
        self,
        beta: float = 0.25,
        threshold: float = 0.5,
        half_width: float = 0.5,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        inplace: bool = False,
    ) -> None:
        if not 0 <= beta <= 1 or not threshold > 0 or not half_width > 0:
            raise ValueError(
                f"LIF: beta {beta}, threshold {threshold}, half_width {half_width}; beta is in 0..1, rest > 0"
            )
        if learn_beta and not self.LOW < beta < self.HIGH:
            raise ValueError(f"LIF: beta {beta} cannot be learned; it must start in {self.LOW}..{self.HIGH}")
        if learn_threshold and not threshold > self.LOW:
            raise ValueError(f"LIF: threshold {threshold} cannot be learned; it must start above {self.LOW}")
        super().__init__(
            beta=beta,
            threshold=threshold,
            spike_grad=lambda shifted: spike(shifted, half_width),
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            reset_mechanism="zero",
            reset_delay=True,
        )
        # snnTorch keeps every layer ever made in a list of the class, and so alive.
        Leaky.instances[:] = [each for each in Leaky.instances if each is not self]
        self.half_width, self.inplace = half_width, inplace
        self.timesteps: int | None = None
        self.kernel: Kernel = EAGER

    def _beta_buffer(self, beta: float, learn_beta: bool) -> None:
        if learn_beta:
            share = (beta - self.LOW) / (self.HIGH - self.LOW)
            self.raw_beta = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        else:
            super()._beta_buffer(torch.tensor(float(beta)), False)

    def _threshold_buffer(self, threshold: float, learn_threshold: bool) -> None:
        if learn_threshold:
            self.raw_threshold = nn.Parameter(torch.tensor(math.log(math.expm1(threshold - self.LOW))))
        else:
            super()._threshold_buffer(torch.tensor(float(threshold)), False)

    def __getattr__(self, name: str) -> Any:
        # Learned, beta and threshold are computed from their raw parameters; fixed, they are snnTorch's buffers.
        if name == "beta" and "raw_beta" in self._parameters:
            return self.LOW + (self.HIGH - self.LOW) * torch.sigmoid(self.raw_beta)
        if name == "threshold" and "raw_threshold" in self._parameters:
            return nn.functional.softplus(self.raw_threshold) + self.LOW
        return super().__getattr__(name)

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        """Spikes of a whole sequence, or spikes and membrane of one step where `mem` is given."""
        if mem is not None:
            v = mem if mem.numel() else torch.zeros_like(input_)  # of no size, as snnTorch's reset_mem gives it: rest
            return lif_step(input_, v, self.beta, self.threshold, self.half_width)
        steps = input_.shape[0] if self.timesteps is None else self.timesteps
        x = input_.flatten(0, 1) if self.timesteps is None and input_.dim() > 2 else input_
        if x.shape[0] % steps:
            raise ValueError(f"LIF: {x.shape[0]} rows do not divide into {steps} steps")
        if not (self.inplace and x is input_ and _dense(x)):
            x = x.clone() if _dense(x) else x.contiguous()
        spikes = lif_steps(x, self.beta, self.threshold, steps, self.half_width, self.kernel)
        return spikes.view(input_.shape) if x.shape != input_.shape else spikes

    def extra_repr(self) -> str:
        """Beta and theta, as `print(model)` shows them."""
        return f"beta={self.beta.item():g}, threshold={self.threshold.item():g}"
