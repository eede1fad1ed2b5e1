"""`idsnn-train` from the command line: what it writes, what it refuses, how it goes on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import exit_code, fork
from interrupted import stop_after
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from students import same

import idsnn
from idsnn import fit
from idsnn.cli import main
from idsnn.config import PRESETS, TrainConfig, preset
from idsnn.display import Display
from idsnn.fit import Checkpoint
from idsnn.schedule import learning_rate
from idsnn_deploy.errors import RunError

TINY = ["--width", "2", "--epochs", "2", "--teacher-depth", "18", "--limit-train", "64", "--limit-test", "20"]
TINY += ["--batch-size", "32", "--timesteps", "2"]
FILES = {"config.json", "teacher.safetensors", "student.safetensors", "last.ckpt", "metrics.csv", "summary.json"}


def everything_under(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main([*TINY, "--out", str(folder)]) == 0
    return folder


def test_a_run_folder_holds_what_the_next_stage_reads(tiny: Path) -> None:
    assert {file.name for file in tiny.iterdir()} == FILES | {"curves.png"}
    summary = json.loads((tiny / "summary.json").read_text())
    for key in ("dataset", "arm", "timesteps", "epochs", "seed", "width", "teacher_accuracy", "student_accuracy"):
        assert summary[key] is not None
    for key in ("best_test_accuracy", "firing_rate", "parameters", "seconds", "device", "versions"):
        assert summary[key]
    assert 0 <= summary["student_accuracy"] <= 1
    rows = list(csv.DictReader((tiny / "metrics.csv").read_text().splitlines()))
    assert [(row["phase"], row["epoch"]) for row in rows] == [
        *(("teacher", "1"), ("teacher", "2"), ("student", "1"), ("student", "2"))
    ]
    assert all(float(row["loss"]) > 0 and float(row["lr"]) > 0 and float(row["seconds"]) > 0 for row in rows)
    assert float(rows[-1]["test_accuracy"]) == summary["student_accuracy"]
    config = json.loads((tiny / "config.json").read_text())
    assert config["labels"] == [str(digit) for digit in range(10)]
    assert config["input_shape"] == [1, 8, 8]
    assert len(config["mean"]) == len(config["std"]) == 1


def test_load_run_gives_back_the_networks(tiny: Path) -> None:
    run = idsnn.load_run(tiny)
    assert not run.student.training
    assert run.teacher is not None
    assert run.config["timesteps"] == run.student.timesteps == 2
    assert run.summary["arm"] == "idsnn"


def test_a_run_from_before_there_was_a_choice_of_networks_is_a_resnet(tiny: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tiny, old)
    config = json.loads((old / "config.json").read_text())
    assert config.pop("network") == "resnet"
    assert (config["depth"], config["teacher_depth"]) == (18, 18)
    (old / "config.json").write_text(json.dumps(config))
    now, then = idsnn.load_run(tiny), idsnn.load_run(old)
    assert type(then.student) is type(now.student) is idsnn.SpikingResNet
    assert all(torch.equal(now.student.state_dict()[name], each) for name, each in then.student.state_dict().items())
    assert main(["--resume", "--out", str(old)]) == 0


def test_a_pretrained_folder_reads_back_the_same(tiny: Path, tmp_path: Path) -> None:
    run = idsnn.load_run(tiny)
    idsnn.save_pretrained(run, tmp_path / "model")
    assert {"config.json", "model.safetensors"} <= {file.name for file in (tmp_path / "model").iterdir()}
    again = idsnn.load_run(tmp_path / "model")
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(again.student(images), run.student(images))


def test_a_pretrained_folder_is_the_old_one_or_the_new_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = idsnn.load_run(tiny), tmp_path / "models" / "mine"
    idsnn.save_pretrained(run, folder)
    (folder / "README.md").write_text("mine")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with torch.no_grad():
        next(run.student.parameters()).add_(1)
    with monkeypatch.context() as patch:
        patch.setattr("idsnn.checkpoint.save_weights", lambda module, path: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            idsnn.save_pretrained(dataclasses.replace(run, config={**run.config, "seed": 7}), folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    idsnn.save_pretrained(dataclasses.replace(run, summary={}), folder)
    assert {file.name for file in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert [entry.name for entry in folder.parent.iterdir()] == ["mine"]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(tiny: Path, tmp_path: Path) -> None:
    assert main(["--config", str(tiny / "config.json"), "--out", str(tmp_path / "same")]) == 0
    assert same(tiny, tmp_path / "same")
    assert main([*TINY, "--seed", "1", "--out", str(tmp_path / "other")]) == 0
    assert not same(tiny, tmp_path / "other")


def test_teacher_and_student_draw_their_starts_from_seeds_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[torch.Tensor] = []

    def stopped(_: fit.Fitter, network: torch.nn.Module, *more: object) -> None:
        starts.append(next(network.parameters()).detach().clone())
        if len(starts) == 2:
            raise RunError("both have started")

    monkeypatch.setattr(fit.Fitter, "fit", stopped)
    assert main([*TINY, "--arm", "kd", "--seed", "6", "--out", str(tmp_path / "run")]) != 0
    for start, seed, build in zip(starts, (6, 7), (idsnn.ResNet, idsnn.SpikingResNet), strict=True):
        torch.manual_seed(seed)
        torch.testing.assert_close(start, next(build(18, 10, width=2, in_channels=1).parameters()).detach())


@pytest.mark.parametrize("arm", ["baseline", "init", "kd"])
def test_the_arms_share_a_teacher(arm: str, tiny: Path, tmp_path: Path) -> None:
    assert main([*TINY, "--arm", arm, "--epochs", "1", "--teacher", str(tiny), "--out", str(tmp_path / arm)]) == 0
    summary = json.loads((tmp_path / arm / "summary.json").read_text())
    assert (tmp_path / arm / "teacher.safetensors").exists() == (arm != "baseline")
    if arm != "baseline":
        theirs, ours = (load_file(folder / "teacher.safetensors") for folder in (tiny, tmp_path / arm))
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
        assert summary["teacher_accuracy"] == json.loads((tiny / "summary.json").read_text())["teacher_accuracy"]


def test_a_teacher_comes_from_a_file(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny / "teacher.safetensors")
    torch.save(tensors, tmp_path / "teacher.pth")
    for source in (tiny / "teacher.safetensors", tmp_path / "teacher.pth"):
        out = tmp_path / source.suffix[1:]
        assert main([*TINY, "--epochs", "1", "--teacher", str(source), "--out", str(out)]) == 0
    assert same(tmp_path / "safetensors", tmp_path / "pth")


def test_a_given_teacher_is_trained_further_only_where_asked_and_from_where_it_was(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, starts = load_file(tiny / "teacher.safetensors"), []
    whole = fit.Fitter.fit

    def seen(fitter: fit.Fitter, network: torch.nn.Module, *more: Any) -> None:
        starts.append({name: each.clone() for name, each in network.state_dict().items()})
        whole(fitter, network, *more)

    monkeypatch.setattr(fit.Fitter, "fit", seen)
    flags = ["--teacher", str(tiny), "--teacher-epochs", "2", "--epochs", "1", "--arm", "kd"]
    assert main([*TINY, *flags, "--out", str(tmp_path / "as-it-is")]) == 0
    assert main([*TINY, *flags, "--tune-teacher", "--out", str(tmp_path / "tuned")]) == 0
    assert len(starts) == 3  # a student, a teacher and a student
    assert all(torch.equal(given[name], each) for name, each in starts[1].items())
    tuned = load_file(tmp_path / "tuned" / "teacher.safetensors")
    assert not torch.equal(given["conv1.weight"], tuned["conv1.weight"])
    rows = list(csv.DictReader((tmp_path / "tuned" / "metrics.csv").read_text().splitlines()))
    assert [row["phase"] for row in rows] == ["teacher", "teacher", "student"]
    summary = json.loads((tmp_path / "tuned" / "summary.json").read_text())
    assert summary["teacher_accuracy"] == float(rows[1]["test_accuracy"])


@pytest.mark.parametrize("flags", [[], ["--teacher", "RUN", "--arm", "baseline"]])
def test_no_teacher_is_tuned_that_is_not_given_or_not_needed(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--tune-teacher", *flags, "--out", str(tmp_path / "run")]) == 2
    assert "--tune-teacher needs a --teacher RUN, and an arm that learns from it" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_learned_neurons_and_frames_survive_the_run_folder(tmp_path: Path) -> None:
    flags = ["--learn-beta", "--learn-threshold", "--residual", "sew", "--arm", "baseline", "--epochs", "1"]
    assert main([*TINY, *flags, "--out", str(tmp_path / "run")]) == 0
    student = idsnn.load_run(tmp_path / "run").student
    betas = {layer.beta.item() for layer in student.neurons().values()}
    assert len(betas) > 1
    assert student(torch.randn(3, 2, 1, 8, 8)).shape == (2, 10)


def test_a_target_rate_moves_the_firing_rate_towards_it(tmp_path: Path) -> None:
    rates = {}
    for target in (None, "0.02", "0.6"):
        flags = [] if target is None else ["--target-rate", target]
        out = tmp_path / str(target)
        assert main([*TINY, "--arm", "baseline", "--epochs", "6", *flags, "--out", str(out)]) == 0
        rates[target] = json.loads((out / "summary.json").read_text())["firing_rate"]
    assert rates["0.02"] < 0.7 * rates[None]
    assert rates["0.6"] > 1.1 * rates[None]


def test_a_validation_part_picks_the_best_epoch(tmp_path: Path) -> None:
    assert main([*TINY, "--arm", "baseline", "--val-fraction", "0.25", "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    best = max(rows, key=lambda row: float(row["val_accuracy"]))  # the first of the highest
    assert summary["best_epoch"] == int(best["epoch"])
    assert summary["best_val_accuracy"] == float(best["val_accuracy"])
    assert summary["train_images"] == 64 - 10 * 2  # two of each class's six or seven are held out
    assert "best_test_accuracy" not in summary
    assert (tmp_path / "run" / "best.safetensors").exists()


def tree(root: Path, train: list[str], test: list[str]) -> Path:
    for part, names in (("train", train), ("test", test)):
        for i, name in enumerate(names):
            (root / part / name).mkdir(parents=True)
            for j in range(4):
                pixels = np.full((8, 8, 3), 60 * i + 10 * j, dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{j}.png")
    return root


def test_a_folder_of_images_is_a_data_set(tmp_path: Path) -> None:
    data = tree(tmp_path / "data", ["cat", "dog"], ["cat", "dog"])
    flags = ["--dataset", "folder", "--data", str(data), "--arm", "baseline", "--width", "2", "--epochs", "1"]
    assert main([*flags, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["labels"] == ["cat", "dog"]
    # Grey levels 0, 10, 20, 30 and 60, 70, 80, 90: mean 45, variance 900 + 125.
    assert config["mean"] == pytest.approx([45 / 255] * 3)
    assert config["std"] == pytest.approx([1025**0.5 / 255] * 3)


# name of the case → arguments, given a scratch folder and a finished run; what the line on stderr must say
BAD: dict[str, tuple[Any, str]] = {
    "unknown data set": (lambda tmp, run: ["--dataset", "birds"], "birds"),
    "a misspelt data set": (
        lambda tmp, run: ["--dataset", "Minst"],
        "--dataset Minst: unknown data set; did you mean mnist?",
    ),
    "a misspelt network": (lambda tmp, run: ["--network", "resnt"], "did you mean resnet?"),
    "no folder named": (lambda tmp, run: ["--dataset", "folder"], "--data"),
    "missing folder": (lambda tmp, run: ["--dataset", "folder", "--data", str(tmp / "nothing")], "nothing"),
    "empty folder": (lambda tmp, run: ["--dataset", "folder", "--data", str(empty(tmp))], "class"),
    "other classes": (
        lambda tmp, run: ["--dataset", "folder", "--data", str(tree(tmp / "odd", ["a", "b"], ["a", "c"]))],
        "different classes",
    ),
    "no time": (lambda tmp, run: ["--timesteps", "0"], "--timesteps 0"),
    "no width": (lambda tmp, run: ["--width", "0"], "--width 0"),
    "an odd rate": (lambda tmp, run: ["--lr", "nan"], "--lr nan"),
    "unknown preset": (lambda tmp, run: ["--preset", "slow"], "slow"),
    "no config": (lambda tmp, run: ["--config", str(tmp / "none.json")], "none.json"),
    "no device": (lambda tmp, run: ["--device", "abacus"], "abacus"),
    "half on a CPU": (lambda tmp, run: ["--device", "cpu", "--precision", "16-mixed"], "16-mixed"),
    "no teacher": (lambda tmp, run: ["--teacher", str(tmp / "none.pth")], "none.pth"),
    "another teacher": (lambda tmp, run: ["--teacher", str(run / "teacher.safetensors")], "conv1.weight has shape"),
    "code in a teacher": (lambda tmp, run: ["--teacher", str(evil(tmp))], "read safely"),
    "unknown network": (lambda tmp, run: ["--network", "lattice"], "--network lattice: unknown; known are resnet, vgg"),
    "no such depth": (lambda tmp, run: ["--depth", "20"], "--depth 20: resnet comes with 18, 34, 50, 101"),
    "no such teacher": (lambda tmp, run: ["--teacher-depth", "1"], "--teacher-depth 1: resnet comes with"),
    "blocks apart": (lambda tmp, run: ["--depth", "50", "--width", "2"], "layer1.0.conv1"),
    "nothing to resume": (lambda tmp, run: ["--resume", "--out", str(tmp / "nothing")], "no run to resume"),
    "resumed otherwise": (lambda tmp, run: ["--resume", "--out", str(run), "--epochs", "7"], "started with 2"),
    "an existing folder": (lambda tmp, run: [*TINY, "--out", str(run)], "--force"),
    "a file as folder": (lambda tmp, run: ["--force", "--out", str(run / "config.json")], "is a file"),
}


def empty(scratch: Path) -> Path:
    (scratch / "empty" / "train").mkdir(parents=True)
    return scratch / "empty"


def evil(scratch: Path) -> Path:
    torch.save({"conv1.weight": Path("/")}, scratch / "evil.pth")
    return scratch / "evil.pth"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_touched(
    case: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BAD[case]
    argv = make(tmp_path, tiny)
    argv = argv if "--out" in argv else [*argv, "--out", str(tmp_path / "run")]
    before = everything_under(tmp_path), everything_under(tiny)
    capsys.readouterr()
    assert main(argv) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert line.startswith("idsnn-train: error: ")
    assert words in line
    assert (everything_under(tmp_path), everything_under(tiny)) == before


def test_force_replaces_a_run_and_keeps_what_is_not_a_runs(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny, out)
    (out / "notes.txt").write_text("mine")
    assert main([*TINY, "--arm", "baseline", "--epochs", "1", "--force", "--out", str(out)]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "teacher.safetensors").exists()


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert "64 to train" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_resumed_by_its_summary(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_under(tiny)
    assert main(["--resume", "--out", str(tiny), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tiny / "summary.json").read_text())
    assert main(["--resume", "--out", str(tiny)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"idsnn-train: next: idsnn-export {tiny}"
    assert everything_under(tiny) == before


@pytest.mark.parametrize("saves", [0, 1, 2, 3])
def test_a_run_that_was_interrupted_goes_on_to_the_same_weights(
    saves: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(saves, [*TINY, "--out", str(tmp_path / "run")], monkeypatch)
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert same(tiny, tmp_path / "run")


def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_weights(tmp_path: Path) -> None:
    flags = ["--width", "4", "--epochs", "3", "--arm", "baseline", "--limit-train", "320", "--batch-size", "16"]
    assert main([*flags, "--out", str(tmp_path / "whole")]) == 0
    child = fork(lambda: main([*flags, "--out", str(tmp_path / "killed")]), tmp_path / "said.txt")
    deadline = time.monotonic() + 240
    while not (tmp_path / "killed" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # the second epoch is under way
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "student.safetensors").exists()
    assert main(["--resume", "--out", str(tmp_path / "killed")]) == 0
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_a_full_disk_is_an_error_and_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    Checkpoint(seconds=1.0).save(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(OSError, match="File too large"):
            Checkpoint(seconds=2.0, model={"w": torch.randn(100_000)}).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert path.read_bytes() == before
    assert Checkpoint.load(path).seconds == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="cannot be resumed from"):
        Checkpoint.load(tmp_path / "last.ckpt")


def test_a_loss_that_is_not_finite_stops_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*TINY, "--arm", "baseline", "--lr", "1e6", "--momentum", "1", "--schedule", "constant", "--epochs", "30"]
    assert main([*flags, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "student, epoch" in error
    assert "step" in error
    assert "learning rate 1e+06" in error


def test_odd_layers_are_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*TINY, "--arm", "baseline", "--threshold", "100", "--beta", "0.01", "--epochs", "2", "--lr", "0.000001"]
    assert main([*flags, "--out", str(tmp_path / "run")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dead so far, of ")]
    names = [each.split()[0] for each in line.split(": ", 1)[1].split(", ")]
    assert len(set(names)) == len(names) > 1


def test_every_preset_names_the_papers_milestones() -> None:
    for name in PRESETS:
        config = preset(name).check()
        if name.startswith("paper"):
            n = {200: 60, 80: 20, 40: 10}[config.epochs]
            assert config.milestones == (n, 2 * n, 3 * n)
            assert (config.lr, config.momentum, config.weight_decay, config.batch_size) == (0.05, 0.9, 1e-4, 64)
            assert (config.alpha, config.temperature, config.match) == (0.3, 4.0, "leading")
            assert (config.init_scaled, config.loss) == (False, "mean")
            for epoch, rate in ((0, 0.05), (n - 1, 0.05), (n, 5e-3), (2 * n, 5e-4), (3 * n, 5e-5)):
                assert learning_rate(config, epoch, config.epochs) == pytest.approx(rate)
    assert preset("released").milestones == (60, 120, 160)
    assert {preset(name).timesteps for name in PRESETS if name.startswith("paper")} == {4, 6}


def test_the_evenings_preset_is_an_evening_for_two_cores_and_ends_as_it_is_deployed() -> None:
    config = preset("cifar10-cpu").check()
    seconds = {(16, 0): 140, (24, 0): 230, (32, 0): 390, (24, 1): 220, (32, 1): 400, (32, 2): 650}  # of one core
    stages = {phase: config.curriculum(phase) for phase in ("teacher", "student")}
    spent = sum(each.epochs * seconds[each.pixels or 0, 0] for each in stages["teacher"])
    spent += sum(each.epochs * seconds[each.pixels or 0, each.timesteps or 0] for each in stages["student"])
    assert spent / 1.7 < 2.5 * 3600  # what two cores gain
    assert (stages["student"][-1].pixels, stages["student"][-1].timesteps) == (32, config.timesteps) == (32, 2)
    assert (config.width, config.spikes, config.arm) == (16, 0.4, "idsnn")


def test_the_other_schedules() -> None:
    cosine = TrainConfig(lr=1.0, schedule="cosine")
    assert [learning_rate(cosine, done, 4) for done in (0, 2, 4)] == pytest.approx([1, 0.5, 0])
    assert learning_rate(TrainConfig(lr=1.0, schedule="constant"), 3, 4) == 1.0


def test_flags_hold_over_the_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--preset", "fast", "--dataset", "digits", "--timesteps", "3", "--dry-run", "--out", str(tmp_path / "r")]
    assert main(flags) == 0
    shown = capsys.readouterr().out
    assert "T 3" in shown
    assert "8 epochs" in shown


def test_the_command_itself_runs_and_help_needs_no_torch() -> None:
    code = "import sys; from idsnn.cli import main\ntry: main(['--help'])\nexcept SystemExit: "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--target-rate" in done.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's own imports
def test_event_files_are_written_where_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert main([*TINY, "--arm", "baseline", "--logger", "tensorboard", "--out", str(tmp_path / "run")]) == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))


def test_the_name_of_a_run_is_shown_as_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`[/x]` closes what was never opened in rich's markup, and ended a training that was done in a traceback."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "[/x]o [b]:cat:")
    assert main(["--resume", "--out", "[/x]o [b]:cat:"]) == 0
    Display().say("[/x]o [b]:cat:")
    shown = capsys.readouterr()
    assert "[/x]o [b]:cat:" in shown.out
    assert shown.err.splitlines()[-1] == "[/x]o [b]:cat:"


def test_the_bar_shows_loss_accuracy_rate_speed_and_time_left() -> None:
    display = Display()
    display.console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with display.phase("student", 10, 0):
        display.step(4, 0.25, 0.875, 0.123, 1234.5)
        assert display._progress is not None
        display._progress.refresh()
    shown = display.console.file.getvalue()
    for words in ("student", "4/10", "loss 0.250", "accuracy 87.5%", "firing 12.3%", "1,234 images/s", ":"):
        assert words in shown
