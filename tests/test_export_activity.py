"""What no gate refuses and is said all the same: silent layers, saturated ones, and a step that does not fit."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
from graphs import CASES, DT, affine, chain, cubalif, full, inputs, lif

from idsnn_deploy.manifest import read_bundle
from idsnn_export import write_nir
from idsnn_export.cli import main as export
from idsnn_export.gates.activity import Activity, timing_warnings
from idsnn_export.graph.plan import plan
from idsnn_export.reference.interpreter import trace


def seen(graph: nir.NIRGraph, dt: float = DT) -> list[str]:
    activity = Activity()
    for seed in range(2):
        activity.add(trace(graph, inputs(graph, seed=seed), 5, dt=dt))
    return activity.warnings()


def test_a_lively_network_has_no_warnings() -> None:
    for name in ("two_layers", "residual", "sew", "recurrent"):
        graph = CASES[name].build()
        assert seen(graph) == timing_warnings(plan(graph), DT) == []


def test_a_layer_that_never_fires_and_one_that_always_does_are_named() -> None:
    never, always = nir.Threshold(full((4,), 1e6)), nir.Threshold(full((4,), -1e6))
    graph = chain((4,), (4,), lif(4), affine(4, 4), never, affine(4, 4), always)
    assert seen(graph) == [
        "layer n2 never fires on the 6 samples of the gates",
        "layer n4: every neuron fires at every step on the 6 samples of the gates",
    ]


def test_a_network_that_is_silent_as_a_whole_is_one_warning() -> None:
    graph = chain((4,), (4,), nir.Threshold(full((4,), 1e6)), affine(4, 4), lif(4, threshold=1e6))
    (said,) = seen(graph)
    assert "no neuron fires on the 6 samples of the gates" in said
    assert "dt" in said


def test_a_network_without_spikes_says_so() -> None:
    assert seen(CASES["affine_alone"].build()) == ["no layer of this network spikes"]


@pytest.mark.parametrize(
    ("node", "dt", "says"),
    [
        (lif(4), 1e-12, "`tau` of 0.0002 s does not leak in steps of 1e-12 s"),
        (lif(4), 3e-4, "`tau` of 0.0002 s is shorter than a step of 0.0003 s"),
        (cubalif(4), 3e-4, "`tau_syn` of 0.0002 s is shorter"),
        (nir.LI(full((4,), 1e-3), full((4,), 1), full((4,), 0)), 1e-2, "`tau` of 0.001 s is shorter"),
        (nir.IF(full((4,), 1.0), full((4,), 1), full((4,), 0)), 1e-5, "one unit of input adds 1e-05 to the membrane"),
    ],
)
def test_a_step_that_does_not_fit_a_time_constant_is_named_with_its_layer(
    node: nir.NIRNode, dt: float, says: str
) -> None:
    said = timing_warnings(plan(chain((4,), (4,), node)), dt)
    assert any(line.startswith(f"layer n0: {says}") for line in said), said
    assert not any("\n" in line for line in said)


def test_warnings_are_in_the_terminal_and_in_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph made for steps of 1e-4 s, read at 1e-9 s: every gate passes on silence."""
    write_nir(tmp_path / "a.nir", chain((4,), (3,), affine(4, 8), lif(8), affine(8, 3)))
    argv = [str(tmp_path / "a.nir"), "--timesteps", "4", "--dt", "1e-9", "--out", str(tmp_path / "b")]
    assert export(argv) == 0
    warnings = read_bundle(tmp_path / "b").manifest.warnings
    assert any("no neuron fires" in line for line in warnings)
    said = capsys.readouterr().out
    assert all(f"warning: {line}" in said for line in warnings)


def test_counts_do_not_depend_on_how_samples_are_divided() -> None:
    graph = CASES["two_layers"].build()
    found = trace(graph, inputs(graph, batch=4), 5)
    assert np.asarray(found.spikes["n1"]).any()
    whole, parts = Activity(), Activity()
    whole.add(found)
    for half in (slice(0, 2), slice(2, 4)):
        parts.add(trace(graph, inputs(graph, batch=4)[:, half], 5))
    assert whole.warnings() == parts.warnings()
