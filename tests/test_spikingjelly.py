"""SpikingJelly's modules: the file says what SpikingJelly itself does, in both step modes, from its own reset."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import nir
import numpy as np
import pytest
import torch
from graphs import reset_to_zero
from hypothesis import given
from hypothesis import strategies as st
from onnx_runs import run, traced
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError, UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_graph, to_nir
from idsnn_export.from_torch.spikingjelly_neurons import below
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.graph.plan import plan
from idsnn_export.graph.soft_reset import SoftReset, fused
from idsnn_export.lowering import to_onnx
from idsnn_export.reference.interpreter import trace

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (the extra `bench` brings it)")

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly_nets import NETWORKS, its_own_run, trained

net = cache(trained)  # the tests leave networks as they were


def inputs(name: str, timesteps: int, samples: int = 4) -> np.ndarray:
    """Like those that it was trained on."""
    _, shape, mode = NETWORKS[name]
    leading = (samples,) if mode == "whole" else (timesteps, samples)
    return np.random.default_rng(timesteps).normal(0.2, 1, (*leading, *shape)).astype(np.float32)


def agree(
    model: nn.Module, x: np.ndarray, timesteps: int, mode: str, graph: nir.NIRGraph | None = None, again: bool = True
) -> None:
    """The gates: exactly as the twin in float64; SpikingJelly's own run by the float32 gate."""
    frames = mode != "whole"
    shape = x.shape[1 + frames :]
    network = prepare(model, shape, timesteps=timesteps)
    reference = trace(graph or to_graph(network, shape), x, timesteps)
    if graph is None:
        exact_gate(reference, {"torch": run_prepared(network, x, timesteps, frames=frames)})
    if again:  # the export's own way of running it, with everything recorded anew
        float_gate(reference, "run_model", *run_model(model, x, timesteps, frames=frames))
    figures = float_gate(reference, "SpikingJelly", *its_own_run(model, x, mode))
    assert figures["flipped_samples"] == 0  # membranes here are exact, or far from their thresholds


@pytest.mark.parametrize("timesteps", [1, 4, 10])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_tutorials_and_zoo_are_exported_as_spikingjelly_runs_them(name: str, timesteps: int) -> None:
    mode, model = NETWORKS[name][2], net(name)
    if mode == "whole":
        model.T = timesteps
    x = inputs(name, timesteps)
    for layer_name, spikes in its_own_run(model, x, mode)[1].items():
        assert 0.02 <= spikes.mean() <= 0.6, (layer_name, spikes.mean())
    agree(model, x, timesteps, mode, again=timesteps == 4)


@pytest.mark.parametrize("name", ["containers", "spiking vgg"])
def test_onnx_answers_as_spikingjelly_does(name: str) -> None:
    model, x, mode = net(name), inputs(name, 4), NETWORKS[name][2]
    graph = to_nir(model, x.shape[2:], timesteps=4)
    answered, seen = traced(graph, 4, x, frames=True)
    logits, spikes = its_own_run(model, x, mode)
    assert all(np.array_equal(spikes[name], seen[name] > 0) for name in spikes)
    np.testing.assert_allclose(answered, logits, atol=1e-5)


def test_a_network_has_the_same_graph_in_both_step_modes() -> None:
    """And takes one image for all steps as well as frames."""
    model = net("sew resnet")
    graphs, answers = [], []
    image = inputs("sew resnet", 1)[0]
    for mode in ("m", "s"):
        functional.set_step_mode(model, mode)
        graphs.append(to_nir(model, image.shape[1:], timesteps=3))
        answers.append(run_model(model, image, 3)[0])
    functional.set_step_mode(model, "m")
    assert list(graphs[0].nodes) == list(graphs[1].nodes)
    assert graphs[0].edges == graphs[1].edges
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_allclose(its_own_run(model, np.stack([image] * 3), "m")[0], answers[0], atol=1e-6)


# ---- neurons ---------------------------------------------------------------------------------------------------------

NEURONS: dict[str, Callable[..., nn.Module]] = {
    "IF": neuron.IFNode,
    "LIF": lambda **o: neuron.LIFNode(tau=2.0, **o),
    "LIF, tau 3": lambda **o: neuron.LIFNode(tau=3.0, **o),
    "LIF, whole input": lambda **o: neuron.LIFNode(tau=1.7, decay_input=False, **o),
    "parametric": lambda **o: neuron.ParametricLIFNode(init_tau=2.6, **o),
    "parametric, whole input": lambda **o: neuron.ParametricLIFNode(init_tau=1.4, decay_input=False, **o),
    "simple IF": neuron.SimpleIFNode,
}
RESETS = {"to 0": 0.0, "below 0": -0.5, "above 0": 0.125, "by subtraction": None}


def of(make: Callable[..., nn.Module], mode: str = "s", **options: Any) -> tuple[nn.Module, np.ndarray]:
    """Weights of eighths, so that membranes meet their thresholds, and spikes for inputs."""
    torch.manual_seed(0)
    linear = layer.Linear(6, 6, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(-3, 5, (6, 6)) / 4)
    model = nn.Sequential(linear, make(**options))
    functional.set_step_mode(model, mode)
    return model.eval(), np.random.default_rng(0).integers(0, 2, (20, 30, 6)).astype(np.float32)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_and_reset_is_what_spikingjelly_does(name: str, reset: str) -> None:
    if name == "simple IF" and "0" in reset and reset != "to 0":
        return  # it starts from 0 whatever it resets to: refused, below
    for mode in ("s", "m"):
        model, x = of(NEURONS[name], mode, v_threshold=0.75, v_reset=RESETS[reset])
        spikes = its_own_run(model, x, mode)[1]["1"] if name != "simple IF" else None
        assert spikes is None or 0.02 < spikes.mean() < 0.85
        if name == "simple IF":
            reference = trace(to_nir(model, (6,), timesteps=20), x, 20)
            float_gate(reference, "run_model", *run_model(model, x, 20, frames=True))
        else:
            agree(model, x, len(x), mode)
    subtracts = [
        step.name for step in fused(plan(to_nir(model, (6,), timesteps=20))).steps if isinstance(step.node, SoftReset)
    ]
    assert subtracts == (["1"] if reset == "by subtraction" else [])


def test_a_membrane_on_its_threshold_fires() -> None:
    """1 + 1 is 2: SpikingJelly fires at v >= theta, and so do interpreter and ONNX, spike for spike."""
    for name, reset in (("IF", 0.0), ("IF", None), ("LIF", 0.0), ("LIF", None)):
        model, x = of(NEURONS[name], v_threshold=1.0, v_reset=reset)
        spikes = its_own_run(model, x, "s")[1]["1"]
        graph = to_nir(model, (6,))
        found = trace(graph, x, 20)
        assert np.array_equal(found.spikes["1"], spikes)
        onnx = run(to_onnx(graph, 20, static=False, kind="trace"), input=x)
        assert np.array_equal(onnx["spikes.1"] > 0, spikes)
        ties = np.abs(found.membranes["1"] - found.thresholds["1"]) < 1e-6
        assert ties.sum() > 5  # or nothing was tried


@given(st.floats(-4, 4, width=32).filter(lambda v: abs(v) > 1e-3), st.floats(2**-10, 1, width=32), st.integers(-3, 3))
def test_the_threshold_of_the_file_is_just_below_in_onnx_arithmetic(theta: float, scale: float, ulps: int) -> None:
    """float32(v / scale) < theta, and no float32 above v is."""
    v = below(np.array(float(theta)), np.array(float(scale)))
    assert v.dtype == np.float32
    assert np.float32(np.float64(v) / scale) < np.float32(theta)
    assert np.float32(np.float64(np.nextafter(v, np.float32(np.inf))) / scale) >= np.float32(theta)


# ---- what must not pass ----------------------------------------------------------------------------------------------


def _strictly(graph: nir.NIRGraph, model: Any) -> None:
    """v > theta, as NIR says it, for v >= theta."""
    node = graph.nodes["1"]
    for key in ("v_threshold", "threshold"):
        if hasattr(node, key):
            setattr(node, key, np.full_like(getattr(node, key), _theta(model, graph)))


def _theta(model: Any, graph: nir.NIRGraph) -> float:
    node = model[1]
    reset = 0 if node.v_reset is None else node.v_reset
    rate = 1 if not hasattr(node, "tau") or node.decay_input else 1 / node.tau
    return (node.v_threshold - reset) * rate


def _whole_input(graph: nir.NIRGraph, model: Any) -> None:
    """decay_input is overlooked: the input comes tau times as large."""
    graph.nodes["0"].weight = graph.nodes["0"].weight * np.float32(model[1].tau)


def _decayed_input(graph: nir.NIRGraph, model: Any) -> None:
    graph.nodes["0"].weight = graph.nodes["0"].weight / np.float32(model[1].tau)


def _unshifted(graph: nir.NIRGraph, model: Any) -> None:
    """v_reset is overlooked."""
    graph.nodes["1"].v_threshold = graph.nodes["1"].v_threshold + np.float32(model[1].v_reset)


def _from_zero(graph: nir.NIRGraph, model: Any) -> None:
    """NIR's own v_reset and v_leak, which starts from 0 and not from v_reset."""
    node = graph.nodes["1"]
    node.v_threshold = node.v_threshold + np.float32(model[1].v_reset)
    node.v_reset = node.v_leak = np.full_like(node.r, model[1].v_reset)


def _undecayed(graph: nir.NIRGraph, model: Any) -> None:
    """theta is taken off after the decay, not before it."""
    graph.nodes["1_reset"].scale = graph.nodes["1_reset"].scale / np.float32(1 - 1 / model[1].tau)


def _unlearned(graph: nir.NIRGraph, model: Any) -> None:
    """The leak that a parametric neuron starts with."""
    graph.nodes["1"].tau = np.full_like(graph.nodes["1"].tau, 2e-4)


WRONG: dict[str, tuple[str, str, Callable[[nir.NIRGraph, Any], None]]] = {
    "v > theta for v >= theta": ("IF", "to 0", _strictly),
    "v > theta for v >= theta, subtracting": ("IF", "by subtraction", _strictly),
    "v > theta for v >= theta, leaky": ("LIF", "to 0", _strictly),
    "reset to zero for soft": ("IF", "by subtraction", lambda graph, model: reset_to_zero(graph, "1")),
    "reset to zero for soft, leaky": ("LIF", "by subtraction", lambda graph, model: reset_to_zero(graph, "1")),
    "decay_input dropped": ("LIF", "to 0", _whole_input),
    "decay_input where there is none": ("LIF, whole input", "to 0", _decayed_input),
    "v_reset overlooked": ("LIF", "below 0", _unshifted),
    "v_reset of NIR": ("LIF", "below 0", _from_zero),
    "the reset is not decayed": ("LIF, tau 3", "by subtraction", _undecayed),
    "a leak that was not learned": ("parametric", "to 0", _unlearned),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapping_fails_the_same_gates(name: str) -> None:
    which, reset, spoil = WRONG[name]
    model, x = of(NEURONS[which], v_threshold=1.0, v_reset=RESETS[reset])
    agree(model, x, 20, "s", to_nir(model, (6,)))
    graph = to_nir(model, (6,))
    spoil(graph, model)
    with pytest.raises((ParityError, AssertionError)):  # a flip on the threshold itself is one that is only counted
        agree(model, x, 20, "s", graph)


# ---- layers ----------------------------------------------------------------------------------------------------------


def _learned(module: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for each in module.modules():
        if isinstance(each, torch.nn.modules.batchnorm._BatchNorm):
            each.running_mean.normal_(0, 0.3)
            each.running_var.uniform_(0.5, 2)
            each.weight.data.uniform_(0.5, 1.5)
            each.bias.data.normal_(0, 0.3)
    return module.eval()


LAYERS: dict[str, Callable[[], list[nn.Module]]] = {
    "threshold-dependent batch norm": lambda: [
        layer.Conv2d(2, 3, 3), layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 3), neuron.IFNode(v_threshold=0.5)
    ],
    "standardized weights": lambda: [layer.WSConv2d(2, 3, 3), neuron.IFNode(v_threshold=0.5)],
    "average pools, dropout": lambda: [
        layer.Conv2d(2, 3, 3), neuron.IFNode(v_threshold=0.3), layer.Dropout2d(), layer.AvgPool2d(2), layer.Dropout()
    ],
    "votes": lambda: [
        layer.Flatten(), layer.Linear(72, 11), neuron.LIFNode(v_threshold=0.2), layer.VotingLayer(3)
    ],
    "its layers of one dimension": lambda: [
        layer.Flatten(2), layer.Conv1d(2, 3, 5), layer.BatchNorm1d(3), neuron.LIFNode(v_threshold=0.2)
    ],
}  # fmt: skip


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_torchs_with_the_same_parameters(name: str, mode: str) -> None:
    if name.startswith("threshold-dependent") and mode == "s":
        return  # SpikingJelly has it for all steps alone
    torch.manual_seed(0)
    model = _learned(nn.Sequential(*LAYERS[name]()))
    functional.set_step_mode(model, mode)
    agree(model, np.random.default_rng(0).normal(0, 1, (4, 8, 2, 6, 6)).astype(np.float32), 4, mode)


class Own(neuron.LIFNode):
    """Another charge."""

    def single_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        return super().single_step_functional_forward((2 * inputs[0],), states, **kwargs)


class Renamed(neuron.LIFNode):
    """Its own default, the same dynamics."""

    def __init__(self) -> None:
        super().__init__(tau=3.0, v_threshold=0.5)


def test_a_class_derived_from_a_neuron_is_that_neuron_where_its_dynamics_are() -> None:
    model, x = of(Renamed)
    agree(model, x, 20, "s")


def _started(value: float) -> nn.Module:
    made = neuron.IFNode()
    made.set_reset_value("v", value)
    return made


class Loop(nn.Module):
    """Time in the forward; `before` is done before each step."""

    def __init__(self, before: Callable[[Any], Any] = lambda self: None, T: int = 4) -> None:
        super().__init__()
        self.fc, self.lif, self.before, self.T = layer.Linear(6, 6), neuron.LIFNode(v_threshold=0.3), before, T

    def forward(self, x: Tensor) -> Tensor:
        total = 0.0
        for _ in range(self.T):
            self.before(self)
            total = total + self.lif(self.fc(x))
        return total / self.T


def test_a_loop_in_the_forward_is_unrolled_and_a_reset_before_it_is_understood() -> None:
    class Whole(Loop):
        def forward(self, x: Tensor) -> Tensor:
            functional.reset_net(self)
            return super().forward(x)

    x = np.random.default_rng(0).normal(0.5, 1, (8, 6)).astype(np.float32)
    for model in (Loop().eval(), Whole().eval()):
        agree(model, x, 4, "whole")


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another of its neurons": (
        neuron.QIFNode,
        r"QIFNode.*has no NIR form; of SpikingJelly's neurons IFNode, LIFNode",
    ),
    "dynamics of one's own": (Own, r"1 \(Own\) at .*: has a single_step_functional_forward of its own.*nodes="),
    "another start": (lambda: _started(0.25), "starts at 0.25 and resets to 0.0"),
    "a simple neuron's start": (lambda: neuron.SimpleIFNode(v_reset=-0.5), "starts at 0.0 and resets to -0.5"),
    "no spikes": (
        lambda: neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)),
        "other values than 0 and 1",
    ),
    "no leak to infinity": (lambda: neuron.ParametricLIFNode(init_tau=1e60), "it must be above 0 and at most 1"),
    "scales for each step": (
        lambda: layer.TemporalEffectiveBatchNorm1d(4, 6),
        "TemporalEffectiveBatchNorm1d.*has no NIR form",
    ),
    "a filter": (lambda: layer.SynapseFilter(tau=2.0), r"SynapseFilter\).*has no NIR form"),
    "a group norm": (lambda: layer.GroupNorm(2, 6), "GroupNorm.*cannot be folded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_by_its_path(name: str) -> None:
    make, words = REFUSED[name]
    model = nn.Sequential(layer.Linear(6, 6), make()).eval()
    mode = "m" if "each step" in name else "s"
    functional.set_step_mode(model, mode)
    with pytest.raises(UnsupportedError, match=words) as error:
        to_nir(model, (6,), timesteps=4)
    assert str(error.value).startswith("1 (")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Loop(functional.reset_net), "set to 0 again before step 1"),
        (Loop(lambda net: setattr(net.lif, "v", 0.5)), "starts from other values than 0"),
        (Loop(lambda net: net.lif.v + 1), "reads a state that"),
        (nn.Sequential(neuron.IFNode(step_mode="m")), "step_mode 'm'.*give timesteps=T"),
        (nn.Sequential(layer.MultiStepContainer(neuron.IFNode()), neuron.IFNode()), "step_mode 's'.*set_step_mode"),
    ],
)
def test_a_forward_that_is_no_run_of_equal_steps_is_refused(model: nn.Module, words: str) -> None:
    timesteps = None if "timesteps" in words else 4
    with pytest.raises(UnsupportedError, match=words):
        to_nir(model.eval(), (6,), timesteps=timesteps)


def test_to_nir_leaves_states_and_modes_as_they_were() -> None:
    model, x = of(NEURONS["LIF"])
    with torch.no_grad():
        model(torch.as_tensor(x[0]))
    before = model[1].v.clone()
    to_nir(model, (6,))
    run_model(model, x, 20, frames=True)
    assert torch.equal(model[1].v, before)
