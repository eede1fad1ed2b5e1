"""snnTorch's neurons beyond reset to zero: the file says what snnTorch itself does when a loop steps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from graphs import reset_to_zero
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_runs import run, traced
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError, UnsupportedError
from idsnn_export.from_torch.cells import Cell
from idsnn_export.from_torch.convert import prepare, to_graph, to_nir
from idsnn_export.from_torch.nodes import NODES
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.graph.plan import plan
from idsnn_export.graph.soft_reset import SoftReset, fused
from idsnn_export.lowering import to_onnx
from idsnn_export.reference.interpreter import trace

STEPS, FEATURES = 30, 6
Neuron = Callable[[], Any]


def free(neuron: Any) -> Any:
    """The neuron, no longer kept alive by its class's list."""
    for kind in type(neuron).__mro__:
        if isinstance(getattr(kind, "instances", None), list) and neuron in kind.instances:
            kind.instances.remove(neuron)
    return neuron


class Net(nn.Module):
    """Two layers of a neuron; states are kept inside."""

    def __init__(self, make: Neuron) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(FEATURES, FEATURES), free(make())
        self.fc2, self.lif2 = nn.Linear(FEATURES, FEATURES), free(make())

    def forward(self, x: Tensor) -> Any:
        return self.lif2(self.fc2(self.lif1(self.fc1(x))[0]))[0]


def spread(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, FEATURES)


def recurrent(make: Callable[..., Any], **options: Any) -> Neuron:
    def build() -> Any:
        neuron = make(linear_features=FEATURES, **options)
        nn.init.normal_(neuron.recurrent.weight, 0, 0.4)
        return neuron

    return build


NEURONS: dict[str, Neuron] = {
    "subtract": lambda: snn.Leaky(0.8, 0.7),
    "subtract, beta 0": lambda: snn.Leaky(0.0, 0.4),
    "subtract, beta 1": lambda: snn.Leaky(1.0, 0.7),
    "subtract, small beta": lambda: snn.Leaky(1e-6, 0.3),
    "subtract, learned": lambda: snn.Leaky(0.8, 0.7, learn_beta=True, learn_threshold=True),
    "subtract, per neuron": lambda: snn.Leaky(spread(0, 0.99), spread(0.3, 1.5)),
    "zero, beta 0": lambda: snn.Leaky(0.0, 0.4, reset_mechanism="zero"),
    "zero, beta 1": lambda: snn.Leaky(1.0, 0.7, reset_mechanism="zero"),
    "none": lambda: snn.Leaky(0.5, 0.7, reset_mechanism="none"),
    "none, beta 1": lambda: snn.Leaky(1.0, 0.7, reset_mechanism="none"),
    "synaptic": lambda: snn.Synaptic(0.6, 0.8, 0.9),
    "synaptic, per neuron": lambda: snn.Synaptic(spread(0, 0.9), spread(0.1, 0.95), spread(0.5, 1.5)),
    "synaptic, without leaks": lambda: snn.Synaptic(1.0, 1.0, 2.0),
    "synaptic, none": lambda: snn.Synaptic(0.6, 0.5, 0.9, reset_mechanism="none"),
    "synaptic, zero at once": lambda: snn.Synaptic(0.6, 0.8, 0.9, reset_mechanism="zero", reset_delay=False),
    "lapicque": lambda: snn.Lapicque(R=2.0, C=1.5, time_step=1.0, threshold=0.4),
    "lapicque, by beta": lambda: snn.Lapicque(0.8, threshold=0.2),
    "lapicque, none": lambda: snn.Lapicque(R=2.0, C=1.5, time_step=1.0, threshold=0.4, reset_mechanism="none"),
    "rleaky": recurrent(snn.RLeaky, beta=0.7, threshold=0.6),
    "rleaky, one to one": lambda: snn.RLeaky(0.7, V=spread(-0.6, 0.6), all_to_all=False, threshold=0.6),
    "rleaky, none": recurrent(snn.RLeaky, beta=0.5, threshold=0.6, reset_mechanism="none"),
    "rleaky, zero at once": recurrent(snn.RLeaky, beta=0.7, threshold=0.6, reset_mechanism="zero", reset_delay=False),
    "rsynaptic": recurrent(snn.RSynaptic, alpha=0.5, beta=0.7, threshold=0.8),
    "rsynaptic, one to one": lambda: snn.RSynaptic(0.5, 0.7, V=0.4, all_to_all=False, threshold=0.8),
}


def built(make: Neuron, seed: int = 0) -> tuple[nn.Module, np.ndarray]:
    torch.manual_seed(seed)
    model = Net(make).eval()
    return model, np.random.default_rng(seed).normal(0.3, 1.2, (STEPS, 8, FEATURES)).astype(np.float32)


def stepped(model: nn.Module, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """snnTorch's own loop, from its own reset: the mean output, and every spike by hooks."""
    spikes: dict[str, list[np.ndarray]] = {}
    hooks, outputs = [], []
    for name, module in model.named_modules():
        if isinstance(module, SpikingNeuron):
            module.reset_mem()

            def keep(module: Any, x: Any, y: Any, name: str = name) -> None:
                spikes.setdefault(name, []).append((y[0] if isinstance(y, tuple) else y).numpy() > 0)

            hooks.append(module.register_forward_hook(keep))
    with torch.no_grad():
        outputs = [model(frame).numpy() for frame in torch.as_tensor(x)]
        for hook in hooks:
            hook.remove()
    return np.stack(outputs).mean(0), {name: np.stack(each) for name, each in spikes.items()}


def agree(model: nn.Module, x: np.ndarray, graph: nir.NIRGraph | None = None) -> None:
    """The gates: exactly as the twin in float64; snnTorch's own loop and ONNX by the float32 gate."""
    network = prepare(model, x.shape[2:])
    graph = graph or to_graph(network, x.shape[2:])
    reference = trace(graph, x, len(x))
    exact_gate(reference, {"torch": run_prepared(network, x, len(x), frames=True)})
    logits, spikes = stepped(model, x)
    float_gate(reference, "snnTorch", logits, spikes)
    float_gate(reference, "run_model", *run_model(model, x, len(x), frames=True))
    float_gate(reference, "onnx", *traced(graph, len(x), x, frames=True))


@pytest.mark.parametrize("name", NEURONS)
def test_the_file_says_what_snntorch_does(name: str) -> None:
    model, x = built(NEURONS[name])
    spikes = stepped(model, x)[1]
    assert all(0.02 < each.mean() < 0.75 for each in spikes.values()), {k: v.mean() for k, v in spikes.items()}
    agree(model, x)


def test_every_cell_is_of_some_neuron_above() -> None:
    seen = {type(layer.module) for make in NEURONS.values() for layer in prepare(built(make)[0], (FEATURES,)).layers}
    assert seen >= {kind for kind in NODES if issubclass(kind, Cell)}


def test_a_convolution_carries_spikes_back_and_its_bias_is_there_from_the_first_step() -> None:
    torch.manual_seed(0)
    neuron = free(snn.RLeaky(0.6, conv2d_channels=2, kernel_size=3, threshold=0.8, init_hidden=True))
    nn.init.constant_(neuron.recurrent.bias, 0.3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), neuron).eval()
    agree(model, np.random.default_rng(0).normal(0, 1.5, (10, 2, 1, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("name", [name for name in NEURONS if "zero" not in name and "none" not in name])
def test_what_resets_by_subtraction_is_one_neuron_of_the_plan(name: str) -> None:
    model, _ = built(NEURONS[name])
    steps = fused(plan(to_nir(model, (FEATURES,)))).steps
    assert [step.name for step in steps if isinstance(step.node, SoftReset)] == ["lif1", "lif2"]


def _filtered(graph: nir.NIRGraph, model: Any) -> None:
    """The reset goes through the synapse, as it would before a CubaLI."""
    graph.edges = [(a, "lif1_current" if a == "lif1_reset" else b) for a, b in graph.edges]


def _less(graph: nir.NIRGraph, model: Any) -> None:
    """theta (1 - beta) is taken off, as if NIR's membrane were the input's."""
    graph.nodes["lif1_reset"].scale = graph.nodes["lif1_reset"].scale * np.float32(0.2)


WRONG: dict[str, tuple[str, Callable[[nir.NIRGraph, Any], None]]] = {
    "reset to zero for subtract": ("subtract", lambda graph, model: reset_to_zero(graph, "lif1")),
    "the reset is filtered by the synapse": ("synaptic", _filtered),
    "another amount": ("subtract", _less),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapping_fails_the_same_gates(name: str) -> None:
    neuron, spoil = WRONG[name]
    model, x = built(NEURONS[neuron])
    graph = to_nir(model, (FEATURES,))
    spoil(graph, model)
    with pytest.raises(ParityError):
        agree(model, x, graph)


def test_a_membrane_on_its_threshold_fires_as_in_snntorch() -> None:
    model = nn.Sequential(free(snn.Leaky(1.0, 0.5, init_hidden=True))).eval()
    x = np.full((4, 1, 1), 0.5, np.float32)
    _, spikes = stepped(model, x)
    assert spikes["0"].ravel().tolist() == [False, True, True, True]  # 0.5, 1, 1, 1; v >= theta would fire at once
    graph = to_nir(model, (1,))
    np.testing.assert_array_equal(trace(graph, x, 4).spikes["0"], spikes["0"])
    graph.nodes["0"].threshold = np.nextafter(graph.nodes["0"].threshold, np.float32(-np.inf))  # v >= theta
    assert (trace(graph, x, 4).spikes["0"] != spikes["0"]).any()


class Membrane(nn.Module):
    """The readout of regression: the last layer's membrane."""

    def __init__(self, last: Any) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(FEATURES, FEATURES), free(snn.Leaky(0.8, 0.7))
        self.fc2, self.lif2 = nn.Linear(FEATURES, 3), free(last)

    def forward(self, x: Tensor) -> Any:
        spikes, _ = self.lif1(self.fc1(x))
        return self.lif2(self.fc2(spikes))[2 if isinstance(self.lif2, snn.Synaptic) else 1]


READ: dict[str, Neuron] = {
    "none": lambda: snn.Leaky(0.9, reset_mechanism="none"),
    "none, beta 1": lambda: snn.Leaky(1.0, reset_mechanism="none"),
    "subtract": lambda: snn.Leaky(0.9, 0.5),
    "synaptic": lambda: snn.Synaptic(0.5, 0.9, reset_mechanism="none"),
    "lapicque": lambda: snn.Lapicque(R=2.0, C=1.5, time_step=1.0, threshold=0.4, reset_mechanism="none"),
}


@pytest.mark.parametrize("name", READ)
def test_a_membrane_is_read_in_snntorch_s_units(name: str) -> None:
    torch.manual_seed(2)
    model = Membrane(READ[name]()).eval()
    x = np.random.default_rng(2).normal(0.3, 1.2, (STEPS, 4, FEATURES)).astype(np.float32)
    graph = to_nir(model, (FEATURES,))
    reference = trace(graph, x, STEPS)
    exact_gate(reference, {"torch": run_prepared(prepare(model, (FEATURES,)), x, STEPS, frames=True)})
    logits, spikes = stepped(model, x)
    float_gate(reference, "snnTorch", logits, {name: spikes[name] for name in reference.spikes})
    float_gate(reference, "run_model", *run_model(model, x, STEPS, frames=True))
    assert ("lif2" in graph.nodes) == (name == "subtract")  # nobody asks whether a readout fires
    np.testing.assert_allclose(run(to_onnx(graph, STEPS, static=False), input=x)["logits"], logits, atol=1e-4)


def test_states_of_a_model_are_as_they_were_after_it_was_run() -> None:
    model, x = built(NEURONS["synaptic"])
    stepped(model, x[:3])
    before = [model.lif1.syn.clone(), model.lif1.mem.clone()]
    first = run_model(model, x, STEPS, frames=True)[0]
    assert torch.equal(model.lif1.syn, before[0])
    assert torch.equal(model.lif1.mem, before[1])
    np.testing.assert_array_equal(run_model(model, x, STEPS, frames=True)[0], first)


REFUSED: dict[str, tuple[Neuron, str]] = {
    "subtract at once": (lambda: snn.Leaky(0.5, reset_delay=False), "reset_delay=True"),
    "synaptic, zero late": (lambda: snn.Synaptic(0.5, 0.5, reset_mechanism="zero"), "reset_delay=False"),
    "lapicque, zero": (lambda: snn.Lapicque(0.5, reset_mechanism="zero"), "reset_mechanism='subtract'"),
    "rleaky, zero late": (recurrent(snn.RLeaky, beta=0.5, reset_mechanism="zero"), "reset_delay=False"),
    "rsynaptic, zero": (
        recurrent(snn.RSynaptic, alpha=0.5, beta=0.5, reset_mechanism="zero", reset_delay=False),
        "'subtract'",
    ),
    "synaptic, zero without a leak": (
        lambda: snn.Synaptic(0.5, 1.0, reset_mechanism="zero", reset_delay=False),
        "'subtract'",
    ),
    "a leak in some neurons": (lambda: snn.Leaky(spread(0.5, 1.0)), "choose one"),
    "recurrent bias without a leak": (recurrent(snn.RLeaky, beta=1.0), "no bias"),
    "inhibition": (lambda: snn.Leaky(0.5, inhibition=True), "negative weights"),
    "graded spikes": (lambda: snn.Leaky(0.5, graded_spikes_factor=2.0), "scale the next weights"),
    "a short R C": (lambda: snn.Lapicque(R=0.5, C=1.0, time_step=1.0), "R C"),
}


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_form_is_refused_by_layer_with_the_way_out(name: str) -> None:
    make, way_out = REFUSED[name]
    with pytest.raises(UnsupportedError, match=r"^lif1 \(\w+\) at test_snntorch_neurons.py:\d+: ") as caught:
        to_nir(Net(make).eval(), (FEATURES,))
    assert way_out in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_membrane_that_is_reset_to_zero_is_not_read() -> None:
    with pytest.raises(UnsupportedError, match=r"lif2 \(Leaky\) at \S+: its membrane is read.*'none'"):
        to_nir(Membrane(snn.Leaky(0.9, reset_mechanism="zero")).eval(), (FEATURES,))


class Named(Membrane):
    """A layer with the name of a part of a neuron."""

    def __init__(self, name: str) -> None:
        super().__init__(snn.Leaky(0.9))
        self.name = name
        self.add_module(name, nn.Linear(FEATURES, FEATURES))

    def forward(self, x: Tensor) -> Any:
        return super().forward(getattr(self, self.name)(x))


@pytest.mark.parametrize("name", ["lif1_membrane", "lif1_reset", "lif2_membrane"])
def test_a_layer_with_the_name_of_a_neuron_s_part_is_refused_and_not_lost(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name}.*rename"):
        to_nir(Named(name).eval(), (FEATURES,))


class Mixed(nn.Module):
    """Layers of any of the neurons, one after the other."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.depth = len(names)
        for i, name in enumerate(names):
            self.add_module(f"fc{i}", nn.Linear(FEATURES, FEATURES))
            self.add_module(f"lif{i}", free(NEURONS[name]()))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.depth):
            x = getattr(self, f"lif{i}")(getattr(self, f"fc{i}")(x))[0]
        return x


@settings(max_examples=25, derandomize=True)
@given(st.lists(st.sampled_from(sorted(NEURONS)), min_size=1, max_size=4), st.integers(0, 2**16))
def test_any_mixture_of_neurons_passes_the_gates(names: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    model = Mixed(names).eval()
    agree(model, np.random.default_rng(seed).normal(0.3, 1.2, (10, 3, FEATURES)).astype(np.float32))
