"""A user's own network by its import path: trained, resumed, loaded, exported; or refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import own_nets
import pytest
import torch
from interrupted import stop_after
from students import same, weights
from test_train_vgg import photograph_folder

import idsnn
from idsnn.cli import main as train
from idsnn.networks.by_path import build
from idsnn.networks.import_path import is_import_path
from idsnn.networks.protocol import SpikingNetwork
from idsnn_deploy import Session
from idsnn_deploy.datasets import load_split
from idsnn_deploy.errors import RunError, UsageError
from idsnn_export.cli import main as export

SHARED = ["--epochs", "2", "--limit-train", "64", "--limit-test", "20", "--batch-size", "32", "--timesteps", "3"]
SHARED += ["--width", "2", "--teacher-depth", "18"]


def flags(name: str, out: Path, *more: str) -> list[str]:
    return [*SHARED, "--network", f"own_nets:{name}", "--out", str(out), *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own") / "run"
    assert train(flags("hidden", out, "--arm", "baseline")) == 0
    return out


@pytest.mark.parametrize("name", ["hidden", "handed", "synaptic"])
def test_a_module_of_one_step_is_stepped_as_its_author_would(name: str) -> None:
    torch.manual_seed(0)
    network = build(f"own_nets:{name}", 10, (1, 8, 8), 4).eval()
    assert isinstance(network, SpikingNetwork)
    frames = 3 * torch.rand(4, 2, 1, 8, 8)
    for module in network.neurons().values():
        module.reset_mem()
    expected, states = [], [layer.reset_mem() for layer in network.neurons().values()] if name == "handed" else []
    for frame in frames:
        found = network.net(frame, *states)
        first, *states = found if isinstance(found, tuple) else (found,)
        states = states if name == "handed" else []
        expected.append(first)
    for _ in range(2):  # every call starts from rest
        assert torch.equal(network.step_logits(frames), torch.stack(expected))
    assert torch.equal(network.forward_step(frames[0]), expected[0])
    assert torch.equal(network(frames), torch.stack(expected).mean(0))
    assert torch.stack(expected).std(0).max() > 0  # the steps differ, or nothing was tested
    static = frames[:1].expand(4, -1, -1, -1, -1)
    assert torch.equal(network.step_logits(frames[0]), network.step_logits(static))


@pytest.mark.parametrize(("name", "arm"), [("hidden", "kd"), ("handed", "baseline"), ("synaptic", "kd")])
def test_it_learns_in_the_arms_without_initialization(name: str, arm: str, tmp_path: Path) -> None:
    fresh = build(f"own_nets:{name}", 10, (1, 8, 8), 3)
    assert train(flags(name, tmp_path / "run", "--arm", arm)) == 0
    loaded = idsnn.load_run(tmp_path / "run").student
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 <= summary["firing_rate"] <= 1
    assert set(weights(tmp_path / "run")) == set(fresh.net.state_dict())
    moved = [
        k for k, v in fresh.state_dict().items() if v.is_floating_point() and not torch.equal(v, loaded.state_dict()[k])
    ]
    assert moved


def test_it_starts_from_a_teacher_where_stages_correspond(tmp_path: Path) -> None:
    data = ["--dataset", "folder", "--data", str(photograph_folder(tmp_path / "photographs"))]
    teacher = ["--teacher-network", "vgg", "--teacher-depth", "11", "--epochs", "1", "--lr", "0.000001"]
    assert train(flags("vgg", tmp_path / "run", "--arm", "init", *data, *teacher)) == 0
    run = idsnn.load_run(tmp_path / "run")
    assert type(run.student) is own_nets.OwnVGG
    ours, theirs = (network.get_submodule("stage2.0.bn").weight for network in (run.student, run.teacher))
    torch.testing.assert_close(ours, 0.7 * theirs, rtol=0, atol=1e-4)  # scaled by its own theta


def test_a_run_of_it_goes_on_to_the_same_weights(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(1, flags("hidden", tmp_path / "run", "--arm", "baseline"), monkeypatch)
    assert train(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "run", run)  # with dropout drawn anew


def test_it_is_exported_and_the_bundle_predicts_what_it_predicts(run: Path, tmp_path: Path) -> None:
    assert export([str(run), "--out", str(tmp_path / "bundle")]) == 0
    assert export(["--diff", str(run), str(tmp_path / "bundle")]) == 0
    trained, test = idsnn.load_run(run), load_split("digits", "test")
    mean, std = (torch.tensor(trained.config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = trained.student((torch.from_numpy(test.pixels()) - mean) / std).numpy()
    got = Session(tmp_path / "bundle")(test.pixels())
    assert np.sum(np.abs(got - expected).max(1) > 1e-4) <= 2  # a spike on the threshold may fall either way


def test_it_may_lie_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_mine.py").write_text("from own_nets import hidden as factory\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = flags("hidden", tmp_path / "run", "--arm", "baseline", "--epochs", "1")
    arguments[arguments.index("own_nets:hidden")] = "nets_of_mine:factory"
    assert train(arguments) == 0


def test_names_of_the_table_are_no_import_paths() -> None:
    assert not any(map(is_import_path, ("resnet", "vgg", "a:", ":b", "a b:c", "a/b.py:c", "a..b:c", "")))
    assert all(map(is_import_path, ("a:b", "a.b.c:d", "a:b.c")))


BROKEN = {
    "broken_syntax": "def factory(:\n",
    "broken_import": "import no_such_package_at_all\n",
    "leaves": "raise SystemExit(0)\n",
    "fails": "raise RuntimeError('on purpose')\n",
}
# --network, more flags → what the line on stderr must say
BAD: dict[str, tuple[str, list[str], str]] = {
    "no name": ("own_nets:", [], "known are resnet, vgg and package.module:factory"),
    "a file": ("own_nets.py", [], "unknown"),
    "no such module": ("nowhere.nets:f", [], "nowhere.nets: no such module, neither installed nor in"),
    "no such submodule": ("own_nets.nets:f", [], "own_nets.nets: no such module"),
    "no such name": ("own_nets:hiden", [], "own_nets has no hiden; it defines Asks, Flat,"),
    "not callable": ("own_nets:number", [], "is a int, not a function that makes a network"),
    "syntax": ("broken_syntax:factory", [], "broken_syntax: cannot be imported (SyntaxError"),
    "an import of its own": ("broken_import:f", [], "(ModuleNotFoundError: No module named 'no_such_package_at_all')"),
    "leaves": ("leaves:f", [], "leaves: cannot be imported (SystemExit: 0)"),
    "fails": ("fails:f", [], "fails: cannot be imported (RuntimeError: on purpose)"),
    "other arguments": ("own_nets:no_arguments", [], "own_nets:no_arguments(10, (1, 8, 8), 3): TypeError"),
    "raises": ("own_nets:raising", [], "own_nets:raising(10, (1, 8, 8), 3): ZeroDivisionError: of the user's"),
    "nothing": ("own_nets:nothing", [], "makes a NoneType, not a torch module"),
    "no spikes": ("own_nets:ordinary", [], "Sequential: has no spiking layer of snnTorch or"),
    "a loop of its own length": ("own_nets:tutorial", ["--timesteps", "4"], "runs 3 steps where 4 are asked for; let"),
    "its length in a stage": (
        *("own_nets:tutorial", ["--stages", "1x8@2", "1x8@3"]),
        "--stages: own_nets:tutorial fails on 8x8 pixels at T 2: its forward runs 3 steps where 2 are asked for",
    ),
    "one step from rest": ("own_nets:restless", [], "forward resets lif1, but must be one step"),
    "all steps in a row": ("own_nets:flat", [], "gives [6, 10] for 3 steps of 2 images; give (T, images, classes)"),
    "a lost state": ("own_nets:forgetful", [], "takes 2 states and returns 0 after its output"),
    "other classes": ("own_nets:other_classes", [], "have shape [3, 2, 11], not [3, 2, 10]"),
    "other steps": ("own_nets:other_time", [], "its network has timesteps 4, asked for 3"),
    "noise": ("own_nets:noisy", [], "answers the same images differently"),
    "frozen": ("own_nets:frozen", [], "depend on no parameter that could learn"),
    "idle": ("own_nets:idle", [], "none of its spiking layers is ever called"),
    "no stages": ("own_nets:hidden", ["--arm", "idsnn"], "the student Hidden has none: give it `stages"),
    "a beta": ("own_nets:hidden", ["--beta", "0.5"], "--beta 0.5: own_nets:hidden has no such choice"),
    "a depth": ("own_nets:hidden", ["--depth", "18"], "--depth 18: own_nets:hidden has no such choice"),
    "a teacher of one's own": ("resnet", ["--teacher-network", "own_nets:hidden"], "known are resnet, vgg"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, more, words = BAD[case]
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = [*SHARED, "--arm", "baseline", "--network", network, "--out", str(tmp_path / "run"), *more]
    capsys.readouterr()
    assert train(arguments) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert line.startswith("idsnn-train: error: ")
    assert words in line
    assert not (tmp_path / "run").exists()


def test_a_run_whose_network_is_gone_is_refused_by_its_folder(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    config = json.loads((run / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "network": "gone:factory"}))
    (moved / "student.safetensors").write_bytes((run / "student.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"config\.json: gone: no such module"):
        idsnn.load_run(moved)


def test_one_step_of_our_own_neuron_needs_its_membrane() -> None:
    class Wrong(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = torch.nn.Linear(64, 10), idsnn.LIF()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lif(self.fc(x.flatten(1)))

    class Right(Wrong):
        def forward(self, x: torch.Tensor, mem: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            spikes, mem = self.lif(self.fc(x.flatten(1)), mem)
            return spikes, mem

    own_nets.wrong, own_nets.right = (lambda *_: Wrong()), (lambda *_: Right())
    with pytest.raises(UsageError, match=r"lif: idsnn's LIF without a membrane takes a whole sequence"):
        build("own_nets:wrong", 10, (1, 8, 8), 3)
    assert build("own_nets:right", 10, (1, 8, 8), 3)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
