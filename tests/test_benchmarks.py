"""The reproduction's program: what is done is not done again, arms share a teacher, rows say what they are."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import reproduce
import reproduce_plan
import reproduce_rows
import reproduce_tables
from idsnn_deploy.errors import DivergedError, RunError

SMALL = reproduce_plan.Scale(
    settings={"width": 2, "val_fraction": 0.2, "limit_train": 100, "limit_test": 20, "batch_size": 32},
    teacher_epochs=1,
    intervals={1: 2},
    interval=1,
    timesteps=(2, 4),
    seeds=(3,),
    samples=10,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reproduce_plan.SCALES, ("cpu", "digits"), SMALL)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ablation's runs and rows."""
    folder = tmp_path_factory.mktemp("reproduction")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reproduce_plan.SCALES, ("cpu", "digits"), SMALL)
        begin(folder).go(["ablation"], [3])
    return folder


@pytest.fixture
def ablation(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of it, with the times of its files."""
    return Path(shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True))


def begin(folder: Path, minutes: float = 60) -> Any:
    return reproduce.Reproduction("cpu", None, minutes, folder / "results", folder / "runs")


@pytest.mark.usefixtures("small")
def test_each_run_is_trained_once_and_has_one_row_for_each_experiment_it_serves(ablation: Path) -> None:
    once = begin(ablation)
    assert [row["arm"] for row in once.read()] == list(reproduce_plan.ARMS)
    trained = {path: path.stat().st_mtime_ns for path in (ablation / "runs").rglob("student.safetensors")}
    assert len(trained) == 5  # four arms and the folder of the teacher they share
    once.go(["ablation", "convergence"], [3])  # the two arms of convergence are the ablation's
    assert {path: path.stat().st_mtime_ns for path in (ablation / "runs").rglob("student.safetensors")} == trained
    rows = once.read()
    assert [row["experiment"] for row in rows] == ["ablation"] * 4 + ["convergence"] * 2
    assert rows[4] | {"experiment": "ablation"} == rows[0]


@pytest.mark.usefixtures("small")
def test_a_row_is_the_runs_own_figures(ablation: Path) -> None:
    for row in begin(ablation).read():
        folder = ablation / "runs" / "cpu" / f"digits-{row['arm']}-w2-i1-t4-s3"
        summary = json.loads((folder / "summary.json").read_text())
        assert {"step", 3, 2, 4} == {
            json.loads((folder / "config.json").read_text())[name] for name in ("schedule", "seed", "width")
        } | {row["timesteps"]}
        assert row["student_accuracy"] == summary["student_accuracy"] == row["test_accuracy"][-1]
        assert row["best_val_accuracy"] == max(row["val_accuracy"]) == row["val_accuracy"][row["best_epoch"] - 1]
        assert row["best_val_test_accuracy"] == row["test_accuracy"][row["best_epoch"] - 1]
        assert (row["train_images"], row["val_images"], row["test_images"]) == (80, 20, 20)
        assert len(row["val_accuracy"]) == row["epochs"] == 2
        assert (row["teacher_accuracy"] is None) == (row["arm"] == "baseline")
        assert row["effective_acs"] > 0
        assert row["counted_images"] == 10
        assert row["commit"]
        assert row["device"]
        assert row["versions"]["torch"]


@pytest.mark.usefixtures("small")
def test_one_epoch_a_call_ends_where_all_epochs_in_one_call_do(tmp_path: Path) -> None:
    run = reproduce_plan.Run("digits", "idsnn", width=2, epochs=2, interval=1, timesteps=2, seed=3)
    whole, calls = begin(tmp_path / "whole")._row(run), 0
    while True:
        late = begin(tmp_path / "parts", minutes=-1)
        try:
            row = late._row(run)
            break
        except reproduce.OutOfTime:
            calls += 1
    assert calls == 4  # the teacher, the student beside it, and two of the arm
    measured = ("seconds", "images_per_second")
    assert {**row, **dict.fromkeys(measured)} == {**whole, **dict.fromkeys(measured)}
    with pytest.raises(reproduce.OutOfTime):
        late.go(["timesteps"], [3])
    assert late.read() == []


@pytest.mark.usefixtures("small")
def test_a_run_that_fails_is_named_and_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(tmp_path)

    def row(run: reproduce_plan.Run) -> dict[str, Any]:
        if run.arm == "baseline":
            raise DivergedError("the loss is nan")
        return {**asdict(run), "teacher_epochs": 1}

    monkeypatch.setattr(first, "_row", row)
    assert first.go(["ablation"], [3]) == {"digits-baseline-w2-i1-t4-s3": "the loss is nan"}
    assert [row["arm"] for row in first.read()] == ["idsnn", "init", "kd"]
    monkeypatch.setattr(first, "scale", replace(first.scale, teacher_epochs=2))
    with pytest.raises(RunError, match="rows of other settings"):
        first.go(["ablation"], [3])


@pytest.mark.usefixtures("small")
def test_a_folder_of_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = reproduce_plan.Run("digits", "baseline", width=2, epochs=2, interval=1, timesteps=2, seed=3)
    first = begin(tmp_path)
    first._row(run)
    monkeypatch.setitem(first.scale.settings, "limit_train", 50)
    with pytest.raises(RunError, match="another limit_train"):
        first._row(run)


def test_what_a_scale_has_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, words in ((["--scale", "paper"], "--data"), (["--intervals", "3"], "2, 5, 10")):
        with pytest.raises(SystemExit) as stopped:
            reproduce.main(flags)
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err


def test_a_row_that_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"arm": "kd"}\n{"arm": "k')
    with pytest.raises(RunError, match=r"rows\.jsonl, line 2: is no row"):
        reproduce_rows.read(tmp_path / "rows.jsonl")


def rows(*values: tuple[str, int, list[float]]) -> list[reproduce_rows.Row]:
    """Rows of arms, seeds and held-out accuracies an epoch."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "interval": 1,
            "epochs": len(curve),
            "val_accuracy": curve,
            "best_val_accuracy": max(curve),
            "best_val_test_accuracy": max(curve) - 0.1,
            "seconds": 60.0,
        }
        for arm, seed, curve in values
    ]


def test_a_gain_is_taken_seed_by_seed() -> None:
    base = rows(("baseline", 0, [0.5]), ("baseline", 1, [0.7]), ("baseline", 2, [0.9]))
    mine = rows(("idsnn", 1, [0.8]), ("idsnn", 0, [0.7]))
    assert reproduce_rows.spread([1.0, 2.0, 4.0]) == "2.3 ± 1.5"  # sqrt(((4/3)^2 + (1/3)^2 + (5/3)^2) / 2) = 1.53
    assert reproduce_rows.gain(mine, base, "best_val_accuracy") == "+15.0 ± 7.1"  # 10 and 20 points
    assert reproduce_rows.gain(base, mine, "best_val_accuracy") == "-15.0 ± 7.1"


def test_convergence_is_the_first_epoch_as_good_as_the_baselines_best() -> None:
    mine = rows(("baseline", 0, [0.2, 0.5, 0.4]), ("idsnn", 0, [0.4, 0.5, 0.6]), ("idsnn", 1, [0.9, 0.9, 0.9]))
    lines = [line.strip("| ").split(" | ") for line in reproduce_tables.convergence(mine).splitlines()[2:]]
    assert [line[2] for line in lines] == ["baseline", "idsnn"]
    assert [line[5] for line in lines] == ["2", "2"]  # the second seed has no baseline
    alone = mine + [row | {"interval": 2} for row in rows(("idsnn", 0, [0.1]))]  # stopped before the baseline's turn
    assert reproduce_tables.convergence(alone).splitlines()[-1].startswith("| 2 | 1 | idsnn | 1 |")
    slow = rows(("baseline", 0, [0.9]), ("idsnn", 0, [0.5]))
    assert "never" in reproduce_tables.convergence(slow)


def test_the_page_of_results_is_what_its_rows_say(tmp_path: Path) -> None:
    for path in reproduce_tables.RESULTS.glob("*.jsonl"):
        shutil.copy(path, tmp_path)
    assert reproduce_tables.write(tmp_path).read_text() == (reproduce_tables.RESULTS / "README.md").read_text()
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn
    assert drawn == {path.name for path in reproduce_tables.RESULTS.glob("*.svg")}


def test_no_result_names_a_place_on_the_machine_that_made_it() -> None:
    """A row of another machine is to be compared with them."""
    results = Path(reproduce.__file__).parent / "results"
    files = [each for each in results.rglob("*") if each.suffix in (".json", ".jsonl", ".md", ".html")]
    assert len(files) >= 6
    placed = re.compile(r"[\"' (=](/(home|root|Users|tmp|work|mnt|data)/|[A-Z]:\\)")
    assert [each.name for each in files if placed.search(each.read_text(encoding="utf-8"))] == []
