"""Training on recordings: what the frames go through, what each network sees of them, and that it learns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from event_trees import SIZE, write_tree

import idsnn
from idsnn.cli import main
from idsnn.config import TrainConfig, default
from idsnn.data import Augment, Frames, Loader, load_data, ordinary
from idsnn.distill import distillation_loss
from idsnn.moves import Moves, thinned
from idsnn_export.cli import main as export


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("events") / "tree")


def dots(count: int, values: str = "counts") -> Frames:
    """One pixel of 100 events, in the first of two frames; the label is the recording's number."""
    counts = torch.zeros(count, 2, 9, 9, 2, dtype=torch.uint8)
    counts[:, 0, 2, 4, 1] = 100
    return Frames(counts, torch.arange(count), values)  # type: ignore[arg-type]


def epoch(augment: Augment, values: str = "counts") -> torch.Tensor:
    """The frames of an epoch, (T, N, C, H, W)."""
    batches = [x for x, *_ in Loader(dots(400, values), 50, augment, seed=0).epoch("student", 1)]
    return torch.cat(batches, dim=1)


def test_the_loader_gives_what_a_split_gives(tree: Path) -> None:
    data = load_data(TrainConfig(dataset="events", data=str(tree), timesteps=3, augment="none", sensor=(SIZE, SIZE)))
    part = data.on(data.train, torch.device("cpu"))
    assert isinstance(part, Frames)
    np.testing.assert_array_equal(part.batch(torch.tensor([5, 1])).numpy(), data.train.pixels([5, 1]))
    assert data.facts()["input_shape"] == [2, SIZE, SIZE]
    assert (data.mean, data.std, data.facts()["encoding"]) == (None, None, "frames")


def test_frames_of_a_recording_move_together_and_keep_their_events() -> None:
    shown = epoch(Augment(2))
    assert shown.shape == (2, 400, 2, 9, 9)
    assert shown[1].sum() == 0
    assert (shown[0, :, 0].sum(), set(shown[0, :, 1].sum((1, 2)).tolist())) == (0, {100.0})
    _, rows, columns = shown[0, :, 1].nonzero(as_tuple=True)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(r, c) for r in range(5) for c in range(2, 7)}


def test_turns_reach_as_far_as_they_say() -> None:
    _, rows, columns = epoch(Augment(turn=60.0))[0, :, 1].nonzero(as_tuple=True)
    # 2 rows above the centre: a turn by a puts it at (4 - 2 cos a, 4 +- 2 sin a), looked up by the nearest pixel.
    angles = [math.degrees(math.atan2(c - 4, 4 - r)) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    assert min(angles) < -40
    assert max(angles) > 40
    assert max(map(abs, angles)) < 75


def test_a_turn_by_nothing_is_a_shift_and_a_mirror() -> None:
    images = torch.randint(0, 255, (30, 8, 10, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    drawn = Moves.drawn(Augment(2, flip=True), 30, torch.Generator().manual_seed(1), torch.device("cpu"))
    turned = Moves(Augment(2, flip=True, turn=1e-9), drawn.shift, drawn.mirrored, drawn.angle)
    # Both look up where a target's pixel comes from; a mirror comes before the shift in either.
    assert torch.equal(turned.applied(images), drawn.applied(images))


def test_events_are_dropped_one_by_one() -> None:
    shown = epoch(Augment(drop=0.3))[0, :, 1, 2, 4]
    assert 69 < shown.mean() < 71  # 100 events of 0.7: mean 70, deviation 4.6, over 400 recordings
    assert 3.9 < shown.std() < 5.3
    assert epoch(Augment(drop=0.3), "binary").max() == 1
    again = thinned(torch.tensor([0, 255]), 0.0, torch.Generator())
    assert again.tolist() == [0, 255]


def test_an_ordinary_network_sees_the_mean_over_time_or_each_frame() -> None:
    frames = torch.arange(24.0).reshape(2, 3, 1, 2, 2)

    def squares(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) ** 2

    mean = ((frames[0] + frames[1]) / 2).flatten(1) ** 2
    assert torch.equal(ordinary(squares, frames), mean)
    assert torch.equal(
        ordinary(squares, frames, "each"), torch.stack([frames[0].flatten(1), frames[1].flatten(1)]) ** 2
    )
    for how in ("mean", "each"):
        assert torch.equal(ordinary(squares, frames[0], how), frames[0].flatten(1) ** 2)


@pytest.mark.parametrize("loss", ["mean", "steps"])
def test_a_teacher_of_each_frame_teaches_every_step_or_the_mean(loss: str, tree: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", "events", "--data", str(tree), "--timesteps", "2", "--width", "4", "--batch-size", "8"]
    arguments += ["--network", "resnet", "--depth", "18", "--teacher-depth", "18"]  # each frame is the default
    assert main([*arguments, "--arm", "kd", "--epochs", "1", "--loss", loss, "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["teacher_frames"] == "each"
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, generator=rng)
    by_step = [distillation_loss(student[t], teacher[t], torch.tensor([0, 1, 3])) for t in range(2)]
    assert torch.allclose(distillation_loss(student, teacher, torch.tensor([0, 1, 3])), sum(by_step) / 2)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--stages", "16x9@2"], "--stages: are for images; recordings keep the size and the number of their frames"),
        (["--views", "2", "--arm", "kd"], "--views 2: are of images; events are dropped anew in every epoch"),
    ],
)
def test_what_is_of_images_alone_is_refused_for_recordings(
    flags: list[str], line: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dataset", "events", "--data", str(tree), *flags, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"idsnn-train: error: {line}"


def test_recordings_train_all_arms_and_other_numbers_of_frames_run(tree: Path, tmp_path: Path) -> None:
    shared = ["--dataset", "events", "--data", str(tree), "--timesteps", "3", "--width", "4", "--batch-size", "8"]
    shared += ["--network", "resnet", "--depth", "18", "--teacher-depth", "34", "--teacher-frames", "mean"]
    out = tmp_path / "run"
    assert main([*shared, "--arm", "idsnn", "--epochs", "3", "--val-fraction", "0.25", "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    assert (config["events_by"], config["events_values"], config["input_shape"]) == ("time", "binary", [2, 9, 12])
    run = idsnn.load_run(out)
    for steps in (1, 3, 7):
        assert run.student.step_logits(torch.zeros(steps, 2, 2, 9, 12)).shape == (steps, 2, 2)
    assert export(["--diff", str(out), str(out)]) == 0
    for arm in ("baseline", "init", "kd"):
        again = [*shared, "--arm", arm, "--epochs", "1", "--teacher", str(out), "--out", str(tmp_path / arm)]
        assert main(again) == 0


def test_a_data_set_starts_from_its_own_defaults_and_flags_hold_over_them(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for more in ((), ("--timesteps", "9", "--arm", "idsnn")):
        arguments = ["--dataset", "events", "--data", str(tree), "--sensor", "16", "16", *more]
        assert main([*arguments, "--dry-run", "--out", str(tmp_path / "none")]) == 0
        said.append(" ".join(capsys.readouterr().out.split()))
    assert "Spiking VGG-11" in said[0]
    assert "16 epochs, T 5" in said[0]
    assert "T 9" in said[1]
    assert "VGG-11" in said[1].split("student")[0]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("network", "depths"), [(None, (11, 11)), ("vgg", (11, 11)), ("resnet", (18, 34))])
def test_depths_that_a_data_set_starts_from_are_its_own_network_s(network: str | None, depths: tuple[int, int]) -> None:
    start = default("nmnist", network)
    chosen = replace(start, network=network or start.network).check().complete()
    assert (chosen.depth, chosen.teacher_depth) == depths
