"""Data sets that a program holds: arrays, torch Datasets, samples as Hugging Face gives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import idsnn
from idsnn_deploy.array_sets import read_array_set
from idsnn_deploy.errors import BundleError, DataError
from idsnn_deploy.given import write_given
from idsnn_deploy.reading import Division
from idsnn_evaluation import evaluate
from idsnn_evaluation.cli import main as evaluate_command
from idsnn_export.cli import main as export

BYTES = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 2
FLOATS = np.float32(BYTES.transpose(0, 3, 1, 2)) / np.float32(255)


class Samples(list[Any]):
    """A data set of samples, which may lie about its length."""

    length: int | None = None

    def __len__(self) -> int:
        return super().__len__() if self.length is None else self.length


def samples(*images: Any) -> Samples:
    return Samples((image, i % 2) for i, image in enumerate(images))


GIVEN = {
    "arrays": (BYTES, LABELS),
    "float tensors": (torch.from_numpy(FLOATS), torch.from_numpy(LABELS)),
    "a torch Dataset": TensorDataset(torch.from_numpy(FLOATS), torch.from_numpy(LABELS)),
    "tensors of bytes": TensorDataset(torch.from_numpy(BYTES.transpose(0, 3, 1, 2).copy()), torch.from_numpy(LABELS)),
    "pictures": samples(*map(Image.fromarray, BYTES)),
    "Hugging Face's": Samples({"img": Image.fromarray(x), "label": int(y)} for x, y in zip(BYTES, LABELS, strict=True)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_every_kind_of_data_set_is_the_same_images(name: str, tmp_path: Path) -> None:
    write_given((GIVEN[name], GIVEN[name]), tmp_path / "a.npz", Division())
    found = read_array_set("test", tmp_path / "a.npz")
    assert (found.labels.tolist(), found.classes) == (LABELS.tolist(), ("0", "1"))
    np.testing.assert_array_equal(found.pixels(), FLOATS)


def test_one_data_set_alone_is_divided_and_grey_joins_colour(tmp_path: Path) -> None:
    mixed = samples(*map(Image.fromarray, [*BYTES[:9], BYTES[9, ..., 0]]))
    write_given(mixed, tmp_path / "a.npz", Division(test_fraction=0.4))
    parts = [read_array_set(part, tmp_path / "a.npz", Division(test_fraction=0.4)) for part in ("train", "test")]
    assert [len(part) for part in parts] == [6, 4]
    assert parts[0].shape == (3, 6, 5)


LIAR = samples(*BYTES[:2])
LIAR.length = 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (42, "a int is neither"),
        (LIAR, "says that it has 5 samples, and sample 2 is no .image, label."),
        (samples(BYTES[0], BYTES[1, :4]), "sample 1: uint8 of shape .4, 5, 3. where the first is uint8 of .6, 5, 3."),
        (Samples([(BYTES[0], "cat")]), "sample 0: the label is 'cat', not an integer"),
        (Samples([(BYTES[0], 0.5)]), "sample 0: the label is 0.5, not an integer"),
        (Samples([BYTES[0, 0, 0, 0]]), "sample 0 is no .image, label."),
        (samples(np.zeros(3)), "sample 0: an image of float64 and shape .3,."),
        (Samples(), "holds no samples"),
        ((BYTES, LABELS / 2), "integers"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_nothing_is_written(data: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        write_given(data, tmp_path / "a.npz", Division())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a torch Dataset, exported into itself."""
    folder = tmp_path_factory.mktemp("given") / "run"
    config = idsnn.TrainConfig(arm="baseline", width=2, epochs=1, timesteps=2, batch_size=4)
    given = GIVEN["a torch Dataset"]
    idsnn.train(config, folder, data=(given, given))
    assert export([str(folder), "--graphs", "probe"]) == 0
    return folder


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """A report without this machine's latency."""
    return {name: part for name, part in report.items() if name != "measured"}


@pytest.fixture(scope="module")
def said(run: Path) -> dict[str, Any]:
    """What the command reports of the run, which alone says where its data are."""
    assert evaluate_command([str(run), "--out", f"{run}-report"]) == 0
    return counted(json.loads(Path(f"{run}-report/report.json").read_text()))


def test_a_run_on_a_dataset_exports_and_evaluates_like_any_other_and_the_command_finds_its_data(
    run: Path, said: dict[str, Any], tmp_path: Path
) -> None:
    accuracy = json.loads((run / "summary.json").read_text())["student_accuracy"]
    assert (said["accuracy"]["top1"], said["provenance"]["samples"]) == (accuracy, 12)
    assert said["provenance"]["dataset"] == "npz"
    # Without the run beside it, or where its data are gone, the command asks.
    shutil.copytree(run / "bundle", tmp_path / "alone")
    assert evaluate_command([str(tmp_path / "alone"), "--out", str(tmp_path / "none")]) == 2
    shutil.copytree(run, tmp_path / "moved")
    settings = json.loads((run / "config.json").read_text())
    (tmp_path / "moved" / "config.json").write_text(json.dumps({**settings, "data": str(tmp_path / "gone")}))
    assert evaluate_command([str(tmp_path / "moved"), "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", GIVEN)
def test_evaluate_takes_what_train_takes_and_says_what_the_command_says(
    name: str, run: Path, said: dict[str, Any]
) -> None:
    for data in (GIVEN[name], (samples(*BYTES[:3]), GIVEN[name])):  # one data set, and (train, test)
        assert counted(json.loads(json.dumps(evaluate(run, data).to_dict()))) == said


def test_evaluate_says_what_does_not_fit_in_one_line(run: Path, tmp_path: Path) -> None:
    for data, words in (
        (samples(*BYTES[:, :4]), "data: images of 3x4x5 where the bundle takes 3x6x5"),
        ((BYTES, LABELS + 1), "the bundle has 2 classes"),
        (42, "a int is neither"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            evaluate(run / "bundle", data)
        assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match=rf"a run that was not exported; idsnn-export {tmp_path}"):
        evaluate(tmp_path, (BYTES, LABELS))
