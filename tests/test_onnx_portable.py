"""The portable profile: no operator that phones lack, and the spikes of the default to the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import onnx
import pytest
import torch
from graphs import CASES, STEPS, affine, chain, inputs, lif
from hypothesis import given, settings
from numpy.typing import NDArray
from onnx_runs import answers, run, session, stepped
from test_onnx_graphs import recurrent_networks, residual_networks
from test_onnx_int8 import spiking

import idsnn
from idsnn.networks.vgg import SpikingVGG
from idsnn_deploy.cli import main as deploy
from idsnn_deploy.manifest import read_bundle
from idsnn_deploy.onnx_allowed import check_model
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.cli import main as export
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.lowering import calibrate, integer_weights, to_onnx

Array = NDArray[Any]
LACKING = {"Greater", "Where", "ReduceMean", "Cast", "Shape", "ConstantOfShape"}
few = settings(derandomize=True, max_examples=8, database=None)


def both(graph: nir.NIRGraph, timesteps: int, **options: Any) -> list[onnx.ModelProto]:
    """The graph in the default profile and in the portable one, for three samples."""
    return [to_onnx(graph, timesteps, batch=3, profile=name, **options) for name in ("default", "portable")]


def same_spikes(graph: nir.NIRGraph, x: Array, **options: Any) -> dict[str, Array]:
    """The portable trace's outputs, once every spike and output of the default's is found in them."""
    default, portable = (run(each, input=x) for each in both(graph, len(x), kind="trace", static=False, **options))
    assert set(default) == set(portable)
    for name, values in default.items():
        if name == "logits":  # the same sum of T numbers, in another order
            np.testing.assert_allclose(portable[name], values, rtol=1e-6, atol=1e-6)
        else:
            assert np.array_equal(portable[name], values), name
    return portable


# ---- what is in the files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "step", "probe"])
def test_no_operator_type_or_size_that_phones_lack(kind: Any) -> None:
    ranges = calibrate(spiking(), 2, inputs(spiking())[0])
    models = [to_onnx(case.build(), STEPS, kind=kind, batch=2, profile="portable") for case in CASES.values()]
    models += [
        to_onnx(spiking(), 2, kind=kind, batch=2, profile="portable", int8=form)
        for form in (ranges, integer_weights(spiking()))
    ]
    for model in models:
        check_model(model.SerializeToString(), "model.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert not LACKING & {node.op_type for node in model.graph.node}
        known = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        for value in (*known.input, *known.value_info, *known.output):
            tensor = value.type.tensor_type
            assert tensor.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8), value.name
            assert all(size.dim_value > 0 for size in tensor.shape.dim), value.name


def test_the_samples_axis_holds_nothing_but_samples() -> None:
    """What ncnn, for one, takes for granted: it has no first axis."""
    model = to_onnx(CASES["residual"].build(), STEPS, batch=1, profile="portable")
    known = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.value_info
    assert {value.type.tensor_type.shape.dim[0].dim_value for value in known} == {1}


def test_a_portable_model_says_so_and_asks_for_a_batch() -> None:
    graph = chain((4,), (3,), affine(4, 3), lif(3))
    default, portable = both(graph, 2)
    said = {each.key: json.loads(each.value) for each in portable.metadata_props}
    assert said["idsnn.profile"] == "portable"
    assert "idsnn.profile" not in {each.key for each in default.metadata_props}
    for options in ({"profile": "portable"}, {"profile": "phone", "batch": 1}):
        with pytest.raises(ValueError, match=r"profile = .*: one of default, portable"):
            to_onnx(graph, 2, **options)


# ---- the threshold --------------------------------------------------------------------------------------------------

THETAS = (0.5, 0.3, 1.0, -0.25, 0.0, -0.0, 1e-40, -1e-40, 3e38, 2.0**-126)
EACH = 1_000_000


def around(theta: float) -> Array:
    """Float32 numbers: theta and its 250,000 neighbours on either side, as many around 0, and any others."""
    rng = np.random.default_rng(0)
    steps = np.arange(-EACH // 4, EACH // 4, dtype=np.int64)
    near = [_ordered(steps + _place(np.float32(centre))) for centre in (theta, 0.0)]
    special = np.float32([0.0, -0.0, theta, -theta, 1e-45, -1e-45, 1.1754944e-38, -1.1754944e-38, 3.4e38, -3.4e38])
    return np.concatenate([*near, special])[rng.permutation(EACH + len(special))][:EACH]


def _place(x: np.float32) -> int:
    """How many float32 numbers lie between 0 and x."""
    bits = int(x.view(np.uint32))
    return bits if bits < 1 << 31 else -(bits & 0x7FFFFFFF)


def _ordered(places: Array) -> Array:
    """The float32 numbers at these places."""
    places = np.clip(places, -0x7F7FFFFF, 0x7F7FFFFF)
    bits = np.where(places < 0, (-places) | (1 << 31), places).astype(np.uint32)
    return bits.view(np.float32)


@pytest.mark.parametrize("theta", THETAS)
def test_a_million_membranes_around_each_threshold_fire_as_numpy_says(theta: float) -> None:
    v = around(theta)
    graph = chain((EACH,), (EACH,), nir.Threshold(np.full(EACH, theta, np.float32)))
    model = to_onnx(graph, 1, batch=1, profile="portable")
    fired = run(model, image=v[None])["step_logits"].ravel()
    assert np.array_equal(fired, v > np.float32(theta))
    default = run(to_onnx(graph, 1), image=v[None])["step_logits"].ravel()
    assert np.array_equal(fired, default)
    assert 0.2 < fired.mean() < 0.8 or abs(theta) > 1e30


@pytest.mark.parametrize("reset", [0.0, -0.25, 0.1])
def test_membranes_after_a_reset_are_the_default_s(reset: float) -> None:
    v = around(0.5)[:100_000]
    v = v[np.abs(v) < 1e37]  # IF's own r dt is 1 up to rounding
    size = (len(v),)
    node = nir.IF(*(np.full(size, each, np.float32) for each in (1e4, 0.5, reset)))
    default, portable = (
        run(to_onnx(chain(size, size, node), 1, kind="step", batch=1, profile=name),
            **{"image": v[None], "state.n0": np.zeros((1, *size))})
        for name in ("default", "portable")
    )  # fmt: skip
    assert np.array_equal(default["logits"], portable["logits"])
    assert np.array_equal(default["next.n0"], portable["next.n0"])


# ---- whole networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_the_spikes_of_the_default(name: str) -> None:
    graph = CASES[name].build()
    x = inputs(graph)
    portable = same_spikes(graph, x)
    outputs, spikes = answers(graph, x, STEPS)
    assert np.array_equal(portable["step_logits"], outputs)
    for layer, fired in spikes.items():
        assert np.array_equal(portable[f"spikes.{layer}"], fired), layer
    step = to_onnx(graph, STEPS, kind="step", static=False, batch=3, profile="portable")
    assert np.array_equal(stepped(step, "input", x), outputs)


@pytest.mark.parametrize("name", ["residual", "sew", "delay_alone", "recurrent", "avgpool2d"])
def test_the_probe_counts_what_the_default_counts(name: str) -> None:
    graph = CASES[name].build()
    default, portable = (run(each, image=inputs(graph)[0]) for each in both(graph, STEPS, kind="probe"))
    assert set(default) == set(portable)
    for output, values in default.items():
        np.testing.assert_allclose(portable[output], values, rtol=1e-6, atol=1e-6 * output.endswith("logits"))


@pytest.mark.parametrize("readout", ["mean", "sum", "last", "max"])
def test_every_readout_is_the_default_s(readout: Any) -> None:
    graph = CASES["two_layers"].build()
    write_metadata(graph, Metadata(STEPS, readout=readout))
    same_spikes(graph, inputs(graph))


@few
@given(graph=residual_networks())
def test_random_residual_networks_have_the_spikes_of_the_default(graph: nir.NIRGraph) -> None:
    same_spikes(graph, inputs(graph))


@few
@given(graph=recurrent_networks())
def test_random_recurrent_networks_have_the_spikes_of_the_default(graph: nir.NIRGraph) -> None:
    same_spikes(graph, inputs(graph))


def on_a_grid(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with weights that are multiples of 1/256: every sum is exact, in whatever order a runtime takes it."""
    for node in graph.nodes.values():
        for name in ("weight", "bias"):
            if hasattr(node, name):
                setattr(node, name, np.float32(np.rint(getattr(node, name) * 256) / 256))
    return graph


SIZE = 16
NETWORKS = {
    "ResNet-18": lambda: idsnn.SpikingResNet(18, 5, width=4, timesteps=3),
    "SEW ResNet-18": lambda: idsnn.SpikingResNet(18, 5, width=4, residual="sew", timesteps=3),
    "VGG-11": lambda: SpikingVGG(11, 5, width=4, timesteps=3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_our_own_networks_have_the_spikes_of_the_default(name: str) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of one pass, under which layers fire
    with torch.no_grad():
        net(torch.rand(8, 3, SIZE, SIZE) * 4 - 2)
    graph = on_a_grid(to_nir(net.eval(), (3, SIZE, SIZE)))
    x = np.random.default_rng(0).integers(-8, 9, (3, 3, 3, SIZE, SIZE)).astype(np.float32) / 4
    found = same_spikes(graph, x)
    rates = [values.mean() for output, values in found.items() if output.startswith("spikes.")]
    assert len(rates) >= 8
    assert np.mean(rates) > 0.05


@pytest.mark.parametrize("optimized", [True, False])
def test_eight_bits_give_the_spikes_of_the_default_s_eight_bits(optimized: bool) -> None:
    """Whether onnxruntime joins the pairs to one operator or computes what is between them in float32."""
    graph = spiking()
    x = inputs(graph, batch=3)
    ranges = calibrate(graph, STEPS, x[0])
    default, portable = (
        run(each, optimized, input=x) for each in both(graph, STEPS, kind="trace", static=False, int8=ranges)
    )
    assert all(np.array_equal(portable[name], default[name]) for name in default if name.startswith("spikes."))
    np.testing.assert_allclose(portable["logits"], default["logits"], rtol=1e-6, atol=1e-6)
    assert any(values.any() for name, values in portable.items() if name.startswith("spikes.lif4"))


def test_eight_bits_are_signed_and_stand_between_pairs() -> None:
    ranges = calibrate(spiking(), 2, inputs(spiking())[0])
    graph = to_onnx(spiking(), 2, batch=1, profile="portable", int8=ranges).graph
    makers = {output: node for node in graph.node for output in node.output}
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    joined = [node for node in graph.node if node.op_type == "Conv" and node.output[0].split(".")[0] in ranges]
    assert len(joined) == 2 * len(ranges)  # once for each step
    for node in joined:
        given, weight = (makers[name] for name in node.input[:2])
        (reader,) = (each for each in graph.node if node.output[0] in each.input)
        assert (given.op_type, weight.op_type, reader.op_type) == (
            "DequantizeLinear", "DequantizeLinear", "QuantizeLinear"
        )  # fmt: skip
        assert (tensors[given.input[1]], tensors[given.input[2]]) == (1, 0)
        assert {tensors[each.input[2]].dtype for each in (given, weight, reader)} == {np.dtype(np.int8)}


# ---- a bundle -------------------------------------------------------------------------------------------------------


def test_a_portable_bundle_is_checked_run_timed_and_evaluated(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idsnn_evaluation.jobs.write_figures", lambda report, folder: None)  # seconds, drawn elsewhere
    folder = tmp_path / "bundle"
    assert export([str(run), "--out", str(folder), "--profile", "portable"]) == 0
    bundle = read_bundle(folder)
    assert bundle.manifest.profile == "portable"
    assert json.loads((folder / "manifest.json").read_text())["format_version"] == 1
    assert session(onnx.load_from_string(bundle.read("model.onnx"))).get_inputs()[0].shape[0] == 1
    image = next(Path("examples/digits").rglob("*.png"))
    assert deploy(["check", str(folder)]) == 0
    assert deploy(["run", str(folder), str(image)]) == 0
    assert deploy(["bench", str(folder), "--seconds", "0.01", "--warmup", "0", "--optimization", "all"]) == 0
    assert evaluate([str(folder), "--limit", "4", "--out", str(tmp_path / "report")]) == 0


@pytest.mark.parametrize("form", ["c", "nir"])
def test_a_profile_is_for_onnx_files(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tmp_path / "x.nir"), "--format", form, "--profile", "portable"]
    assert export(words) == 2
    assert f"--profile portable is for ONNX files; --format {form} writes none" in capsys.readouterr().err
