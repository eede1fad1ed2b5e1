"""Nested graphs mean what their equations say: a graph inside a graph is one node of it, with a state of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import nir
import numpy as np
import pytest
from graphs import DT, affine, chain, conv, full, graph, lif
from onnx_runs import run, stepped

from idsnn_deploy.errors import GraphError
from idsnn_export.graph.plan import plan
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.interpreter import interpret

STEPS = 5


def prompt(r: float = 1.0) -> nir.LI:
    """v[t] = r I[t]: a leaky integrator that forgets everything in one step, yet counts as a state."""
    return nir.LI(full((1,), DT), full((1,), r), full((1,), 0))


def gain(s: float) -> nir.Scale:
    return nir.Scale(full((1,), s))


def two_readers(feedback: float = 0.25) -> nir.NIRGraph:
    """y[t] = 2 (x[t] + feedback y[t-1]): the inner input has two readers, and the feedback reaches both a step late."""
    edges = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]
    inner = graph({"a": prompt(), "b": prompt()}, edges, (1,), (1,))
    outer = [("input", "block"), ("block", "fb"), ("fb", "block"), ("block", "output")]
    return graph({"block": inner, "fb": gain(feedback)}, outer, (1,), (1,))


def impulse(steps: int = 4) -> np.ndarray[Any, Any]:
    return np.eye(steps, 1).reshape(steps, 1, 1)


def test_every_reader_of_an_inner_input_gets_the_same_late_feedback() -> None:
    outputs, _ = interpret(two_readers(), impulse(), 4)
    assert outputs.ravel().tolist() == [2, 1, 0.5, 0.25]


def test_what_is_late_at_two_levels_comes_two_steps_late() -> None:
    """y[t] = x[t] + g[t-1], g[t] = y[t] + z[t-1], z[t] = g[t] / 4, where g is a graph that also passes its input on."""
    inner = graph({"n": prompt(0)}, [("input", "n"), ("n", "output"), ("input", "output")], (1,), (1,))
    nodes = {"y": prompt(), "g": inner, "z": prompt(0.25)}
    edges = [("input", "y"), ("y", "g"), ("g", "z"), ("z", "g"), ("g", "y"), ("y", "output")]
    y, g, z, expected = 0.0, 0.0, 0.0, []
    for x in (1, 0, 0, 0, 0):
        y = x + g
        g = y + z
        z = g / 4
        expected.append(y)
    outputs, _ = interpret(graph(nodes, edges, (1,), (1,)), impulse(5), 5)
    assert outputs.ravel().tolist() == expected


# ---- random nested graphs against an evaluation of their own --------------------------------------------------------


def evaluation(network: nir.NIRGraph) -> Callable[[Any], Any]:
    """One time step after another of a graph, nested graphs as nodes: written anew, it shares nothing with `plan`."""
    names = list(network.nodes)
    onward: dict[str, list[str]] = {name: [] for name in names}
    for a, b in network.edges:
        onward[a].append(b)
    late, seen, path, order = set(), set(), [], []

    def visit(name: str) -> None:
        seen.add(name)
        path.append(name)
        for after in onward[name]:
            if after in path:
                late.add((name, after))
            elif after not in seen:
                visit(after)
        order.insert(0, path.pop())

    visit("input")
    cells = {name: cell(node) for name, node in network.nodes.items()}
    before: dict[str, Any] = dict.fromkeys(names, 0.0)

    def step(x: Any) -> Any:
        now: dict[str, Any] = {}
        for name in order:
            given = [before[a] if (a, b) in late else now[a] for a, b in network.edges if b == name]
            now[name] = cells[name](x if name == "input" else sum(given))
        before.update(now)
        return now["output"]

    return step


def cell(node: nir.NIRNode) -> Callable[[Any], Any]:
    if isinstance(node, nir.NIRGraph):
        return evaluation(node)
    if isinstance(node, nir.Scale):
        return lambda x: x * float(node.scale[0])
    if isinstance(node, nir.LI):
        v, leak, r = [0.0], DT / float(node.tau[0]), float(node.r[0])

        def integrate(x: Any) -> Any:
            v[0] = v[0] + round(leak * 2) / 2 * (r * x - v[0])
            return v[0]

        return integrate
    return lambda x: x


@st.composite
def nested_graphs(draw: st.DrawFn, depth: int = 2) -> nir.NIRGraph:
    """input → n0 → n1 → ... → output, edges on top of it in both directions, and all of them in any order."""
    count = draw(st.integers(1, 4))
    leaf = st.builds(
        lambda tau, r: nir.LI(full((1,), tau * DT), full((1,), r), full((1,), 0)),
        st.sampled_from([1, 2]),
        st.sampled_from([-0.5, 0.25, 0.5, 1.0]),
    )
    kinds = st.one_of(leaf, leaf, nested_graphs(depth - 1)) if depth else leaf
    nodes = {f"n{i}": draw(kinds) for i in range(count)}
    names = ["input", *nodes, "output"]
    spine = list(itertools.pairwise(names))
    pairs = [(a, b) for a in names[:-1] for b in names[1:] if (a, b) not in spine]
    extra = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=5)) if pairs else []
    edges = draw(st.permutations(spine + extra))
    return nir.NIRGraph(
        {"input": nir.Input(np.array([1])), **nodes, "output": nir.Output(np.array([1]))}, edges, type_check=False
    )


@hypothesis.settings(max_examples=150, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(nested_graphs())
def test_any_nested_graph_is_what_its_levels_say_one_by_one(network: nir.NIRGraph) -> None:
    try:
        plan(network)
    except GraphError as error:
        hypothesis.assume("a cycle without a neuron" not in str(error))
        raise
    step = evaluation(network)
    expected = [step(x) for x in (1.0, 0.0, 0.5, 0.0, -1.0)]
    x = np.array([1, 0, 0.5, 0, -1]).reshape(5, 1, 1)
    outputs, _ = interpret(network, x, STEPS, dtype=np.float64)
    np.testing.assert_allclose(outputs.ravel(), expected, rtol=1e-12, atol=1e-12)


@hypothesis.settings(max_examples=15, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(nested_graphs())
def test_onnx_of_any_nested_graph_gives_the_same_unrolled_and_stepped(network: nir.NIRGraph) -> None:
    try:
        plan(network)
    except GraphError:
        hypothesis.reject()
    x = np.array([1, 0, 0.5, 0, -1]).reshape(5, 1, 1)
    outputs, _ = interpret(network, x, STEPS, dtype=np.float64)
    scale = 1e-5 * max(1.0, float(np.abs(outputs).max()))
    unrolled = run(to_onnx(network, STEPS, static=False), input=x)["step_logits"]
    np.testing.assert_allclose(unrolled, outputs, rtol=0, atol=scale)
    states = stepped(to_onnx(network, STEPS, kind="step", static=False), "input", x)
    np.testing.assert_allclose(states, outputs, rtol=0, atol=scale)


def test_many_levels_that_pass_their_input_on_do_not_multiply() -> None:
    """Forty blocks y = n(x) + x in a row have 2**40 paths and 41 sums."""

    def block() -> nir.NIRGraph:
        return graph({"n": prompt()}, [("input", "n"), ("n", "output"), ("input", "output")], (1,), (1,))

    built = chain((1,), (1,), *(block() for _ in range(40)))
    outputs, _ = interpret(built, np.ones((1, 1)), 1, dtype=np.float64)
    assert outputs.item() == 2.0**40
    assert sum(len(step.sources) for step in plan(built).steps) < 200


# ---- files ----------------------------------------------------------------------------------------------------------


def open_conv() -> nir.NIRGraph:
    node = conv((2, 4, 4), 3)
    node.input_shape = None
    node.input_type, node.output_type = {"input": None}, {"output": None}
    return chain((2, 4, 4), (3, 4, 4), chain((2, 4, 4), (3, 4, 4), node, lif(3, 4, 4)))


def test_a_nested_graph_that_runs_can_be_written(tmp_path: Path) -> None:
    network = open_conv()
    write_nir(tmp_path / "a.nir", network)
    assert network.nodes["n0"].nodes["n0"].input_shape is None  # the caller's graph is as it was
    back = read_nir(tmp_path / "a.nir")
    assert back.nodes["n0"].nodes["n0"].input_type["input"].tolist() == [2, 4, 4]
    x = np.ones((1, 2, 4, 4))
    np.testing.assert_array_equal(interpret(back, x, 2)[0], interpret(network, x, 2)[0])


@pytest.mark.parametrize(("port", "shape"), [("input", 7), ("output", 9)])
def test_an_inner_port_of_a_shape_that_does_not_arrive_is_refused(port: str, shape: int) -> None:
    inner = chain((3,), (3,), affine(3, 3))
    inner.nodes[port] = nir.Input(np.array([shape])) if port == "input" else nir.Output(np.array([shape]))
    with pytest.raises(GraphError, match=rf"n0/{port} .*declared with shape \({shape},\), reached by \(3,\)"):
        plan(chain((3,), (3,), inner))
