"""The caller's own table from layer type to NIR node: it goes first, and the gate finds an entry that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError, UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_graph, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

STEPS = 6


class Quadrupled(nn.Module):
    """No layer of torch's, and code that no tracer could follow."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(4 * x.numpy())


class OwnNeuron(nn.Module):
    """A neuron of the user's own, with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.v: Any = None

    def reset(self) -> None:
        self.v = None

    def forward(self, x: Tensor) -> Tensor:
        v = x if self.v is None else 0.5 * self.v + x
        s = (v > 0.75).to(x.dtype)
        self.v = v * (1 - s)
        return s


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.scale, self.fire, self.fc2 = nn.Linear(5, 8), Quadrupled(), OwnNeuron(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fire(self.scale(self.fc1(x))))


def scale(layer: Quadrupled, shape: tuple[int, ...]) -> nir.NIRNode:
    return nir.Scale(np.full(shape, 4, np.float32))


def fire(layer: OwnNeuron, shape: tuple[int, ...], theta: float = 0.75) -> nir.NIRNode:
    def full(value: float) -> np.ndarray:
        return np.full(shape, value, np.float32)

    return nir.LIF(tau=full(2e-4), r=full(2), v_leak=full(0), v_threshold=full(theta), v_reset=full(0))


def gates(nodes: dict[type[nn.Module], Any]) -> None:
    model = Net().eval()
    x = np.random.default_rng(0).normal(0, 0.4, (STEPS, 20, 5)).astype(np.float32)
    network = prepare(model, (5,), nodes=nodes)
    reference = trace(to_graph(network, (5,)), x, STEPS)
    assert 0.05 < reference.spikes["fire"].mean() < 0.6
    exact_gate(reference, {"torch": run_prepared(network, x, STEPS, frames=True)})
    for _ in range(2):  # every run starts from rest
        float_gate(reference, "torch", *run_model(model, x, STEPS, frames=True, nodes=nodes))


def test_layers_of_ones_own_pass_the_gates_as_the_nodes_that_they_are() -> None:
    gates({Quadrupled: scale, OwnNeuron: fire})
    graph = to_nir(Net().eval(), (5,), nodes={Quadrupled: scale, OwnNeuron: fire})
    assert [type(graph.nodes[name]).__name__ for name in ("scale", "fire")] == ["Scale", "LIF"]


@pytest.mark.parametrize(
    "wrong",
    [
        {Quadrupled: lambda layer, shape: nir.Scale(np.full(shape, 3.9, np.float32)), OwnNeuron: fire},
        {Quadrupled: scale, OwnNeuron: lambda layer, shape: fire(layer, shape, 0.8)},
    ],
)
def test_a_wrong_entry_fails_in_the_gate(wrong: dict[type[nn.Module], Any]) -> None:
    with pytest.raises(ParityError, match="fire, step"):
        gates(wrong)


def test_an_entry_goes_before_what_is_known_of_a_type() -> None:
    def linear(layer: Any, shape: tuple[int, ...]) -> nir.NIRNode:
        return nir.Affine(2 * layer.weight.detach().numpy(), layer.bias.detach().numpy())

    graph = to_nir(nn.Sequential(nn.Linear(5, 8)), (5,), nodes={nn.Linear: linear})
    plain = to_nir(model := nn.Sequential(nn.Linear(5, 8)), (5,))
    assert np.array_equal(plain.nodes["0"].weight, model[0].weight.detach().numpy())
    assert graph.nodes["0"].weight.shape == (8, 5)
    assert not np.array_equal(graph.nodes["0"].weight, plain.nodes["0"].weight)


ENTRIES: dict[str, tuple[Callable[..., Any], str]] = {
    "fails": (lambda layer, shape: 1 / 0, r"scale \(Quadrupled\).*: its entry in nodes fails: division by zero"),
    "gives nothing": (lambda layer, shape: None, "it gives a NoneType; known are NIR's Affine, "),
    "gives another shape": (lambda layer, shape: nir.Affine(np.ones((2, 9)), np.zeros(2)), "fails: a weight of"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_is_none_is_refused_by_the_layers_path(name: str) -> None:
    entry, words = ENTRIES[name]
    with pytest.raises(UnsupportedError, match=words):
        to_nir(Net().eval(), (5,), nodes={Quadrupled: entry, OwnNeuron: fire})


def test_without_an_entry_the_layer_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"test_own_nodes\.py"):
        to_nir(Net().eval(), (5,), nodes={OwnNeuron: fire})
