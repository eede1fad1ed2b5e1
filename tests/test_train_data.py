"""Training images: what is read, in which order it comes, and how it is moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from idsnn import data
from idsnn.config import TrainConfig
from idsnn.data import Augment, Images, Loader, load_data, statistics
from idsnn_deploy.datasets import Split

SIZE = 9


def images(count: int) -> Images:
    """One white pixel each, two rows above and one column left of the middle; the label is the image's number."""
    pixels = torch.zeros(count, SIZE, SIZE, 1, dtype=torch.uint8)
    pixels[:, 2, 3] = 255
    return Images(pixels, torch.arange(count), torch.tensor([0.0]), torch.tensor([1.0]), 255.0)


def seen(augment: Augment, count: int = 600) -> tuple[list[int], set[tuple[int, int]]]:
    """The order in which the images of an epoch came, and where their white pixels were."""
    batches = list(Loader(images(count), 50, augment, seed=0).epoch("student", 1))
    assert all(x.shape == (50, 1, SIZE, SIZE) for x, *_ in batches)
    shown = torch.cat([x for x, *_ in batches])
    assert set(shown.sum((1, 2, 3)).tolist()) == {1.0}  # moved, never cut off
    _, _, rows, columns = shown.nonzero(as_tuple=True)
    return torch.cat([labels for _, labels, _ in batches]).tolist(), set(
        zip(rows.tolist(), columns.tolist(), strict=True)
    )


def test_images_come_once_per_epoch_in_an_order_of_its_own() -> None:
    order, places = seen(Augment())
    assert sorted(order) == list(range(600)) != order
    assert places == {(2, 3)}
    loader = Loader(images(600), 50, Augment(), seed=0)
    others = [list(loader.epoch(*which)) for which in (("student", 2), ("teacher", 1))]
    assert all(torch.cat([labels for _, labels, _ in batches]).tolist() != order for batches in others)


def test_shifts_reach_as_far_as_they_say_in_every_direction() -> None:
    _, places = seen(Augment(2))
    assert places == {(row, column) for row in range(5) for column in range(1, 6)}


def test_mirrors_turn_half_of_the_images() -> None:
    batches = list(Loader(images(1000), 50, Augment(flip=True), seed=0).epoch("student", 1))
    shown = torch.cat([x for x, *_ in batches])[:, 0]
    assert (shown[:, 2, 3] + shown[:, 2, 5] == 1).all()
    assert 0.45 < float(shown[:, 2, 5].mean()) < 0.55


def test_pixels_are_normalized() -> None:
    pixels = torch.tensor([[[[0, 100]]], [[[50, 200]]]], dtype=torch.uint8)  # (N, H, W, C) = (2, 1, 1, 2)
    part = Images(pixels, torch.zeros(2), torch.tensor([0.1, 0.5]), torch.tensor([0.2, 0.25]), 200.0)
    expected = [[-0.5, 0.0], [0.75, 2.0]]
    torch.testing.assert_close(part.batch(torch.tensor([0, 1]))[:, :, 0, 0], torch.tensor(expected))


@pytest.mark.parametrize(
    ("name", "augment"),
    [
        ("digits", Augment(0, flip=False)),
        ("mnist", Augment(2, flip=False)),
        ("fashion-mnist", Augment(4, flip=True)),
        ("cifar10", Augment(4, flip=True)),
        ("cifar100", Augment(4, flip=True)),
        ("folder", Augment(4, flip=True)),
    ],
)
def test_each_data_set_is_moved_as_it_can_bear(name: str, augment: Augment, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(*_: Any) -> Split:
        return Split(np.zeros((4, 8, 8, 1), np.uint8), np.arange(4) % 2, ("a", "b"), 255)

    monkeypatch.setattr(data, "load_split", split)
    assert load_data(TrainConfig(dataset=name)).augment == augment


@pytest.mark.parametrize(
    ("name", "augment"), [("none", Augment()), ("shift", Augment(2)), ("crop-flip", Augment(4, flip=True))]
)
def test_a_flag_says_otherwise(name: str, augment: Augment) -> None:
    assert load_data(TrainConfig(dataset="digits", augment=name, limit_train=20, limit_test=20)).augment == augment


def test_mean_and_deviation_are_those_of_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 17, (50, 3, 4, 2), dtype=np.uint8)
    mean, std = statistics(Split(pixels, np.zeros(50, np.int64), ("a",), 16))
    scaled = (pixels / 16).reshape(-1, 2)
    assert (mean, std) == (pytest.approx(scaled.mean(0)), pytest.approx(scaled.std(0)))
