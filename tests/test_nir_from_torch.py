"""torch to NIR: the passes' laws, the conventions, the gates on every network of idsnn, and what NIR cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
import torch.nn.functional as F
from snntorch import Leaky
from torch import Tensor, nn

import idsnn
from idsnn_deploy.errors import GraphError, UnsupportedError
from idsnn_export.from_torch.cells import Cell
from idsnn_export.from_torch.convert import prepare, to_graph, to_nir, with_windows
from idsnn_export.from_torch.fold_batchnorm import FOLDS_INTO, fold
from idsnn_export.from_torch.network import INPUT, Network
from idsnn_export.from_torch.nodes import NODES
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.from_torch.sum_pooling import average_to_sum
from idsnn_export.from_torch.tracing import trace_model
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.graph.metadata import Metadata, read_metadata
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.interpreter import interpret, trace

# snnTorch warns of one of the options that the exporter has to refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")


def lif(beta: Any = 0.25, threshold: Any = 0.5, **options: Any) -> Leaky:
    """A snnTorch layer that its class's list does not keep alive."""
    layer = Leaky(beta, threshold, **{"reset_mechanism": "zero", "init_hidden": True, **options})
    Leaky.instances.remove(layer)
    return layer


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with statistics and scales as after training, in eval mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
        for raw in ("raw_beta", "raw_threshold"):
            if hasattr(module, raw):
                getattr(module, raw).data.normal_(0, 0.5)
    return model.eval()


def run_once(network: Network, x: Tensor) -> Tensor:
    """A network without spiking layers, in torch."""
    values = {INPUT: x}
    with torch.no_grad():
        for layer in network.layers:
            values[layer.name] = layer.module(sum(values[source] for source in layer.sources))
    return sum(values[source] for source in network.outputs)


# ---- passes, each with one law: the function stays the same ---------------------------------------------------------

FOLDABLE = {
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.BatchNorm2d(5)), (3, 9, 9)),
    "conv2d with a bias": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (3, 9, 9)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)), (4, 9, 9)),
    "without affine": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False)), (3, 9, 9)),
    "same padding": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3, padding="same"), nn.BatchNorm2d(5)), (3, 9, 9)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)), (3, 9)),
    "linear": (lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), (6,)),
    "twice": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.BatchNorm2d(5)), (3, 9, 9)),
}


@pytest.mark.parametrize("name", FOLDABLE)
def test_folding_keeps_the_function(name: str) -> None:
    make, shape = FOLDABLE[name]
    model = lived_in(make())
    x = torch.randn(4, *shape, dtype=torch.float64)
    folded = fold(trace_model(model, shape))
    assert not any(isinstance(layer.module, tuple(FOLDS_INTO)) for layer in folded.layers)
    with torch.no_grad():
        expected = model.double()(x)
    torch.testing.assert_close(run_once(folded, x), expected, rtol=0, atol=1e-12)


class _Pooled(nn.Module):
    """Both places that can take a window's size: the weights before, and the weights after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.stem = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AvgPool2d(2)
        self.other, self.pool, self.flatten, self.fc = (
            nn.Conv2d(4, 4, 1),
            nn.AvgPool2d(3),
            nn.Flatten(),
            nn.Linear(4, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.norm(self.conv(x)))
        return self.fc(self.flatten(self.pool(self.other(x) + x)))


def test_sum_pooling_keeps_the_function() -> None:
    model = lived_in(_Pooled())
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    summed = average_to_sum(fold(trace_model(model, (3, 8, 8))))
    assert [type(layer.module).__name__ for layer in summed.layers].count("SumPool2d") == 2
    with torch.no_grad():
        expected = model.double()(x)
    torch.testing.assert_close(run_once(summed, x), expected, rtol=0, atol=1e-12)


def test_adaptive_pooling_becomes_a_window_and_keeps_the_function() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d((2, 1))).double()
    x = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    found = with_windows(trace_model(model, (2, 6, 5)), (2, 6, 5))
    assert found.layers[1].module.kernel_size == (3, 5)
    torch.testing.assert_close(run_once(found, x), model(x).detach())


# ---- conventions ----------------------------------------------------------------------------------------------------


def small(**options: Any) -> idsnn.SpikingResNet:
    return lived_in(idsnn.SpikingResNet(**{"depth": 18, "num_classes": 10, "width": 4, **options}))


def test_a_lif_node_has_the_portable_form() -> None:
    node = to_nir(small(beta=0.4, threshold=0.7), (3, 8, 8)).nodes["layer2_0_lif1"]
    np.testing.assert_allclose(node.tau, 1e-4 / 0.6, rtol=1e-6)
    np.testing.assert_allclose(node.v_threshold, 0.6 * 0.7, rtol=1e-6)
    assert (node.r == 1).all()
    assert not node.v_leak.any()
    assert not node.v_reset.any()
    assert {getattr(node, n).shape for n in ("tau", "r", "v_leak", "v_threshold", "v_reset")} == {(8, 4, 4)}


def test_a_graph_is_flat_typed_and_float32_with_names_from_paths() -> None:
    graph = to_nir(small(), (3, 8, 8))
    assert {"input", "output", "conv1", "layer2_0_downsample_0", "layer4_1_lif2", "pool", "flatten", "fc"} <= set(
        graph.nodes
    )
    assert not any("." in name for name in graph.nodes)
    assert len(graph.nodes) == 42
    assert len(set(graph.edges)) == len(graph.edges) == 49
    for node in graph.nodes.values():
        assert node.input_type["input"] is not None
        assert node.output_type["output"] is not None
        for value in vars(node).values():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                assert value.dtype == np.float32
    flatten = graph.nodes["flatten"]
    assert (flatten.start_dim, flatten.end_dim) == (-3, -1)
    assert isinstance(graph.nodes["fc"], nir.Affine)
    assert graph.check_types()


def test_a_residual_is_edges_into_a_neuron_into_the_next_layer_or_into_every_later_neuron_of_its_stage() -> None:
    spiking, sew, membrane = (to_nir(small(residual=kind), (3, 8, 8)) for kind in ("spiking", "sew", "membrane"))
    into = [a for a, b in spiking.edges if b == "layer1_0_lif2"]
    assert into == ["layer1_0_conv2", "lif1"]
    assert [a for a, b in sew.edges if b == "layer1_1_conv1"] == ["layer1_0_lif2", "lif1"]
    assert {a for a, b in membrane.edges if b == "layer1_1_lif1"} == {"conv1", "layer1_0_conv2"}
    assert {a for a, b in membrane.edges if b == "layer2_0_lif1"} == {"conv1", "layer1_0_conv2", "layer1_1_conv2"}
    assert [a for a, b in membrane.edges if b == "layer2_0_downsample_0"] == ["layer2_0_lif1"]


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_dt_scales_time_and_changes_no_spike(dt: float) -> None:
    model = small()
    x = np.random.default_rng(0).random((2, 3, 8, 8))
    graph = to_nir(model, (3, 8, 8), dt=dt)
    ours, _ = interpret(graph, x, 4, dt=dt, dtype=np.float64)
    theirs, _ = interpret(to_nir(model, (3, 8, 8)), x, 4, dtype=np.float64)
    np.testing.assert_array_equal(ours, theirs)


def test_metadata_travel_and_bring_their_dt() -> None:
    said = Metadata(4, dt=1e-3, mean=(0.5,) * 3, std=(0.25,) * 3, labels=tuple("abcdefghij"))
    graph = to_nir(small(), (3, 8, 8), metadata=said)
    assert read_metadata(graph) == said
    np.testing.assert_allclose(graph.nodes["lif1"].tau, 1e-3 / 0.75, rtol=1e-6)
    with pytest.raises(ValueError, match="give one"):
        to_nir(small(), (3, 8, 8), dt=1e-4, metadata=said)


def test_the_model_is_left_as_it_was() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_nir(model, (3, 8, 8), pool="sum")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


# ---- the gates, on every kind of network that idsnn trains ----------------------------------------------------------

NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "18": ({}, (3, 12, 12)),
    "18 sew": ({"residual": "sew", "learn_beta": True, "learn_threshold": True}, (3, 12, 12)),
    "18 membrane": ({"residual": "membrane", "learn_beta": True, "learn_threshold": True}, (3, 12, 12)),
    "50 imagenet membrane": ({"depth": 50, "stem": "imagenet", "residual": "membrane"}, (3, 32, 32)),
    "18 imagenet": ({"stem": "imagenet", "in_channels": 1}, (1, 32, 32)),
    "34": ({"depth": 34, "learn_beta": True}, (3, 8, 8)),
    "50 imagenet sew": ({"depth": 50, "stem": "imagenet", "residual": "sew"}, (3, 32, 32)),
    "101": ({"depth": 101, "width": 2, "learn_threshold": True}, (3, 8, 8)),
}
WITH_POOLS = [
    ("18", "avg"),
    ("18", "sum"),
    ("18 sew", "sum"),
    ("18 membrane", "sum"),
    ("18 imagenet", "sum"),
    ("34", "avg"),
]
WITH_POOLS += [("50 imagenet sew", "avg"), ("50 imagenet membrane", "avg"), ("101", "sum")]


@pytest.mark.parametrize(("name", "pool"), WITH_POOLS)
def test_torch_interpreter_and_file_agree_spike_for_spike(name: str, pool: str, tmp_path: Any) -> None:
    options, shape = NETWORKS[name]
    model = small(**options)
    x = np.random.default_rng(0).random((2, *shape))
    network = prepare(model, shape, pool=pool)
    graph = to_graph(network, shape)
    write_nir(tmp_path / "model.nir", graph)
    reference = trace(graph, x, 4)
    others = {"torch": run_prepared(network, x, 4), "file": trace(read_nir(tmp_path / "model.nir"), x, 4)}
    figures = exact_gate(reference, others)
    assert figures["samples"] == 2
    assert figures["spikes"] > 0
    float_gate(reference, "as trained", *run_model(model, x, 4))


def test_frames_go_through_the_same_gates() -> None:
    model = small()
    x = np.random.default_rng(0).random((5, 2, 3, 8, 8))
    network = prepare(model, (3, 8, 8))
    reference = trace(to_graph(network, (3, 8, 8)), x, 5)
    exact_gate(reference, {"torch": run_prepared(network, x, 5, frames=True)})
    float_gate(reference, "as trained", *run_model(model, x, 5, frames=True))


# ---- modules that are not ours --------------------------------------------------------------------------------------


class _HandsStateIn(nn.Module):
    """The form that snnTorch's tutorials use, one step of it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), lif(0.5, init_hidden=False)
        self.drop, self.fc2, self.lif2 = nn.Dropout(0.5), nn.Linear(8, 3), lif(0.9, init_hidden=False)

    def forward(self, x: Tensor, mem1: Any = None, mem2: Any = None) -> Any:
        spikes, mem1 = self.lif1(self.fc1(x), mem1)
        spikes, mem2 = self.lif2(self.fc2(self.drop(spikes)), mem2)
        return spikes, mem1, mem2


class _Functional(nn.Module):
    """Sums and functions instead of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.lif = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1, bias=False), lif()
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.add(self.a(x), self.b(x))
        total += self.b(x)
        pooled = F.dropout(F.avg_pool2d(self.lif(total), 2), training=False)
        return self.fc(F.adaptive_avg_pool2d(pooled, 1).flatten(1))


class _Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output, self.lif = nn.Linear(6, 6), lif()

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(self.output(x)) + x


class Calls(nn.Module):
    def __init__(self, function: Callable[[nn.Module, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential()
        for name, module in modules.items():
            self.add_module(name, module)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def _norm_and_more(model: Any, x: Tensor) -> Tensor:
    current = model.conv(x)
    return model.lif(model.norm(current) + current)


OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "sequential": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), lif(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(36, 5), lif(0.8, 0.3, output=True),
        ),
        (2, 8, 8),
    ),
    "state handed in": (_HandsStateIn, (6,)),
    "functions": (_Functional, (2, 6, 6)),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3, 2), nn.BatchNorm1d(4), lif(), nn.Flatten(), nn.Linear(16, 3)), (2, 9),
    ),
    "per channel": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), lif(torch.tensor([[[0.2]], [[0.5]], [[0.9]]]), torch.rand(3, 1, 1))),
        (2, 8, 8),
    ),
    "reset at once": (lambda: nn.Sequential(nn.Linear(6, 8), lif(0.7, reset_delay=False), nn.Linear(8, 2)), (6,)),
    "grouped and dilated": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, (3, 1), (1, 2), (2, 0), (2, 1), groups=2), lif()), (4, 8, 8),
    ),
    "the output is a sum": (_Skip, (6,)),
    "norm after a neuron": (lambda: nn.Sequential(lif(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)), (3, 4, 4)),
    "norm of the input": (lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Conv1d(2, 3, 3, padding=1), lif()), (2, 9)),
    "norm before a linear layer": (
        lambda: nn.Sequential(nn.Linear(5, 6), lif(), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3), lif()), (5,),
    ),
    "norm of features": (lambda: nn.Sequential(nn.Linear(5, 6), lif(), nn.BatchNorm1d(6), lif()), (5,)),
    "norm of a convolution that feeds more": (
        lambda: Calls(_norm_and_more, conv=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3), lif=lif()), (3, 4, 4),
    ),
    "norm of a sum": (
        lambda: Calls(
            lambda m, x: m.lif(m.norm(m.a(x) + m.b(x))),
            a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 3, padding=1), norm=nn.BatchNorm2d(3), lif=lif(),
        ),
        (3, 4, 4),
    ),
    "scaled sums": (
        lambda: Calls(
            lambda m, x: m.lif(torch.sub(2 * m.conv(x) + x / 4, m.conv(x), alpha=0.5) + x - 0.3 * x),
            conv=nn.Conv2d(3, 3, 1), lif=lif(0.7, 0.3),
        ),
        (3, 4, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_any_traceable_module_passes_both_gates(name: str) -> None:
    torch.manual_seed(1)
    make, shape = OTHERS[name]
    model = lived_in(make())
    x = np.random.default_rng(0).normal(0, 2, (4, *shape))
    network = prepare(model, shape)
    graph = to_graph(network, shape)
    reference = trace(graph, x, 5)
    assert sum(spikes.sum() for spikes in reference.spikes.values()) > 0
    exact_gate(reference, {"torch": run_prepared(network, x, 5)})
    float_gate(reference, "as it is", *run_model(model, x, 5))


def test_stepping_snntorch_itself_gives_the_same_spikes() -> None:
    torch.manual_seed(0)
    model = _HandsStateIn().eval()
    graph = to_nir(model, (6,))
    x = np.random.default_rng(0).normal(0, 2, (9, 4, 6)).astype(np.float32)
    _, spikes = interpret(graph, x, 9)
    mem1, mem2 = torch.zeros(4, 8), torch.zeros(4, 3)
    for t, frame in enumerate(torch.tensor(x)):
        with torch.no_grad():
            out, mem1, mem2 = model(frame, mem1, mem2)
        np.testing.assert_array_equal(spikes["lif2"][t], out.numpy())


# ---- what NIR cannot say --------------------------------------------------------------------------------------------


def _chain(*modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*modules)


def _wrapped(module: nn.Module) -> nn.Module:
    """The module two levels down, at `block.1`."""
    outer = nn.Sequential()
    outer.add_module("block", nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), module))
    return outer


def _free(layer: Any) -> nn.Module:
    type(layer).instances.remove(layer)
    return layer


def _infinite() -> nn.Module:
    layer = nn.Conv2d(3, 3, 1)
    layer.weight.data[0] = torch.inf
    return _wrapped(layer)


UNSAYABLE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "max pooling": (lambda: _wrapped(nn.MaxPool2d(2)), r"block\.1 \(MaxPool2d\).*behind the neuron"),
    "relu": (lambda: _wrapped(nn.ReLU()), r"block\.1 \(ReLU\)"),
    "circular padding": (lambda: _wrapped(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")), r"block\.1 .*zeros"),
    "group norm": (lambda: _wrapped(nn.GroupNorm(1, 3)), r"block\.1 \(GroupNorm\).*folded"),
    "norm without statistics": (
        lambda: _wrapped(nn.BatchNorm2d(3, track_running_stats=False)),
        r"block\.1 \(BatchNorm2d\).*statistics",
    ),
    "ceil mode": (lambda: _wrapped(nn.AvgPool2d(2, ceil_mode=True)), r"block\.1 .*ceil_mode"),
    "average without padding": (lambda: _wrapped(nn.AvgPool2d(3, 1, 1, count_include_pad=False)), r"block\.1 .*count"),
    "uneven adaptive pooling": (lambda: _wrapped(nn.AdaptiveAvgPool2d(3)), r"block\.1 .*divide"),
    "another neuron": (lambda: _wrapped(_free(snntorch.Alpha(0.9, 0.8))), r"block\.1 \(Alpha\).*Synaptic"),
    "inhibition": (lambda: _wrapped(lif(inhibition=True)), r"block\.1 \(Leaky\).*inhibition"),
    "graded spikes": (lambda: _wrapped(lif(graded_spikes_factor=2.0)), r"block\.1 \(Leaky\).*graded"),
    "a product": (
        lambda: Calls(lambda m, x: m.conv(x) * x, conv=nn.Conv2d(3, 3, 1)),
        r"`mul` at test_nir_from_torch\.py:\d+: a product",
    ),
    "a constant": (lambda: Calls(lambda m, x: m.conv(x) + 1.0, conv=nn.Conv2d(3, 3, 1)), "a constant.*bias"),
    "a neuron called twice": (
        lambda: Calls(lambda m, x: m.lif(m.lif(x)), lif=lif()),
        r"lif \(Leaky\) at .*: is called twice",
    ),
    "a branch on data": (lambda: Calls(lambda m, x: x if m.conv(x)[0] > 0 else -x, conv=nn.Conv2d(3, 3, 1)), "axis"),
    "a sum over the batch": (lambda: Calls(lambda m, x: x - x.sum()), r"`sum` at .*batch"),
    "numbers looked at": (
        lambda: Calls(lambda m, x: x if float(m.conv(x)) > 0 else -x, conv=nn.Conv2d(3, 3, 1)),
        r"^test_nir_from_torch\.py:\d+: looks at the numbers",
    ),
    "a flat batch": (lambda: _wrapped(nn.Flatten(0)), r"block\.1 \(Flatten\).*batch"),
    "infinite weights": (_infinite, r"block\.1 \(Conv2d\).*finite"),
}


@pytest.mark.parametrize("name", UNSAYABLE)
def test_what_nir_cannot_say_is_refused_by_its_path(name: str) -> None:
    make, says = UNSAYABLE[name]
    with pytest.raises(UnsupportedError, match=says) as caught:
        to_nir(make().eval(), (3, 8, 8))
    assert "\n" not in str(caught.value)


def test_sum_pooling_needs_weights_beside_it() -> None:
    model = nn.Sequential(lif(), nn.AvgPool2d(2), lif())
    with pytest.raises(UnsupportedError, match=r"1 \(AvgPool2d\).*--pool avg"):
        to_nir(model, (3, 8, 8), pool="sum")


def test_layers_that_do_not_meet_are_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(GraphError, match=r"1 \(Conv2d\)"):
        to_nir(model, (3, 8, 8))
    with pytest.raises(GraphError, match="differ in shape"):
        to_nir(Calls(lambda m, x: m.conv(x) + x, conv=nn.Conv2d(3, 1, 1)), (3, 8, 8))


def test_a_model_in_training_mode_is_not_run() -> None:
    with pytest.raises(ValueError, match="eval"):
        run_model(nn.Sequential(nn.Linear(4, 4), lif()).train(), np.zeros((1, 4)), 1)


def test_every_layer_type_in_the_table_is_exported_somewhere_above() -> None:
    seen: set[type] = set()
    for make, shape in OTHERS.values():
        for pool in ("avg", "sum"):
            try:
                network = prepare(lived_in(make()), shape, pool=pool)
            except UnsupportedError:
                continue
            seen |= {type(layer.module) for layer in network.layers}
    cells = {kind for kind in NODES if issubclass(kind, Cell)}  # of spiking layers: tests/test_snntorch_neurons.py
    assert seen >= set(NODES) - cells - {nn.AdaptiveAvgPool2d}  # which a pass replaces
