"""Files that training opens: what is wrong with one is one line, and nothing is trained from it."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train_run import tiny as tiny

from idsnn.checkpoint import load_run, read_weights
from idsnn.cli import main
from idsnn.config import TrainConfig, read_config, settings
from idsnn.fit import Checkpoint
from idsnn.networks.table import NEURON, OPTIONS
from idsnn_deploy.errors import RunError, UsageError
from idsnn_export.cli import main as export

ROW = dict.fromkeys(
    ("phase", "epoch", "loss", "train_accuracy", "val_accuracy", "test_accuracy", "firing_rate", "lr"), 1.0
) | {"phase": "student"}
GOOD: dict[str, Any] = {
    "phase": "student", "epoch": 1, "model": {"a": torch.zeros(2)}, "optimizer": {"state": {}}, "scaler": {},
    "rows": [ROW], "seconds": 1.0,
}  # fmt: skip

WRONG: dict[str, tuple[Any, str]] = {
    "nothing of it": ({}, ""),
    "a list": ([1, 2], "cannot be resumed"),
    "a tensor": (torch.zeros(3), "cannot be resumed"),
    "an unknown key": (GOOD | {"extra": 1}, "extra"),
    "no model": (GOOD | {"model": None}, "model and optimizer cannot be"),
    "no optimizer": (GOOD | {"optimizer": None}, "model and optimizer cannot be"),
    "a model of numbers": (GOOD | {"model": {"a": 1}}, "model cannot be"),
    "a model without names": (GOOD | {"model": {1: torch.zeros(1)}}, "model cannot be"),
    "an epoch far away": (GOOD | {"epoch": 10**9}, "rows cannot be"),
    "an epoch before the first": (GOOD | {"epoch": -1}, "epoch"),
    "an epoch that is no number": (GOOD | {"epoch": "1"}, "epoch"),
    "a phase of others": (GOOD | {"phase": "coach"}, "phase cannot be"),
    "rows of nothing": (GOOD | {"rows": [{}]}, "rows cannot be"),
    "rows that are text": (GOOD | {"rows": "rows"}, "rows cannot be"),
    "no rows": (GOOD | {"rows": []}, "rows cannot be"),
    "time that ran backwards": (GOOD | {"seconds": -1.0}, "seconds cannot be"),
    "time beyond all": (GOOD | {"seconds": float("inf")}, "seconds cannot be"),
}


@pytest.mark.parametrize("name", [name for name in WRONG if WRONG[name][1]])
def test_a_checkpoint_that_no_training_came_to_is_refused(name: str, tmp_path: Path) -> None:
    content, words = WRONG[name]
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match=words) as caught:
        Checkpoint.load(tmp_path / "last.ckpt")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_training_writes_is_read(tmp_path: Path) -> None:
    Checkpoint(**GOOD).save(tmp_path / "last.ckpt")
    assert Checkpoint.load(tmp_path / "last.ckpt").epoch == 1
    Checkpoint().save(tmp_path / "last.ckpt")
    assert Checkpoint.load(tmp_path / "last.ckpt") == Checkpoint()


def changed_checkpoint(folder: Path, **changes: Any) -> None:
    content = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({**content, **{key: change(content[key]) for key, change in changes.items()}}, folder / "last.ckpt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": lambda model: {name: each.reshape(-1)[:0] for name, each in model.items()}}, "has shape"),
        ({"model": lambda model: dict(list(model.items())[:-4])}, "has no"),
        ({"optimizer": lambda optimizer: {**optimizer, "param_groups": []}}, "optimizer is of another network"),
        (
            {"optimizer": lambda o: {**o, "state": {i: {"momentum_buffer": torch.zeros(1)} for i in o["state"]}}},
            "optimizer is of another network",
        ),
        ({"epoch": lambda epoch: 7, "rows": lambda rows: [{**rows[-1]}] * 7}, "holds epoch 7 of"),
    ],
)
def test_a_checkpoint_of_another_network_is_not_trained_on(
    changes: dict[str, Any], words: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of epoch 10^9 and one without a model ended with exit code 0, untrained."""
    folder = Path(shutil.copytree(tiny, tmp_path / "run"))
    (folder / "summary.json").unlink()
    changed_checkpoint(folder, **changes)
    assert main(["--resume", "--out", str(folder)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("idsnn-train: error: ")
    assert words in error


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dataset": 1}', "[" * 9999, '{"seconds": 1e999}', "\x00"])
def test_a_broken_summary_is_one_line_on_resume(
    text: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "run"))
    (folder / "summary.json").write_text(text)
    assert main(["--resume", "--out", str(folder)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "summary.json" in error


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": []},
        {"mean": 5},
        {"std": [0]},
        {"labels": [1]},
        {"input_shape": [1, 8]},
        {"input_shape": "x"},
        {"timesteps": 0},
        {"width": -1},
        {"width": "x"},
        {"width": 10**7},
        {"depth": 10**9},
        {"depth": None},
        {"network": []},
        {"beta": "x"},
        {"stem": {}},
        {"data": 5},
        {"dataset": []},
        {"augment": "mixup"},
    ],
)
def test_a_config_that_describes_no_network_is_one_line(changes: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "run"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(RunError) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


def test_a_config_without_a_setting_has_its_default_or_describes_no_network(tiny: Path, tmp_path: Path) -> None:
    """Runs of an older version lack what came later."""
    folder = Path(shutil.copytree(tiny, tmp_path / "run"))
    config, defaults = json.loads((folder / "config.json").read_text()), settings(TrainConfig())
    refused = set()
    for name, default in defaults.items():
        (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key != name}))
        try:
            assert load_run(folder).config[name] == default
        except RunError:
            refused.add(name)
        if name in ("dataset", "data", "width"):  # which an export reads; 1: there are findings
            assert export([str(folder), "--lint", "loihi", "--json"]) == (2 if name == "width" else 1)
    networks = {"network", "width", "depth", "timesteps", *OPTIONS, *NEURON}
    networks |= {"teacher_network", "teacher_width", "teacher_depth"}
    assert {"width", "depth", "timesteps"} <= refused <= networks


@pytest.mark.parametrize(
    "changes",
    [
        {"target_rate": ""},
        {"limit_train": "3"},
        {"image_size": [8]},
        {"sensor": [1, "x"]},
        {"stages": [3]},
        {"milestones": [0.5]},
        {"events_window": {}},
        {"teacher": 3},
        {"arm": "none"},
        {"gray": 1},
        {"epochs": True},
        {"lr": None},
    ],
)
def test_a_setting_of_another_type_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"dataset": "digits", **changes}))
    (name,) = changes
    with pytest.raises(UsageError, match=rf"config\.json: `{name}(\[\d\])?` is"):
        read_config(tmp_path / "config.json")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code ran')",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps({1: 2}),
        pickle.dumps([1]),
        b"",
        b"PK\x03\x04" + bytes(50),
        b"\x80\x02" + b"(" * 10_000,
    ],
)
def test_weights_that_are_none_are_one_line_and_run_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(RunError) as caught:
            read_weights(tmp_path / "a.pth")
    assert not said
    assert "\n" not in str(caught.value)


def test_weights_without_names_are_one_line(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(RunError, match="tensors by name"):
        read_weights(tmp_path / "a.pth")
