"""Heads beside the network's own: what they hear, whom they teach, and that nothing of them stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from older_runs import unfinished_without
from students import equal, weights

from idsnn.cli import main as train
from idsnn.networks.resnet import SpikingResNet
from idsnn.networks.vgg import SpikingVGG
from idsnn.side_heads import beside, listening

TINY = ["--width", "2", "--limit-train", "64", "--limit-test", "20", "--batch-size", "32", "--timesteps", "2"]
TINY += ["--teacher-depth", "18", "--teacher-epochs", "1", "--epochs", "1"]


def resnet(residual: str = "spiking") -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(18, 5, width=4, timesteps=3, residual=residual)


@pytest.mark.parametrize("residual", ["spiking", "sew", "membrane"])
def test_every_stage_but_the_last_has_a_head_that_sees_a_map_of_four_by_four(residual: str) -> None:
    network, images = resnet(residual), torch.randn(2, 3, 16, 16)
    heads = beside(network, images, seed=0)
    assert network.training
    assert [head.in_features for head in heads.heads] == [4 * 16, 8 * 16, 16 * 16]
    with listening(network.eval()) as heard:
        network(images)
    x = torch.cat([network.currents(images)] * 3)
    x = network.layer1(x if residual == "membrane" else network.lif1(x))
    torch.testing.assert_close(heard["layer1"], [x])
    # 16 x 16 pixels as 4 x 4: each of them is the mean of 16.
    pooled = torch.stack(
        [x[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean((2, 3)) for i in range(4) for j in range(4)], 2
    )
    expected = pooled.flatten(1) @ heads.heads[0].weight.T + heads.heads[0].bias
    torch.testing.assert_close(heads(heard)[0], expected)
    with listening(network) as heard:
        pass
    network(images)
    assert heard == {}  # nobody listens outside


def test_a_network_that_answers_step_by_step_is_heard_in_the_same_order() -> None:
    network, images = resnet().eval(), torch.randn(3, 2, 3, 16, 16)
    network.timesteps = 1
    for neuron in network.neurons().values():
        neuron.beta.zero_()  # without memory steps may be run one by one
    with listening(network) as whole:
        network.step_logits(images)
    with listening(network) as parts:
        for frame in images:
            network.step_logits(frame)
    assert [len(found) for found in parts.values()] == [3, 3, 3]
    heads = beside(network, images, seed=0)
    for one, other in zip(heads(whole), heads(parts), strict=True):
        torch.testing.assert_close(one, other)


def test_a_vgg_is_heard_from_its_second_stage_on_for_the_first_is_its_stem() -> None:
    network, images = SpikingVGG(11, 5, width=4, timesteps=2), torch.randn(2, 3, 32, 32)
    assert [head.in_features for head in beside(network, images, seed=0).heads] == [8 * 16, 16 * 16, 32 * 16]


def test_a_head_teaches_the_layers_before_it_and_no_other() -> None:
    network, images = resnet("membrane"), torch.randn(4, 3, 16, 16)
    heads = beside(network, images, seed=0)
    with listening(network) as heard:
        network(images)
    heads(heard)[1].square().sum().backward()
    moved = {name.split(".")[0] for name, each in network.named_parameters() if each.grad is not None}
    assert moved == {"conv1", "bn1", "layer1", "layer2"}
    assert [head.weight.grad is not None for head in heads.heads] == [False, True, False]


def test_their_start_follows_from_the_seed_and_draws_nothing_from_others() -> None:
    network, images = resnet(), torch.randn(2, 3, 16, 16)
    torch.manual_seed(5)
    first, drawn = beside(network, images, seed=1), torch.rand(3)
    torch.manual_seed(5)
    torch.testing.assert_close(torch.rand(3), drawn)
    again, other = beside(network, images, seed=1), beside(network, images, seed=2)
    assert equal(first.state_dict(), again.state_dict())
    assert not equal(first.state_dict(), other.state_dict())


@pytest.mark.parametrize("arm", ["kd", "baseline"])
def test_nothing_of_them_stays_and_the_student_is_another(arm: str, tmp_path: Path) -> None:
    for name, weight in (("with", "0.5"), ("without", "0")):
        assert train([*TINY, "--arm", arm, "--side-heads", weight, "--out", str(tmp_path / name)]) == 0
    ours, plain = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert ours.keys() == plain.keys()
    assert not equal(ours, plain)


def test_the_loss_has_their_losses_times_the_weight(tmp_path: Path) -> None:
    """One step without momentum moves everything by a number that is linear in the weight."""
    flags = ["--limit-train", "32", "--arm", "baseline", "--weight-decay", "0", "--momentum", "0", "--lr", "0.5"]
    state = {}
    for weight in (0.0, 0.25, 0.5):
        out = tmp_path / str(weight)
        assert train([*TINY, *flags, "--schedule", "constant", "--side-heads", str(weight), "--out", str(out)]) == 0
        state[weight] = torch.load(out / "last.ckpt", weights_only=True)
    for name in ("conv1.weight", "layer1.0.conv2.weight", "layer3.1.bn2.bias"):
        none, one, two = (state[weight]["model"][name] for weight in (0.0, 0.25, 0.5))
        assert (one - none).abs().max() > 1e-5
        torch.testing.assert_close(two - none, 2 * (one - none), rtol=1e-3, atol=1e-6)
    for name in ("layer4.1.conv2.weight", "fc.weight"):  # behind every side head
        torch.testing.assert_close(state[0.5]["model"][name], state[0.0]["model"][name], rtol=0, atol=1e-7)
    assert state[0.0]["side"] is None
    assert state[0.5]["side"].keys() == {f"heads.{i}.{name}" for i in range(3) for name in ("weight", "bias")}


def test_a_checkpoint_without_its_heads_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train([*TINY, "--arm", "baseline", "--out", str(out)]) == 0
    unfinished_without("side", out, side_heads=0.5, epochs=2)
    capsys.readouterr()
    assert train(["--resume", "--out", str(out)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.endswith("last.ckpt: has no heads for --side-heads; start again with --force")


def test_a_network_without_stages_of_maps_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--network", "own_nets:hidden", "--arm", "kd", "--side-heads", "0.5"]
    assert train([*TINY, *flags, "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()  # before a teacher is trained for nothing
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--side-heads: " in line
    assert "has no two `stages` of blocks that give maps (N, C, H, W); leave it out" in line
