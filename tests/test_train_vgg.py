"""The spiking VGG: its equations by hand, the four arms, and the way through the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import idsnn
from idsnn.cli import main as train
from idsnn.initialize import initialize_from
from idsnn.networks.protocol import SpikingNetwork
from idsnn.networks.vgg import VGG, SpikingVGG
from idsnn.neuron import lif_step
from idsnn_deploy import Session
from idsnn_deploy.datasets import load_split
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.cli import main as export

# Simonyan and Zisserman, table 1, configurations A and D.
CONVOLUTIONS = {11: [1, 1, 2, 2, 2], 16: [2, 2, 3, 3, 3]}


@pytest.mark.parametrize("depth", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_every_depth_gives_logits_of_any_image_of_16_pixels_or_more(depth: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 1, *size)
    network = SpikingVGG(depth, 7, width=2, in_channels=1, timesteps=2)
    assert isinstance(network, SpikingNetwork)
    assert network(images).shape == VGG(depth, 7, width=2, in_channels=1)(images).shape == (2, 7)
    assert [len(network.get_submodule(f"stage{i}")) for i in (1, 2, 3, 4, 5)] == CONVOLUTIONS[depth]
    assert network.fc.in_features == 16


def stepped(network: SpikingVGG, frames: torch.Tensor) -> torch.Tensor:
    """The network's logits, one frame after the other, every neuron stepped by hand with its own state."""
    states: dict[str, torch.Tensor] = {}
    logits = []
    for x in frames:
        for i in range(1, 6):
            if i > 1:
                x = nn.functional.avg_pool2d(x, 2)
            for j, layer in enumerate(network.get_submodule(f"stage{i}")):
                current = layer.bn(layer.conv(x))
                x, states[f"{i}.{j}"] = lif_step(current, states.get(f"{i}.{j}", torch.zeros_like(current)), 0.25, 0.5)
        logits.append(network.fc(x.mean((2, 3))))
    return torch.stack(logits)


@pytest.mark.parametrize("depth", CONVOLUTIONS)
def test_all_steps_at_once_are_the_steps_one_by_one(depth: int) -> None:
    torch.manual_seed(0)
    network = SpikingVGG(depth, 5, width=4).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.0, 0.4)
    network.eval()
    frames = 2 * torch.randn(6, 2, 3, 18, 16, dtype=torch.float64)
    with torch.no_grad():
        expected = stepped(network, frames)
        torch.testing.assert_close(network.step_logits(frames), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(network.forward_step(frames[0]), expected[0], rtol=0, atol=1e-12)
        static = stepped(network, frames[:1].expand(4, -1, -1, -1, -1))
        torch.testing.assert_close(network.step_logits(frames[0]), static, rtol=0, atol=1e-12)
    assert expected.std(0).max() > 0  # the steps differ, or nothing was tested


@pytest.mark.parametrize(("teacher", "student"), [(16, 11), (11, 16)])
def test_layers_correspond_within_a_stage(teacher: int, student: int) -> None:
    ann, snn = VGG(teacher, 3, width=1), SpikingVGG(student, 3, width=2)
    for i, count in enumerate(CONVOLUTIONS[teacher], start=1):
        for j in range(count):  # each layer says which one it is
            nn.init.constant_(ann.get_submodule(f"stage{i}.{j}.conv").weight, 10.0 * i + j)
    initialize_from(ann, snn, "leading")
    for i, count in enumerate(CONVOLUTIONS[student], start=1):
        for j in range(count):
            source = min(j, CONVOLUTIONS[teacher][i - 1] - 1)
            assert (snn.get_submodule(f"stage{i}.{j}.conv").weight == 10 * i + source).all()


def photograph_folder(root: Path) -> Path:
    """Two classes of 16x18 images: bright above, bright below."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        for label, name in enumerate(("above", "below")):
            (root / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 128, (16, 18, 3))
                pixels[8 * label : 8 * label + 8] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{k:02}.png")
    return root


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph_folder(tmp_path_factory.mktemp("photographs"))


def flags(data: Path, out: Path, *more: str) -> list[str]:
    shared = ["--network", "vgg", "--width", "2", "--epochs", "2", "--batch-size", "8", "--timesteps", "2"]
    return [*shared, "--dataset", "folder", "--data", str(data), "--out", str(out), *more]


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vgg") / "run"
    assert train(flags(photographs, out)) == 0
    return out


@pytest.mark.parametrize("arm", ["baseline", "init", "kd"])
def test_the_other_arms_train_too(arm: str, run: Path, photographs: Path, tmp_path: Path) -> None:
    more = ["--arm", arm, "--depth", "16", "--epochs", "1", "--teacher", str(run)]
    assert train(flags(photographs, tmp_path / arm, *more)) == 0
    config = json.loads((tmp_path / arm / "config.json").read_text())
    assert (config["network"], config["depth"], config["teacher_depth"]) == ("vgg", 16, 16)
    assert type(idsnn.load_run(tmp_path / arm).student) is SpikingVGG


def test_a_teacher_of_another_architecture_distils_and_cannot_initialize(
    run: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--teacher-network", "resnet", "--teacher-depth", "18", "--epochs", "1"]
    assert train(flags(photographs, tmp_path / "kd", "--arm", "kd", *other)) == 0
    assert type(idsnn.load_run(tmp_path / "kd").teacher) is idsnn.ResNet
    resnet = ["--network", "resnet", "--arm", "kd", "--epochs", "1", "--teacher", str(run)]
    assert train(flags(photographs, tmp_path / "back", *resnet)) == 0
    assert type(idsnn.load_run(tmp_path / "back").teacher) is VGG
    capsys.readouterr()
    assert train(flags(photographs, tmp_path / "init", "--arm", "init", *other)) == 2
    assert "stage1 has nothing to start from: the teacher's stages are conv1" in capsys.readouterr().err


BAD = {
    "a residual": (["--residual", "sew"], "--residual sew: vgg has no such choice"),
    "a stem": (["--stem", "imagenet"], "--stem imagenet: vgg has no such choice"),
    "a resnet's depth": (["--depth", "18"], "--depth 18: vgg comes with 11, 16"),
    "unknown teacher": (["--teacher-network", "x"], "--teacher-network x: unknown; known are resnet, vgg"),
    "small images": (
        ["--dataset", "digits"],
        "--network vgg: needs images of 16x16 pixels or more, got 8x8",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(
    case: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, words = BAD[case]
    assert train(flags(photographs, tmp_path / "run", *more)) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert words in line
    assert not list(tmp_path.iterdir())


def test_its_bundle_passes_both_gates_and_predicts_what_torch_predicts(
    run: Path, photographs: Path, tmp_path: Path
) -> None:
    assert export([str(run), "--out", str(tmp_path / "bundle")]) == 0
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert manifest.teacher["name"] == "VGG-16"
    assert len(manifest.neurons) == 8
    trained, test = idsnn.load_run(run), load_split("folder", "test", photographs)
    mean, std = (torch.tensor(trained.config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = trained.student((torch.from_numpy(test.pixels()) - mean) / std).numpy()
    np.testing.assert_allclose(Session(tmp_path / "bundle")(test.pixels()), expected, rtol=0, atol=1e-4)
    report = tmp_path / "report"
    arguments = [str(tmp_path / "bundle"), "--dataset", "folder", "--data", str(photographs), "--out", str(report)]
    assert evaluate(arguments) == 0
    found = json.loads((report / "report.json").read_text())
    assert found["totals"]["spikes"] > 0
