"""Data sets that a program holds: arrays, torch Datasets, samples as Hugging Face gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import idsnn
from idsnn.given import write_given
from idsnn_deploy.array_sets import read_array_set
from idsnn_deploy.errors import DataError
from idsnn_deploy.reading import Division
from idsnn_evaluation.cli import main as evaluate
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


def test_a_run_on_a_dataset_exports_and_evaluates_like_any_other(tmp_path: Path) -> None:
    given = GIVEN["a torch Dataset"]
    config = idsnn.TrainConfig(arm="baseline", width=2, epochs=1, timesteps=2, batch_size=4)
    summary = idsnn.train(config, tmp_path / "run", data=(given, given))
    assert export([str(tmp_path / "run"), "--graphs", "probe"]) == 0
    data = ["--data", str(tmp_path / "run-data.npz")]
    assert evaluate([str(tmp_path / "run" / "bundle"), *data, "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["accuracy"]["top1"] == summary["student_accuracy"]
    assert report["provenance"]["samples"] == 12
