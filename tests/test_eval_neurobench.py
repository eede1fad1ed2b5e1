"""Our counts from the probe graph against NeuroBench 2.3's hooks on the same torch network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eval_bundles import torch_bundle

from idsnn_evaluation import Report, evaluate

torch = pytest.importorskip("torch")
pytest.importorskip("neurobench")

# Its plotting and SNN back ends warn about their own dependencies on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

T, SHAPE, CLASSES, WIDTH = 3, (2, 16, 16), 5, 4


def network(residual: str, zeros: bool = False) -> torch.nn.Module:
    """A small network in exact arithmetic: every membrane is a multiple of 2**-13 and the threshold is none.

    So no order of summation and no folding flips a spike, and equality holds on every machine.
    """
    import idsnn

    torch.manual_seed(0)
    settings = {
        "width": WIDTH,
        "in_channels": SHAPE[0],
        "timesteps": T,
        "residual": residual,
        "threshold": 0.5 + 2**-14,
    }
    model = idsnn.SpikingResNet(18, CLASSES, **settings).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 0.0
                module.weight.fill_(1.5)
                module.bias.fill_(0.25)
            elif isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(torch.round(64 * module.weight) / 64)
                if zeros:
                    module.weight *= torch.rand_like(module.weight) < 0.7
                else:
                    module.weight[module.weight == 0] = 1 / 64
    return model


def neurobench(
    model: torch.nn.Module, images: np.ndarray, batch: int, layers: tuple[str, ...] = ()
) -> dict[str, float]:
    """Effective_ACs, Effective_MACs and Dense per sample, as NeuroBench counts them; `layers` restricts it to some."""
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    wrapped, metric = TorchModel(model), SynapticOperations()
    if layers:
        chosen = [model.get_submodule(name) for name in layers]
        wrapped.connection_layers = lambda: chosen
    wrapped.register_hooks()
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch])
        with torch.no_grad():
            predictions = wrapped(x)
        found = metric(wrapped, predictions, (x, None))
        wrapped.reset_hooks()
    wrapped.cleanup_hooks()
    return found


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-8, 9, size=(count, *SHAPE)).astype(np.float32) / 4


def counted(model: torch.nn.Module, folder: Path, count: int) -> Report:
    return evaluate(
        torch_bundle(model, folder, SHAPE, T, CLASSES), images(count), np.zeros(count, dtype=int), batch_size=3
    )


def same(report: Report, found: dict[str, float]) -> None:
    assert report.totals["effective_acs"] == pytest.approx(found["Effective_ACs"], rel=1e-6)
    assert report.totals["effective_macs"] == pytest.approx(found["Effective_MACs"], rel=1e-6)
    assert report.totals["dense"] == pytest.approx(found["Dense"], rel=1e-6)


@pytest.mark.parametrize(("residual", "batch"), [("spiking", 1), ("spiking", 4), ("membrane", 4)])
def test_blocks_of_spikes_count_as_neurobench_does_at_any_batch(residual: str, batch: int, tmp_path: Path) -> None:
    model = network(residual)
    report = counted(model, tmp_path / "bundle", 4)
    assert report.totals["effective_acs"] > 0.01 * report.totals["dense"]
    same(report, neurobench(model, images(4), batch))


def test_sew_blocks_count_as_neurobench_does_sample_by_sample(tmp_path: Path) -> None:
    model = network("sew")
    report = counted(model, tmp_path / "bundle", 4)
    same(report, neurobench(model, images(4), 1))
    stem = next(layer for layer in report.layers if layer["role"] == "stem")
    assert report.totals["effective_macs"] > 2 * stem["effective_macs"]  # sums of spikes are MACs to NeuroBench
    assert report.totals["conv_acs"] > report.totals["effective_acs"]  # and accumulates to us


def test_zero_weights_are_skipped_as_neurobench_does(tmp_path: Path) -> None:
    model = network("spiking", zeros=True)
    report = counted(model, tmp_path / "bundle", 3)
    same(report, neurobench(model, images(3), 3))
    full = counted(network("spiking"), tmp_path / "full", 3)
    assert report.totals["effective_acs"] < 0.9 * full.totals["effective_acs"]


def test_the_stem_alone_counts_once_and_at_every_step(tmp_path: Path) -> None:
    model = network("spiking")
    stem = next(layer for layer in counted(model, tmp_path / "bundle", 2).layers if layer["role"] == "stem")
    once = neurobench(model, images(2), 2, layers=(stem["name"],))
    assert stem["effective_macs"] == once["Effective_MACs"]
    assert stem["dense"] == once["Dense"]
    conv = model.get_submodule(stem["name"])
    every_step = neurobench(torch.nn.Sequential(Stepped(conv)), images(2), 2)
    assert stem["effective_macs_each_step"] == every_step["Effective_MACs"]
    assert stem["dense_each_step"] == every_step["Dense"]


class Stepped(torch.nn.Module):
    """A layer that is called at every step, as in a network that loops over time."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(self.layer(x) for _ in range(T))
