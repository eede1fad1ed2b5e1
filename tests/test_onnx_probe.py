"""The probe's sums are those of the interpreter's spikes."""

from __future__ import annotations

from collections.abc import Iterator

import nir
import numpy as np
import pytest
from graphs import CASES, STEPS, affine, conv, graph, inputs, lif
from numpy.typing import NDArray
from onnx_runs import Arrays, run, run_reference

from idsnn_deploy.layer_table import Neurons
from idsnn_export.graph.layers import is_synaptic, layer_table
from idsnn_export.graph.plan import Plan, Step, plan
from idsnn_export.lowering import to_onnx
from idsnn_export.reference.interpreter import interpret

COUNTED = [
    "residual",
    "residual_projection",
    "sew",
    "recurrent",
    "recurrent_order",
    "two_layers",
    "nested",
    "nested_recurrent",
    "conv2d_strided_dilated",
    "conv1d",
]


def dense(network: nir.NIRGraph, zeros: bool) -> nir.NIRGraph:
    """The network with no weight at 0, or with some."""
    for node in network.nodes.values():
        if isinstance(node, nir.NIRGraph):
            dense(node, zeros)
        elif hasattr(node, "weight"):
            node.weight = np.where(node.weight == 0, np.float32(1 / 64), node.weight)
            node.weight.flat[0] *= not zeros
    return network


def layer_inputs(p: Plan, x: NDArray[np.float32], spikes: Arrays) -> Iterator[tuple[Step, NDArray[np.float32]]]:
    """(layer, its input (T, N, ...)) for layers that read nothing but the input and spikes."""
    known = {p.input: x, **spikes}
    for step in p.steps:
        if is_synaptic(step) and all(source.name in known for source in step.sources):
            parts = [np.roll(known[s.name], 1, axis=0) if s.delayed else known[s.name] for s in step.sources]
            for part, source in zip(parts, step.sources, strict=True):
                if source.delayed:
                    part[0] = 0
            yield step, np.sum(parts, axis=0)


@pytest.mark.parametrize("zeros", [False, True], ids=["dense", "with zero weights"])
@pytest.mark.parametrize("name", COUNTED)
def test_sums_are_those_of_the_interpreters_spikes(name: str, zeros: bool) -> None:
    network = dense(CASES[name].build(), zeros)
    x = inputs(network)
    _, spikes = interpret(network, x, STEPS)
    model = to_onnx(network, STEPS, static=False, kind="probe")
    for backend in (run, run_reference):
        found = backend(model, input=x)
        seen = 0
        for step, given in layer_inputs(plan(network), x, spikes):
            seen += 1
            over = 0 if zeros else (0, 2)
            np.testing.assert_array_equal(found[f"sum.{step.name}"], given.sum(over), err_msg=step.name)
            if all(source.name in spikes for source in step.sources) and len(step.sources) == 1:
                assert f"nnz.{step.name}" not in found
            else:
                np.testing.assert_array_equal(found[f"nnz.{step.name}"], (given != 0).sum(over), err_msg=step.name)
        assert seen


@pytest.mark.parametrize("name", COUNTED)
def test_spikes_are_counted_by_step_and_shown_at_the_tables_indices(name: str) -> None:
    network = CASES[name].build()
    x = inputs(network)
    _, spikes = interpret(network, x, STEPS)
    found = run(to_onnx(network, STEPS, static=False, kind="probe"), input=x)
    rasters = {entry.name: list(entry.raster) for entry in layer_table(network) if isinstance(entry, Neurons)}
    assert set(rasters) == set(spikes) == {key.removeprefix("spikes.") for key in found if key.startswith("spikes.")}
    for layer, expected in spikes.items():
        flat = expected.reshape(*expected.shape[:2], -1)  # (T, N, neurons)
        np.testing.assert_array_equal(found[f"spikes.{layer}"], flat.sum(-1).T)
        np.testing.assert_array_equal(found[f"raster.{layer}"], flat[:, :, rasters[layer]].swapaxes(0, 1))


def test_a_static_image_is_counted_at_every_step() -> None:
    network = dense(CASES["residual"].build(), zeros=False)
    image = inputs(network)[0]
    found = run(to_onnx(network, STEPS, kind="probe"), image=image)
    np.testing.assert_array_equal(found["sum.conv1"], STEPS * image.sum(1))
    np.testing.assert_array_equal(found["nnz.conv1"], STEPS * (image != 0).sum(1))


def test_normalized_pixels_are_what_the_stem_is_given() -> None:
    network = dense(CASES["residual"].build(), zeros=False)
    image = inputs(network)[0]
    found = run(to_onnx(network, STEPS, kind="probe", mean=[0.5], std=[0.5]), image=image)
    np.testing.assert_array_equal(found["sum.conv1"], STEPS * ((image - 0.5) / 0.5).sum(1))


def test_pooled_spikes_are_no_spikes() -> None:
    network = dense(CASES["residual"].build(), zeros=False)
    image = inputs(network)[0]
    found = run(to_onnx(network, STEPS, kind="probe"), image=image)
    _, spikes = interpret(network, image, STEPS)
    pooled = spikes["lif2"].mean((-2, -1))  # (T, N, C)
    np.testing.assert_allclose(found["sum.fc"], pooled.sum((0, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found["nnz.fc"], (pooled != 0).sum((0, 2)))


def test_spikes_that_a_late_edge_joins_later_are_sums_of_spikes() -> None:
    """At the first step nothing arrives along the late edge, and the sum looks like spikes."""
    nodes = {"lif1": lif(4), "fc": affine(4, 4), "lif2": lif(4, threshold=0.25)}
    edges = [("input", "lif1"), ("lif1", "fc"), ("fc", "lif2"), ("lif2", "fc"), ("lif2", "output")]
    network = dense(graph(nodes, edges, (4,), (4,)), zeros=False)
    x = inputs(network)
    _, spikes = interpret(network, x, STEPS)
    late = np.concatenate([np.zeros_like(x[:1]), spikes["lif2"][:-1]])
    given = spikes["lif1"] + late
    assert (given == 2).any()
    found = run(to_onnx(network, STEPS, static=False, kind="probe"), input=x)
    np.testing.assert_array_equal(found["sum.fc"], given.sum((0, 2)))
    np.testing.assert_array_equal(found["nnz.fc"], (given != 0).sum((0, 2)))


def test_the_probe_gives_the_models_answers() -> None:
    network = CASES["sew"].build()
    image = inputs(network)[0]
    model, probe = (run(to_onnx(network, STEPS, kind=kind), image=image) for kind in ("model", "probe"))
    for name, expected in model.items():
        np.testing.assert_array_equal(probe[name], expected)


def test_a_layer_of_many_neurons_shows_64_of_them() -> None:
    network = nir.NIRGraph.from_list(conv((1, 20, 20), 1), nir.Threshold(np.full((1, 20, 20), 0.25, np.float32)))
    (entry,) = (entry for entry in layer_table(network) if entry.kind == "threshold")
    assert len(entry.raster) == len(set(entry.raster)) == 64
    assert min(entry.raster) == 0
    assert max(entry.raster) < 400
    assert run(to_onnx(network, 2, kind="probe"), image=np.ones((3, 1, 20, 20)))[f"raster.{entry.name}"].shape == (
        3,
        2,
        64,
    )
