"""Random networks out of all parts of SpikingJelly that are exported, each held to SpikingJelly's own run.

python tests/random_spikingjelly.py --first 0 --count 50         seeds 0..49; prints what is wrong, and a line of counts
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import random_parts
import torch
from onnx_runs import traced
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly_nets import its_own_run
from torch import Tensor, nn

from idsnn_export.from_torch.convert import prepare, to_graph
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

MODES = ("s", "m", "containers", "repeats", "loops")


class Case(NamedTuple):
    """A network, inputs, T, how it is run (`spikingjelly_nets.answer`), and what it is made of."""

    model: nn.Module
    x: np.ndarray
    timesteps: int
    run: str
    parts: list[str]


class Residual(nn.Module):
    """SEW: the sum of spikes; else spiking: the sum of currents, then a neuron."""

    def __init__(self, body: list[nn.Module], skip: list[nn.Module], after: nn.Module | None) -> None:
        super().__init__()
        self.body, self.skip, self.after = nn.Sequential(*body), nn.Sequential(*skip), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.body(x) + self.skip(x))


class Whole(nn.Module):
    """An image in, a rate out: time is in the forward."""

    def __init__(self, net: nn.Module, timesteps: int, repeats: bool) -> None:
        super().__init__()
        self.net, self.T, self.repeats = net, timesteps, repeats

    def forward(self, x: Tensor) -> Tensor:
        if self.repeats:
            return self.net(x.unsqueeze(0).repeat(self.T, *[1] * x.dim())).mean(0)
        total = 0
        for _ in range(self.T):
            total = total + self.net(x)
        return total / self.T


class Maker(random_parts.Maker):
    """Draws the parts of one network of SpikingJelly's."""

    def fires(self) -> nn.Module:
        """A neuron with any options."""
        kind = self.one("IFNode", "LIFNode", "ParametricLIFNode")
        reset = {"to 0": 0.0, "to a value": float(self.rng.uniform(-0.5, 0.2)), "subtracts": None}
        options: dict[str, Any] = {
            "v_threshold": float(self.rng.choice([0.5, 0.75, 1.0, self.rng.uniform(0.3, 1.2)])),
            "v_reset": reset[self.one(*reset)],
            "surrogate_function": getattr(surrogate, str(self.rng.choice(["Sigmoid", "ATan", "PiecewiseQuadratic"])))(),
            "detach_reset": bool(self.rng.integers(2)),
        }
        if kind == "IFNode":
            return neuron.IFNode(**options)
        options["decay_input"] = self.one("input decays", "input whole") == "input decays"
        tau = float(self.rng.choice([2.0, 4.0, self.rng.uniform(1.1, 6)]))
        if options["decay_input"]:
            options["v_threshold"] /= tau
        return neuron.LIFNode(tau=tau, **options) if kind == "LIFNode" else neuron.ParametricLIFNode(tau, **options)

    def conv(self, inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
        kernel = int(self.rng.choice([1, 3]))
        standardized = self.one("plain", "plain", "standardized") == "standardized" and kernel > 1  # of one number: NaN
        kind = layer.WSConv2d if standardized else layer.Conv2d
        groups = 2 if inputs % 2 == outputs % 2 == 0 and self.rng.random() < 0.2 else 1
        made = kind(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bool(self.rng.integers(2)))
        norm = self.one("batch norm", "batch norm", "no norm")
        return [made, layer.BatchNorm2d(outputs)] if norm == "batch norm" else [made]

    def block(self, width: int, size: int) -> tuple[list[nn.Module], int]:
        """Layers from and to `width` channels, and the size of the map behind them."""
        kind = self.one("conv", "conv", "sew", "spiking residual", "average pool", "max pool", "dropout")
        if kind == "conv":
            return [*self.conv(width, width), self.fires()], size
        if kind == "sew":
            skip = [] if self.rng.random() < 0.5 else [*self.conv(width, width), self.fires()]
            return [Residual([*self.conv(width, width), self.fires()], skip, None)], size
        if kind == "spiking residual":
            body = [*self.conv(width, width), self.fires(), *self.conv(width, width)]
            return [Residual(body, [] if self.rng.random() < 0.5 else self.conv(width, width), self.fires())], size
        if kind == "dropout":
            return [layer.Dropout2d(0.3)], size
        if size % 2 or size < 4:
            return [], size
        if kind == "average pool":
            return [layer.AvgPool2d(2)], size // 2
        return [*self.conv(width, width), self.fires(), layer.MaxPool2d(2)], size // 2

    def body(self, shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """All layers."""
        if len(shape) == 1:
            hidden = int(self.rng.integers(4, 12))
            return [layer.Linear(shape[0], hidden), self.fires(), *self.head(hidden, classes)]
        width, size = int(self.rng.choice([2, 4, 6])), shape[1]
        made: list[nn.Module] = [*self.conv(shape[0], width), self.fires()]
        for _ in range(int(self.rng.integers(0, 4))):
            block, size = self.block(width, size)
            made += block
        if self.rng.random() < 0.5:
            made, size = [*made, layer.AdaptiveAvgPool2d((1, 1))], 1
        return [*made, layer.Flatten(), *self.head(width * size * size, classes)]

    def head(self, features: int, classes: int) -> list[nn.Module]:
        kind = self.one("weights", "neurons", "votes")
        if kind == "weights":
            return [layer.Dropout(0.5), layer.Linear(features, classes)]
        if kind == "neurons":
            return [layer.Linear(features, classes, bias=False), self.fires()]
        return [layer.Linear(features, 3 * classes), self.fires(), layer.VotingLayer(3)]


def case(seed: int) -> Case:
    """The network of a seed."""
    maker = Maker(seed)
    torch.manual_seed(seed)
    rng, mode = maker.rng, maker.one(*MODES)
    shape = (
        (int(rng.integers(4, 12)),) if rng.random() < 0.2 else (int(rng.integers(1, 4)), *[int(rng.integers(4, 9))] * 2)
    )
    timesteps = int(rng.integers(1, 9))
    body = maker.body(shape, int(rng.integers(2, 6)))
    net: nn.Module = nn.Sequential(*body)
    functional.set_step_mode(net, "s" if mode in ("s", "containers", "loops") else "m")
    if mode == "containers" and not any(isinstance(each, Residual) for each in body):
        net = _contained(body)
    lived(net)
    frames = mode not in ("repeats", "loops")
    if not frames:
        net = Whole(net, timesteps, mode == "repeats")
    all_steps = "m" if mode == "m" or isinstance(net[0] if isinstance(net, nn.Sequential) else net, CONTAINERS) else "s"
    x = rng.normal(0.3, 1, (*(timesteps,) * frames, 3, *shape)).astype(np.float32)
    if rng.random() < 0.4:
        x = (x > 0.5).astype(np.float32)
    return Case(net.eval(), x, timesteps, all_steps if frames else "whole", maker.parts)


CONTAINERS = (layer.SeqToANNContainer, layer.MultiStepContainer)


def _contained(body: list[nn.Module]) -> nn.Module:
    """Neurons in one kind of container, everything between them in the other."""
    made: list[nn.Module] = []
    for each in body:
        kind = layer.MultiStepContainer if isinstance(each, neuron.base_node.BaseNode) else layer.SeqToANNContainer
        made.append(kind(each))
    return nn.Sequential(*made)


def lived(net: nn.Module) -> None:
    """Weights and statistics as after training, large enough to make neurons fire."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.3, 1.2)
                module.weight.uniform_(0.7, 1.7)
                module.bias.normal_(0.3, 0.3)
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight.mul_(2)
            if isinstance(module, neuron.ParametricLIFNode):
                module.w.add_(float(torch.randn(()) * 0.5))


def check(seed: int) -> tuple[Case, float, int]:
    """Runs the gates on the network of a seed; returns it, its firing rate and how many samples flip."""
    made = case(seed)
    model, x, steps = made.model, made.x, made.timesteps
    frames = made.run != "whole"
    shape = x.shape[1 + frames :]
    network = prepare(model, shape, timesteps=steps)
    graph = to_graph(network, shape)
    reference = trace(graph, x, steps)
    exact_gate(reference, {"torch": run_prepared(network, x, steps, frames=frames)})
    figures = float_gate(reference, "SpikingJelly", *its_own_run(model, x, made.run))
    float_gate(reference, "run_model", *run_model(model, x, steps, frames=frames))
    float_gate(reference, "onnx", *traced(graph, steps, x, frames))
    rate = float(np.mean([each.mean() for each in reference.spikes.values()]))
    return made, rate, figures["flipped_samples"]


def main(argv: list[str], say: Callable[[str], None] = print) -> int:
    """Checks a slice of seeds; returns how many are wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    given = parser.parse_args(argv)
    wrong, flips, silent, began = 0, 0, 0, time.perf_counter()
    parts: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.count):
        try:
            made, rate, flipped = check(seed)
        except Exception as error:  # whatever is wrong is said, and the next seed is tried
            wrong += 1
            say(f"seed {seed}: {type(error).__name__}: {error}")
            continue
        parts.update(made.parts)
        flips, silent = flips + flipped, silent + (rate == 0)
    say(f"{given.count} networks from seed {given.first}: {wrong} wrong, {flips} samples with excused flips, {silent} "
        f"silent; {time.perf_counter() - began:.0f} s")  # fmt: skip
    say(", ".join(f"{name} {count}" for name, count in sorted(parts.items())))
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
