"""Files that other frameworks wrote, compiled to ONNX and held to the interpreter by the float32 gate."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx_runs import run, stepped

from idsnn_export.gates.parity import float_gate
from idsnn_export.graph.plan import plan
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.reference.interpreter import trace

OTHERS = os.environ.get("IDSNN_TEST_DATA")
TIMESTEPS = 20
pytestmark = pytest.mark.skipif(not OTHERS, reason="IDSNN_TEST_DATA names no folder with nir/*.nir of other frameworks")


@pytest.mark.parametrize(("file", "dt"), [("lif_norse.nir", 1e-4), ("braille_recurrent.nir", 1e-4)])
def test_a_foreign_file_becomes_onnx(file: str, dt: float) -> None:
    graph = read_nir(Path(OTHERS or "") / "nir" / file)
    p = plan(graph)
    rng = np.random.default_rng(0)
    frames = (rng.random((TIMESTEPS, 8, *p[p.input].shape)) < 0.3).astype(np.float32)
    reference = trace(graph, frames, TIMESTEPS, dt=dt)
    assert any(spikes.any() for spikes in reference.spikes.values())
    found = run(to_onnx(graph, TIMESTEPS, dt=dt, static=False, kind="trace"), input=frames)
    spikes = {name: found[f"spikes.{name}"] for name in p.neurons}
    assert float_gate(reference, "onnx", found["logits"], spikes)
    step = to_onnx(graph, TIMESTEPS, dt=dt, static=False, kind="step")
    np.testing.assert_allclose(stepped(step, "input", frames), found["step_logits"], atol=1e-5)
