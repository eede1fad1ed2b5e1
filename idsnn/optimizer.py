"""How the weights follow their gradients: SGD with momentum, or Muon for the matrices inside a network.

    m[n] = mu m[n-1] + g[n]        d = g + mu m with Nesterov's momentum, m without        SGD:  w <- w - eta d

A matrix W of r rows (one per output channel) and c columns takes a step of its own in Muon: that of all step
directions with the largest singular value 1 which follows D most. Small directions of D count as much as large ones.

    W <- (1 - eta lambda) W - eta sqrt(max(1, r/c)) U V'            D = U S V'

UV' is approximated by `STEPS` steps X <- (a + b G + c G^2) X, where G = XX', from X = D / |D|: they bring every
singular value near 1 (0.68 to 1.2) that is not under a 500th of the norm. All G are polynomials of the first, so the
steps, which are squares, are multiplied with each other, and once with X, which may be ten times as wide.

Source: K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024 (with a, b, c);
weight decay as in Liu et al., Muon is scalable for LLM training, 2025. torch.optim.Muon takes matrices alone, and
multiplies in bfloat16, which processors without it emulate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .config import TrainConfig

STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315


def optimizer(network: nn.Module, side: nn.Module | None, config: TrainConfig) -> torch.optim.Optimizer:
    """What moves the parameters of `network`, and those of the heads beside it."""
    named = dict(nn.ModuleList([network, *([side] if side else [])]).named_parameters())
    muon = config.optimizer == "muon"
    raw = [each for name, each in named.items() if name.rpartition(".")[2].startswith("raw_")]
    inner = hidden(network) if muon else []
    apart = {id(each) for each in (*raw, *inner)}
    rest = [each for each in named.values() if id(each) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": rest, "weight_decay": 0.0 if muon else config.weight_decay},
        {"params": raw, "weight_decay": 0.0},  # a learned beta or theta has no reason to go to a raw zero
        {"params": inner, "weight_decay": config.weight_decay, "matrices": True},
    ]
    kind = Muon if muon else torch.optim.SGD
    filled = [group for group in groups if group["params"]]
    return kind(filled, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)


def hidden(network: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers, as they were registered, without the first and the last."""
    layers = [each for each in network.modules() if isinstance(each, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    weights = {id(each.weight): each.weight for each in layers if isinstance(each.weight, nn.Parameter)}
    return list(weights.values())[1:-1]


class Muon(torch.optim.Optimizer):
    """Muon for the groups with `matrices`, SGD for the others; see the module's equations.

    Args:
        groups: "params" and "weight_decay", and "matrices" where their steps are orthogonal.
        lr, momentum, nesterov: eta, mu, and whether d looks ahead.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "matrices": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for each in group["params"]:
                if each.grad is not None:
                    self._move(each, each.grad, group)
        return loss

    def _move(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        state = self.state[weights]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weights)
        memory = state["momentum_buffer"]
        memory.mul_(momentum).add_(gradient)
        direction = gradient.add(memory, alpha=momentum) if group["nesterov"] else memory
        if group["matrices"]:
            rows, columns = weights.flatten(1).shape
            direction = orthogonal(direction.reshape(rows, columns)).view_as(weights)
            direction = direction * max(1, rows / columns) ** 0.5
        weights.mul_(1 - rate * decay).sub_(direction, alpha=rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """About UV' of `matrix` `(r, c)` = USV', in the matrix's own precision; zeros stay zeros."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    start = wide / wide.norm().clamp_min(1e-7)
    gram = start @ start.T
    steps = unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(STEPS):
        step = _A * unit + _B * gram + _C * gram @ gram
        gram, steps = step @ gram @ step, step @ steps
    near = steps @ start
    return near if wide is matrix else near.T
