"""`--diff`: two artefacts of any kind, opened and compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from eval_bundles import tape_graph, tape_images
from graphs import CASES

from idsnn_deploy.errors import BundleError, GraphError, UsageError
from idsnn_export.artefacts import compare
from idsnn_export.bundle import graph_of
from idsnn_export.cli import main
from idsnn_export.config import ExportConfig
from idsnn_export.gates.onnx_run import run, session
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.source import open_source


def written(folder: Path, name: str, change: float = 0.0) -> Path:
    """A residual graph with metadata, as `name`.nir, and compiled beside it."""
    graph = CASES["residual"].build()
    graph.nodes["conv2"].weight = graph.nodes["conv2"].weight + np.float32(change)
    write_metadata(graph, Metadata(4, encoding="frames"))
    write_nir(folder / f"{name}.nir", graph)
    for kind in ("model", "probe"):
        compiled = to_onnx(graph, 4, kind=kind, static=False)
        (folder / f"{name}.{kind}.onnx").write_bytes(compiled.SerializeToString())
    return folder / f"{name}.nir"


def test_a_file_agrees_with_itself_and_its_compiled_forms(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    assert compare(path, path).agree
    for kind in ("model", "probe"):
        assert compare(path, tmp_path / f"a.{kind}.onnx").agree
        assert compare(tmp_path / f"a.{kind}.onnx", path).agree


def test_a_changed_weight_is_found_by_layer_step_and_neuron(tmp_path: Path) -> None:
    a, b = written(tmp_path, "a"), written(tmp_path, "b", 0.25)
    found = compare(a, b)
    assert not found.agree
    assert found.divergence is not None
    assert found.divergence.layer == "lif2"
    assert len(found.divergence.neuron) == 3
    probed = compare(a, tmp_path / "b.probe.onnx")
    assert probed.divergence is not None
    assert probed.divergence.layer == "lif2"
    assert not compare(a, tmp_path / "b.model.onnx").agree


def test_the_command_exits_by_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path, "a"), written(tmp_path, "b", 0.25)
    assert main(["--diff", str(a), str(a)]) == 0
    assert "agree" in capsys.readouterr().out
    assert main(["--diff", str(a), str(b)]) == 1
    assert "lif2" in capsys.readouterr().out
    assert main(["--diff", str(a), str(tmp_path / "gone.nir")]) == 2


def test_the_command_lints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a")
    assert main([str(path), "--lint", "loihi"]) == 1
    assert "pool (AvgPool2d)" in capsys.readouterr().out
    assert main([str(path), "--lint", "abacus"]) == 2


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    write_nir(tmp_path / "small.nir", CASES["affine_alone"].build())
    with pytest.raises(UsageError, match="cannot be compared"):
        compare(path, tmp_path / "small.nir")
    with pytest.raises(UsageError, match="neither a bundle nor a run"):
        compare(path, tmp_path)
    with pytest.raises(GraphError):
        compare(path, tmp_path / "gone.nir")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="no ONNX model"):
        compare(path, tmp_path / "bad.onnx")


DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "bundle"


@pytest.mark.parametrize("foreign", [False, True])
def test_a_bundles_graph_is_hashed_before_it_is_used(foreign: bool, tmp_path: Path) -> None:
    """Changed in its place, or a link to a file elsewhere."""
    folder = Path(shutil.copytree(DIGITS, tmp_path / "bundle"))
    graph_of(ExportConfig(folder))
    (folder / "model.nir").unlink()
    if foreign:
        (folder / "model.nir").symlink_to(written(tmp_path, "elsewhere"))
    else:
        (folder / "model.nir").write_bytes((DIGITS / "model.nir").read_bytes()[:-1] + b"x")
    for use in (lambda: compare(folder, folder), lambda: graph_of(ExportConfig(folder))):
        with pytest.raises(BundleError, match=r"model\.nir: .*(changed since|where the manifest lists)"):
            use()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"idsnn.mean": "5"}, "not what idsnn writes"),
        ({"idsnn.mean": "[1, 2, 3]", "idsnn.std": "[1, 1, 1]"}, "mean and std have 3 values"),
        ({"idsnn.std": "[" * 9999}, "deeper"),
        ({"idsnn.timesteps": "5"}, "for 5 steps"),
        ({"idsnn.timesteps": str(2**70)}, "steps"),
        ({"idsnn.timesteps": "null"}, "timesteps"),
        ({"idsnn.encoding": "[]"}, "encoding"),
    ],
)
def test_a_model_that_says_nonsense_of_itself_is_refused(said: dict[str, str], words: str, tmp_path: Path) -> None:
    model = to_onnx(CASES["conv2d"].build(), 4)
    about = {entry.key: entry.value for entry in model.metadata_props} | said
    onnx.helper.set_model_props(model, about)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=words) as caught:
        compare(tmp_path / "a.onnx", tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)


def test_a_model_of_open_channels_is_refused(tmp_path: Path) -> None:
    model = to_onnx(CASES["affine_alone"].build(), 4)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError):
        compare(tmp_path / "a.onnx", tmp_path / "a.onnx")


def test_a_model_that_fails_is_one_line_and_says_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    ready = session(tape_graph({"logits": np.zeros((2, 1, 3))}))
    with pytest.raises(BundleError, match=r"model: fails while running \(.*Gather") as caught:
        run(ready, tape_images(3), ["logits"])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_normalization_that_does_not_fit_the_input_is_refused(tmp_path: Path) -> None:
    graph = CASES["conv2d"].build()
    write_metadata(graph, Metadata(4, mean=(0.5,) * 7, std=(1.0,) * 7))
    write_nir(tmp_path / "a.nir", graph)
    with pytest.raises(GraphError, match="mean and std have 7 values"):
        compare(tmp_path / "a.nir", tmp_path / "a.nir")
    with pytest.raises(GraphError, match="mean and std have 7 values"):
        open_source(ExportConfig(tmp_path / "a.nir"))


def test_two_models_are_compared_by_their_spikes_alone(tmp_path: Path) -> None:
    """Neither shows membranes, which are what tells rounding from a fault."""
    written(tmp_path, "a")
    written(tmp_path, "b", change=0.5)
    a, b = tmp_path / "a.probe.onnx", tmp_path / "b.probe.onnx"
    assert compare(a, a).agree
    found = compare(a, b)
    assert not found.agree
    assert "lif2: spikes differ in" in str(found)
