"""What stands between snnTorch's neurons: shape work, functions, pools, joined branches, scaled sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from test_nir_from_torch import lived_in
from test_snntorch_neurons import free
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError, UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_graph
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.graph.plan import Plan
from idsnn_export.reference.interpreter import trace

SHAPE, STEPS = (2, 8, 8), 5


class Net(nn.Module):
    """A convolution of spikes, what a row does with them, and neurons behind it."""

    def __init__(self, between: Callable[[Any, Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.between = between
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 3, 3)
        self.fc, self.fc2 = nn.Linear(features, 5), nn.Linear(5, 5)
        self.norm, self.scale = nn.BatchNorm2d(4), nn.Parameter(torch.tensor([0.5, 1.5, -1.0, 2.0]).reshape(4, 1, 1))
        self.pool, self.dropout = nn.MaxPool2d(3, 2, 1), nn.Dropout2d(0.4)
        self.lif1, self.lif2, self.lif3 = (free(snn.Leaky(0.7, t, init_hidden=True)) for t in (0.4, 0.4, 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.lif3(self.between(self, self.lif1(self.conv1(x))))


def joined_features(net: Any, s: Tensor) -> Tensor:
    return net.fc(torch.cat([s.flatten(1), F.avg_pool2d(s, 2).flatten(1)], dim=1))


ROWS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {  # what is done with spikes (4, 8, 8), features then
    "x.view(x.size(0), -1)": (lambda net, s: net.fc(s.view(s.size(0), -1)), 256),
    "x.view(-1, 256)": (lambda net, s: net.fc(s.view(-1, 256)), 256),
    "x.reshape(x.shape[0], -1)": (lambda net, s: net.fc(s.reshape(s.shape[0], -1)), 256),
    "x.flatten(1), torch.flatten(x, 1)": (lambda net, s: net.fc(torch.flatten(s.flatten(2), 1)), 256),
    "x.mean((2, 3))": (lambda net, s: net.fc(s.mean((2, 3))), 4),
    "x.sum(dim=[2, 3], keepdim=True).squeeze()": (lambda net, s: net.fc(s.sum(dim=[2, 3], keepdim=True).squeeze()), 4),
    "F.adaptive_avg_pool2d(x, 1)[..., 0, 0] as .squeeze(-1).squeeze(-1)": (
        lambda net, s: net.fc(F.adaptive_avg_pool2d(s, 1).squeeze(-1).squeeze(-1)), 4,
    ),
    "F.avg_pool2d(x, 2)": (lambda net, s: net.fc(F.avg_pool2d(s, 2).flatten(1)), 64),
    "F.max_pool2d(spikes, 2)": (lambda net, s: net.fc(F.max_pool2d(s, 2).flatten(1)), 64),
    "nn.MaxPool2d(3, 2, 1) behind a neuron": (lambda net, s: net.conv2(net.pool(s)), 1),
    "max pooling of max pooling": (lambda net, s: net.conv2(F.max_pool2d(net.pool(s), 2, stride=1)), 1),
    "torch.cat([a, b], 1) before a convolution": (
        lambda net, s: net.conv3(torch.cat([net.lif2(net.conv2(s)), s], dim=1)), 1,
    ),
    "torch.cat of pooled branches": (lambda net, s: net.conv3(F.avg_pool2d(torch.cat((s, s), 1), 2)), 1),
    "torch.cat of features before nn.Linear": (joined_features, 320),
    "torch.cat of maps, flattened": (lambda net, s: net.fc(torch.cat((s, s), 1).flatten(1)), 512),
    "F.linear(x, self.fc.weight, self.fc.bias)": (
        lambda net, s: F.linear(s.flatten(1), net.fc.weight, net.fc.bias), 256,
    ),
    "F.conv2d(x, self.conv.weight)": (lambda net, s: F.conv2d(s, net.conv2.weight, stride=2), 1),
    "F.dropout(x, training=self.training), nn.Dropout2d": (
        lambda net, s: net.conv2(F.dropout(net.dropout(s), 0.3, training=net.training)), 1,
    ),
    "nn.BatchNorm2d on spikes": (lambda net, s: net.conv2(net.norm(s)), 1),
    "0.5 * (a + b) - c / 4": (lambda net, s: 0.5 * (net.conv2(s) + s) - net.conv2(s) / 4, 1),
    "x + x": (lambda net, s: net.conv2(s) + net.conv2(s), 1),
    "torch.add(a, b, alpha=2), torch.sub": (
        lambda net, s: torch.sub(torch.add(net.conv2(s), s, alpha=2), s, alpha=0.5), 1,
    ),
    "x.view(x.size(0), 64, 4).sum(2), a population for each class": (
        lambda net, s: net.fc(s.flatten(1).view(s.size(0), 64, 4).sum(2)), 64,
    ),
    "x.view(x.size(0), 4, -1).mean(dim=1)": (
        lambda net, s: net.fc(s.flatten(1).view(s.size(0), 4, -1).mean(dim=1)), 64,
    ),
    "x.flatten(2).mean(-1)": (lambda net, s: net.fc(s.flatten(2).mean(-1)), 4),
    "x * self.scale": (lambda net, s: net.conv2(s) * net.scale, 1),
    "x.contiguous().float().to(device)": (lambda net, s: net.conv2(s.contiguous().float().to("cpu")), 1),
}  # fmt: skip


def built(name: str) -> tuple[nn.Module, np.ndarray]:
    between, features = ROWS[name]
    torch.manual_seed(5)
    x = np.random.default_rng(2).normal(0.2, 1.2, (3, *SHAPE)).astype(np.float32)
    return lived_in(Net(between, features), seed=1), x


def agree(model: nn.Module, x: np.ndarray, spoil: Callable[[Any], None] | None = None) -> Plan | None:
    network = prepare(model, SHAPE)
    graph = to_graph(network, SHAPE)
    if spoil is not None:
        spoil(graph)
    reference = trace(graph, x, STEPS)
    exact_gate(reference, {"torch": run_prepared(network, x, STEPS)})
    assert all(each.any() for each in reference.spikes.values())
    float_gate(reference, "snnTorch", *run_model(model, x, STEPS))
    return None


@pytest.mark.parametrize("name", ROWS)
def test_what_stands_between_neurons_is_exact(name: str) -> None:
    agree(*built(name))


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "F.max_pool2d(self.conv(x), 2)": (lambda net, s: F.max_pool2d(net.conv2(s), 2), "max_pool2d.*behind the neuron"),
    "a product of branches": (lambda net, s: net.conv2(s) * s, "a product of two branches"),
    "F.relu(x)": (lambda net, s: F.relu(net.conv2(s)), "`relu`.*spiking layer stands in its place"),
    "torch.sigmoid(x)": (lambda net, s: torch.sigmoid(net.conv2(s)), "`sigmoid`.*spiking layer"),
    "nn.Upsample, F.interpolate": (lambda net, s: F.interpolate(net.conv2(s), scale_factor=2), "enlarges a map"),
    "x + 1": (lambda net, s: net.conv2(s) + 1, "adds a constant.*into a bias"),
    "x.permute(0, 2, 3, 1)": (lambda net, s: net.conv2(s).permute(0, 2, 3, 1), "moves axes"),
    "x.view(128, -1)": (lambda net, s: net.fc(s.view(128, -1)), r"x\.size\(0\)"),
    "x.view(-1)": (lambda net, s: net.fc(s.view(-1)), r"x\.size\(0\)"),
    "x[:, :2]": (lambda net, s: net.conv2(s)[:, :2], "axis that is not time"),
    "torch.cat([a, b], 1) before a neuron": (
        lambda net, s: net.lif2(torch.cat([s, net.conv2(s)], 1)), "more than one step|joined",
    ),
    "torch.cat along the height": (lambda net, s: net.conv2(torch.cat([s, s], 2)), "another axis than the channels"),
    "x.mean(1)": (lambda net, s: net.conv2(s).mean(1), "neither time nor a whole map"),
    "x.mean(0)": (lambda net, s: net.conv2(s).mean(0), "reduces over the batch"),
    "x - x.mean()": (lambda net, s: s - s.mean(), "reduces over the batch; samples"),
    "F.dropout(x)": (lambda net, s: net.conv2(F.dropout(s)), "training=self.training"),
    "weights on x.view(x.size(0), 64, 4)": (
        lambda net, s: F.linear(s.flatten(1).view(s.size(0), 64, 4), torch.eye(4)), "groups; give it what layers give",
    ),
    "torch.where, masks": (lambda net, s: torch.where(s, net.conv2(s), s), "`where` at .* has no NIR form"),
    "another device's random numbers": (lambda net, s: net.conv2(s) + torch.rand_like(s), "noise"),
    "nn.MaxPool2d(2, ceil_mode=True)": (lambda net, s: net.conv2(F.max_pool2d(s, 3, ceil_mode=True)), "ceil_mode"),
    "nn.MaxPool2d(2, dilation=2)": (lambda net, s: net.conv2(F.max_pool2d(s, 2, dilation=2)), "dilation"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_with_its_line_and_the_way_out(name: str) -> None:
    between, says = REFUSED[name]
    with pytest.raises(UnsupportedError, match=says) as caught:
        prepare(Net(between, 256).eval(), SHAPE)
    assert "test_snntorch_layers.py:" in str(caught.value)


def test_a_maximum_is_not_a_sum() -> None:
    """OR taken for the number of spikes fails the same gates."""

    def spoil(graph: Any) -> None:
        graph.nodes["pool"].threshold = graph.nodes["pool"].threshold + 1

    with pytest.raises(ParityError):
        agree(*built("nn.MaxPool2d(3, 2, 1) behind a neuron"), spoil)


def test_what_is_joined_is_not_swapped() -> None:
    def spoil(graph: Any) -> None:
        one, two = graph.nodes["conv3"], graph.nodes["conv3_1"]
        one.weight, two.weight = two.weight, one.weight

    with pytest.raises(ParityError):
        agree(*built("torch.cat([a, b], 1) before a convolution"), spoil)


def test_a_population_is_not_its_neighbours() -> None:
    def spoil(graph: Any) -> None:
        graph.nodes["votes"].weight = graph.nodes["votes"].weight[:, ::-1].copy()

    with pytest.raises(ParityError):
        agree(*built("x.view(x.size(0), 64, 4).sum(2), a population for each class"), spoil)


def test_functions_and_modules_are_the_same_layers() -> None:
    names = [set(to_graph(prepare(built(name)[0], SHAPE), SHAPE).nodes) for name in list(ROWS)[:4]]
    assert all({"conv1", "lif1", "fc", "lif3"} <= each for each in names)
