"""Data that cannot be trained on: one line with the file's name, exit code 2, and the run that is there stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from event_trees import five_bytes, sweep, write_tree
from PIL import Image

import idsnn
from idsnn.cli import main
from idsnn_deploy.errors import DataError
from idsnn_deploy.events import DTYPE

BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {}


def bad(name: str, dataset: str, words: str) -> Callable[[Callable[[Path], object]], None]:
    """A row of `BAD`: makes data at a path that `words` are said of."""
    return lambda make: BAD.__setitem__(name, (dataset, make, words))


def recording(root: Path, data: bytes) -> None:
    (write_tree(root, 2, 2) / "train" / "b-left" / "001.bin").write_bytes(data)


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / name)


@bad("a truncated recording", "events", r"b-left/001\.bin: 1,499 bytes, not five an event; truncated")
def _(root: Path) -> None:
    recording(root, five_bytes(sweep(1, 1))[:-1])


@bad("events outside the sensor", "nmnist", r"b-left/001\.bin: an event at x = 40, outside the sensor of 34x34 pixels")
def _(root: Path) -> None:
    recording(root, five_bytes(np.array([(40, 0, 5, 1)], DTYPE)))


@bad("time that runs backwards", "events", r"b-left/001\.bin: time runs backwards at event 1 \(from 9 to 8 µs\)")
def _(root: Path) -> None:
    recording(root, five_bytes(np.array([(1, 0, 9, 1), (1, 0, 8, 1)], DTYPE)))


@bad("an empty recording", "events", r"b-left/001\.bin: holds no events")
def _(root: Path) -> None:
    recording(root, b"")


@bad("a class of one file", "folder", r"/b: one file, which cannot be both for training and for testing")
def _(root: Path) -> None:
    images(root, "a/0.png", "a/1.png", "b/0.png")


@bad("two classes that differ in case only", "folder", r"train: classes Cat and cat differ in case only")
def _(root: Path) -> None:
    images(root, "train/cat/0.png", "train/Cat/0.png", "test/cat/0.png")


@bad("labels that are not integers", "npz", r"data: labels is float64 of shape \(4,\); give integers")
def _(root: Path) -> None:
    with root.open("wb") as file:
        np.savez(file, images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0.0, 1.0, 0.5, 1.0]))


@bad("an image of 0 bytes", "folder", r"a/0\.png: not an image")
def _(root: Path) -> None:
    images(root, "train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png")
    (root / "train" / "a" / "0.png").write_bytes(b"")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A folder that looks like a run."""
    (tmp_path / "run").mkdir()
    for name in ("config.json", "student.safetensors", "summary.json"):
        (tmp_path / "run" / name).write_text(f"what was in {name}")
    return tmp_path / "run"


def unchanged(run: Path) -> bool:
    found = {file.name: file.read_text() for file in run.iterdir()}
    return found == {name: f"what was in {name}" for name in ("config.json", "student.safetensors", "summary.json")}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line_with_its_file_and_code_2_and_nothing_is_overwritten(
    name: str, before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, make, words = BAD[name]
    make(tmp_path / "data")
    arguments = ["--dataset", dataset, "--data", str(tmp_path / "data"), "--out", str(before), "--force"]
    assert main(arguments) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("idsnn-train: error: ")]
    assert re.search(words, line)
    assert str(tmp_path / "data") in line
    assert unchanged(before)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "run"]


class Liar(list[tuple[np.ndarray, int]]):
    """Says that it has a sample more."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_a_dataset_whose_length_lies_is_one_line_and_nothing_is_overwritten(before: Path, tmp_path: Path) -> None:
    (tmp_path / "run-data.npz").write_text("what was trained on")
    liar = Liar((np.zeros((8, 8), np.uint8), i % 2) for i in range(4))
    with pytest.raises(DataError, match=r"says that it has 5 samples, and sample 4 is no \(image, label\)") as caught:
        idsnn.train(idsnn.TrainConfig(), before, data=liar, force=True)
    assert "\n" not in str(caught.value)
    assert unchanged(before)
    assert (tmp_path / "run-data.npz").read_text() == "what was trained on"
