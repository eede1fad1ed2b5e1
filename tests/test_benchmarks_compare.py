"""The comparisons' program and the curve: what is done is not done again, and rows are of held-out images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train_vgg import photograph_folder

import compare
import compare_plan
import compare_tables
import curve
from idsnn.networks.resnet import SpikingResNet
from idsnn.rates import FiringRates
from idsnn_deploy.errors import RunError

REPORT = Path(__file__).parents[1] / "benchmarks" / "results" / "photographs" / "report.json"


def test_the_fan_out_of_a_neuron_is_what_convolutions_read_of_it() -> None:
    network = SpikingResNet(18, 10, width=2, timesteps=1).eval()
    found = compare.fan_out(network, torch.zeros(1, 3, 16, 16))
    assert list(found) == list(network.neurons())
    # A 3x3 convolution: 9 times its kernels; with stride 2 a quarter of that, and a quarter of the 1x1 beside it.
    assert found["lif1"] == found["layer1.0.lif1"] == found["layer1.0.lif2"] == found["layer1.1.lif1"] == 9 * 2
    assert found["layer1.1.lif2"] == 9 * 4 / 4 + 4 / 4
    assert found["layer2.0.lif1"] == 9 * 4
    assert found["layer4.1.lif2"] == 0  # a pool and the head read it


def test_a_pull_by_synapses_weights_each_spike_by_its_fan_out() -> None:
    network = SpikingResNet(18, 10, width=2, timesteps=1).eval()
    compare.BySynapses.weights = compare.fan_out(network, torch.zeros(1, 3, 16, 16))
    with FiringRates(network) as rates:
        network(torch.randn(4, 3, 16, 16) * 3)
    sizes = {name: count / 4 for name, count in rates.places.items()}
    weights = compare.BySynapses.weights
    expected = sum(weights[name] * sizes[name] * rate for name, rate in rates.by_layer().items())
    expected /= sum(weights[name] * sizes[name] for name in sizes)
    assert compare.BySynapses(0.1, 1).pulled(rates).item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = {"image_size": 8, "limit_test": 4, "val_fraction": 0.25, "width": 2, "teacher_depth": 18, "batch_size": 8}
    monkeypatch.setattr(compare, "SCALE", scale)
    monkeypatch.setattr(compare, "COMMON", {"teacher_stages": ("1x8@1",), "stages": ("1x8@1-2",), "timesteps": 2})
    base: dict[str, Any] = {"arm": "kd", "timesteps": 2, "stages": ("1x8@2",)}
    entries = {
        "no pull": compare_plan.Entry(),
        "spikes 0.2 by fan-out": compare_plan.Entry({"spikes": 0.2}, "synapses"),
    }
    monkeypatch.setitem(compare_plan.LISTS, "spikes", (base, entries))


@pytest.mark.usefixtures("tiny")
def test_each_entry_is_trained_once_and_has_one_row_of_held_out_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photograph_folder(tmp_path / "photographs")
    once = compare.Comparison("spikes", str(data), tmp_path / "results", tmp_path / "runs")
    assert once.go([0], ["no pull", "spikes 0.2 by fan-out"], float("inf"))
    rows = [json.loads(line) for line in once.rows.read_text().splitlines()]
    assert [(row["name"], row["seed"], row["pull"]) for row in rows] == [
        ("no pull", 0, "spikes"),
        ("spikes 0.2 by fan-out", 0, "synapses"),
    ]
    for row in rows:
        assert len(row["val_by_step"]) == row["timesteps"] == 2
        assert row["spikes"] == pytest.approx(2 * row["firing_rate"])
        assert row["val_images"] * 3 == row["train_images"]
        config = json.loads(next((tmp_path / "runs" / "spikes").glob("*/config.json")).read_text())
        assert config["start"] == config["teacher"] == str(tmp_path / "runs" / "common-s0")
    assert once.go([0], ["no pull"], float("-inf"))  # nothing is left to do
    assert not once.go([0, 1], ["no pull"], float("-inf"))
    monkeypatch.setitem(once.settings, "width", 3)
    with pytest.raises(RunError, match="has rows of another scale; move it away"):
        once.go([0], ["no pull"], float("inf"))
    page = compare_tables.write(tmp_path / "results").read_text()
    assert page.count("| no pull | 1 |") == 1
    assert (tmp_path / "results" / "spikes.svg").exists()


def test_a_report_is_a_row_of_the_curve_and_each_bundle_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["photographs", str(REPORT), "--results", str(tmp_path)]
    assert curve.main([*flags, "--label", "first"]) == 0
    assert curve.main([*flags, "--label", "second"]) == 0
    drawn = (tmp_path / "photographs.svg").read_bytes()
    assert curve.main(["photographs", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "photographs.svg").read_bytes() == drawn
    (row,) = [json.loads(line) for line in (tmp_path / "photographs.jsonl").read_text().splitlines()]
    report = json.loads(REPORT.read_text())
    assert row["label"] == "second"
    assert row["spikes"] == 4 * report["totals"]["firing_rate"]
    assert row["accuracy"] == report["accuracy"]["top1"]
    line = "| second | 4 | 47.7 | 0.911 | 46.9 at 0.565 | 25.39 | 0.18 | 1.09 | 0.27 | 3.12 |"
    assert line in (tmp_path / "photographs.md").read_text()
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"), [(["x"], "has no rows yet"), (["x", "a", "--label", "b", "--label", "c"], "2 for 1")]
)
def test_what_the_curve_cannot_draw_is_refused(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        curve.main([*flags, "--results", str(tmp_path)])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
