"""The whole pipeline through the four commands: what one stage writes, the next one reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idsnn_deploy import Session
from idsnn_deploy.cli import main as deploy
from idsnn_deploy.datasets import load_split
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.cli import main as export

torch = pytest.importorskip("torch")


def everything_under(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_bundle_predicts_what_torch_predicts_on_every_test_image(run: Path, bundle: Path) -> None:
    import idsnn

    test = load_split("digits", "test")
    trained = idsnn.load_run(run)
    mean, std = (torch.tensor(trained.config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = trained.student((torch.from_numpy(test.pixels()) - mean) / std).numpy()
    got = Session(bundle)(test.pixels())
    assert np.sum(expected.argmax(1) != got.argmax(1)) <= 1  # a spike on the threshold may fall either way
    assert np.median(np.abs(expected - got)) < 1e-5


def test_the_manifest_says_what_was_trained(run: Path, bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    summary = json.loads((run / "summary.json").read_text())
    assert manifest.dataset == "digits"
    assert manifest.timesteps == summary["timesteps"]
    assert manifest.labels == [str(digit) for digit in range(10)]
    assert manifest.input_shape == [1, 8, 8]
    assert manifest.test_accuracy == summary["student_accuracy"]
    assert len(manifest.neurons) == 17  # the stem's, and two a block in eight blocks
    assert len(manifest.synapses) == 1 + 16 + 3 + 1  # stem, two a block, three projections, head
    assert all(layer.beta == pytest.approx(0.25) and layer.theta == pytest.approx(0.5) for layer in manifest.neurons)


def test_exporting_twice_gives_the_same_onnx_bytes_and_says_what_is_next(
    run: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export([str(run), "--out", str(tmp_path / "again")]) == 0
    assert f"idsnn-export: next: idsnn-evaluate {tmp_path / 'again'}" in capsys.readouterr().err
    for name in ("model.onnx", "model.step.onnx", "model.probe.onnx"):
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes()


def test_golden_vectors_pass_on_this_machine(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy(["check", str(bundle)]) == 0
    assert "PASS" in capsys.readouterr().out


def test_the_report_counts_the_bundle(bundle: Path, run: Path, tmp_path: Path) -> None:
    assert evaluate([str(bundle), "--limit", "60", "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    totals = report["totals"]
    assert 0 < totals["firing_rate"] < 1
    assert 0 < totals["conv_acs"] < totals["dense"]
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000


def test_an_image_file_gets_a_class(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = load_split("digits", "test", limit=1)
    Image.fromarray((test.images[0, ..., 0] * 15.9375).astype(np.uint8)).save(tmp_path / "digit.png")
    assert deploy(["run", str(bundle), str(tmp_path / "digit.png"), "--json"]) == 0
    assert "digit.png" in capsys.readouterr().out


def test_another_time_window_is_exported_from_the_same_run(run: Path, tmp_path: Path) -> None:
    assert export([str(run), "--timesteps", "2", "--graphs", "onnx", "--out", str(tmp_path / "two")]) == 0
    opened = read_bundle(tmp_path / "two")
    assert opened.manifest.timesteps == 2
    assert not opened.has("model.probe.onnx")
    assert Session(tmp_path / "two").step_logits(np.zeros((1, 1, 8, 8), np.float32)).shape[0] == 2


# name of the case → arguments for idsnn-export, given the run and a scratch folder; what the line on stderr must say
BAD_EXPORTS = {
    "no such run": (lambda run, tmp: [str(tmp / "nothing")], "nothing"),
    "a run without weights": (lambda run, tmp: [str(without_weights(run, tmp))], "student.safetensors"),
    "no steps": (lambda run, tmp: [str(run), "--timesteps", "0", "--out", str(tmp / "b")], "--timesteps 0"),
    "negative dt": (lambda run, tmp: [str(run), "--dt=-1", "--out", str(tmp / "b")], "--dt"),
    "unknown graph": (lambda run, tmp: [str(run), "--graphs", "onnx,loop", "--out", str(tmp / "b")], "loop"),
    "an existing bundle": (lambda run, tmp: [str(run), "--out", str(existing(tmp))], "--force"),
    "no NIR file": (lambda run, tmp: [str(garbage(tmp)), "--timesteps", "4", "--out", str(tmp / "b")], "garbage.nir"),
}


def without_weights(run: Path, scratch: Path) -> Path:
    copy = scratch / "weightless"
    shutil.copytree(run, copy)
    (copy / "student.safetensors").unlink()
    return copy


def existing(scratch: Path) -> Path:
    folder = scratch / "there"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep me")
    return folder


def garbage(scratch: Path) -> Path:
    file = scratch / "garbage.nir"
    file.write_bytes(b"not HDF5 at all")
    return file


@pytest.mark.parametrize("case", BAD_EXPORTS)
def test_a_bad_export_is_refused_in_one_line_and_nothing_is_written(
    case: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = BAD_EXPORTS[case]
    argv = arguments(run, tmp_path)
    before = everything_under(tmp_path), everything_under(run)
    capsys.readouterr()
    assert export(argv) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert line.startswith("idsnn-export: error: ")
    assert words in line
    assert (everything_under(tmp_path), everything_under(run)) == before


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "manifest.json"])
def test_a_bundle_with_a_changed_byte_is_refused(file: str, bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / file).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / file).write_bytes(data)
    assert deploy(["check", str(copy)]) in (1, 2)


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "manifest.json"])
def test_a_bundle_missing_a_file_is_refused(file: str, bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    (copy / file).unlink()
    assert deploy(["check", str(copy)]) == 2
