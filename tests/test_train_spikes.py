"""Fewer spikes on demand, and students that start from other runs' students."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from older_runs import unfinished_without
from safetensors.torch import load_file
from test_train_run import TINY

from idsnn.cli import main as train
from idsnn.data import Images
from idsnn.networks.resnet import SpikingResNet
from idsnn.spikes import Pull, outcome, some, verdict
from idsnn.start import Start
from idsnn_deploy.errors import RunError
from idsnn_export.config import ExportConfig
from idsnn_export.source import open_source

BASELINE = [*TINY, "--arm", "baseline"]


class Rates:
    """Firing rates that a test says."""

    def __init__(self, rate: float) -> None:
        self.rate = torch.tensor(rate, requires_grad=True)

    def total(self) -> torch.Tensor:
        return self.rate


def pulled(pull: Pull, rate: float, step: int) -> float:
    """The weight of the pull: its gradient is that of w log r."""
    rates: Any = Rates(rate)
    pull.term(rates, step).backward()
    return float(rates.rate.grad) * rate


def test_the_weight_follows_the_rate_as_worked_out_by_hand() -> None:
    pull = Pull(wanted=0.1, steps=100)
    assert pulled(pull, 0.4, 0) == 0  # the goal is where the rate is
    # At p = 1/4, q = 1/2: the goal is sqrt(0.4 * 0.1) = 0.2, and c = log(1.25) = 0.22314.
    assert pulled(pull, 0.25, 25) == pytest.approx(0.22314, abs=1e-5)
    # I has grown by 15 * 0.22314 / 100 = 0.03347.
    assert pulled(pull, 0.25, 25) == pytest.approx(0.03347 + 0.22314, abs=1e-5)
    # From the half on the goal is 0.1; c is cut at 1/2, and I grows by 0.075.
    assert pulled(pull, 0.4, 50) == pytest.approx(2 * 0.03347 + 0.5, abs=1e-5)
    assert pulled(pull, 0.4, 99) == pytest.approx(2 * 0.03347 + 0.075 + 0.5, abs=1e-5)
    assert pulled(pull, 0.08, 99) == 0  # below it: I = 0.21694 is less than log(1.25)


def test_what_the_task_alone_stays_below_is_left_alone() -> None:
    pull = Pull(wanted=0.3, steps=50)
    assert {pulled(pull, rate, step) for step, rate in enumerate([0.25, 0.2, 0.29, 0.1] * 10)} == {0.0}


@pytest.mark.parametrize(("share", "yields", "pace"), [(0.3, 1, 0.1), (0.3, 4, 0.02), (0.7, 0.5, 0.05), (0.1, 2, 0.05)])
def test_a_rate_that_gives_way_comes_to_what_was_asked(share: float, yields: float, pace: float) -> None:
    """Rates that follow first * exp(-yields * weight) with a delay, as a network's do, end near the wanted one."""
    pull, rate = Pull(0.25 * share, 300), 0.25
    for step in range(300):
        rate *= (0.25 * math.exp(-yields * pulled(pull, rate, step)) / rate) ** pace
    assert rate == pytest.approx(0.25 * share, rel=0.05)


def test_batches_that_spike_less_than_the_deployed_network_are_allowed_less() -> None:
    pull = Pull(wanted=0.1, steps=10)
    for _ in range(200):
        pulled(pull, 0.2, 0)
    pull.learn(torch.tensor(0.3125))  # deployed, it is 1.25^2 times what it is in training
    assert float(pull.state["lean"]) == pytest.approx(1.25)  # and 1 before it was first counted
    integral = float(pull.state["integral"])
    assert pulled(pull, 0.08, 9) == pytest.approx(integral, abs=1e-6)  # just at its goal


def test_the_spikes_are_counted_on_the_same_few_training_images() -> None:
    images = Images(torch.arange(2000).view(-1, 1, 1, 1), torch.arange(2000), torch.zeros(1), torch.ones(1), 1.0)
    few = some(images, 3)
    assert len(few) == 512
    assert torch.equal(few.labels, some(images, 3).labels)
    assert not torch.equal(few.labels, some(images, 4).labels)
    assert isinstance(few, Images)
    assert torch.equal(few.pixels.flatten(), few.labels)


@pytest.mark.parametrize(
    ("got", "words"), [(0.3, "asked 0.3, got 0.3"), (0.314, "asked 0.3, got 0.314"), (0.36, "got 0.36: not reached")]
)
def test_the_verdict_says_what_was_asked_and_what_was_got(got: float, words: str) -> None:
    assert verdict(outcome(0.3, got)).endswith(words)


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "loud"
    assert train([*BASELINE, "--out", str(folder)]) == 0
    return folder


def test_a_student_that_starts_from_another_runs_keeps_to_the_spikes_asked_for(loud: Path, tmp_path: Path) -> None:
    out = tmp_path / "quiet"
    flags = ["--start", str(loud), "--epochs", "6", "--spikes", "0.2", "--batch-size", "8"]
    assert train([*BASELINE, *flags, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["spikes"] == {
        "asked": 0.2,
        "got": pytest.approx(2 * summary["firing_rate"]),
        "reached": summary["spikes"]["got"] <= 0.21,
    }
    assert summary["spikes"]["got"] == pytest.approx(0.2, rel=0.3)
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert float(rows[-1]["spikes"]) == pytest.approx(summary["spikes"]["got"], rel=0.25)  # training and test images
    assert max(float(row["pull"]) for row in rows) > 0
    assert summary["start"] == json.loads((out / "config.json").read_text())["start"] == str(loud)


def test_what_cannot_be_reached_is_said(loud: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--start", str(loud), "--epochs", "1", "--spikes", "0.001", "--json"]
    assert train([*BASELINE, *flags, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    got = json.loads(said.out)["spikes"]["got"]
    words = f"spikes per neuron and sample: asked 0.001, got {got:.3g}: not reached"
    assert words in said.err
    assert train(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert f"asked 0.001, got {got:.3g}: not reached" in " ".join(capsys.readouterr().out.split())
    source = open_source(ExportConfig(tmp_path / "run"))
    assert source.warnings == (f"training: {words}",)  # which the manifest and the report show


def test_a_start_is_the_other_students_weights(loud: Path) -> None:
    config = json.loads((loud / "config.json").read_text())
    theirs = load_file(loud / "student.safetensors")
    student = SpikingResNet(18, 10, width=2, in_channels=1, threshold=0.75)
    start = Start(str(loud), {**config, "threshold": 0.75})
    start.into(student)
    assert start.notes == [f"--start {loud}: threshold is 0.75 from here on, it was 0.5"]
    for name, each in student.state_dict().items():
        assert torch.equal(each, torch.full_like(each, 0.75) if name.endswith(".threshold") else theirs[name]), name


def test_thresholds_are_learned_from_where_the_other_student_has_them(loud: Path, tmp_path: Path) -> None:
    config = json.loads((loud / "config.json").read_text())
    student = SpikingResNet(18, 10, width=2, in_channels=1, learn_threshold=True)
    Start(str(loud), {**config, "learn_threshold": True}).into(student)
    assert student.lif1.threshold.item() == pytest.approx(0.5)
    learned = ["--start", str(loud), "--epochs", "1", "--learn-threshold"]
    assert train([*BASELINE, *learned, "--out", str(tmp_path / "learned")]) == 0
    Start(str(tmp_path / "learned"), {**config, "learn_threshold": True}).into(student)
    theirs = load_file(tmp_path / "learned" / "student.safetensors")
    assert torch.equal(student.state_dict()["lif1.raw_threshold"], theirs["lif1.raw_threshold"])
    with pytest.raises(RunError, match="learned its threshold; give --learn-threshold to go on from there"):
        Start(str(tmp_path / "learned"), config)


BAD = {
    "more than there are steps": (["--spikes", "2.5"], "--spikes 2.5: a neuron has at most 2 in T 2"),
    "none": (["--spikes", "0"], "--spikes 0: must lie in 0.0001 to 1000"),
    "a rate above 1": (["--target-rate", "1.5"], "--target-rate 1.5: must lie in 0.0001 to 1"),
    "too many steps": (["--timesteps", "1001"], "--timesteps 1001: must lie in 1 to 1000"),
    "two pulls": (
        ["--spikes", "0.3", "--target-rate", "0.1"],
        "--spikes 0.3: --target-rate pulls as well; give one of the two",
    ),
    "two starts": (
        ["--arm", "idsnn", "--start", "RUN"],
        "--start RUN: --arm idsnn starts the student from its teacher; take kd or baseline",
    ),
    "no start": (["--start", "nothing"], "nothing/config.json"),
    "a wider start": (["--start", "RUN", "--width", "4"], "--start RUN: has width 2, asked for is 4"),
    "another kind": (["--start", "RUN", "--residual", "sew"], "--start RUN: has residual spiking, asked for is sew"),
    "another network": (
        ["--start", "RUN", "--network", "vgg", "--teacher-depth", "11"],
        "--start RUN: has network resnet, asked for is vgg",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(
    case: str, loud: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, words = BAD[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").symlink_to(loud)
    assert train([*BASELINE, *flags, "--out", str(tmp_path / "run")]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert words in line
    assert [each.name for each in tmp_path.iterdir()] == ["RUN"]


def test_a_checkpoint_without_the_pull_is_refused(
    loud: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = unfinished_without("pull", Path(shutil.copytree(loud, tmp_path / "run")), spikes=0.3, epochs=3)
    capsys.readouterr()
    assert train(["--resume", "--out", str(out)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.endswith("last.ckpt: has no pull for --spikes; start again with --force")
