"""C in a bundle: an export puts it there, the manifest guards it, and the runtime answers with it."""

from __future__ import annotations

from pathlib import Path

import graphs
import nir
import numpy as np
import pytest
from test_c import needs_compiler

from idsnn_deploy import Session
from idsnn_deploy.anytime import exit_steps, separation
from idsnn_deploy.errors import UsageError
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import read_bundle
from idsnn_deploy.readout import running
from idsnn_export import cli
from idsnn_export.c.quantize import integer_network
from idsnn_export.config import ExportConfig
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.integer import run_integer
from idsnn_export.reference.margin import run_until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O1")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two channels, normalized, 2 classes of several hundred spikes."""
    graph = graphs.chain(
        (2, 4, 4),
        (3,),
        graphs.conv((2, 4, 4), 6),
        graphs.lif(6, 4, 4),
        nir.Flatten(np.array([6, 4, 4]), start_dim=0, end_dim=-1),
        graphs.affine(96, 3),
    )
    write_metadata(graph, Metadata(6, dt=graphs.DT, mean=(0.25, 0.5), std=(0.5, 0.25)))
    path = tmp_path_factory.mktemp("c") / "net.nir"
    write_nir(path, graph)
    return path


def bundle_of(file: Path, out: Path, *more: str) -> Path:
    assert cli.main([str(file), "--out", str(out), "--graphs", "onnx", *more]) == 0
    return out


@needs_compiler
def test_an_export_with_c_answers_in_the_runtime_as_the_whole_numbers_do(file: Path, tmp_path: Path) -> None:
    bundle = bundle_of(file, tmp_path / "bundle", "--with-c")
    opened = read_bundle(bundle)
    opened.verify()
    assert opened.manifest.format_version == 1
    assert opened.manifest.c is not None
    assert sorted(opened.manifest.c.files) == sorted(each.name for each in (bundle / "c").iterdir())
    assert opened.manifest.parity["c"]["other_class"] <= 20  # of 1,000
    network = integer_network(read_nir(file), 6, mean=(0.25, 0.5), std=(0.5, 0.25), dt=graphs.DT)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 2, 4, 4))
    session = Session(opened, "c")
    x = (pixels / 255).astype(np.float32)
    np.testing.assert_array_equal(
        session(x), np.asarray(run_integer(network, pixels)[0] * network.answer_unit, np.float32)
    )
    steps = session.step_logits(x)
    np.testing.assert_allclose(steps.mean(0), session(x), rtol=1e-5, atol=1e-6)
    expected = exit_steps(separation(running(steps, "mean")), 0.6)
    decided = [session.run_until(each[None], 0.6) for each in x]
    assert [each.steps for each in decided] == expected.tolist()
    taken, answers = run_until(network, pixels, round(0.6 * 2**16))
    assert [each.steps for each in decided] == taken.tolist()
    whole = [np.float32(answer * (network.logit_unit / t)) for answer, t in zip(answers, taken, strict=True)]
    np.testing.assert_array_equal([each.logits for each in decided], whole)
    assert len(set(expected)) > 2
    assert [each.label for each in decided] == [
        running(steps, "mean")[t - 1, i].argmax() for i, t in enumerate(expected)
    ]


@needs_compiler
def test_c_comes_into_a_bundle_that_has_none_and_is_replaced_whole(file: Path, tmp_path: Path) -> None:
    bundle = bundle_of(file, tmp_path / "bundle")
    before = read_bundle(bundle).manifest
    assert before.c is None
    assert "c" not in before.to_dict()
    assert cli.main([str(bundle), "--format", "c"]) == 0
    first = read_bundle(bundle).manifest.c
    assert first is not None
    assert first.isa == "portable"
    assert cli.main([str(bundle), "--format", "c"]) == 2  # it is there
    assert cli.main([str(bundle), "--format", "c", "--isa", "avx2", "--force"]) == 0
    opened = read_bundle(bundle)
    opened.verify()
    assert opened.manifest.c is not None
    assert opened.manifest.c.isa == "avx2"
    assert set(opened.manifest.c.files) - set(first.files) == {"idsnn_avx2.h"}
    assert opened.manifest.to_dict() | {"c": None, "digest": ""} == before.to_dict() | {"c": None, "digest": ""}
    golden = read_golden(opened).images
    np.testing.assert_allclose(Session(opened, "c")(golden), Session(opened)(golden), atol=0.2)


def test_with_c_belongs_to_a_bundle(tmp_path: Path) -> None:
    for more in ({"format": "onnx"}, {"format": "c"}, {"out": tmp_path / "x.nir"}):
        with pytest.raises(UsageError, match="--with-c adds to a bundle"):
            ExportConfig(tmp_path / "net.nir", with_c=True, **more)
