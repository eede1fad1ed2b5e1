"""Trees of files sorted by class: what is for training, what for testing, and what is passed over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_trees import SIZE, sweep, write_tree

from idsnn_deploy.class_trees import class_files
from idsnn_deploy.datasets import FILES, RECORDED, Reading, load_split
from idsnn_deploy.errors import DataError, UsageError
from idsnn_deploy.events import Binning, to_frames
from idsnn_deploy.reading import Division


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def flat(root: Path, counts: dict[str, int]) -> Path:
    return touch(root, *(f"{name}/{i:02}.bin" for name, count in counts.items() for i in range(count)))


def names(root: Path, split: str, **division: Any) -> set[str]:
    found = class_files(root, split, {".bin"}, Division(**division))
    return {str(file.relative_to(root)) for file in found.files}


@pytest.mark.parametrize("top", ["", "train", "Train"])
def test_without_a_test_folder_every_class_gives_its_part(top: str, tmp_path: Path) -> None:
    flat(tmp_path / top, {"a": 10, "b": 20, "c": 2})
    train, test = names(tmp_path, "train"), names(tmp_path, "test")
    assert not train & test
    assert len(train | test) == 32
    assert [sum(f"{name}/" in file for file in test) for name in "abc"] == [2, 4, 1]
    assert names(tmp_path, "test") == test
    assert names(tmp_path, "test", split_seed=1) != test
    assert len(names(tmp_path, "test", test_fraction=0.5)) == 5 + 10 + 1
    notes = class_files(tmp_path, "train", {".bin"}).notes
    assert notes == (f"{tmp_path}: no test/; 20% of each class are for testing (seed 0)",)


def test_another_class_changes_nothing_in_this_one(tmp_path: Path) -> None:
    before = names(flat(tmp_path, {"b": 20}), "test")
    assert before < names(flat(tmp_path, {"a": 20}), "test")


def test_parts_are_found_whatever_their_case(tmp_path: Path) -> None:
    flat(tmp_path, {"Train/a": 3, "TEST/a": 2})
    assert (len(names(tmp_path, "train")), len(names(tmp_path, "test"))) == (3, 2)


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    touch(
        tmp_path, "train/a/1.bin", "train/a/.hidden", "train/a/x.txt", "train/a/y.txt", "train/b/1.BIN", "test/a/1.bin"
    )
    touch(tmp_path, "test/b/1.bin", "train/a/README")
    found = class_files(tmp_path, "train", {".bin"})
    assert found.notes == (
        f"{tmp_path}/train: 4 files of other kinds are passed over (2 .txt, 1 hidden, 1 without an ending)",
    )
    assert len(found.files) == 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no class folders"),
        (["a/1.bin", "b/1.bin"], "a: one file, which cannot be both"),
        (["train/cat/1.bin", "train/Cat/1.bin", "test/cat/1.bin"], "Cat and cat differ in case only"),
        (["train/a/1.bin", "Train/a/1.bin"], "Train and train differ in case only"),
        (["train/a/1.bin", "test/b/1.bin"], r"different classes \(a, b in one"),
        (["train/a/1.txt", "test/a/1.bin"], "no files of a known ending"),
        (["test/a/1.bin"], "no such folder train/ beside test/"),
    ],
)
def test_a_tree_that_says_nothing_clear_is_refused_in_one_line(files: list[str], words: str, tmp_path: Path) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=words) as caught:
        class_files(tmp_path, "train", {".bin"})
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


# recordings -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("events") / "tree", train=4, test=2)


@pytest.mark.parametrize("binning", [Binning(), Binning("count", "binary"), Binning("time", "binary", 20_000)])
def test_recordings_are_frames_of_counts_and_seen_as_binned(binning: Binning, tree: Path) -> None:
    split = load_split("events", "train", tree, (2, SIZE, SIZE), reading=Reading(timesteps=3, binning=binning))
    assert (split.images.shape, split.images.dtype, split.shape) == ((8, 3, SIZE, SIZE, 2), np.uint8, (2, SIZE, SIZE))
    assert (split.labels.tolist(), split.classes) == ([0] * 4 + [1] * 4, ("a-right", "b-left"))
    pixels = split.pixels([5, 0])
    assert (pixels.shape, pixels.dtype) == ((3, 2, 2, SIZE, SIZE), np.float32)
    for i, (label, seed) in enumerate(((1, 1), (0, 0))):
        wanted = to_frames(sweep(label, seed), (2, SIZE, SIZE), 3, binning.by, binning.values, binning.window)
        np.testing.assert_array_equal(pixels[:, i], wanted)


def test_the_sensor_is_the_least_that_holds_every_event_and_that_is_said(tree: Path) -> None:
    split = load_split("events", "train", tree, reading=Reading(timesteps=2))
    assert split.shape == (2, 9, 12)
    assert split.notes == (f"{tree}: a sensor of 12x9 pixels holds every event (say --sensor H W otherwise)",)
    with pytest.raises(DataError, match=r"000\.bin: an event at x = 11, outside the sensor of 8x9 pixels"):
        load_split("events", "train", tree, (2, 9, 8))


def test_a_pixel_of_many_events_is_counted_to_the_last(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "hot").mkdir(parents=True)
        np.savez(tmp_path / part / "hot" / "1.npz", x=np.zeros(300, int), y=[0] * 300, t=np.arange(300), p=[1] * 300)
        np.savez(tmp_path / part / "hot" / "0.npz", x=np.zeros(5, int), y=[0] * 5, t=np.arange(5), p=[1] * 5)
    split = load_split("events", "train", tmp_path, reading=Reading(timesteps=1))
    assert split.images.dtype == np.int16
    assert split.pixels().sum(axis=(0, 2, 3, 4)).tolist() == [5, 300]


def test_n_mnist_has_its_own_sensor_and_parts(tmp_path: Path) -> None:
    split = load_split("nmnist", "test", write_tree(tmp_path, 2, 3, ("Train", "Test")), limit=4)
    assert (len(split), split.shape) == (4, (2, 34, 34))


@pytest.mark.parametrize("name", sorted(RECORDED & FILES.keys()))
def test_recordings_need_a_folder_and_whole_files(name: str, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--dataset {name} needs --data DIR"):
        load_split(name)
    shutil.copytree(tree, tmp_path / "broken")
    broken = tmp_path / "broken" / "train" / "b-left" / "002.bin"
    broken.write_bytes(broken.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"b-left/002\.bin: 1,498 bytes, not five an event"):
        load_split(name, "train", tmp_path / "broken")
