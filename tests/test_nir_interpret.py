"""The interpreter against torch, snnTorch and equations written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graphs import CASES, DT, STEPS, affine, chain, full, inputs, lif
from snntorch import Leaky

from idsnn_deploy.errors import GraphError
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.graph.shapes import SHAPES
from idsnn_export.reference.equations import CELLS
from idsnn_export.reference.interpreter import interpret, trace

# torch says so of the even kernels that these graphs have on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


def test_every_type_with_a_shape_has_an_equation() -> None:
    assert set(CELLS) == set(SHAPES)


# ---- layers without memory, against torch ---------------------------------------------------------------------------


def _pad(node: Any) -> Any:
    return node.padding if isinstance(node.padding, (str, int)) else tuple(int(p) for p in node.padding)


def _torch_conv(node: Any, x: torch.Tensor) -> torch.Tensor:
    function = F.conv1d if isinstance(node, nir.Conv1d) else F.conv2d
    w, b = torch.tensor(node.weight).double(), torch.tensor(node.bias).double()
    return function(x, w, b, node.stride, _pad(node), node.dilation, node.groups)


def _torch_pool(node: Any, x: torch.Tensor) -> torch.Tensor:
    sizes = [tuple(map(int, v)) for v in (node.kernel_size, node.stride, node.padding)]
    mean = F.avg_pool2d(x, *sizes)
    return mean * np.prod(sizes[0]) if isinstance(node, nir.SumPool2d) else mean


TORCH: dict[type[nir.NIRNode], Callable[[Any, torch.Tensor], torch.Tensor]] = {
    nir.Affine: lambda n, x: F.linear(x, torch.tensor(n.weight).double(), torch.tensor(n.bias).double()),
    nir.Linear: lambda n, x: F.linear(x, torch.tensor(n.weight).double()),
    nir.Conv1d: _torch_conv,
    nir.Conv2d: _torch_conv,
    nir.SumPool2d: _torch_pool,
    nir.AvgPool2d: _torch_pool,
    nir.Flatten: lambda n, x: x.flatten(*(d if d < 0 else d + 1 for d in (n.start_dim, n.end_dim))),
    nir.Scale: lambda n, x: x * torch.tensor(n.scale),
    nir.Threshold: lambda n, x: (x > torch.tensor(n.threshold)).double(),
}


def test_every_node_without_memory_has_an_oracle_in_torch() -> None:
    remember = {nir.I, nir.LI, nir.IF, nir.LIF, nir.CubaLI, nir.CubaLIF, nir.Delay}  # held by hand and by simulators
    assert TORCH.keys() == CELLS.keys() - remember - {nir.Input, nir.Output}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if TORCH.keys() & set(case.shows)])
def test_a_layer_without_memory_does_what_torch_does(name: str) -> None:
    graph = CASES[name].build()
    x = inputs(graph)
    node = graph.nodes["n0"]
    outputs, _ = interpret(graph, x, STEPS, dtype=np.float64)
    expected = [TORCH[type(node)](node, torch.tensor(frame).double()).numpy() for frame in x]
    np.testing.assert_array_equal(outputs, np.stack(expected))


def test_axes_behind_those_that_are_flattened_stay() -> None:
    whole = (2, 3, 4, 5)
    x = np.arange(6 * 120, dtype=np.float32).reshape(2, 3, *whole)
    for start, end, shape in ((0, 1, (6, 4, 5)), (1, 2, (2, 12, 5)), (0, 0, whole)):
        outputs, _ = interpret(chain(whole, shape, nir.Flatten(np.array(whole), start, end)), x, 2)
        np.testing.assert_array_equal(outputs, x.reshape(2, 3, *shape))


# ---- neurons, equation by equation, one number at a time -------------------------------------------------------------


def _by_i(n: Any, x: list[float]) -> Iterator[float]:
    v = 0.0
    for i in x:
        v = v + DT * n["r"] * i
        yield v


def _by_if(n: Any, x: list[float]) -> Iterator[float]:
    v = 0.0
    for i in x:
        v = v + DT * n["r"] * i
        s = v > n["v_threshold"]
        v = n["v_reset"] if s else v
        yield float(s)


def _by_li(n: Any, x: list[float]) -> Iterator[float]:
    v = 0.0
    for i in x:
        v = v + DT / n["tau"] * (n["v_leak"] - v + n["r"] * i)
        yield v


def _by_lif(n: Any, x: list[float]) -> Iterator[float]:
    v = 0.0
    for i in x:
        v = v + DT / n["tau"] * (n["v_leak"] - v + n["r"] * i)
        s = v > n["v_threshold"]
        v = n["v_reset"] if s else v
        yield float(s)


def _by_cubali(n: Any, x: list[float]) -> Iterator[float]:
    current = v = 0.0
    for i in x:
        current = current + DT / n["tau_syn"] * (-current + n["w_in"] * i)
        v = v + DT / n["tau_mem"] * (n["v_leak"] - v + n["r"] * current)
        yield v


def _by_cubalif(n: Any, x: list[float]) -> Iterator[float]:
    current = v = 0.0
    for i in x:
        current = current + DT / n["tau_syn"] * (-current + n["w_in"] * i)
        v = v + DT / n["tau_mem"] * (n["v_leak"] - v + n["r"] * current)
        s = v > n["v_threshold"]
        v = n["v_reset"] if s else v
        yield float(s)


HAND = {
    nir.I: _by_i,
    nir.IF: _by_if,
    nir.LI: _by_li,
    nir.LIF: _by_lif,
    nir.CubaLI: _by_cubali,
    nir.CubaLIF: _by_cubalif,
}


@pytest.mark.parametrize("kind", HAND, ids=lambda kind: kind.__name__)
def test_a_neuron_follows_its_equation(kind: type[nir.NIRNode]) -> None:
    rng = np.random.default_rng(1)
    names = [name for name in kind.__dataclass_fields__ if name not in ("input_type", "output_type", "metadata")]
    low = {"tau": 2 * DT, "tau_syn": 2 * DT, "tau_mem": 2 * DT, "v_threshold": 0.2, "w_in": 0.5}
    scale = {"tau": DT, "tau_syn": DT, "tau_mem": DT, "r": 1 if "tau" in "".join(names) else 1 / DT}
    values = {name: low.get(name, 0.1) * 1.0 + rng.random(7) * scale.get(name, 0.3) for name in names}
    if "tau" not in "".join(names):
        values["r"] = rng.random(7) / DT
    x = rng.random((30, 1, 7)) * 2
    outputs, _ = interpret(chain((7,), (7,), kind(**values)), x, 30, dt=DT, dtype=np.float64)
    for k in range(7):
        expected = list(HAND[kind]({name: value[k] for name, value in values.items()}, x[:, 0, k].tolist()))
        np.testing.assert_allclose(outputs[:, 0, k], expected, atol=1e-9)
    assert np.count_nonzero(outputs) > 0
    assert len(np.unique(outputs)) > 1


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.9])
def test_a_lif_in_our_conventions_fires_as_snntorch_does(beta: float, delayed: bool) -> None:
    theta, shape = 0.5, (2, 3, 3)
    node = nir.LIF(
        tau=full(shape, DT / (1 - beta)),
        r=full(shape, 1),
        v_leak=full(shape, 0),
        v_threshold=full(shape, (1 - beta) * theta),
        v_reset=full(shape, 0),
    )
    x = np.random.default_rng(2).random((20, 4, *shape)) * 0.8
    _, spikes = interpret(chain(shape, shape, node), x, 20, dtype=np.float64)
    layer, mem, expected = Leaky(beta, theta, reset_mechanism="zero", reset_delay=delayed), torch.zeros(4, *shape), []
    for frame in torch.tensor(x).double():
        s, mem = layer(frame, mem.double())
        expected.append(s.detach().numpy())
    Leaky.instances.remove(layer)
    np.testing.assert_array_equal(spikes["n0"], np.stack(expected))
    assert 0.05 < spikes["n0"].mean() < 0.95


@pytest.mark.parametrize("steps", [STEPS, 10])  # the longest delay is 7
def test_a_delay_gives_what_came_so_many_steps_ago(steps: int) -> None:
    graph = CASES["delay_alone"].build()
    x = inputs(graph, steps)
    outputs, _ = interpret(graph, x, steps)
    for k, delay in enumerate((0, 1, 2, 7)):
        expected = np.zeros_like(x[:, :, k])
        expected[delay:] = x[: max(steps - delay, 0), :, k]
        np.testing.assert_array_equal(outputs[:, :, k], expected)


def test_a_delay_between_two_steps_is_refused() -> None:
    with pytest.raises(GraphError, match="whole number of steps"):
        interpret(chain((1,), (1,), nir.Delay(np.array([1.5 * DT]))), np.ones((1, 1)), 2)


# ---- topologies -----------------------------------------------------------------------------------------------------


def test_a_recurrent_layer_hears_its_spikes_one_step_late() -> None:
    graph = CASES["recurrent"].build()
    x = inputs(graph)
    fc, rec = graph.nodes["fc"], graph.nodes["rec"]
    heard = np.zeros((x.shape[1], 6), np.float32)
    v = np.zeros_like(heard)
    _, spikes = interpret(graph, x, STEPS)
    for t in range(STEPS):
        current = x[t] @ fc.weight.T + fc.bias + heard
        v = v + np.float32(0.5) * (np.float32(0.125) - v + 2 * current)
        s = v > 0.5
        v = np.where(s, np.float32(-0.25), v)
        np.testing.assert_array_equal(spikes["lif"][t], s)
        heard = s @ rec.weight.T + rec.bias


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        ("nested", lambda g: {"n0": g.nodes["block"].nodes["n0"], "n1": lif(6), "n2": affine(6, 3, seed=3)}),
    ],
)
def test_a_nested_graph_is_its_flat_form(name: str, flat: Callable[[nir.NIRGraph], dict[str, nir.NIRNode]]) -> None:
    graph = CASES[name].build()
    same = chain((4,), (3,), *flat(graph).values())
    np.testing.assert_array_equal(interpret(graph, inputs(graph), STEPS)[0], interpret(same, inputs(graph), STEPS)[0])


def test_a_source_on_two_paths_is_added_twice() -> None:
    graph = CASES["nested_skip"].build()
    x = inputs(graph)
    outputs, spikes = interpret(graph, x, STEPS)
    fc, out = graph.nodes["fc"], graph.nodes["out"]
    current = x @ fc.weight.T + fc.bias
    np.testing.assert_array_equal(outputs, (spikes["block_lif"] + 2 * current) @ out.weight.T + out.bias)


def test_a_static_input_is_the_same_frame_at_every_step() -> None:
    graph = CASES["residual"].build()
    x = inputs(graph, 1)
    for ours, theirs in zip(
        interpret(graph, x[0], 4)[1].values(), interpret(graph, np.repeat(x, 4, 0), 4)[1].values(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_trace_shows_membranes_that_explain_the_spikes() -> None:
    graph = CASES["sew"].build()
    found = trace(graph, inputs(graph), STEPS)
    assert list(found.spikes) == list(found.membranes) == list(found.thresholds) == ["lif1", "lif2", "lif3"]
    for name, spikes in found.spikes.items():
        np.testing.assert_array_equal(spikes, found.membranes[name] > found.thresholds[name])
    np.testing.assert_array_equal(found.logits, found.outputs.mean(0))


def test_dt_comes_from_the_argument_then_the_metadata_then_the_default() -> None:
    graph = CASES["leaky_integrate_and_fire"].build()
    x = inputs(graph)
    default = trace(graph, x, STEPS).membranes["n0"]
    half = trace(graph, x, STEPS, dt=DT / 2).membranes["n0"]
    write_metadata(graph, Metadata(STEPS, dt=DT / 2))
    np.testing.assert_array_equal(trace(graph, x, STEPS).membranes["n0"], half)
    np.testing.assert_array_equal(trace(graph, x, STEPS, dt=DT).membranes["n0"], default)
    assert not np.array_equal(default, half)


@pytest.mark.parametrize(("shape", "steps"), [((3, 5), 2), ((2, 3, 6), 3), ((6,), 1), ((3, 6), 0)])
def test_an_input_of_another_shape_is_a_misuse(shape: tuple[int, ...], steps: int) -> None:
    with pytest.raises(ValueError, match=r"shape|timesteps"):
        interpret(CASES["affine_alone"].build(), np.zeros(shape), steps)


@pytest.mark.parametrize("name", CASES)
def test_exact_weights_give_the_same_bits_in_float32_and_float64(name: str) -> None:
    graph = CASES[name].build()
    outputs, spikes = interpret(graph, inputs(graph), STEPS)
    exact, exact_spikes = interpret(graph, inputs(graph), STEPS, dtype=np.float64)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, exact)
    assert spikes.keys() == exact_spikes.keys()
    for layer in spikes:
        np.testing.assert_array_equal(spikes[layer], exact_spikes[layer])
