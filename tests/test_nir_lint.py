"""The linter's table against the simulators that are installed, and against the graphs that it is about."""

from __future__ import annotations

import os
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from consumers import CONSUMERS
from graphs import CASES, DT, STEPS, affine, chain, full, inputs
from graphs import graph as build

import idsnn
from idsnn_deploy.errors import UsageError
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.gates.parity import float_gate
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.graph.plan import plan
from idsnn_export.graph.soft_reset import fused
from idsnn_export.lint.engine import RULES, TARGETS, lint
from idsnn_export.lint.rule import Facts
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.interpreter import trace

OTHERS = os.environ.get("IDSNN_TEST_DATA")
SIMULATED = {"snntorch": "snnTorch", "spikingjelly": "SpikingJelly"}


def exported(**options: object) -> nir.NIRGraph:
    torch.manual_seed(0)
    model = idsnn.SpikingResNet(**{"depth": 18, "num_classes": 10, "width": 4, **options}).eval()
    return to_nir(model, (3, 16, 16))


@pytest.mark.parametrize("target", SIMULATED)
@pytest.mark.parametrize("name", CASES)
def test_a_graph_without_findings_runs(name: str, target: str, tmp_path: Path) -> None:
    graph = CASES[name].build()
    if lint(graph, target):
        return
    x = inputs(graph)
    write_nir(tmp_path / "a.nir", graph)
    reference = trace(graph, x, STEPS)
    outputs, spikes = CONSUMERS[SIMULATED[target]].run(tmp_path / "a.nir", x)
    float_gate(reference, target, outputs.mean(0), spikes)


def flat_recurrent() -> nir.NIRGraph:
    """A layer that hears itself, made of what snnTorch and SpikingJelly have: nothing but the cycle is in the way."""
    a = full((4,), 2 * DT)
    layer = nir.CubaLIF(a, a, full((4,), 2), full((4,), 0), full((4,), 0.5), full((4,), 0), full((4,), 2))
    nodes = {"fc": affine(4, 4), "lif": layer, "rec": affine(4, 4, seed=2), "out": affine(4, 3, seed=4)}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out"), ("out", "output")]
    return build(nodes, edges, (4,), (3,))


def test_snntorch_runs_no_recurrent_edges_of_a_flat_graph_and_spikingjelly_does(tmp_path: Path) -> None:
    graph = flat_recurrent()
    write_nir(tmp_path / "a.nir", graph)
    assert [finding.node for finding in lint(graph, "snntorch")] == ["lif"]
    with pytest.raises(AttributeError, match="items"):
        CONSUMERS["snnTorch"].run(tmp_path / "a.nir", inputs(graph))
    assert lint(graph, "spikingjelly") == []
    reference = trace(graph, inputs(graph), STEPS)
    outputs, spikes = CONSUMERS["SpikingJelly"].run(tmp_path / "a.nir", inputs(graph))
    float_gate(reference, "SpikingJelly", outputs.mean(0), spikes)


@pytest.mark.skipif(not OTHERS, reason="IDSNN_TEST_DATA names no folder with nir/*.nir of other frameworks")
@pytest.mark.parametrize("target", SIMULATED)
@pytest.mark.parametrize("name", ["braille_recurrent", "lif_norse"])
def test_a_file_from_elsewhere_without_findings_runs(name: str, target: str, tmp_path: Path) -> None:
    graph = read_nir(Path(str(OTHERS)) / "nir" / f"{name}.nir")
    if lint(graph, target):
        return
    write_nir(tmp_path / "a.nir", graph)
    steps = plan(graph)
    x = (np.random.default_rng(0).random((STEPS, 3, *steps[steps.input].shape)) < 0.3).astype(np.float32)
    reference = trace(graph, x, STEPS)
    outputs, spikes = CONSUMERS[SIMULATED[target]].run(tmp_path / "a.nir", x)
    names = {each.replace(".", "_"): each for each in reference.spikes}  # torch has no dots in the names of modules
    float_gate(reference, target, outputs.mean(0), {names.get(each, each): found for each, found in spikes.items()})


@pytest.mark.parametrize("residual", ["spiking", "sew"])
@pytest.mark.parametrize("target", SIMULATED)
def test_our_networks_have_no_findings_where_they_run(target: str, residual: str) -> None:
    assert lint(exported(residual=residual), target) == []


def test_a_residual_network_has_findings_on_every_chip() -> None:
    graph = exported()
    problems = {target: " ".join(f.problem for f in lint(graph, target)) for target in ("loihi", "speck", "xylo")}
    assert "branch" in problems["loihi"]
    assert "biases" in problems["loihi"]
    assert "reset" in problems["speck"]
    assert "no counterpart" in problems["xylo"]
    assert any(f.node == "pool" and "--pool sum" in f.advice for f in lint(graph, "spinnaker2"))


def _varied() -> nir.NIRGraph:
    """What the table of graphs has no need of: parameters that differ inside a current-based layer and in an IF."""
    node = CASES["current_based_lif"].build().nodes["n0"]
    node.v_threshold = np.linspace(0.5, 1, 5, dtype=np.float32)
    spread = nir.IF(full((5,), 1.0), np.linspace(0.5, 1, 5, dtype=np.float32), full((5,), 0))
    return chain((5,), (5,), node, spread)


def _other_step() -> nir.NIRGraph:
    graph = CASES["two_layers"].build()
    write_metadata(graph, Metadata(5, dt=1e-3))
    return graph


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.targets[0]}: {rule.problem[:40]}")
def test_a_rule_objects_to_some_graph_and_not_to_all(rule: object) -> None:
    graphs = [case.build() for case in CASES.values()] + [_varied(), _other_step(), exported()]
    counts = [
        len(list(rule.find(Facts(graph, fused(plan(graph)), 1e-3 if graph.metadata else 1e-4)))) for graph in graphs
    ]
    assert any(counts)
    assert not all(counts)


def test_a_rule_says_where_it_comes_from_and_what_to_do() -> None:
    for rule in RULES:
        assert rule.evidence in ("ran", "read")
        assert rule.source
        assert rule.advice
        assert set(rule.targets) <= set(TARGETS)
    assert {target for rule in RULES for target in rule.targets} == set(TARGETS)


def test_findings_come_in_the_order_of_the_graph_and_read_as_one_line() -> None:
    graph = exported()
    order = [step.name for step in plan(graph).steps]
    findings = lint(graph, "loihi")
    places = [order.index(finding.node) for finding in findings]
    assert places == sorted(places)
    for finding in findings:
        assert str(finding).startswith(f"{finding.node} ({finding.type}): ")
        assert "\n" not in str(finding)
        assert finding.to_dict()["target"] == "loihi"


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="spinnaker2"):
        lint(exported(), "abacus")
