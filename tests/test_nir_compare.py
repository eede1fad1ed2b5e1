"""`--diff`: two artefacts of any kind, opened and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import CASES

from idsnn_deploy.errors import BundleError, GraphError, UsageError
from idsnn_export.artefacts import compare
from idsnn_export.cli import main
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.writer import write_nir


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
