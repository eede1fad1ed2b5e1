"""A user's own network whose forward runs over all steps: trained, resumed and exported as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_nets
import pytest
import torch
from interrupted import stop_after
from students import same, weights
from test_train_own_network import flags
from torch import Tensor

import idsnn
from idsnn.cli import main as train
from idsnn.networks.by_path import build
from idsnn.networks.protocol import SpikingNetwork
from idsnn_deploy import Session
from idsnn_deploy.datasets import load_split
from idsnn_deploy.errors import UsageError
from idsnn_deploy.manifest import read_bundle
from idsnn_export.cli import main as export

STEPS = 4
# What the network's author would write to have the answer of every step, or the one answer.
BY_HAND: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "asks": lambda net, x: net(x, STEPS)[0],
    "listed": lambda net, x: torch.stack(net(x, STEPS)["spikes"]),
    "sums": lambda net, x: _with(net, num_steps=STEPS)(x)[None],
    "framed": lambda net, x: net(x.expand(STEPS, *x.shape)).transpose(0, 1),
    "jelly_means": lambda net, x: net(x)[None],
}


def _with(net: Any, **attributes: int) -> Any:
    vars(net).update(attributes)
    return net


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("over time") / "run"
    assert train(flags("asks", out, "--arm", "baseline")) == 0
    return out


@pytest.mark.parametrize("name", BY_HAND)
def test_a_module_of_all_steps_answers_as_its_author_runs_it(name: str) -> None:
    torch.manual_seed(0)
    network = build(f"own_nets:{name}", 10, (1, 8, 8), STEPS).eval()
    torch.manual_seed(0)
    factory = getattr(own_nets, name)
    twin = factory(10, (1, 8, 8), STEPS).eval()
    images = 3 * torch.rand(5, 1, 8, 8)
    expected = BY_HAND[name](twin, images)
    assert isinstance(network, SpikingNetwork)
    assert expected.std() > 0
    for _ in range(2):  # every call starts from rest
        assert torch.equal(network.step_logits(images), expected)
    assert torch.equal(network(images), expected.mean(0))


@pytest.mark.parametrize("name", ["asks", "sums", "framed", "jelly_means"])
def test_another_number_of_steps_reaches_the_forward(name: str) -> None:
    network = build(f"own_nets:{name}", 10, (1, 8, 8), STEPS).eval()
    images = 3 * torch.rand(5, 1, 8, 8)
    deployed = network.step_logits(images)
    network.timesteps = 2
    fewer = network.step_logits(images)
    assert torch.equal(network.forward_step(images), network.forward_step(images))
    network.timesteps = STEPS
    assert torch.equal(network.step_logits(images), deployed)
    if name in ("asks", "framed"):
        assert torch.equal(fewer, deployed[:2])
    else:
        assert len(fewer) == 1
        assert not torch.equal(fewer, deployed)


@pytest.mark.parametrize("timesteps", [1, 2])
@pytest.mark.parametrize("name", ["asks", "sums", "framed", "hidden", "handed", "jelly_steps"])
def test_one_and_two_steps_are_told_from_two_images(name: str, timesteps: int) -> None:
    network = build(f"own_nets:{name}", 10, (1, 8, 8), timesteps).eval()
    for count in (1, 2, 3):
        steps = 1 if name == "sums" else timesteps
        assert network.step_logits(torch.rand(count, 1, 8, 8)).shape == (steps, count, 10)


def test_frames_go_to_a_forward_that_takes_them() -> None:
    network = build("own_nets:framed", 10, (2, 8, 8), STEPS, frames=True).eval()
    frames = (torch.rand(STEPS, 3, 2, 8, 8) < 0.5).float()
    assert torch.equal(network.step_logits(frames), network.net(frames).transpose(0, 1))
    with pytest.raises(UsageError, match=r"own_nets:asks: its forward repeats an image and is given frames; let it"):
        build("own_nets:asks", 10, (2, 8, 8), STEPS, frames=True)


@pytest.mark.parametrize(
    ("name", "arm"), [("sums", "kd"), ("framed", "baseline"), ("jelly_steps", "baseline"), ("jelly_means", "kd")]
)
def test_it_learns_and_its_bundle_answers_as_it_does(name: str, arm: str, tmp_path: Path) -> None:
    more = ["--stages", "1x8@2", "1x8@3"] if name == "sums" else ["--epochs", "1"]
    fresh = build(f"own_nets:{name}", 10, (1, 8, 8), 3)
    assert train(flags(name, tmp_path / "run", "--arm", arm, *more)) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 < summary["firing_rate"] < 1
    assert len(summary["test_by_step"]) == (1 if name in ("sums", "jelly_means") else 3)
    assert set(weights(tmp_path / "run")) == set(fresh.net.state_dict())
    assert export([str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]) == 0
    assert read_bundle(tmp_path / "bundle").manifest.readout == ("sum" if name == "sums" else "mean")
    _agree(tmp_path / "run", tmp_path / "bundle")


def test_its_bundle_may_run_more_steps_where_it_is_told_how_many(run: Path, tmp_path: Path) -> None:
    assert export([str(run), "--out", str(tmp_path / "bundle"), "--timesteps", "5"]) == 0
    assert read_bundle(tmp_path / "bundle").manifest.timesteps == 5
    _agree(run, tmp_path / "bundle", timesteps=5)


def _agree(run: Path, bundle: Path, timesteps: int = 3) -> None:
    trained, test = idsnn.load_run(run), load_split("digits", "test")
    mean, std = (torch.tensor(trained.config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    trained.student.timesteps = timesteps
    with torch.no_grad():
        expected = trained.student((torch.from_numpy(test.pixels()) - mean) / std).numpy()
    got = Session(bundle)(test.pixels())
    assert np.ptp(expected) > 0
    assert np.sum(np.abs(got - expected).max(1) > 1e-4) <= 2  # a spike on the threshold may fall either way


def test_a_loop_of_its_own_length_is_exported_with_that_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(flags("tutorial", tmp_path / "run", "--arm", "baseline", "--epochs", "1")) == 0
    capsys.readouterr()
    assert export([str(tmp_path / "run"), "--out", str(tmp_path / "bundle"), "--timesteps", "5"]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if "error: " in each)
    assert re.search(r"the forward at own_nets\.py:\d+ runs 3 steps itself, and 5 are asked for", line)
    assert not (tmp_path / "bundle").exists()
    assert export([str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]) == 0


def test_a_run_of_it_goes_on_to_the_same_weights(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(1, flags("asks", tmp_path / "run", "--arm", "baseline"), monkeypatch)
    assert train(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "run", run)  # with dropout drawn anew
