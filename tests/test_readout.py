"""A readout other than the mean: file, ONNX, runtime, evaluation and C answer as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_snntorch_loops import Net, loop

from idsnn_deploy import Session
from idsnn_deploy.errors import BundleError, GraphError
from idsnn_deploy.manifest import parse_manifest, read_bundle
from idsnn_deploy.readout import RUNNING, WHOLE, read_out, running
from idsnn_export import to_nir, write_nir
from idsnn_export.bundle import export_bundle
from idsnn_export.c_folder import export_c
from idsnn_export.config import ExportConfig
from idsnn_export.graph.metadata import metadata_of
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.reference.interpreter import trace

STEPS = 6
READ: dict[str, Any] = {
    "sum": lambda net, spk, mem: torch.stack(mem).sum(0),
    "last": lambda net, spk, mem: mem[-1],
    "max": lambda net, spk, mem: torch.stack(mem).max(0)[0],
}


def model(readout: str) -> Net:
    torch.manual_seed(3)
    return Net(loop(READ[readout])).eval()


@pytest.fixture(scope="module", params=sorted(READ))
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    write_nir(folder / "net.nir", to_nir(model(request.param), (6,)))
    return request.param, export_bundle(ExportConfig(folder / "net.nir"))[0]


def test_runtime_and_step_graph_answer_as_snntorch_does(bundle: tuple[str, Path]) -> None:
    readout, folder = bundle
    x = np.random.default_rng(0).normal(0.4, 1.5, (5, 6)).astype(np.float32)
    own = model(readout)
    own.lif1.reset_mem(), own.lif2.reset_mem()
    expected = own(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(trace(read_nir(folder / "model.nir"), x, STEPS).logits, expected, atol=1e-5)
    for variant in ("fp32", "step"):
        session = Session(folder, variant=variant)
        np.testing.assert_allclose(session(x), expected, atol=1e-5)
        np.testing.assert_allclose(session.run_until(x[:1], 1.0).logits, expected[0], atol=1e-5)
    other = {name: read_out(Session(folder).step_logits(x), name) for name in WHOLE}
    assert sorted(name for name, each in other.items() if np.allclose(each, expected, atol=1e-3)) == [readout]


def test_the_manifest_is_version_2_and_says_it(bundle: tuple[str, Path]) -> None:
    readout, folder = bundle
    manifest = read_bundle(folder).manifest
    assert (manifest.format_version, manifest.readout) == (2, readout)
    first = manifest.to_dict() | {"format_version": 1}
    from test_deploy_manifest import signed

    with pytest.raises(BundleError, match="is format version 2"):
        parse_manifest(signed(first))


def test_evaluation_reads_out_as_the_network_does(bundle: tuple[str, Path]) -> None:
    from idsnn_evaluation import evaluate

    readout, folder = bundle
    x = np.random.default_rng(1).normal(0.4, 1.5, (40, 6)).astype(np.float32)
    own = model(readout)
    own.lif1.reset_mem(), own.lif2.reset_mem()
    labels = own(torch.as_tensor(x)).argmax(1).numpy()
    report = evaluate(folder, x, labels)
    assert report.accuracy["top1"] == 1
    assert report.provenance["readout"] == f"{readout} of the logits over steps"


@pytest.mark.parametrize("readout", sorted(READ))
def test_c_reads_out_as_the_network_does(readout: str, tmp_path: Path) -> None:
    ways = {
        "sum": lambda spk: torch.stack(spk).sum(0),
        "last": lambda spk: spk[-1],
        "max": lambda spk: torch.stack(spk).amax(0),
    }
    torch.manual_seed(3)
    net = Net(loop(lambda net, spk, mem: ways[readout](spk))).eval()  # its neurons are reset by subtraction
    write_nir(tmp_path / "net.nir", to_nir(net, (6,)))
    folder, figures = export_c(ExportConfig(tmp_path / "net.nir", format="c"))
    assert (figures["samples"], figures["other_class"]) == (1000, 0)
    assert f"IDSNN_{readout.upper()}}}" in (folder / "idsnn_model.c").read_text()


def test_running_answers_end_in_the_whole_one() -> None:
    steps = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    for name in RUNNING:
        after = running(steps, name)
        for t in range(5):
            np.testing.assert_allclose(after[t], read_out(steps[: t + 1], name), rtol=1e-6)


@pytest.mark.parametrize("content", [{"readout": "max"}, {"readout": "median", "format_version": 2}])
def test_metadata_of_a_readout_without_its_version_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match=r"readout|format_version"):
        metadata_of({"timesteps": 4, **content})
    assert metadata_of({"timesteps": 4, "readout": "max", "format_version": 2}).readout == "max"
