"""What an export writes, what it refuses to write, and the pieces of a bundle that only the exporter makes."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import onnx
import pytest

import idsnn_export.bundle as bundle_module
import idsnn_export.graph.plan as plan_module
from idsnn_deploy import Session
from idsnn_deploy.cli import main as deploy
from idsnn_deploy.golden import write_golden
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cli import main as evaluate
from idsnn_export import interpret, read_nir, to_onnx, write_nir
from idsnn_export.cli import main as export
from idsnn_export.config import ExportConfig
from idsnn_export.gates.margins import farthest, golden_of, margins
from idsnn_export.quantize import accuracy_gate, finding
from idsnn_export.reference.interpreter import Trace
from idsnn_export.source import gate_samples, open_source


def test_a_margin_is_the_smallest_relative_distance_from_a_threshold() -> None:
    membranes = np.array([[[0.5, 3.0], [0.75, 0.0]]])  # (T = 1, N = 2, two neurons)
    found = Trace(np.zeros((1, 2, 1)), {"lif": membranes > 1}, {"lif": membranes}, {"lif": np.array([1.0, 2.0])})
    assert margins(found).tolist() == [0.5, 0.25]  # |0.5 - 1| / 1, |3 - 2| / 2;  |0.75 - 1| / 1, |0 - 2| / 2


def test_golden_vectors_are_of_the_samples_farthest_from_their_thresholds(tmp_path: Path) -> None:
    membranes = np.linspace(0, 2, 21).reshape(1, 21, 1)  # sample i sits at i / 10; theta 1
    outputs = np.arange(42.0).reshape(1, 21, 2)
    found = Trace(outputs, {"lif": membranes > 1}, {"lif": membranes}, {"lif": np.ones(1)})
    chosen = farthest(np.arange(21.0).reshape(21, 1), found)
    write_golden(tmp_path / "golden.npz", golden_of(*chosen))
    with np.load(tmp_path / "golden.npz") as golden:
        assert golden["images"].ravel().tolist() == [0, 1, 2, 3, 17, 18, 19, 20]
        assert golden["spikes"].ravel().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
        assert golden["spikes"].dtype == np.int64
        assert golden["logits"].tolist() == outputs[0, [0, 1, 2, 3, 17, 18, 19, 20]].tolist()
    assert margins(chosen[1]).min() == pytest.approx(0.7)


def test_dense_macs_leave_out_what_falls_on_the_border() -> None:
    torch = pytest.importorskip("torch")
    from idsnn_export.from_torch.dense_macs import dense_macs

    conv = torch.nn.Conv2d(2, 3, kernel_size=3, padding=1)
    net = torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Linear(48, 5))
    # 4x4 outputs of 3x3: 4 corners see 4 pixels, 8 edges 6, 4 inner ones 9; times 2 inputs and 3 kernels
    assert dense_macs(net, (2, 4, 4)) == (4 * 4 + 8 * 6 + 4 * 9) * 2 * 3 + 48 * 5


def test_the_gate_takes_8_samples_of_a_large_network_and_1000_of_a_small_one() -> None:
    assert gate_samples(555_420_000, 4) == 8
    assert gate_samples(1, 1) == 1000


def test_a_gate_that_fails_writes_nothing_and_names_layer_step_and_neuron(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_a_lower_threshold(planned: plan_module.Plan, *args: Any, **kwargs: Any) -> onnx.ModelProto:
        other = copy.deepcopy(planned.graph)
        other.nodes["layer1_0_lif1"].v_threshold = other.nodes["layer1_0_lif1"].v_threshold * 0.5
        return to_onnx(other, *args, **kwargs)

    monkeypatch.setattr(bundle_module, "to_onnx", with_a_lower_threshold)
    assert export([str(run), "--out", str(tmp_path / "bundle")]) == 1
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert "layer1_0_lif1" in line
    assert "step 0" in line
    assert "neuron" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "made"),
    [
        ("x.onnx", "nir", "writes model.nir"),
        ("x.nir", "onnx", "writes ONNX files"),
        ("x.nir", "c", "writes a folder of C"),
    ],
)
def test_a_file_s_ending_and_the_format_agree(
    name: str, kind: str, made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export([str(tmp_path / "not-there.nir"), "--format", kind, "--out", str(tmp_path / name)]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert f"{name}: --format {kind} {made}" in line


@pytest.mark.parametrize("kind", ["nir", "onnx"])
def test_one_file_alone_is_the_bundle_s_file(kind: str, run: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / f"net.{kind}"
    assert export([str(run), "--format", kind, "--out", str(out)]) == 0
    assert out.read_bytes() == (bundle / f"model.{kind}").read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [out.name]


@pytest.mark.slow
def test_8_bits_are_written_with_their_probe_and_the_figures_of_their_gate(run: Path, tmp_path: Path) -> None:
    argv = [str(run), "--int8", "--calibrate", "64", "--graphs", "onnx", "--out", str(tmp_path / "small")]
    code = export(argv)
    assert code in (0, 1)  # two epochs of width 4: whether 8 bits cost more than half a point is the gate's to say
    opened = read_bundle(tmp_path / "small")
    figures = opened.manifest.parity["int8"]
    assert (figures["outcome"] == "bad") == (code == 1)
    assert opened.has("model.int8.onnx") == opened.has("model.int8.probe.onnx") == (code == 0)
    assert figures["lost_at_least"] <= figures["accuracy_float32"] - figures["accuracy_int8"] <= figures["lost_at_most"]
    assert figures["other_class_share"] == figures["other_class"] / figures["samples"]
    assert deploy(["check", str(tmp_path / "small")]) == 0


def test_the_accuracy_gate_refuses_a_model_that_lost_its_head(bundle: Path) -> None:
    full = (bundle / "model.onnx").read_bytes()
    model = onnx.load_from_string(full)
    heads = [each for each in model.graph.initializer if len(each.dims) == 2]
    for head in heads:
        values = onnx.numpy_helper.to_array(head)
        head.CopyFrom(onnx.numpy_helper.from_array(-values, head.name))
    images = np.load(bundle / "golden.npz")["images"]
    labels = Session(bundle)(images).argmax(1)
    same = accuracy_gate(full, full, images, labels)
    assert same["other_class"] == 0
    assert same["outcome"] == "undecided"
    assert "of 8 test images are right" in str(finding(same))
    found = accuracy_gate(full, model.SerializeToString(), images, labels)
    assert found["outcome"] == "bad"
    assert "8-bit files are left out" in str(finding(found))


def test_a_bundle_without_its_8_bits_is_written_where_they_are_bad(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("idsnn_export.quantize.Paired.outcome", lambda found, limit: "bad")
    out = tmp_path / "small"
    code = export([str(run), "--int8", "--graphs", "onnx", "--out", str(out)])
    opened = read_bundle(out)
    figures = opened.manifest.parity["int8"]
    assert (code, figures["outcome"]) == (1, "bad")
    assert sorted(each.name for each in out.iterdir() if "int8" in each.name) == []
    assert opened.has("model.onnx")
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert "is written, but without its 8-bit files" in line
    assert deploy(["check", str(out)]) == 0


def test_an_undecided_gate_warns_and_writes(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights"
    assert export([str(run), "--weights-int8", "--graphs", "onnx", "--out", str(out)]) == 0
    opened = read_bundle(out)
    figures = opened.manifest.parity["int8"]
    assert opened.has("model.int8.onnx")
    assert (figures["outcome"] == "undecided") == any("8 bits" in each for each in opened.manifest.warnings)


def test_another_framework_s_graph_becomes_a_bundle_that_takes_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lif = nir.LIF(np.full(4, 2e-4), np.full(4, 2.0), np.zeros(4), np.full(4, 0.5), np.zeros(4))
    affine = nir.Affine(rng.integers(-32, 32, (4, 3)) / 64, rng.integers(-8, 8, 4) / 64)
    graph = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "fc": affine, "lif": lif, "output": nir.Output(np.array([4]))},
        [("input", "fc"), ("fc", "lif"), ("lif", "output")],
    )
    write_nir(tmp_path / "other.nir", graph)
    assert export([str(tmp_path / "other.nir"), "--timesteps", "5", "--dt", "1e-4"]) == 0
    folder = tmp_path / "other-bundle"
    assert f"next: idsnn-evaluate {folder} --dataset NAME --data DIR, or" in capsys.readouterr().err
    manifest = read_bundle(folder).manifest
    assert (manifest.encoding, manifest.timesteps, manifest.mean) == ("frames", 5, None)
    frames = (rng.random((5, 2, 3)) < 0.5).astype(np.float32)
    expected, _ = interpret(graph, frames, 5)
    assert np.array_equal(Session(folder).step_logits(frames), expected)
    assert deploy(["check", str(folder)]) == 0


def test_neurons_that_differ_within_a_channel_become_a_bundle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, beta = rng.integers(-32, 32, (4, 1, 3, 3)) / 64, rng.uniform(0.25, 0.75, (4, 6, 6))
    conv = nir.Conv2d((8, 8), weight.astype(np.float32), 1, 0, 1, 1, np.zeros(4, np.float32))
    r = np.ones((4, 6, 6), np.float32)
    r[1] = 0  # no current reaches these
    tau, zeros = (1e-4 / (1 - beta)).astype(np.float32), np.zeros((4, 6, 6), np.float32)
    lif = nir.LIF(tau, r, zeros, np.full((4, 6, 6), 0.25, np.float32), zeros)
    nodes = {"input": nir.Input(np.array([1, 8, 8])), "conv": conv, "lif": lif, "flat": nir.Flatten(None, 0, -1)}
    nodes |= {"fc": nir.Linear(rng.integers(-8, 8, (3, 144)).astype(np.float32)), "output": nir.Output(np.array([3]))}
    names = list(nodes)
    write_nir(tmp_path / "net.nir", nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    assert export([str(tmp_path / "net.nir"), "--timesteps", "4", "--dt", "1e-4"]) == 0
    folder = tmp_path / "net-bundle"
    (layer,) = read_bundle(folder).manifest.neurons
    assert (layer.beta, layer.theta) == (None, None)
    assert layer.beta_range == pytest.approx((beta.min(), beta.max()), rel=1e-5)
    others = np.delete(beta, 1, axis=0)  # theta = v_threshold / (1 - beta)
    assert layer.theta_range == pytest.approx((0.25 / (1 - others.min()), 0.25 / (1 - others.max())), rel=1e-5)
    assert deploy(["check", str(folder)]) == 0
    assert deploy(["info", str(folder), "--layers"]) == 0


def test_a_graph_that_does_not_say_its_steps_asks_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = nir.NIRGraph.from_list(nir.Threshold(np.array([0.5])))
    write_nir(tmp_path / "other.nir", graph)
    assert export([str(tmp_path / "other.nir")]) == 2
    assert "--timesteps" in capsys.readouterr().err


def test_the_same_artefact_agrees_with_itself_and_a_changed_one_is_located(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(["--diff", str(bundle), str(bundle / "model.onnx")]) == 0
    assert export(["--diff", str(bundle), str(bundle / "model.probe.onnx")]) == 0
    graph = nir.read(bundle / "model.nir", type_check=False)
    graph.nodes["layer2_0_conv1"].weight = graph.nodes["layer2_0_conv1"].weight * np.float32(1.5)
    write_nir(tmp_path / "changed.nir", graph)
    capsys.readouterr()
    assert export(["--diff", str(bundle), str(tmp_path / "changed.nir"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["divergence"]["layer"] == "layer2_0_lif1"


def chained(*nodes: nir.NIRNode, into: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    inner = {f"n{i}": node for i, node in enumerate(nodes)}
    named = {"input": nir.Input(np.array(into)), **inner, "output": nir.Output(np.array(out))}
    return nir.NIRGraph(named, list(pairwise(named)), type_check=False)


def leaky_integrator(*shape: int) -> nir.LI:
    return nir.LI(np.full(shape, 2e-4, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.float32))


ODD = {
    "no neuron that spikes": chained(
        nir.Linear(np.eye(3, 4, dtype=np.float32)), leaky_integrator(3), into=(4,), out=(3,)
    ),
    "outputs on three axes": chained(
        nir.Conv2d((4, 4), np.full((2, 1, 3, 3), 0.25, np.float32), 1, 0, 1, 1, np.zeros(2, np.float32)),
        nir.Threshold(np.full((2, 2, 2), 0.5, np.float32)),
        into=(1, 4, 4),
        out=(2, 2, 2),
    ),
    "no weights": chained(nir.Threshold(np.full(3, 0.5, np.float32)), into=(3,), out=(3,)),
    "nothing but a pool": chained(
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), into=(1, 4, 4), out=(1, 2, 2)
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_the_interpreter_runs_is_a_bundle_that_every_command_takes(name: str, tmp_path: Path) -> None:
    graph, folder, rng = ODD[name], tmp_path / "bundle", np.random.default_rng(0)
    write_nir(tmp_path / "net.nir", graph)
    assert export([str(tmp_path / "net.nir"), "--timesteps", "3", "--out", str(folder)]) == 0
    manifest = read_bundle(folder).manifest
    frames = (rng.random((3, 5, *manifest.input_shape)) < 0.5).astype(np.float32)
    expected = interpret(graph, frames, 3)[0].reshape(3, 5, -1)
    assert len(manifest.labels) == expected.shape[2]
    np.testing.assert_allclose(Session(folder).step_logits(frames), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(Session(folder, "step").step_logits(frames), expected, rtol=0, atol=1e-6)
    assert deploy(["check", str(folder)]) == 0
    assert deploy(["info", str(folder), "--layers"]) == 0
    data, report = tmp_path / "data.npz", tmp_path / "report"
    np.savez(data, input=frames, labels=expected.mean(axis=0).argmax(axis=1))
    assert evaluate([str(folder), "--dataset", "npz", "--data", str(data), "--out", str(report)]) == 0
    body = json.loads((report / "report.json").read_text())
    assert body["accuracy"]["top1"] == 1
    assert export(["--diff", str(folder), str(folder / "model.onnx")]) == 0


@pytest.mark.parametrize("form", [["--int8"], ["--format", "c"]])
@pytest.mark.parametrize("size", [1e-300, 1e30, 1e300])
def test_a_graph_of_numbers_beyond_all_is_one_line(
    form: list[str], size: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What overflows is found by the gates; numpy's warnings of it stood on standard error beside their line."""
    cell = nir.CubaLIF(*(np.full(3, each) for each in (1e-20, 2e-4, 1e30, 1 / size, size, 0, size)))
    graph = chained(nir.Threshold(np.zeros(3)), nir.Linear(np.eye(3)), cell, into=(3,), out=(3,))
    write_nir(tmp_path / "net.nir", graph)
    assert export([str(tmp_path / "net.nir"), "--timesteps", "2", "--out", str(tmp_path / "out"), *form]) in (0, 1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("; loading")]
    assert all(line.startswith(("idsnn-export: error: ", "idsnn-export: next: ")) for line in said)


def test_an_export_plans_its_graph_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = plan_module.Plan.__init__

    def counted(self: plan_module.Plan, *values: object) -> None:
        made.append("a plan")
        make(self, *values)  # type: ignore[arg-type]

    write_nir(tmp_path / "net.nir", graphs.CASES["residual"].build())
    source = open_source(ExportConfig(tmp_path / "net.nir", timesteps=2))
    opened = read_nir(tmp_path / "net.nir")
    monkeypatch.setattr(plan_module.Plan, "__init__", counted)
    read_nir(tmp_path / "net.nir")
    of_reading = len(made)
    made.clear()
    bundle_module._fill(_folder(tmp_path), source, ExportConfig(tmp_path / "net.nir", timesteps=2))
    assert len(made) == of_reading + 1
    assert plan_module.plan(planned := plan_module.plan(opened)) is planned


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "filled"
    folder.mkdir()
    return folder
