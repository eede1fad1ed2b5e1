"""`check`: what a file may answer otherwise than the golden vectors say, and what it may not."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle as tiny
from tiny_bundle import STATIC, resigned

from idsnn_deploy.check import check_bundle
from idsnn_deploy.errors import BundleError
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import read_bundle
from idsnn_deploy.onnx_file import Graph


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATIC, tmp_path / "bundle"))


def failing(folder: Path) -> list[str]:
    return [each.file for each in check_bundle(read_bundle(folder)) if not each.passed]


def scaled_weights(folder: Path, file: str, factor: float) -> Path:
    whole = (folder / file).read_bytes()
    weight = tiny.WEIGHT.T.tobytes()
    (folder / file).write_bytes(whole.replace(weight, (tiny.WEIGHT.T * np.float32(factor)).tobytes()))
    return resigned(folder)


def golden_with(folder: Path, **arrays: Any) -> Path:
    golden = vars(read_golden(read_bundle(folder))) | arrays
    np.savez_compressed(folder / "golden.npz", **{k: v for k, v in golden.items() if v is not None})
    return resigned(folder)


@pytest.mark.parametrize("file", ["model.onnx", "model.step.onnx", "model.probe.onnx"])
@pytest.mark.parametrize(("factor", "fails"), [(1.000001, False), (1.001, True), (-1.0, True)])
def test_a_float_file_whose_logits_are_off_fails(file: str, factor: float, fails: bool, copy: Path) -> None:
    assert failing(scaled_weights(copy, file, factor)) == [file] * fails


@pytest.mark.parametrize(("factor", "fails"), [(1.2, False), (-1.0, True)])
def test_int8_is_asked_for_its_classes(factor: float, fails: bool, copy: Path) -> None:
    assert failing(scaled_weights(copy, "model.int8.onnx", factor)) == ["model.int8.onnx"] * fails


@pytest.mark.parametrize(("apart", "passes"), [(0.97e-4, True), (1.03e-4, False)])
@pytest.mark.parametrize("what", ["logits", "step_logits"])
def test_logits_may_be_so_far_apart_and_no_farther(what: str, apart: float, passes: bool, copy: Path) -> None:
    golden = vars(read_golden(read_bundle(copy)))[what].copy()
    golden.reshape(-1)[0] += np.float32(apart)
    results = check_bundle(read_bundle(golden_with(copy, **{what: golden})))
    assert {result.passed for result in results if "int8" not in result.file} == {passes}


@pytest.mark.parametrize(("other", "passes"), [(2, True), (3, False)])
def test_int8_may_give_another_class_for_a_quarter_of_the_images(other: int, passes: bool, copy: Path) -> None:
    classes = read_golden(read_bundle(copy)).logits.argmax(axis=1)
    assert len(classes) == 8
    classes[:other] = (classes[:other] + 1) % 3
    results = check_bundle(read_bundle(resigned(copy, parity={"int8": {"golden_classes": classes.tolist()}})))
    assert {result.passed for result in results if "int8" in result.file} == {passes}
    assert all(result.passed for result in results if "int8" not in result.file)


@pytest.mark.parametrize(
    "said", ["x", [1], {"golden_classes": [1, 2]}, {"golden_classes": "x"}, {"golden_classes": [-1] * 8}]
)
def test_classes_of_8_bits_that_are_none_are_refused(said: Any, copy: Path) -> None:
    bundle = read_bundle(resigned(copy, parity={"int8": said}))
    with pytest.raises(BundleError, match=r"`parity.int8` says .* one for each of 8 golden images") as caught:
        check_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_one_spike_more_fails(copy: Path) -> None:
    golden = read_golden(read_bundle(copy))
    golden.spikes[3, 0] += 1
    assert failing(golden_with(copy, spikes=golden.spikes)) == ["model.probe.onnx"]


def test_a_file_that_no_replay_reads_is_hashed_all_the_same(copy: Path) -> None:
    whole = (copy / "model.nir").read_bytes()
    (copy / "model.nir").write_bytes(whole[:-1] + b"x")
    with pytest.raises(BundleError, match=r"model\.nir: changed since"):
        check_bundle(read_bundle(copy))


def test_a_runtime_that_is_wrong_from_its_second_run_on_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime 1.17 and 1.18 are where they plan their memory."""
    whole, runs = Graph.run, Counter[str]()

    def run(self: Graph, *given: Any) -> Any:
        runs[self.where] += 1
        return [values + (runs[self.where] > 1) for values in whole(self, *given)]

    monkeypatch.setattr(Graph, "run", run)
    assert failing(STATIC) == ["model.onnx", "model.step.onnx", "model.probe.onnx"]


def test_a_graph_of_fixed_batch_is_asked_piece_by_piece(copy: Path) -> None:
    """Eight golden images in batches of 3: the last has one image that is none."""
    onnx = pytest.importorskip("onnx")
    for file in copy.glob("*.onnx"):
        model = onnx.load_model(file)
        for value in (*model.graph.input, *model.graph.output):
            for size in value.type.tensor_type.shape.dim:
                if size.dim_param == "N":
                    size.dim_value = 3
        onnx.save_model(model, file)
    results = check_bundle(read_bundle(resigned(copy)))
    assert all(each.passed for each in results)
    assert all(each.spikes for each in results if "probe" in each.file)


@pytest.mark.parametrize(
    "arrays",
    [
        {"logits": None},
        {"logits": np.zeros((8, 4), np.float32)},
        {"logits": np.full((8, 3), np.nan, np.float32)},
        {"logits": np.zeros((0, 3), np.float32)},
        {"logits": np.zeros((8, 3), object)},
        {"images": np.zeros((8, 1, 6, 5))},
        {"images": np.full((8, 1, 6, 5), 2, np.float32)},
        {"images": np.zeros((40_000, 1, 100, 100), np.uint8)},  # 400 MB in 400 KB
        {"step_logits": np.zeros((3, 8, 3), np.float32)},
        {"spikes": np.zeros((8, 2), np.int64)},
    ],
)
def test_golden_vectors_of_another_network_are_refused(arrays: dict[str, Any], copy: Path) -> None:
    bundle = read_bundle(golden_with(copy, **arrays))
    with pytest.raises(BundleError, match="not the golden vectors"):
        check_bundle(bundle)
