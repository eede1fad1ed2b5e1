"""Reset by subtraction: three nodes of NIR are one neuron wherever neurons are emitted, counted or judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
from graphs import CASES, DT, RESETS, STEPS, affine, conv, full, graph, inputs, lif, soft_reset
from onnx_runs import run

from idsnn_deploy.check import check_bundle
from idsnn_deploy.json_types import write
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation import evaluate
from idsnn_export.bundle import export_bundle
from idsnn_export.config import ExportConfig
from idsnn_export.graph.layers import layer_table
from idsnn_export.graph.plan import Incoming, Plan, plan
from idsnn_export.graph.soft_reset import SoftReset, fused
from idsnn_export.lint.engine import TARGETS, lint
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.interpreter import interpret, trace

EDGES = [("input", "fc"), ("fc", "membrane"), ("membrane", "lif"), ("lif", "reset"), ("reset", "membrane")]


def small(threshold: float = 0.5, scale: float = -0.75, **more: nir.NIRNode) -> dict[str, nir.NIRNode]:
    membrane = nir.LI(tau=full((4,), 2 * DT), r=full((4,), 2.0), v_leak=full((4,), 0.125))
    return {"fc": affine(4, 4), **soft_reset(membrane, threshold, scale, 4), **more}


def built(nodes: dict[str, nir.NIRNode], *edges: tuple[str, str]) -> nir.NIRGraph:
    return graph(nodes, [*EDGES, ("lif", "output"), *edges], (4,), (4,))


def soft(found: Plan) -> list[str]:
    return [step.name for step in found.steps if isinstance(step.node, SoftReset)]


def test_the_three_nodes_are_one_step_that_hears_what_the_membrane_heard() -> None:
    whole = plan(CASES["reset_by_subtraction_recurrent"].build())
    one = fused(whole)
    assert {step.name for step in whole.steps} - {step.name for step in one.steps} == {"membrane", "reset"}
    assert one["lif"].sources == (Incoming("fc"), Incoming("rec", delayed=True))
    assert (soft(one), one.neurons) == (["lif"], whole.neurons)


def test_a_graph_without_the_pattern_keeps_its_plan() -> None:
    for name in ("residual", "recurrent", "leaky_integrator", "threshold_alone"):
        whole = plan(CASES[name].build())
        assert fused(whole) is whole


def undriven() -> dict[str, nir.NIRNode]:
    membrane = nir.LI(tau=full((4,), 2 * DT), r=np.array([2, 0, 2, 2], np.float32), v_leak=full((4,), 0.125))
    return {**small(), "membrane": membrane}


UNLIKE: dict[str, Callable[[], nir.NIRGraph]] = {
    "the membrane is read": lambda: built(small(), ("membrane", "output")),
    "the Scale is read": lambda: built(small(), ("reset", "output")),
    "spikes add to the membrane": lambda: built(small(scale=0.75)),
    "some spikes take nothing away": lambda: built(
        {**small(), "reset": nir.Scale(np.array([-1, -0.5, 0, -1], np.float32))}
    ),
    "two Scales": lambda: built(small(again=nir.Scale(full((4,), -0.25))), ("lif", "again"), ("again", "membrane")),
    "nothing drives a neuron": lambda: built(undriven()),
    "another way into the Threshold": lambda: built(small(), ("fc", "lif")),
    "another way into the Scale": lambda: built(small(), ("fc", "reset")),
    "a current-based membrane": lambda: built(
        {
            **small(),
            "membrane": nir.CubaLI(
                tau_syn=full((4,), 2 * DT), tau_mem=full((4,), 2 * DT), r=full((4,), 2), v_leak=full((4,), 0)
            ),
        }
    ),
    "a spiking membrane": lambda: built({**small(), "membrane": lif(4)}),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_what_only_resembles_it_stays_three_nodes_and_exact(name: str) -> None:
    network = UNLIKE[name]()
    assert soft(fused(plan(network))) == []
    x = inputs(network)
    found = run(to_onnx(network, STEPS, static=False), input=x)
    np.testing.assert_array_equal(found["step_logits"], interpret(network, x, STEPS)[0])


def by_hand(x: np.ndarray, *, subtract: bool = True) -> np.ndarray:
    """v = v/2 + (x - 3/4 s) + 1/16, s = v > 1/2: what `small` says, with one line changed on request."""
    node, v, s, spikes = affine(4, 4), np.zeros(x.shape[1:]), np.zeros(x.shape[1:]), []
    for frame in x.astype(np.float64) @ node.weight.T.astype(np.float64) + node.bias:
        v = v / 2 + frame - 0.75 * s + 0.0625 if subtract else v / 2 * (1 - s) + frame + 0.0625
        s = 1.0 * (v > 0.5)
        spikes.append(s)
    return np.stack(spikes)


def test_spikes_are_those_of_the_equation_worked_by_hand() -> None:
    network = built(small())
    x = inputs(network, 20)
    expected = by_hand(x)
    np.testing.assert_array_equal(interpret(network, x, 20, dtype=np.float64)[1]["lif"], expected)
    np.testing.assert_array_equal(run(to_onnx(network, 20, static=False), input=x)["step_logits"], expected)
    assert 0.02 < expected.mean() < 0.9
    assert (by_hand(x, subtract=False) != expected).any()  # the oracle tells a reset to zero apart


def test_a_membrane_on_its_threshold_does_not_fire() -> None:
    """No weights, so that the tie is exact: v = 1/2 + 0 against 1/2."""
    nodes = soft_reset(nir.I(full((2,), 1 / DT)), 0.5, -0.5, 2)
    edges = [("input", "membrane"), *EDGES[2:], ("lif", "output")]
    network = graph(nodes, edges, (2,), (2,))
    x = np.array([[0.5, 0.75]], np.float32)
    expected = [[0, 1], [1, 1], [1, 1]]  # v: 0.5, 1, 1 and 0.75, 1, 1.25; a spike takes 0.5
    for outputs in (interpret(network, x, 3)[0], run(to_onnx(network, 3), image=x)["step_logits"]):
        np.testing.assert_array_equal(outputs[:, 0], expected)


def test_it_costs_one_operator_per_step_more_than_a_reset_to_zero() -> None:
    def operators(network: nir.NIRGraph) -> Counter[str]:
        return Counter(node.op_type for node in to_onnx(network, 10).graph.node)

    zero = graph({"fc": affine(4, 4), "lif": lif(4)}, [("input", "fc"), ("fc", "lif"), ("lif", "output")], (4,), (4,))
    more = operators(built(small()))
    more.subtract(operators(zero))
    assert {kind: count for kind, count in more.items() if count} == {"Add": 9}  # the last step keeps no membrane


def test_the_layer_table_says_it_is_one_layer_and_how_it_resets() -> None:
    _, neurons, head = layer_table(CASES["reset_by_subtraction"].build())
    assert (neurons.name, neurons.kind, neurons.reset) == ("lif", "lif", "subtract")
    assert (neurons.beta, neurons.theta) == (0.5, 0.5)  # k = 1 - dt/tau; threshold / (dt/tau r)
    assert (neurons.sources, head.sources) == (("conv",), ("lif",))
    assert write(neurons)["reset"] == "subtract"
    without_leak = layer_table(CASES["reset_by_subtraction_recurrent"].build())[1]
    assert (without_leak.kind, without_leak.beta, without_leak.theta) == ("if", 1, 1)
    assert without_leak.sources == ("fc", "rec")


def test_a_reset_to_zero_says_nothing_of_it() -> None:
    assert "reset" not in write(layer_table(CASES["two_layers"].build())[1])


@pytest.mark.parametrize("target", TARGETS)
def test_the_linter_names_the_neuron_once_and_says_what_to_do(target: str) -> None:
    found = [each for each in lint(CASES["reset_by_subtraction"].build(), target) if each.node == "lif"]
    assert [each.type for each in found] == ["SoftReset"]
    assert found[0].advice == "train with reset to zero"
    assert not [each for each in lint(CASES["reset_by_subtraction"].build(), target) if each.node == "membrane"]


def test_a_bundle_of_such_neurons_checks_and_counts_one_layer(tmp_path: Path) -> None:
    """Three nodes in the file; one layer, with its spikes, in the manifest and the report."""
    nodes = {"conv": conv((1, 4, 4), 3), **soft_reset(nir.I(full((3, 4, 4), 1 / DT)), 1.0, -1.0, 3, 4, 4)}
    nodes |= {"flatten": nir.Flatten(np.array([3, 4, 4]), start_dim=-3, end_dim=-1), "fc": affine(48, 3)}
    edges = [("input", "conv"), ("conv", "membrane"), *RESETS, ("lif", "flatten"), ("flatten", "fc"), ("fc", "output")]
    network = graph(nodes, edges, (1, 4, 4), (3,))
    write_nir(tmp_path / "net.nir", network)
    asked = ExportConfig(tmp_path / "net.nir", out=tmp_path / "bundle", timesteps=4, encoding="static")
    folder, manifest = export_bundle(asked)
    assert [(each.name, each.reset) for each in manifest.neurons] == [("lif", "subtract")]
    assert all(replay.passed for replay in check_bundle(read_bundle(folder)))
    images = np.random.default_rng(0).random((8, 1, 4, 4), dtype=np.float32)
    totals = evaluate(folder, images, np.zeros(8, int)).to_dict()["totals"]  # per sample
    fired = trace(network, images, 4).spikes["lif"]
    assert 8 * totals["spikes"] == fired.sum() > 0
    assert (totals["neurons"], totals["neuron_updates"]) == (48, 4 * 48)
