"""What reaching an accuracy costs, against sums by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import time_to_accuracy
from idsnn_deploy.errors import RunError

HEAD = "phase,epoch,val_accuracy,test_accuracy,seconds,pixels,timesteps"


def run(folder: Path, *rows: str, **settings: object) -> Path:
    folder.mkdir()
    config = {"arm": "idsnn", "teacher": None, "timesteps": 4, "train_images": 1_000_000, "input_shape": [3, 32, 48]}
    (folder / "config.json").write_text(json.dumps(config | settings))
    (folder / "metrics.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    return folder


def test_a_mark_costs_the_teacher_and_the_students_epochs_up_to_it(tmp_path: Path) -> None:
    ours = run(
        tmp_path / "ours",
        "teacher,1,0.9,0.9,60,16,",  # 1 minute, 1 M images, a quarter of the area
        "student,1,0.70,0.99,120,16,1",  # 2 minutes, 1 M, a quarter
        "student,2,0.75,0.10,180,32,1-4",  # 3 minutes, 2.5 M
        "student,3,0.70,0.10,240,32,4",
        "student,4,0.80,0.10,300,32,4",  # with the third: 9 minutes, 8 M
    )
    part, found = time_to_accuracy.reached(ours, [75, 80, 85])
    assert part == "held-out"
    assert list(found) == [75, 80]
    assert found[75] == time_to_accuracy.Reached(2, time_to_accuracy.Cost(6, 4.5, 3))
    assert found[80] == time_to_accuracy.Reached(4, time_to_accuracy.Cost(15, 12.5, 11))


def test_a_teacher_of_other_runs_counts_as_far_back_as_it_was_trained(tmp_path: Path) -> None:
    run(tmp_path / "first", "teacher,1,,0.8,60,,", "student,1,,0.8,6000,,")
    run(tmp_path / "tuned", "teacher,1,,0.8,120,,", teacher="first", arm="kd")
    student = run(tmp_path / "student", "student,1,,0.9,240,,2", teacher="tuned/teacher.safetensors")
    part, found = time_to_accuracy.reached(student, [75])
    assert part == "test"
    assert found[75].cost == time_to_accuracy.Cost(7, 4, 4)


def test_a_baselines_teacher_costs_nothing(tmp_path: Path) -> None:
    run(tmp_path / "first", "teacher,1,,0.8,60,,")
    alone = run(tmp_path / "alone", "student,1,,0.9,240,,", teacher="first", arm="baseline")
    assert time_to_accuracy.reached(alone, [90])[1][90].cost == time_to_accuracy.Cost(4, 4, 4)


def test_the_table_compares_with_the_first_run_and_says_what_was_not_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = run(tmp_path / "paper", "student,1,,0.5,60,,", "student,2,,0.76,60,,")  # 8 M
    ours = run(tmp_path / "ours", "student,1,,0.77,30,,1", timesteps=1)  # 1 M
    assert time_to_accuracy.main([str(paper), str(ours), "--marks", "75", "80"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert lines[2:] == [
        ["paper", "75 % test", "2", "2.00", "8.00", "8.00", ""],
        ["paper", "80 % test", "not reached", "", "", "", ""],
        ["ours", "75 % test", "1", "0.50", "1.00", "1.00", "0.12"],
        ["ours", "80 % test", "not reached", "", "", "", ""],
    ]
    with pytest.raises(RunError, match="nothing: is no run folder"):
        time_to_accuracy.main([str(tmp_path / "nothing")])
