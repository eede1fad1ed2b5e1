"""Trainings that are killed, stopped, or meet in one folder."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from students import same

import idsnn
from idsnn import fit
from idsnn.cli import main
from idsnn.fit import Checkpoint
from idsnn.run_folder import begin, held
from idsnn_deploy.errors import RunError

SCRIPT = Path(__file__).with_name("kill_points.py")
KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"
TINY = ["--width", "2", "--epochs", "1", "--teacher-depth", "18", "--limit-train", "32", "--limit-test", "10"]
TINY += ["--batch-size", "32", "--timesteps", "1"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main([*TINY, "--out", str(folder)]) == 0
    return folder


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("flag", [[], ["--resume"], ["--force"]])
def test_a_second_training_in_a_folder_is_refused_at_once(
    flag: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with held(folder, resume=False, force=False):
        assert main([*TINY, *flag, "--out", str(folder)]) == 2
        assert last_line(capsys) == (
            f"idsnn-train: error: {folder}: another process is writing it; wait for that one, or choose another --out"
        )
        assert [entry.name for entry in folder.iterdir()] == [".lock"]
    assert not folder.exists()


def test_a_folder_is_the_old_run_or_the_new_one_wherever_a_kill_hits() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "run"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here; apt-get install strace")
@pytest.mark.parametrize(
    ("command", "points"), [("idsnn-export --force", 2), pytest.param("idsnn-train", 1, marks=pytest.mark.slow)]
)
def test_a_command_killed_or_without_space_at_some_of_its_operations_ends_whole(command: str, points: int) -> None:
    """The short form of `make kills`, which tries every operation."""
    arguments = [sys.executable, str(KILLS), "--points", str(points), command]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_a_folder_that_was_made_and_no_more_is_begun_in(flags: list[str], tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert main([*TINY, *flags, "--out", str(tmp_path / "run")]) == 0
    assert same(tiny, tmp_path / "run")


def test_a_run_killed_as_it_replaced_another_goes_on_as_the_new_one(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny, out)
    config = json.loads((tiny / "config.json").read_text())
    (out / ".next.json").write_text(json.dumps({**config, "arm": "baseline"}))
    (out / "teacher.safetensors").unlink()  # the first of the old run's files that went
    with pytest.raises(RunError, match="go on with: idsnn-train --resume"):
        idsnn.load_run(out)
    assert main(["--resume", "--out", str(out)]) == 0
    assert idsnn.load_run(out).summary["arm"] == "baseline"
    assert not (out / ".next.json").exists()


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_while_it_tuned_its_given_teacher_goes_on(
    epoch: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*TINY, "--teacher", str(tiny), "--tune-teacher", "--teacher-epochs", "2", "--epochs", "1", "--arm", "kd"]
    assert main([*flags, "--out", str(tmp_path / "whole")]) == 0
    save = Checkpoint.save

    def killed(state: Checkpoint, path: Path) -> None:
        save(state, path)
        if state.epoch == epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit.Checkpoint, "save", killed)
        assert main([*flags, "--out", str(tmp_path / "killed")]) == 130
    assert not (tmp_path / "killed" / "teacher.safetensors").exists()
    assert main(["--resume", "--out", str(tmp_path / "killed")]) == 0
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_a_run_killed_before_it_kept_its_given_teacher_goes_on(tiny: Path, tmp_path: Path) -> None:
    flags = [*TINY, "--teacher", str(tiny), "--arm", "kd"]
    assert main([*flags, "--out", str(tmp_path / "whole")]) == 0
    begin(tmp_path / "killed", json.loads((tmp_path / "whole" / "config.json").read_text()))
    assert main(["--resume", "--out", str(tmp_path / "killed")]) == 0
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_sigterm_says_how_to_go_on_like_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(state: Checkpoint, path: Path) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(fit.Checkpoint, "save", stopped)
    assert main([*TINY, "--arm", "baseline", "--out", str(tmp_path / "run")]) == 143
    said = capsys.readouterr().err
    assert f"go on with: idsnn-train --resume --out {tmp_path / 'run'}" in said.replace("\n", " ")
    assert said.endswith("idsnn-train: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
