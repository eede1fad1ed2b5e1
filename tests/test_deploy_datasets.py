"""Images and labels as arrays: the same ones for training, export and evaluation."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from idsnn_deploy.class_trees import class_files
from idsnn_deploy.datasets import DATASETS, FILES, RECORDED, balanced_subset, load_split
from idsnn_deploy.errors import DataError, MissingExtraError, UsageError
from idsnn_deploy.reading import DataSet

CLASSES = ("cat", "dog", "emu")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """train/CLASS with 4, 3 and 2 grey images of 6x5, test/CLASS with 2 each; the pixels say class and number."""
    for split, counts in (("train", (4, 3, 2)), ("test", (2, 2, 2))):
        for label, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            folder = tmp_path / "tree" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((6, 5), 50 * label + i, np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "tree"


def test_a_folder_is_read_class_by_class(tree: Path) -> None:
    split = load_split("folder", "train", tree)
    assert split.classes == CLASSES
    assert split.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert split.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 50, 51, 52, 100, 101]
    assert (split.shape, len(split), split.scale) == ((1, 6, 5), 9, 255.0)
    assert split.files[4] == str(tree / "train" / "dog" / "0.png")
    assert len(load_split("folder", "test", tree)) == 6


def test_pixels_are_floats_in_0_to_1_channels_first(tree: Path) -> None:
    split = load_split("folder", "train", tree, shape=(3, 4, 2))
    pixels = split.pixels([8, 0])
    assert (pixels.shape, pixels.dtype) == ((2, 3, 4, 2), np.float32)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0], np.array([101, 0], np.float32) / np.float32(255))
    assert split.pixels().shape == (9, 3, 4, 2)


def test_a_limit_takes_the_classes_in_turn(tree: Path) -> None:
    split = load_split("folder", "train", tree, limit=5)
    assert split.images[:, 0, 0, 0].tolist() == [0, 1, 50, 51, 100]
    assert [Path(file).name for file in split.files] == ["0.png", "1.png", "0.png", "1.png", "0.png"]
    found = class_files(tree, "train", {".png"}, limit=5)
    assert [str(file) for file in found.files] == list(split.files)
    assert (found.labels.tolist(), found.classes) == (split.labels.tolist(), CLASSES)


def test_a_balanced_subset_differs_by_one_at_most_and_grows_by_adding() -> None:
    labels = np.random.default_rng(0).integers(0, 7, 500)
    before: set[int] = set()
    for count in range(1, 200):
        chosen = balanced_subset(labels, count)
        per_class = np.bincount(labels[chosen], minlength=7)
        assert len(chosen) == count
        assert per_class.max() - per_class.min() <= 1
        assert before <= set(chosen.tolist())
        before = set(chosen.tolist())
    assert balanced_subset(labels, 10_000).tolist() == list(range(500))


def test_files_that_are_no_images_are_passed_over(tree: Path) -> None:
    folder = tree / "train" / "cat"
    (folder / "notes.txt").touch()
    (folder / "._0.png").write_bytes(b"what a Mac leaves behind")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "labels.csv").touch()
    assert len(load_split("folder", "train", tree)) == 9


def remove_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda tree: shutil.rmtree(tree / "train"), "no such folder"),
        (lambda tree: [shutil.rmtree(tree / "train" / name) for name in CLASSES], "no class folders"),
        (lambda tree: remove_all(tree / "train" / "dog"), "no files of a known ending"),
        (lambda tree: (tree / "test" / "dog").rename(tree / "test" / "fox"), "different classes.*dog, fox"),
        (lambda tree: (tree / "train" / "emu" / "1.png").write_text("x"), r"emu/1\.png: not an image"),
        (lambda tree: (tree / "train" / "cat" / "0.png").write_bytes(b""), r"cat/0\.png: not an image"),
    ],
)
def test_a_broken_folder_is_said_in_one_line(break_it: Any, words: str, tree: Path) -> None:
    break_it(tree)
    with pytest.raises(DataError, match=words) as caught:
        load_split("folder", "train", tree)
    assert "\n" not in str(caught.value)
    assert str(tree) in str(caught.value)


def test_a_test_folder_alone_can_be_read(tree: Path) -> None:
    shutil.rmtree(tree / "train")
    assert len(load_split("folder", "test", tree)) == 6


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("imagenet", {}, UsageError, "unknown data set 'imagenet'.*digits"),
        ("folder", {}, UsageError, "--data"),
        ("digits", {"limit": 0}, UsageError, "at least 1"),
        ("digits", {"split": "validation"}, ValueError, "'train' or 'test'"),
    ],
)
def test_what_cannot_be_meant_is_said(name: str, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_split(name, **options)


def test_every_data_set_that_a_flag_may_name_has_a_reader() -> None:
    assert tuple(DATASETS) == get_args(DataSet)


# digits ---------------------------------------------------------------------------------------------------------------


def test_the_digits_are_scikit_learns_as_it_splits_them() -> None:
    datasets, selection = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.model_selection")
    digits = datasets.load_digits()
    parts = selection.train_test_split(
        digits.images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    train, test = load_split("digits", "train"), load_split("digits", "test")
    for found, expected in zip((train.images, test.images, train.labels, test.labels), parts, strict=True):
        np.testing.assert_array_equal(found[..., 0] if found.ndim == 4 else found, expected)


def test_the_digits_are_split_once_and_for_all() -> None:
    train, test = load_split("digits", "train"), load_split("digits", "test")
    assert (len(train), len(test), test.shape, test.scale) == (1437, 360, (1, 8, 8), 16.0)
    assert np.bincount(test.labels).min() >= 34  # stratified
    assert train.pixels().max() == 1.0
    both = {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}
    assert not both
    again = load_split("digits", "test", limit=50)
    assert np.bincount(again.labels).tolist() == [5] * 10


# torchvision's, without torchvision -----------------------------------------------------------------------------------


def fake_torchvision(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    module = types.ModuleType("torchvision.datasets")
    for name in ("MNIST", "KMNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN"):
        setattr(module, name, make)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


@pytest.mark.parametrize(("name", "shape"), [("mnist", (7, 28, 28)), ("cifar10", (7, 32, 32, 3))])
def test_torchvisions_sets_become_arrays(name: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def make(root: str, train: bool, download: bool) -> Any:
        asked.append((root, train, download))
        return types.SimpleNamespace(
            data=np.zeros(shape, np.uint8), targets=[0, 1, 2] * 2 + [0], classes=["a", "b", "c"]
        )

    fake_torchvision(monkeypatch, make)
    split = load_split(name, "test", "somewhere", limit=3)
    assert asked == [("somewhere", False, True)]
    assert split.images.shape == (3, *shape[1:3], shape[3] if len(shape) == 4 else 1)
    assert (split.labels.tolist(), split.classes, split.scale) == ([0, 1, 2], ("a", "b", "c"), 255.0)


def unreachable(root: str, train: bool, download: bool) -> Any:
    raise OSError("<urlopen error>\nName or service not known")


@pytest.mark.parametrize("make", [unreachable, lambda root: None], ids=["no network", "other arguments"])
def test_what_torchvision_does_not_give_is_said_in_one_line(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torchvision(monkeypatch, make)
    with pytest.raises(DataError, match=r"could not be downloaded.*--data") as caught:
        load_split("cifar10", "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"digits", *FILES, *RECORDED, "npz"}))
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'idsnn\[(train|evaluation)\]'"):
        load_split(name)


# labelled arrays ------------------------------------------------------------------------------------------------------


def test_arrays_of_bytes_and_of_floats_are_one_data_set(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(20) % 3
    np.savez(tmp_path / "bytes.npz", images=images, labels=labels)
    floats = np.float32(images.transpose(0, 3, 1, 2)) / np.float32(255)
    np.savez(tmp_path / "floats.npz", images=floats, labels=labels)
    parts = [load_split("npz", "train", tmp_path / name) for name in ("bytes.npz", "floats.npz")]
    test = load_split("npz", "test", tmp_path / "bytes.npz")
    assert [len(part) for part in (*parts, test)] == [17, 17, 3]  # a fifth of 7, 7 and 6 is 1.4 and 1.2
    assert (parts[0].shape, parts[0].classes) == ((3, 5, 4), ("0", "1", "2"))
    np.testing.assert_array_equal(parts[0].pixels(), parts[1].pixels())
    every = sorted(image.tobytes() for part in (parts[0], test) for image in part.images)
    assert every == sorted(image.tobytes() for image in images)


def test_arrays_may_name_their_parts(tmp_path: Path) -> None:
    grey = np.zeros((3, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", train_images=grey, train_labels=[0, 1, 2], test_images=grey[:2], test_labels=[0, 1])
    train, test = (load_split("npz", part, tmp_path / "a.npz") for part in ("train", "test"))
    assert (len(train), len(test), test.shape, test.classes) == (3, 2, (1, 4, 4), ("0", "1", "2"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((4, 2, 2), np.uint8)}, "has no labels; it has images"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": [0.0, 1.0, 0.0, 1.0]}, "labels is float64.*integers"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": [0, -1, 0, 1]}, "integers .N,. from 0"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": [0, 1]}, "of shape .4, 2, 2. with labels of shape .2,."),
        ({"images": np.zeros((4, 1, 2, 2)) + 3, "labels": [0, 1, 0, 1]}, "images reaches from 3 to 3"),
        ({"images": np.zeros((4, 2)), "labels": [0, 1, 0, 1]}, "images is float64 of shape"),
        ({"images": np.zeros((3, 2, 2), np.uint8), "labels": [0, 1, 1]}, "one image of class 0"),
    ],
)
def test_arrays_that_are_no_labelled_images_are_said_in_one_line(
    arrays: dict[str, Any], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **{name: np.asarray(each) for name, each in arrays.items()})
    with pytest.raises(DataError, match=words) as caught:
        load_split("npz", "train", tmp_path / "a.npz")
    assert str(caught.value).startswith(str(tmp_path / "a.npz"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_npz_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match=r"not an \.npz file of arrays"):
        load_split("npz", "train", tmp_path / "a.npz")
    with pytest.raises(UsageError, match=r"--data FILE\.npz"):
        load_split("npz", "train")
