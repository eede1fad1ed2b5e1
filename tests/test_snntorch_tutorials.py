"""The networks of snnTorch's tutorials, written down afresh and trained a few steps: exact, at T 1, 4 and 10.

Each is held to the gates with snnTorch's own run, on inputs that keep every layer between 2 and 60 %; a mapping that is
wrong in one construct fails the same gates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from graphs import reset_to_zero
from onnx_runs import traced
from snntorch import surrogate, utils
from test_snntorch_neurons import free
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError
from idsnn_export.from_torch.convert import prepare, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

FEATURES, IMAGE, SAMPLES = 12, (1, 12, 12), 6


def neuron(kind: Any = snn.Leaky, *args: Any, **options: Any) -> Any:
    return free(kind(*args, **{"spike_grad": surrogate.fast_sigmoid(slope=25), **options}))


class Feedforward(nn.Module):
    """Fully connected, an image at every step; spikes and membranes are recorded."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.fc1, self.lif1 = nn.Linear(FEATURES, 20), neuron(beta=0.95, threshold=0.8)
        self.fc2, self.lif2 = nn.Linear(20, 5), neuron(beta=0.95, threshold=0.6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _ in range(self.num_steps):
            cur1 = self.fc1(x.flatten(1))
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class Convolutional(nn.Module):
    """Convolutions, batch norms and pools of spikes, with learned leaks and thresholds."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6)
        self.lif1 = neuron(beta=0.5, threshold=0.7, learn_beta=True)
        self.conv2, self.lif2 = nn.Conv2d(6, 8, 3), neuron(beta=0.5, threshold=0.2, learn_threshold=True)
        self.fc1, self.lif3 = nn.Linear(8 * 2 * 2, 5), neuron(beta=0.5, threshold=0.3)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        record = []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.bn1(self.conv1(x)), mem1)
            spk2, mem2 = self.lif2(self.conv2(F.avg_pool2d(spk1, 2)), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(0), -1)), mem3)
            record.append(spk3)
        return torch.stack(record).sum(0)


class Pooled(nn.Module):
    """The same with the maximum of spikes, and states inside the layers."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        hidden = {"init_hidden": True}
        self.net = nn.Sequential(
            nn.Conv2d(1, 6, 5), neuron(beta=0.8, threshold=0.6, **hidden), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), neuron(beta=0.8, threshold=0.8, **hidden), nn.Flatten(),
            nn.Linear(8 * 2 * 2, 5), neuron(beta=0.8, threshold=0.3, output=True, **hidden),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        utils.reset(self.net)
        for layer in self.net:
            if hasattr(layer, "reset_mem"):
                layer.reset_mem()
        spk_rec, mem_rec = [], []
        for _ in range(self.num_steps):
            spk, mem = self.net(x)
            spk_rec.append(spk)
            mem_rec.append(mem)
        return torch.stack(spk_rec), torch.stack(mem_rec)


class Population(nn.Module):
    """Several neurons for each class, and their spikes counted."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.fc1, self.lif1 = nn.Linear(FEATURES, 16), neuron(beta=0.9, threshold=0.7)
        self.fc2, self.lif2 = nn.Linear(16, 30), neuron(beta=torch.linspace(0.2, 0.95, 30), threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        count = torch.zeros(x.shape[0], 30)
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            count = count + spk2
        return count


class Recurrent(nn.Module):
    """RLeaky over frames."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(FEATURES, 16), neuron(snn.RLeaky, beta=0.8, linear_features=16, threshold=0.8)
        self.fc2, self.lif2 = nn.Linear(16, 5), neuron(beta=0.8, threshold=0.4)

    def forward(self, x: Tensor) -> Tensor:
        spk1, mem1 = self.lif1.init_rleaky()
        mem2 = self.lif2.init_leaky()
        record = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(spk2)
        return torch.stack(record)


class SecondOrder(nn.Module):
    """Synaptic over frames, its spikes read out at the last step."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(FEATURES, 16), neuron(snn.Synaptic, alpha=0.6, beta=0.8, threshold=1.2)
        self.fc2, self.lif2 = nn.Linear(16, 5), neuron(snn.Synaptic, alpha=0.5, beta=0.7, threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        syn1, mem1 = self.lif1.init_synaptic()
        syn2, mem2 = self.lif2.init_synaptic()
        for frame in x:
            spk1, syn1, mem1 = self.lif1(self.fc1(frame), syn1, mem1)
            _, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return mem2


class Regression(nn.Module):
    """The membrane of a layer that never resets, at the last step."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.fc1, self.lif1 = nn.Linear(FEATURES, 16), neuron(beta=0.8, threshold=0.7)
        self.fc2, self.lif2 = nn.Linear(16, 16), neuron(beta=0.9, threshold=0.5)
        self.fc3, self.li = nn.Linear(16, 1), neuron(beta=0.9, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.li.reset_mem()
        mem_rec = []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            _, mem3 = self.li(self.fc3(spk2), mem3)
            mem_rec.append(mem3)
        return torch.stack(mem_rec)[-1]


class Largest(nn.Module):
    """RSynaptic and Lapicque, the largest membrane over time."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, 16)
        self.rec = neuron(snn.RSynaptic, alpha=0.4, beta=0.7, all_to_all=False, V=-0.3, threshold=0.8)
        self.fc2, self.lap = nn.Linear(16, 16), neuron(snn.Lapicque, R=2.0, C=1.5, time_step=1.0, threshold=0.4)
        self.fc3, self.li = nn.Linear(16, 5), neuron(beta=0.8, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        spk1, syn1, mem1 = self.rec.init_rsynaptic()
        mem2, mem3, record = self.lap.init_lapicque(), self.li.init_leaky(), []
        for step in range(x.shape[0]):
            spk1, syn1, mem1 = self.rec(self.fc1(x[step]), spk1, syn1, mem1)
            spk2, mem2 = self.lap(self.fc2(spk1), mem2)
            _, mem3 = self.li(self.fc3(spk2), mem3)
            record.append(mem3)
        return torch.stack(record).max(0)[0]


class Residual(nn.Module):
    """A shortcut around a convolution with batch norm, and a map averaged; reset to zero."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        zero = {"reset_mechanism": "zero", "beta": 0.6}
        self.conv1, self.bn1, self.lif1 = nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), neuron(threshold=0.8, **zero)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.lif2, self.fc = neuron(threshold=1.2, **zero), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), 0.0
        current = self.bn1(self.conv1(x))
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(current, mem1)
            spk2, mem2 = self.lif2(self.bn2(self.conv2(spk1)) + spk1, mem2)
            out += self.fc(spk2.mean((2, 3)))
        return out / self.num_steps


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...], bool, str]] = {  # class, input, frames, readout
    "feedforward": (Feedforward, (FEATURES,), False, "mean"),
    "convolutional": (Convolutional, IMAGE, False, "sum"),
    "maximum of spikes": (Pooled, IMAGE, False, "mean"),
    "population": (Population, (FEATURES,), False, "sum"),
    "recurrent": (Recurrent, (FEATURES,), True, "mean"),
    "second order": (SecondOrder, (FEATURES,), True, "last"),
    "regression": (Regression, (FEATURES,), False, "last"),
    "largest membrane": (Largest, (FEATURES,), True, "max"),
    "residual": (Residual, IMAGE, False, "mean"),
}


def inputs(name: str, steps: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    _, shape, frames, _ = NETWORKS[name]
    draw = np.random.default_rng(seed).normal(0.3, 1.0, (*(steps,) * frames, samples, *shape))
    return draw.astype(np.float32)


@cache
def trained(name: str) -> dict[str, Tensor]:
    """Weights after a few steps towards fixed random targets, and what batch norms saw on the way."""
    torch.manual_seed(7)
    make, _, _, _ = NETWORKS[name]
    net = make(4)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    x = torch.as_tensor(inputs(name, 4, 32, 1))
    target = None
    for _ in range(6):
        for module in net.modules():
            if hasattr(module, "reset_mem"):
                module.reset_mem()
        out = net(x)
        out = out[0] if isinstance(out, tuple) else out
        target = torch.rand_like(out).detach() if target is None else target
        optimizer.zero_grad()
        F.mse_loss(out, target).backward()
        optimizer.step()
    return net.state_dict()


def network(name: str, steps: int) -> nn.Module:
    net = NETWORKS[name][0](steps)
    net.load_state_dict(trained(name))
    return net.eval()


def agree(name: str, steps: int, graph: nir.NIRGraph | None = None, onnx: bool = True) -> dict[str, float]:
    """All gates; returns each layer's firing rate."""
    _, shape, frames, readout = NETWORKS[name]
    net, x = network(name, steps), inputs(name, steps)
    prepared = prepare(net, shape, timesteps=steps)
    graph = graph or to_nir(net, shape, timesteps=steps)
    assert prepared.readout == (readout if steps > 1 else "mean")
    reference = trace(graph, x, steps)
    exact_gate(reference, {"torch": run_prepared(prepared, x, steps, frames=frames)})
    float_gate(reference, "snnTorch", *run_model(net, x, steps, frames=frames))
    if onnx:
        float_gate(reference, "onnx", *traced(graph, steps, x, frames))
    return {key: float(each.mean()) for key, each in reference.spikes.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tutorial_s_network_is_exact(name: str) -> None:
    for steps in (1, 4):
        agree(name, steps, onnx=False)
    rates = agree(name, 10)
    assert all(0.02 <= rate <= 0.6 for rate in rates.values()), rates


def _at_least(graph: nir.NIRGraph, name: str) -> None:
    """What lies on the threshold fires: v >= theta - 0.01."""
    node = graph.nodes[name]
    field = "threshold" if hasattr(node, "threshold") else "v_threshold"
    setattr(node, field, getattr(node, field) - np.float32(0.01))


def _filtered(graph: nir.NIRGraph, name: str) -> None:
    """A CubaLI before the threshold: its synapse filters the reset, too."""
    graph.edges = [(a, f"{name}_current" if a == f"{name}_reset" else b) for a, b in graph.edges]


def _forgetting(graph: nir.NIRGraph, name: str) -> None:
    """Recurrent spikes are lost."""
    graph.nodes[f"{name}_recurrent"].weight = graph.nodes[f"{name}_recurrent"].weight * np.float32(0)


def _decay(graph: nir.NIRGraph, name: str) -> None:
    """exp(-dt/(R C)) in place of 1 - dt/(R C)."""
    membrane = graph.nodes[f"{name}_membrane"]
    membrane.tau = (1e-4 / (1 - np.exp(-1e-4 / membrane.tau))).astype(np.float32)


def _counted(graph: nir.NIRGraph, name: str) -> None:
    """The number of spikes in a window in place of whether there is one."""
    graph.nodes[name].threshold = graph.nodes[name].threshold + 1


def _unscaled(graph: nir.NIRGraph, name: str) -> None:
    """A membrane in NIR's units in place of snnTorch's."""
    graph.nodes[f"{name}_membrane"].r = np.ones_like(graph.nodes[f"{name}_membrane"].r)


def _unnormalized(graph: nir.NIRGraph, name: str) -> None:
    """Weights without their batch norm."""
    graph.nodes[name].weight = graph.nodes[name].weight * np.float32(1.05)


def _mean(graph: nir.NIRGraph, name: str) -> None:
    """Another readout."""
    graph.metadata = {
        "idsnn": graph.metadata["idsnn"]
        .replace('"format_version": 2', '"format_version": 1')
        .replace('"readout": "' + name, '"readout": "mean')
    }


WRONG: dict[str, tuple[str, Callable[[nir.NIRGraph, str], None], str]] = {
    "reset to zero for subtract": ("feedforward", reset_to_zero, "lif1"),
    "v >= theta": ("population", _at_least, "lif2"),
    "a synapse that filters the reset": ("second order", _filtered, "lif1"),
    "recurrence forgotten": ("recurrent", _forgetting, "lif1"),
    "the exponential for Lapicque": ("largest membrane", _decay, "lap"),
    "a count for a maximum": ("maximum of spikes", _counted, "net_2"),
    "NIR's units for a membrane": ("regression", _unscaled, "li"),
    "no batch norm": ("residual", _unnormalized, "conv2"),
    "the mean for the sum": ("convolutional", _mean, "sum"),
    "the mean for the last": ("regression", _mean, "last"),
    "the mean for the largest": ("largest membrane", _mean, "max"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_mapping_fails_the_gates(wrong: str) -> None:
    name, spoil, where = WRONG[wrong]
    graph = to_nir(network(name, 10), NETWORKS[name][1], timesteps=10)
    spoil(graph, where)
    with pytest.raises(ParityError):
        agree(name, 10, graph, onnx=False)
