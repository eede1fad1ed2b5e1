"""What a graph means, and which graphs mean nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import nir
import numpy as np
import pytest
from graphs import CASES, DT, affine, chain, conv, full, graph, lif

from idsnn_deploy.errors import GraphError, UnsupportedError
from idsnn_export.graph.plan import Incoming, fill_types, plan
from idsnn_export.graph.shapes import SHAPES, conv_window


@pytest.mark.parametrize("name", CASES)
def test_every_node_comes_after_its_sources_unless_they_are_late(name: str) -> None:
    done: set[str] = set()
    for step in plan(CASES[name].build()).steps:
        assert {source.name for source in step.sources if not source.delayed} <= done
        done.add(step.name)


@pytest.mark.parametrize("name", CASES)
def test_the_inferred_output_is_the_declared_one(name: str) -> None:
    built = CASES[name].build()
    steps = plan(built)
    (declared,) = built.output_type.values()
    assert steps[steps.output].shape == tuple(declared)


def test_every_supported_node_type_has_a_case() -> None:
    shown = {kind for case in CASES.values() for kind in case.shows}
    assert shown == set(SHAPES) | {nir.NIRGraph}


def test_the_order_follows_the_edges_and_not_the_names() -> None:
    steps = [step.name for step in plan(CASES["residual_projection"].build()).steps]
    assert steps == ["input", "conv1", "lif1", "conv2", "shortcut", "lif2", "output"]


def test_an_edge_back_onto_the_path_is_late() -> None:
    late = {
        (source.name, step.name)
        for step in plan(CASES["recurrent_order"].build()).steps
        for source in step.sources
        if source.delayed
    }
    assert late == {("b", "a")}


def test_nested_names_are_joined_and_inner_ports_are_gone() -> None:
    names = {step.name for step in plan(CASES["nested_recurrent"].build()).steps}
    assert names == {"input", "rnn_n0_lif", "rnn_n0_w_rec", "fc", "output"}


def test_an_inner_port_stays_where_it_adds_for_several_readers_and_nowhere_else() -> None:
    inner = graph(
        {"a": lif(4), "b": lif(4)},
        [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")],
        (4,),
        (4,),
    )
    nodes = {"x": affine(4, 4), "y": affine(4, 4), "block": inner, "next": chain((4,), (4,), lif(4))}
    edges = [("input", "x"), ("input", "y"), ("x", "block"), ("y", "block"), ("block", "next"), ("next", "output")]
    steps = plan(graph(nodes, edges, (4,), (4,))).steps
    assert {step.name for step in steps} == {
        "input",
        "x",
        "y",
        "block/input",
        "block_a",
        "block_b",
        "next_n0",
        "output",
    }
    assert [source.name for step in steps for source in step.sources if step.name == "next_n0"] == [
        "block_a",
        "block_b",
    ]


def test_a_source_that_reaches_a_node_on_two_paths_counts_twice() -> None:
    sources = [source.name for source in plan(CASES["nested_skip"].build())["out"].sources]
    assert sorted(sources) == ["block_lif", "fc", "fc"]


def test_single_numbers_are_spread_over_the_layer() -> None:
    node = nir.LIF(*(np.array([v], np.float32) for v in (2 * DT, 1, 0, 0.5)))
    step = plan(chain((2, 3, 3), (2, 3, 3), node))["n0"]
    assert step.node.v_threshold.shape == (2, 3, 3)
    assert node.v_threshold.shape == (1,)


def test_one_number_of_any_rank_is_spread_over_the_layer() -> None:
    step = plan(chain((4,), (4,), nir.Threshold(full((1, 1, 1), 0.5))))["n0"]
    assert step.node.threshold.tolist() == [0.5] * 4


def test_types_are_filled_in_where_nir_leaves_them_open() -> None:
    built = CASES["residual"].build()
    fill_types(built)
    assert built.nodes["pool"].output_type["output"].tolist() == [3, 1, 1]
    assert built.nodes["fc"].input_type["input"].tolist() == [3]


@pytest.mark.parametrize(("name", "size"), [("conv1d", 9), ("conv2d_non_square", (6, 8))])
def test_a_convolution_of_open_size_is_given_the_size_that_arrives(name: str, size: int | tuple[int, int]) -> None:
    built = CASES[name].build()
    built.nodes["n0"].input_shape = None
    fill_types(built)
    assert built.nodes["n0"].input_shape == size
    built.nodes["n0"].input_shape = stated = np.array(size)
    fill_types(built)
    assert built.nodes["n0"].input_shape is stated


def test_an_edge_is_on_time_unless_it_is_late() -> None:
    assert Incoming("a") == Incoming("a", delayed=False)


def test_same_padding_puts_the_odd_zero_behind() -> None:
    assert conv_window(CASES["conv2d_same"].build().nodes["n0"]).padding == ((0, 1), (1, 2))


def _with(change: Callable[[nir.NIRGraph], object], name: str = "residual") -> nir.NIRGraph:
    built = copy.deepcopy(CASES[name].build())
    change(built)
    return built


REFUSED: dict[str, tuple[Callable[[], nir.NIRGraph], str]] = {
    "dangling edge": (lambda: _with(lambda g: g.edges.append(("lif1", "gone"))), "no node 'gone'"),
    "duplicate edge": (lambda: _with(lambda g: g.edges.append(("lif1", "lif2"))), "twice"),
    "no input": (lambda: _with(lambda g: (g.nodes.pop("input"), g.edges.pop(0))), "no Input"),
    "no output": (lambda: _with(lambda g: (g.nodes.pop("output"), g.edges.pop())), "no Output"),
    "two inputs": (
        lambda: _with(lambda g: (g.nodes.update(x=nir.Input(np.array([2, 4, 4]))), g.edges.append(("x", "conv1")))),
        "2 Input",
    ),
    "edge into the input": (
        lambda: _with(lambda g: g.edges.append(("lif1", "input"))),
        "edge ('lif1', 'input') leaves an output or enters an input",
    ),
    "edge out of the output": (
        lambda: _with(lambda g: g.edges.append(("output", "lif1"))),
        "edge ('output', 'lif1') leaves an output or enters an input",
    ),
    "input without a shape": (lambda: chain((), (), affine(4, 4)), "input (Input): states no shape"),
    "input of nothing": (lambda: chain((0, 4, 4), (3,), affine(4, 3)), "input (Input): states no shape, or an empty"),
    "unreached node": (
        lambda: _with(lambda g: (g.nodes.update(x=lif(3, 4, 4)), g.edges.append(("x", "lif2")))),
        "x: no way leads from the input",
    ),
    "dead end": (
        lambda: _with(lambda g: (g.nodes.update(x=lif(3, 4, 4)), g.edges.append(("lif1", "x")))),
        "x: no way leads from this node",
    ),
    "cycle without a neuron": (
        lambda: graph(
            {"a": affine(4, 4), "b": affine(4, 4)},
            [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")],
            (4,),
            (4,),
        ),
        "a → b → a: a cycle without a neuron; nothing in it remembers the step before",
    ),
    "two nodes under one name": (
        lambda: _with(lambda g: (g.nodes.update(block_n0=affine(4, 4)),), "nested"),
        "two nodes are named 'block_n0'",
    ),
    "sources of two shapes": (
        lambda: _with(lambda g: g.edges.append(("input", "lif2"))),
        "lif2: its sources differ in shape",
    ),
    "weights that do not fit": (lambda: chain((5,), (4,), affine(6, 4)), "n0 (Affine)"),
    "window larger than the input": (lambda: chain((2, 3, 3), (3, 1, 1), conv((2, 3, 3), 3, (7, 7))), "does not fit"),
    "a wrong declared output": (lambda: chain((6,), (5,), affine(6, 4)), "output (Output)"),
    "tau of 0": (
        lambda: chain((4,), (4,), nir.LI(full((4,), 0), full((4,), 1), full((4,), 0))),
        "`tau` must be above 0",
    ),
    "parameters of another shape": (lambda: chain((5,), (5,), nir.Threshold(full((4,), 1))), "does not fit"),
    "same padding with a stride": (
        lambda: chain((2, 5, 5), (3, 3, 3), conv((2, 5, 5), 3, stride=2, padding="same")),
        "same",
    ),
    "a type nobody knows": (lambda: chain((4,), (4,), _Unknown()), "n0 (_Unknown)"),
}


class _Unknown(nir.NIRNode):
    def __init__(self) -> None:
        self.input_type, self.output_type, self.metadata = {"input": None}, {"output": None}, {}


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_without_a_meaning_is_refused_and_says_where(name: str) -> None:
    build, says = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        plan(build())
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_type_is_an_unsupported_one() -> None:
    with pytest.raises(UnsupportedError):
        plan(chain((4,), (4,), _Unknown()))


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    assert len(plan(chain((2,), (2,), *(affine(2, 2) for _ in range(3000)))).steps) == 3002


REMEMBERS = {
    nir.I: "integrator",
    nir.LI: "leaky_integrator",
    nir.IF: "integrate_and_fire",
    nir.LIF: "leaky_integrate_and_fire",
    nir.CubaLI: "current_based_integrator",
    nir.CubaLIF: "current_based_lif",
    nir.Delay: "delay_alone",
}
FORGETS = {
    nir.Affine: "affine_alone",
    nir.Linear: "linear_alone",
    nir.Scale: "scale_alone",
    nir.Threshold: "threshold_alone",
    nir.Flatten: "flatten_middle",
    nir.Conv1d: "conv1d",
    nir.Conv2d: "conv2d",
    nir.SumPool2d: "sumpool2d",
    nir.AvgPool2d: "avgpool2d",
}


def _ring(name: str) -> nir.NIRGraph:
    """The one node of a case with an edge back to itself."""
    return _with(lambda g: g.edges.append(("n0", "n0")), name)


@pytest.mark.parametrize("name", REMEMBERS.values(), ids=[kind.__name__ for kind in REMEMBERS])
def test_what_remembers_the_step_before_may_hear_itself(name: str) -> None:
    step = plan(_ring(name))["n0"]
    assert [(source.name, source.delayed) for source in step.sources] == [("input", False), ("n0", True)]


@pytest.mark.parametrize("name", FORGETS.values(), ids=[kind.__name__ for kind in FORGETS])
def test_what_remembers_nothing_may_not_hear_itself(name: str) -> None:
    with pytest.raises(GraphError, match="nothing in it remembers the step before"):
        plan(_ring(name))


def test_every_type_remembers_or_forgets() -> None:
    assert set(REMEMBERS) | set(FORGETS) | {nir.Input, nir.Output} == set(SHAPES)


def test_the_neurons_are_the_nodes_that_give_0_or_1() -> None:
    shown = {case: plan(CASES[case].build()).neurons for case in (*REMEMBERS.values(), *FORGETS.values())}
    spiking = {"integrate_and_fire", "leaky_integrate_and_fire", "current_based_lif", "threshold_alone"}
    assert {case for case, neurons in shown.items() if neurons} == spiking
