"""Simulators that we did not write run our files and give our spikes and logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from consumers import CONSUMERS
from torch import nn

import idsnn
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.interpreter import Trace, trace

T = 6


@pytest.fixture(scope="module", params=["spiking", "sew", "membrane", "spiking, learned"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Trace]:
    """A ResNet-18 in a file, frames for it, and what the interpreter makes of them in float64."""
    torch.manual_seed(0)
    residual, _, learned = request.param.partition(", ")
    options = {"learn_beta": bool(learned), "learn_threshold": bool(learned)}
    model = idsnn.SpikingResNet(18, 10, width=4, residual=residual, **options)
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
        if hasattr(module, "raw_beta"):
            module.raw_beta.data.normal_(0, 0.5)
            module.raw_threshold.data.normal_(0, 0.5)
    graph = to_nir(model.eval(), (3, 16, 16))
    path = tmp_path_factory.mktemp("exported") / "model.nir"
    write_nir(path, graph)
    image = np.random.default_rng(0).random((4, 3, 16, 16))
    reference = trace(graph, image, T)
    assert all(0 < spikes.mean() < 1 for name, spikes in reference.spikes.items() if name.startswith("layer1"))
    return path, np.broadcast_to(image, (T, *image.shape)), reference


def test_spikingjelly_gives_our_spikes_and_outputs_in_float64(exported: tuple[Path, Any, Trace]) -> None:
    path, frames, reference = exported
    outputs, spikes = CONSUMERS["SpikingJelly"].run(path, frames)
    figures = exact_gate(reference, {"SpikingJelly": Trace(outputs, spikes, {}, {})})
    assert figures["spikes"] > 1000


def test_snntorch_gives_our_spikes_and_logits_in_float32(exported: tuple[Path, Any, Trace]) -> None:
    path, frames, reference = exported
    outputs, spikes = CONSUMERS["snnTorch"].run(path, frames)
    figures = float_gate(reference, "snnTorch", outputs.mean(0), spikes)
    assert figures["flipped_samples"] == 0


def test_the_generated_page_names_every_simulator_and_says_that_the_two_run() -> None:
    page = (Path(__file__).parent.parent / "docs" / "nir_consumers.md").read_text()
    assert all(name in page for name in CONSUMERS)
    for network in ("Spiking ResNet-18", "SEW ResNet-18"):
        assert f"| {network} | runs | runs |" in page
