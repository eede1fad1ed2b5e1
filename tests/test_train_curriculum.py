"""Stages, the triangle, the average of the weights and the rest: each by hand, and resumed to the same weights."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from interrupted import stop_after
from lightning_fabric import Fabric
from older_runs import unfinished_without
from students import equal, same, weights
from test_train_vgg import photograph_folder
from torch import nn

from idsnn.assess import assess
from idsnn.average import Average
from idsnn.cli import main as train
from idsnn.config import TrainConfig
from idsnn.curriculum import Stage, read_stages, stage_at, total_epochs
from idsnn.data import Images, Loader, resized
from idsnn.distill import distillation_loss
from idsnn.moves import Augment
from idsnn.networks.resnet import ResNet, SpikingResNet
from idsnn.schedule import learning_rate
from idsnn_deploy.errors import UsageError

TINY = ["--width", "2", "--teacher-depth", "18", "--limit-train", "64", "--limit-test", "20"]
TINY += ["--batch-size", "32", "--timesteps", "2"]
EVERYTHING = ["--stages", "1x4@1", "1x6@2-3", "1x8@2", "--schedule", "triangle", "--nesterov", "--ema", "0.9"]
EVERYTHING += ["--label-smoothing", "0.1", "--augment", "crop-flip", "--flip", "alternate", "--spikes", "0.2"]
EVERYTHING += ["--side-heads", "0.3"]


def test_stages_are_epochs_of_a_size_and_a_number_of_steps() -> None:
    stages = read_stages(["2x24@1", "4x32@1", "2x32@4"])
    assert stages == (Stage(2, 24, 1), Stage(4, 32, 1), Stage(2, 32, 4))
    assert total_epochs(stages) == 8
    assert [stage_at(stages, epoch).pixels for epoch in range(8)] == [24, 24, 32, 32, 32, 32, 32, 32]
    assert [stage_at(stages, epoch).timesteps for epoch in range(8)] == [1, 1, 1, 1, 1, 1, 4, 4]


def test_a_stage_may_draw_its_steps_for_each_batch() -> None:
    (stage,) = read_stages(["2x32@2-5"])
    assert stage == Stage(2, 32, 5, fewest=2)
    assert [stage.steps(draw) for draw in range(10)] == [2, 3, 4, 5, 2, 3, 4, 5, 2, 3]
    assert [Stage(1, 32, 4).steps(draw) for draw in range(3)] == [4, 4, 4]
    assert [Stage(1).steps(draw) for draw in range(3)] == [None, None, None]


COUNT, STEPS = st.integers(1, 999_999), st.integers(1, 1000)


@settings(max_examples=50)
@given(COUNT, COUNT, STEPS, STEPS)
def test_a_stage_is_read_as_it_is_written(epochs: int, pixels: int, fewest: int, more: int) -> None:
    most = min(1000, fewest + more)
    assert read_stages([f"{epochs}x{pixels}@{most}"]) == (Stage(epochs, pixels, most),)
    assert read_stages([f"{epochs}x{pixels}@{fewest}-{most}"]) == (Stage(epochs, pixels, most, fewest),)


WORD = st.from_regex(r"[0-9]{0,2}[xX][0-9]{0,2}@?[0-9]{0,2}-?[0-9]{0,2}", fullmatch=True)


@settings(max_examples=50)
@given(st.one_of(st.text(max_size=8), WORD))
def test_every_other_word_is_refused_with_itself(word: str) -> None:
    good = re.fullmatch(r"0*[1-9][0-9]*x0*[1-9][0-9]*@0*([1-9][0-9]*)(-0*([1-9][0-9]*))?", word)
    assume(not good or (good[3] and int(good[1]) > int(good[3])))
    with pytest.raises(UsageError) as refused:
        read_stages([word])
    assert str(refused.value).startswith(f"--stages {word}: ")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student with every option."""
    out = tmp_path_factory.mktemp("curriculum") / "run"
    assert train([*TINY, *EVERYTHING, "--out", str(out)]) == 0
    return out


def test_config_summary_and_metrics_say_what_was_shown(run: Path) -> None:
    config, summary = (json.loads((run / name).read_text()) for name in ("config.json", "summary.json"))
    assert config["stages"] == summary["stages"] == ["1x4@1", "1x6@2-3", "1x8@2"]
    assert (config["epochs"], config["ema"], config["schedule"], config["flip"]) == (3, 0.9, "triangle", "alternate")
    assert summary["epochs"] == 3
    assert len(summary["test_by_step"]) == 2
    assert summary["test_by_step"][-1] == summary["student_accuracy"]
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    shown = [(row["phase"], row["pixels"], row["timesteps"]) for row in rows]
    assert shown == [("teacher", p, "") for p in "468"] + [
        ("student", p, t) for p, t in (("4", "1"), ("6", "2-3"), ("8", "2"))
    ]


@pytest.mark.parametrize("saves", [1, 3, 5])  # in the teacher, between the two, in the student
def test_it_goes_on_after_every_epoch_to_the_same_weights(
    saves: int, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(saves, [*TINY, *EVERYTHING, "--out", str(tmp_path / "run")], monkeypatch)
    assert train(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "run", run)
    kept = [
        [line.split(",")[:8] for line in (out / "metrics.csv").read_text().splitlines()]
        for out in (tmp_path / "run", run)
    ]
    assert kept[0] == kept[1]


def test_networks_see_each_stages_images_and_are_assessed_as_they_are_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, bool, int, int]] = set()

    def watched(step_logits):  # type: ignore[no-untyped-def]
        def watch(self: SpikingResNet, x: torch.Tensor) -> torch.Tensor:
            seen.add(("student", self.training, x.shape[-1], self.timesteps))
            return step_logits(self, x)

        return watch

    def watched_teacher(forward):  # type: ignore[no-untyped-def]
        def watch(self: ResNet, x: torch.Tensor) -> torch.Tensor:
            seen.add(("teacher", self.training, x.shape[-1], 0))
            return forward(self, x)

        return watch

    monkeypatch.setattr(SpikingResNet, "step_logits", watched(SpikingResNet.step_logits))
    monkeypatch.setattr(ResNet, "forward", watched_teacher(ResNet.forward))
    from idsnn import trainer as training

    monkeypatch.setattr(training, "try_stages", lambda *_: None)
    flags = ["--stages", "1x4@1", "1x6@3", "--teacher-stages", "1x5@1", "--out", str(tmp_path / "run")]
    assert train([*TINY, *flags]) == 0
    assert seen == {
        *(("teacher", True, 5, 0), ("teacher", False, 8, 0)),  # it learns, it is assessed
        *(("teacher", False, 4, 0), ("teacher", False, 6, 0)),  # it teaches
        *(("student", True, 4, 1), ("student", True, 6, 3), ("student", False, 8, 2)),
    }


def test_each_batch_has_the_steps_that_its_place_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    learn = SpikingResNet.step_logits

    def watch(self: SpikingResNet, x: torch.Tensor) -> torch.Tensor:
        drawn.extend([self.timesteps] * self.training)
        return learn(self, x)

    monkeypatch.setattr(SpikingResNet, "step_logits", watch)
    flags = ["--arm", "baseline", "--stages", "3x4@1-3", "--batch-size", "8", "--limit-test", "10"]
    assert train([*TINY, *flags, "--out", str(tmp_path / "run")]) == 0
    assert len(drawn) == 24
    assert {steps: drawn.count(steps) >= 4 for steps in drawn} == {1: True, 2: True, 3: True}
    assert len({tuple(drawn[start : start + 8]) for start in (0, 8, 16)}) == 3  # no two epochs alike


def test_accuracy_after_each_step_is_that_of_a_network_with_so_many(tmp_path: Path) -> None:
    images = Images(
        torch.randint(0, 256, (30, 8, 8, 1), dtype=torch.uint8),
        torch.arange(30) % 10,
        torch.zeros(1),
        torch.ones(1),
        255,
    )
    network = SpikingResNet(18, 10, width=4, in_channels=1, timesteps=3).eval()
    by_step, rates = assess(network, images, Fabric(accelerator="cpu"))
    assert rates is not None
    for t in (1, 2, 3):
        network.timesteps = t
        right = network(images.batch(torch.arange(30))).argmax(1) == images.labels
        assert by_step[t - 1] == float(right.sum()) / 30


def test_one_stage_of_the_images_own_size_is_a_training_without_stages(tmp_path: Path) -> None:
    for name, flags in {"plain": ["--epochs", "2"], "staged": ["--stages", "2x8@2"]}.items():
        assert train([*TINY, "--arm", "kd", *flags, "--out", str(tmp_path / name)]) == 0
    assert same(tmp_path / "plain", tmp_path / "staged")


def test_images_are_brought_to_a_size_by_averaging() -> None:
    image = torch.zeros(1, 1, 16, 18)
    image[..., :8, :] = 1
    small = resized(image, 8)
    assert small.shape == (1, 1, 8, 9)
    torch.testing.assert_close(small.mean(), image.mean())
    assert small[0, 0, 0].tolist() == pytest.approx([1] * 9)
    assert small[0, 0, 7].tolist() == pytest.approx([0] * 9)
    assert resized(image, 16) is resized(image, None) is image


def test_the_triangle_rises_to_its_peak_and_falls_to_zero() -> None:
    config = TrainConfig(lr=2.0, schedule="triangle", peak=0.25)
    found = [learning_rate(config, done, 8) for done in (0, 1, 2, 5, 8)]
    assert found == pytest.approx([0, 1, 2, 1, 0])


def test_label_smoothing_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.0]])
    log_p = [1 - np.log(np.e + 1), -np.log(np.e + 1)]
    found = distillation_loss(logits, None, torch.tensor([0]), label_smoothing=0.2)
    assert found.item() == pytest.approx(-(0.8 * log_p[0] + 0.2 * (log_p[0] + log_p[1]) / 2), abs=1e-6)


def test_the_average_by_hand() -> None:
    layer, rng = nn.BatchNorm1d(3), np.random.default_rng(0)
    average = Average(layer, 0.5)
    expected = layer.weight.detach().numpy().astype(np.float64)
    for n in range(20):
        new = rng.random(3)
        layer.weight.data.copy_(torch.from_numpy(new))
        layer.num_batches_tracked += 1
        average.update(layer, n)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * new
    np.testing.assert_allclose(average.values["weight"].numpy(), expected, rtol=1e-5)
    assert average.values["num_batches_tracked"] == 20


def test_what_is_kept_is_the_average_and_what_goes_on_is_not(run: Path) -> None:
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert equal({k: v for k, v in state["average"].items() if k in weights(run)}, weights(run))
    assert not equal(state["model"], state["average"])
    assert state["optimizer"]["param_groups"][0]["nesterov"] is True


def test_each_image_is_mirrored_in_every_second_epoch() -> None:
    pixels = torch.zeros(40, 1, 2, 1, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(1, 41)  # on the left; mirrored, on the right
    images = Images(pixels, torch.arange(40), torch.zeros(1), torch.ones(1), 1.0)
    loader = Loader(images, 40, Augment(flip=True, alternate=True), seed=0)
    mirrored = []
    for epoch in range(4):
        ((batch, labels, _),) = loader.epoch("student", epoch)
        mirrored.append((batch[:, 0, 0, 1] > 0)[labels.argsort()])
    assert torch.equal(mirrored[0], mirrored[2])
    assert torch.equal(mirrored[1], mirrored[3])
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert 5 < mirrored[0].sum() < 35  # about half of them in either


def test_an_average_without_its_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, flags = tmp_path / "run", ["--arm", "baseline", "--epochs", "2"]
    assert train([*TINY, *flags, "--out", str(out)]) == 0
    unfinished_without("average", out, ema=0.9, epochs=3)
    capsys.readouterr()
    assert train(["--resume", "--out", str(out)]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .splitlines()[-1]
        .endswith("last.ckpt: has no average of the weights for --ema; start again with --force")
    )


BAD = {
    "no stage": (
        ["--stages", "2y24@1"],
        "--stages 2y24@1: is no stage; write EPOCHSxPIXELS@T, such as 2x24@1 or 2x32@1-4",
    ),
    "no epochs": (["--stages", "0x8@1"], "--stages 0x8@1: epochs, pixels and T are at least 1 each"),
    "too much time": (
        ["--stages", "1x8@1001"],
        "--stages 1x8@1001: T goes from the fewest steps to the most, and to 1000 at most",
    ),
    "time that falls": (["--stages", "1x8@4-1"], "--stages 1x8@4-1: T goes from the fewest steps to the most"),
    "a drawn nothing": (["--stages", "1x8@0-2"], "--stages 1x8@0-2: epochs, pixels and T are at least 1 each"),
    "no time": (["--teacher-stages", "1x8@0"], "--teacher-stages 1x8@0: epochs, pixels and T are at least 1 each"),
    "larger images": (["--stages", "1x9@1"], "--stages: one of 9 pixels, but the images have 8x8"),
    "too small": (
        ["--stages", "1x1@1", "--stem", "imagenet"],
        "--stages: Spiking ResNet-18 fails on 1x1 pixels at T 1: RuntimeError",
    ),
    "other epochs": (["--stages", "1x8@1", "--epochs", "7"], "--epochs 7: the stages have 1 together"),
    "other teacher's": (
        ["--teacher-stages", "1x8@1", "--teacher-epochs", "7"],
        "--teacher-epochs 7: the stages have 1 together",
    ),
    "an average for ever": (["--ema", "1"], "--ema 1: must lie in 0 to 0.99999"),
    "all smooth": (["--label-smoothing", "1"], "--label-smoothing 1: must lie in 0 to 0.99"),
    "a peak at the end": (["--schedule", "triangle", "--peak", "1"], "--peak 1: must lie in 0.001 to 0.999"),
    "no momentum": (["--nesterov", "--momentum", "0"], "--nesterov needs a --momentum above 0"),
    "nothing to mirror": (["--flip", "alternate"], "--flip alternate: --augment none mirrors nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags, words = BAD[case]
    assert train([*TINY, *flags, "--out", str(tmp_path / "run")]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert words in line
    assert not list(tmp_path.iterdir())


def test_stages_do_not_change_on_resume(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["--resume", "--out", str(run), "--stages", "1x4@1", "5x8@2"]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert line.endswith(f"--stages 1x4@1 5x8@2: the run in {run} was started with 1x4@1 1x6@2-3 1x8@2")


def test_a_stage_that_a_network_cannot_pool_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--dataset", "folder", "--data", str(photograph_folder(tmp_path / "photographs"))]
    flags = ["--network", "vgg", "--teacher-depth", "11", "--stages", "1x12@1", *data, "--out", str(tmp_path / "run")]
    assert train(["--width", "2", *flags]) == 2
    assert "--network vgg: needs images of 16x16 pixels or more, got a stage of 12" in capsys.readouterr().err
