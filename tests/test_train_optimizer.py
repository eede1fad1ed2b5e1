"""Muon: its steps against torch's own, a singular value decomposition and arithmetic by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from interrupted import stop_after
from students import equal, weights
from torch import nn

from idsnn.cli import main as train
from idsnn.config import TrainConfig
from idsnn.networks.resnet import SpikingResNet
from idsnn.optimizer import Muon, hidden, optimizer, orthogonal
from idsnn.side_heads import beside

TINY = ["--width", "2", "--limit-train", "64", "--limit-test", "20", "--batch-size", "32", "--timesteps", "2"]
TINY += ["--teacher-depth", "18", "--teacher-epochs", "1", "--epochs", "2", "--optimizer", "muon"]


@pytest.mark.parametrize("shape", [(16, 144), (64, 32), (32, 64), (1, 9), (9, 1), (20, 20)])
def test_a_step_points_where_the_singular_vectors_do_and_every_singular_value_is_near_one(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    matrix = left @ torch.diag(values.clamp_min(0.05 * float(values[0]))) @ right
    found = left.T @ orthogonal(matrix) @ right.T
    assert float(found.diagonal().min()) > 0.67
    assert float(found.diagonal().max()) < 1.21
    assert float((found - torch.diag(found.diagonal())).abs().max()) < 1e-9
    for factor in (1e6, 1e-6):  # the length of a gradient says nothing
        torch.testing.assert_close(orthogonal(factor * matrix), orthogonal(matrix))


def test_a_step_is_the_iteration_written_out_in_float64() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(24, 216) * torch.logspace(0, -3, 24)[:, None]
    near = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = near @ near.T
        near = 3.4445 * near - 4.7750 * gram @ near + 2.0315 * gram @ gram @ near
    torch.testing.assert_close(orthogonal(matrix), near.float(), atol=3e-4, rtol=0)
    torch.testing.assert_close(orthogonal(matrix.T), near.T.float(), atol=3e-4, rtol=0)


def test_no_gradient_is_no_step_and_not_nan() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_matrices_move_as_in_the_muon_of_torch(nesterov: bool, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(each) for each in torch.randn(shape).expand(2, *shape).clone())
    groups = [{"params": [ours], "weight_decay": 0.3, "matrices": True}]
    muon = Muon(groups, lr=0.1, momentum=0.7, nesterov=nesterov)
    peer = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.3, momentum=0.7, nesterov=nesterov)
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        muon.step()
        peer.step()
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)  # torch multiplies in bfloat16


@pytest.mark.parametrize("nesterov", [True, False])
def test_all_else_moves_as_in_the_sgd_of_torch(nesterov: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(each) for each in torch.randn(7).expand(2, 7).clone())
    muon = Muon([{"params": [ours], "weight_decay": 0.0}], lr=0.1, momentum=0.7, nesterov=nesterov)
    peer = torch.optim.SGD([theirs], lr=0.1, momentum=0.7, nesterov=nesterov)
    for _ in range(4):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        muon.step()
        peer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_convolution_is_a_matrix_with_a_row_for_each_output_however_it_lies_in_memory() -> None:
    torch.manual_seed(0)
    start, gradient, moved = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3), []
    for layout in (torch.contiguous_format, torch.channels_last):
        weights = nn.Parameter(start.clone(memory_format=layout))
        weights.grad = gradient.clone(memory_format=layout)
        muon = Muon([{"params": [weights], "weight_decay": 0.0, "matrices": True}], 1.0, 0.9, False)
        muon.step()
        assert weights.is_contiguous(memory_format=layout)
        moved.append((start - weights.detach()).flatten(1))
    torch.testing.assert_close(moved[0], moved[1])
    torch.testing.assert_close(moved[0], orthogonal(gradient.flatten(1)))


def test_the_first_and_the_last_layer_and_the_heads_beside_move_as_in_sgd() -> None:
    torch.manual_seed(0)
    network = SpikingResNet(18, 5, width=4, timesteps=2, learn_beta=True)
    side = beside(network, torch.randn(2, 3, 16, 16), seed=0)
    found = optimizer(network, side, TrainConfig(optimizer="muon", weight_decay=0.02))
    inner = next(group for group in found.param_groups if group["matrices"])
    names = {id(each): name for name, each in network.named_parameters()}
    assert len(inner["params"]) == 16 + 3  # two convolutions in each of eight blocks, three projections
    assert all("conv" in names[id(each)] or "downsample" in names[id(each)] for each in inner["params"])
    assert not {"conv1.weight", "fc.weight"} & {names[id(each)] for each in inner["params"]}
    assert [group["weight_decay"] for group in found.param_groups if not group["matrices"]] == [0.0, 0.0]
    assert inner["weight_decay"] == 0.02
    counted = sum(len(group["params"]) for group in found.param_groups)
    assert counted == len(list(network.parameters())) + len(list(side.parameters()))


def test_sgd_is_torchs_and_every_weight_decays_but_learned_betas() -> None:
    network = SpikingResNet(18, 5, width=4, timesteps=2, learn_beta=True)
    found = optimizer(network, None, TrainConfig(weight_decay=0.5))
    assert type(found) is torch.optim.SGD
    assert [(len(group["params"]), group["weight_decay"]) for group in found.param_groups] == [(62, 0.5), (17, 0.0)]


def test_a_run_that_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train([*TINY, "--out", str(whole)]) == 0
    stop_after(1 + 1, [*TINY, "--out", str(parts)], monkeypatch)
    assert train(["--resume", "--out", str(parts)]) == 0
    assert equal(weights(whole), weights(parts))


def test_hidden_layers_are_layers_a_tied_one_counts_once_and_other_arrays_are_none() -> None:
    network = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv3d(1, 1, 3), nn.Linear(4, 2))
    network[2].weight = network[1].weight
    network.register_parameter("where", nn.Parameter(torch.zeros(3, 4)))
    assert [id(each) for each in hidden(network)] == [id(network[1].weight), id(network[3].weight)]


def test_hidden_layers_of_one_matrix_or_two_are_none() -> None:
    assert hidden(nn.Linear(3, 2)) == hidden(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))) == []
