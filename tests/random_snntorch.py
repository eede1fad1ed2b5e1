"""Random networks out of all parts of snnTorch that are exported, each held to snnTorch's own run.

python tests/random_snntorch.py --first 0 --count 50         seeds 0..49; prints what is wrong, and a line of counts
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import random_parts
import snntorch as snn
import torch
import torch.nn.functional as F
from onnx_runs import traced
from torch import Tensor, nn

from idsnn_export.from_torch.convert import prepare, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

STATES = ("hidden", "shown", "kept", "none", "reset", "zeros")
READOUTS = ("stack", "list", "mean", "sum", "last", "max", "added", "scaled")
AROUND = ("plain", "plain", "shortcut", "branches", "fed back", "scaled", "average pool", "max pool", "dropout")


class Case(NamedTuple):
    """A network, its inputs, T, and what it is made of."""

    model: nn.Module
    x: np.ndarray
    timesteps: int
    frames: bool
    parts: list[str]


class Stage(nn.Module):
    """Weights, a neuron, and what stands around them."""

    def __init__(self, weights: nn.Module, neuron: Any, around: str, states: str) -> None:
        super().__init__()
        self.weights, self.neuron, self.around, self.states = weights, neuron, around, states
        width = _width(weights)
        self.back = nn.Conv2d(width, width, 1, bias=False) if _is_map(weights) else nn.Linear(width, width, bias=False)

    def begin(self) -> dict[str, Any]:
        """The states before the first step."""
        handed: tuple[Any, ...] = ()
        if self.states in ("reset", "zeros"):
            states = self.neuron.reset_mem()
            handed = states if isinstance(states, tuple) else (states,)
        if self.states == "zeros":
            handed = tuple(torch.zeros(1) for _ in handed)
        return {"spikes": None, "handed": handed}

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """Spikes, the membrane where it is shown, and the states after the step."""
        current = self.weights(F.dropout(x, 0.5, self.training) if self.around == "dropout" else x)
        if self.around == "fed back" and state["spikes"] is not None:
            current = current + self.back(state["spikes"])
        if self.around == "scaled":
            current = 1.5 * current - current / 4
        out = self.neuron(current, *state["handed"])
        spikes, *states = out if isinstance(out, tuple) else (out,)
        handed: tuple[Any, ...] = ()
        if self.states in ("none", "reset", "zeros"):
            handed = (spikes, *states) if isinstance(self.neuron, (snn.RLeaky, snn.RSynaptic)) else tuple(states)
        membrane = states[-1] if states else None
        return spikes, membrane, {"spikes": spikes, "handed": handed}


class Net(nn.Module):
    """Stages, run over all steps or one step at a time."""

    def __init__(self, stages: list[Stage], head: nn.Module | None, plan: dict[str, Any]) -> None:
        super().__init__()
        self.stages, self.head, self.plan = nn.ModuleList(stages), head, plan

    def step(self, x: Tensor, states: list[dict[str, Any]]) -> tuple[Tensor, Any]:
        """One step; states are renewed in place."""
        membrane = None
        for i, stage in enumerate(self.stages):
            if not _is_map(stage.weights) and x.dim() > 2:
                x = x.flatten(1) if i % 2 else x.view(x.size(0), -1)
            if stage.around == "branches":
                x = torch.cat((x, 0.5 * x), dim=1)
            spikes, membrane, states[i] = stage(x, states[i])
            x = self._behind(stage, x, spikes)
        return (x if self.head is None else self.head(x.flatten(1))), membrane

    def _behind(self, stage: Stage, x: Tensor, spikes: Tensor) -> Tensor:
        if stage.around == "shortcut":
            return spikes + x
        if stage.around in ("average pool", "max pool") and spikes.dim() == 4 and min(spikes.shape[2:]) >= 4:
            return F.avg_pool2d(spikes, 2) if stage.around == "average pool" else F.max_pool2d(spikes, 2)
        return spikes

    def forward(self, x: Tensor) -> Any:
        states = [stage.begin() for stage in self.stages]
        if self.plan["steps"] is None:
            return self.step(x, states)[0]
        record, membranes, total = [], [], 0
        for t in range(self.plan["steps"]):
            out, membrane = self.step(x[t] if self.plan["frames"] else x, states)
            out = membrane if self.plan["membrane"] else out
            record.append(out)
            membranes.append(membrane)
            total = total + out
        return self._read(record, membranes, total)

    def _read(self, record: list[Any], membranes: list[Any], total: Any) -> Any:
        read = {
            "stack": lambda: (torch.stack(record), membranes[-1]),
            "list": lambda: record,
            "mean": lambda: torch.stack(record, dim=1).mean(1),
            "sum": lambda: torch.stack(record).sum(0),
            "last": lambda: record[-1],
            "max": lambda: torch.stack(record).max(0)[0],
            "added": lambda: total,
            "scaled": lambda: total / self.plan["steps"],
        }
        return read[self.plan["readout"]]()


def _first(weights: Any) -> Any:
    return weights[0] if isinstance(weights, nn.Sequential) else weights


def _is_map(weights: nn.Module) -> bool:
    return isinstance(_first(weights), nn.Conv2d)


def _width(weights: nn.Module) -> int:
    return len(_first(weights).weight)


class Maker(random_parts.Maker):
    """Draws the parts of one network of snnTorch's."""

    def neuron(self, shape: tuple[int, ...], states: str, last: bool) -> nn.Module:
        """A neuron with any options that have a form."""
        kinds = ["Leaky", "Leaky", "Synaptic", "Lapicque", "RLeaky", "RSynaptic"]
        kind = self.one(*kinds)
        reset = self.one("subtract", "subtract", "zero", "none")
        if last and kind in ("Leaky", "Synaptic", "Lapicque"):
            reset = self.one("subtract", "none")
        options: dict[str, Any] = {
            "threshold": float(self.rng.uniform(0.2, 0.9)),
            "reset_mechanism": reset,
            "init_hidden": states in ("hidden", "shown"),
            "output": states == "shown",
        }
        beta: Any = float(self.rng.choice([0.0, 0.5, 0.9, 1.0, self.rng.uniform(0.1, 0.95)]))
        if self.rng.random() < 0.3:
            beta = torch.as_tensor(
                self.rng.uniform(0.1, 0.95, (shape[0], *[1] * (len(shape) - 1))), dtype=torch.float32
            )
        if kind == "Lapicque":
            options["reset_mechanism"] = "none" if reset == "none" else "subtract"
            r, c = self.rng.uniform(1.1, 3), self.rng.uniform(1, 2)
            return snn.Lapicque(R=float(r), C=float(c), time_step=1.0, **options)
        if kind == "Leaky":
            return snn.Leaky(beta, learn_beta=bool(self.rng.integers(2)), **options)
        if reset == "zero":
            options["reset_delay"] = False
            beta = float(self.rng.uniform(0.1, 0.9))
        alpha = float(self.rng.uniform(0.1, 0.9))
        if kind == "Synaptic":
            return snn.Synaptic(alpha, beta, **options)
        if kind == "RSynaptic" and reset == "zero":
            options |= {"reset_mechanism": "subtract", "reset_delay": True}
        whole = not torch.is_tensor(beta) and beta == 1
        if len(shape) > 1 or whole:
            options |= {"all_to_all": False, "V": float(self.rng.uniform(-0.5, 0.5))}
        else:
            options["linear_features"] = shape[0]
        return snn.RLeaky(beta, **options) if kind == "RLeaky" else snn.RSynaptic(alpha, beta, **options)

    def weights(self, inputs: int, outputs: int, image: bool, same: bool) -> nn.Module:
        bias = bool(self.rng.integers(2))
        if image:
            kernel = 3 if same else int(self.rng.choice([1, 3]))
            made: nn.Module = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
            norm: nn.Module = nn.BatchNorm2d(outputs)
        else:
            made, norm = nn.Linear(inputs, outputs, bias=bias), nn.BatchNorm1d(outputs)
        kind = self.one("batch norm", "no norm", "no norm")
        return nn.Sequential(made, norm) if kind == "batch norm" else made

    def stages(self, shape: tuple[int, ...], states: str) -> tuple[list[Stage], tuple[int, ...]]:
        made: list[Stage] = []
        count = int(self.rng.integers(1, 4))
        for i in range(count):
            image = len(shape) == 3 and (i == 0 or self.rng.random() < 0.7)
            if not image:
                shape = (int(np.prod(shape)),)
            around = self.one(*AROUND)
            outputs = shape[0] if around == "shortcut" else int(self.rng.integers(2, 7))
            inputs = shape[0] * (2 if around == "branches" else 1)
            weights = self.weights(inputs, outputs, image, around == "shortcut")
            shape = (outputs, *shape[1:])
            made.append(Stage(weights, self.neuron(shape, states, i == count - 1), around, states))
            if "pool" in around and image and min(shape[1:]) >= 4:
                shape = (outputs, shape[1] // 2, shape[2] // 2)
        return made, shape


def case(seed: int) -> Case:
    """The network of a seed."""
    maker = Maker(seed)
    torch.manual_seed(seed)
    shape = (2, 6, 6) if maker.one("image", "features") == "image" else (7,)
    whole = maker.one("loop", "loop", "step") == "loop"
    frames = maker.one("frames", "static") == "frames"
    states = maker.one(*STATES) if whole else maker.one("hidden", "kept")
    stages, end = maker.stages(shape, states)
    if not whole:
        for stage in stages:
            stage.around = "plain" if stage.around == "fed back" else stage.around
    timesteps = int(maker.rng.choice([1, 2, 3, 5, 8]))
    shown = states != "hidden" and stages[-1].neuron.reset_mechanism != "zero"
    membrane = whole and shown and maker.one("membrane", "spikes", "spikes") == "membrane"
    head = nn.Linear(int(np.prod(end)), 3) if maker.one("head", "no head") == "head" else None
    readout = maker.one(*READOUTS) if whole else "mean"
    plan = {"steps": timesteps if whole else None, "frames": frames, "readout": readout, "membrane": membrane}
    model = Net(stages, head, plan)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    snn.SpikingNeuron.instances.clear()
    for kind in (snn.Leaky, snn.Synaptic, snn.Lapicque, snn.RLeaky, snn.RSynaptic):
        kind.instances.clear()
    x = maker.rng.normal(0.4, 1.3, (*(timesteps,) * frames, 4, *shape)).astype(np.float32)
    return Case(model.eval(), x, timesteps, frames, maker.parts)


def outcome(seed: int) -> tuple[str, Case, float]:
    """What became of a network: exact or excused (the gates raise what is wrong), and its firing rate."""
    made = case(seed)
    shape = made.x.shape[1 + made.frames :]
    prepared = prepare(made.model, shape, timesteps=made.timesteps)
    graph = to_nir(made.model, shape, timesteps=made.timesteps)
    reference = trace(graph, made.x, made.timesteps)
    exact_gate(reference, {"torch": run_prepared(prepared, made.x, made.timesteps, frames=made.frames)})
    logits, spikes = run_model(made.model, made.x, made.timesteps, frames=made.frames)
    flips = float_gate(reference, "snnTorch", logits, spikes)["flipped_samples"]
    flips += float_gate(reference, "onnx", *traced(graph, made.timesteps, made.x, made.frames))["flipped_samples"]
    rates = [each.mean() for each in reference.spikes.values()]
    return "excused" if flips else "exact", made, float(np.mean(rates)) if rates else 0.0


def main() -> int:
    """Runs a slice of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    rates, start = [], time.process_time()
    for seed in range(given.first, given.first + given.count):
        try:
            found, made, rate = outcome(seed)
            parts.update(set(made.parts))
            rates.append(rate)
        except Exception as error:  # whatever is wrong is counted and shown
            found = "wrong"
            print(f"seed {seed}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
        counts[found] += 1
    print(f"seeds {given.first} to {given.first + given.count - 1}: {dict(counts)}; {dict(sorted(parts.items()))}")
    print(f"mean firing rate {np.mean(rates):.1%}, processor time {time.process_time() - start:.0f} s")
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
