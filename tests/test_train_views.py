"""A teacher asked once for each crop: what is shown, what is kept, and the same weights as if it were asked anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interrupted import stop_after
from students import same

from idsnn.cli import main as train
from idsnn.data import Images, Loader
from idsnn.moves import Augment
from idsnn.networks.resnet import ResNet
from idsnn.views import Views

TINY = ["--width", "2", "--teacher-depth", "18", "--limit-train", "70", "--limit-test", "20", "--timesteps", "2"]
TINY += ["--batch-size", "32", "--augment", "crop-flip", "--flip", "alternate", "--teacher-epochs", "1"]
# 3 views and 2 epochs that show two of them again, then another size; 6 images stay out of every epoch.
VIEWED = [*TINY, "--stages", "5x6@1", "1x8@2", "--views", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("views") / "run"
    assert train([*VIEWED, "--out", str(out)]) == 0
    return out


def test_epochs_of_a_view_move_images_alike_and_show_them_in_an_order_of_their_own() -> None:
    pixels = torch.randint(0, 256, (60, 9, 9, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = Images(pixels, torch.arange(60), torch.zeros(1), torch.ones(1), 255.0)
    loader = Loader(images, 20, Augment(2, flip=True, alternate=True), seed=0)
    shown, orders = {}, {}
    for epoch, view in ((0, 0), (1, 1), (2, 0), (3, None)):
        batches = list(loader.epoch("student", epoch, view))
        orders[epoch] = torch.cat([which for _, _, which in batches])
        assert torch.equal(orders[epoch], torch.cat([labels for _, labels, _ in batches]))  # a label is its place
        shown[epoch] = torch.cat([x for x, *_ in batches])[orders[epoch].argsort()]
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(orders[0], orders[2])
    same = [(shown[0] == shown[epoch]).flatten(1).all(1).sum() for epoch in (1, 3)]
    assert max(same) < 15  # by chance


def test_an_answer_is_kept_for_its_image_its_view_and_its_size() -> None:
    asked: list[float] = []

    def ask(value: float) -> Callable[[], torch.Tensor]:
        return lambda: asked.append(value) or torch.tensor([[value, -value], [value + 1, 0.0]])  # type: ignore[func-returns-value]

    views = Views(2, 4)
    assert [views.of(epoch) for epoch in range(5)] == [0, 1, 0, 1, 0]
    ab, bc = torch.tensor([0, 1]), torch.tensor([1, 2])
    assert views.logits(0, 8, ab, ask(1.0)).tolist() == [[1, -1], [2, 0]]
    assert views.logits(0, 8, ab.flip(0), ask(2.0)).tolist() == [[2, 0], [1, -1]]  # known
    assert views.logits(1, 8, ab, ask(3.0)).tolist() == [[3, -3], [4, 0]]  # of another view
    assert views.logits(0, 8, bc, ask(4.0)).tolist() == [[4, -4], [5, 0]]  # one of the two is not known
    assert views.logits(0, 6, ab, ask(5.0)).tolist() == [[5, -5], [6, 0]]  # of another size
    assert views.logits(0, 8, ab, ask(6.0)).tolist() == [[6, -6], [7, 0]]  # whose answers are gone
    assert asked == [1, 3, 4, 5, 6]


def test_kept_answers_train_the_weights_that_new_ones_would(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Views, "logits", lambda self, view, pixels, index, ask: ask())
    assert train([*VIEWED, "--out", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "run", run)


def test_the_teacher_is_asked_for_as_many_epochs_as_there_are_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, forward = 0, ResNet.forward

    def counting(self: ResNet, x: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += not self.training and len(x) == 32  # no image of 64 is left out here, and 20 are assessed
        return forward(self, x)

    monkeypatch.setattr(ResNet, "forward", counting)
    whole = ["--limit-train", "64", "--stages", "5x8@1", "--views", "3"]
    assert train([*TINY, *whole, "--out", str(tmp_path / "run")]) == 0
    assert asked == 3 * 2


def test_a_run_goes_on_to_the_same_weights_though_it_asks_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(1 + 4, [*VIEWED, "--out", str(tmp_path / "run")], monkeypatch)
    assert train(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "run", run)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--views", "2", "--arm", "init"], "--views 2: is for a teacher's answers, which --arm init does not learn"),
        (["--views", "-1"], "--views -1: must lie in 0 to 1000"),
    ],
)
def test_views_that_nobody_asks_for_are_refused(
    flags: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train([*TINY, *flags, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"idsnn-train: error: {line}"
    assert not (tmp_path / "run").exists()
