"""The layer table says what a graph computes."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest
from graphs import CASES, DT, STEPS, affine, chain, conv, full, graph, inputs, lif

from idsnn_deploy.errors import GraphError
from idsnn_deploy.json_types import read, write
from idsnn_deploy.layer_table import Layer, LayerTable
from idsnn_export.graph.layers import ENTRIES, POOLS, layer_table
from idsnn_export.graph.plan import plan
from idsnn_export.graph.soft_reset import SoftReset
from idsnn_export.reference.equations import CELLS
from idsnn_export.reference.interpreter import interpret

WINDOW = (np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))


def entries(network: nir.NIRGraph, dt: float | None = None) -> dict[str, Layer]:
    return {entry.name: entry for entry in layer_table(network, dt)}


@pytest.mark.parametrize("name", CASES)
def test_every_layer_is_there_in_order_and_plain_json(name: str) -> None:
    network = CASES[name].build()
    table = layer_table(network)
    assert read(LayerTable, json.loads(json.dumps(write(table))), "layers") == table
    p = plan(network)
    layers = [step.name for step in p.steps if hasattr(step.node, "weight") or step.name in p.neurons]
    assert [entry.name for entry in table] == layers
    known = {"input", *layers}
    assert all(entry.sources and set(entry.sources) <= known for entry in table)


def test_a_residual_block_is_described() -> None:
    table = entries(CASES["residual"].build())
    assert {name: entry.sources for name, entry in table.items()} == {
        "conv1": ("input",),
        "lif1": ("conv1",),
        "conv2": ("lif1",),
        "lif2": ("lif1", "conv2"),
        "fc": ("lif2",),
    }
    (pool,) = table["fc"].pools
    assert (pool.name, pool.kind, pool.kernel, pool.stride) == ("pool", "avg", (4, 4), (4, 4))
    assert (pool.padding, pool.in_shape, pool.out_shape) == (((0, 0), (0, 0)), (3, 4, 4), (3, 1, 1))
    conv1 = table["conv1"]
    assert (conv1.kind, conv1.weight_shape, conv1.groups) == ("conv2d", (3, 2, 3, 3), 1)
    assert (conv1.stride, conv1.padding, conv1.dilation) == ((1, 1), ((1, 1), (1, 1)), (1, 1))
    assert (conv1.in_shape, conv1.out_shape, conv1.bias) == ((2, 4, 4), (3, 4, 4), True)
    assert table["conv2"].pools == ()


def test_uneven_padding_is_told_apart() -> None:
    (entry,) = layer_table(CASES["conv2d_same"].build())
    assert entry.padding == ((0, 1), (1, 2))


def test_a_linear_layer_has_no_window_and_may_have_no_bias() -> None:
    (entry,) = layer_table(CASES["linear_alone"].build())
    assert (entry.kind, entry.stride, entry.padding, entry.dilation) == ("linear", (), (), ())
    assert (entry.bias, entry.weight_shape, entry.in_shape) == (False, (4, 6), (6,))


def test_a_source_is_seen_through_a_recurrent_edge() -> None:
    table = entries(CASES["recurrent"].build())
    assert table["lif"].sources == ("fc", "rec")
    assert table["rec"].sources == ("lif",)


def test_pools_before_a_neuron_are_its_own() -> None:
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    table = entries(chain((2, 4, 4), (3, 2, 2), conv((2, 4, 4), 3), pool, lif(3, 2, 2)))
    assert [each.name for each in table["n2"].pools] == ["n1"]


@pytest.mark.parametrize(("kind", "name"), [(nir.AvgPool2d, "avg"), (nir.SumPool2d, "sum")])
def test_every_pool_is_said_with_its_kind(kind: type[nir.NIRNode], name: str) -> None:
    pool = kind(np.array([2, 2]), np.array([1, 2]), np.array([0, 1]))
    table = entries(chain((2, 4, 4), (3, 3, 3), conv((2, 4, 4), 3), pool, lif(3, 3, 3)))
    assert write(table["n2"].pools) == [
        {
            "name": "n1",
            "kind": name,
            "kernel": [2, 2],
            "stride": [1, 2],
            "padding": [[0, 0], [1, 1]],
            "in_shape": [3, 4, 4],
            "out_shape": [3, 3, 3],
        }
    ]


def test_a_max_pool_of_spikes_is_a_pool_and_no_layer_of_neurons() -> None:
    network = CASES["max_pool_of_spikes"].build()
    table = entries(network)
    assert list(table) == ["conv", "lif", "conv2", "lif2"]
    assert table["conv2"].sources == ("lif",)
    (pool,) = table["conv2"].pools
    assert (pool.name, pool.kind, pool.kernel) == ("sum", "max", (3, 3))
    assert (pool.in_shape, pool.out_shape) == ((3, 5, 5), (3, 3, 3))
    assert (pool.divisor, pool.adds) == (1, 8 * 27)  # a spike stays one; an OR of nine has eight
    assert list(interpret(network, inputs(network), STEPS)[1]) == ["lif", "lif2"]


NEURONS: dict[str, tuple[nir.NIRNode, ...]] = {
    "more than one spike is needed": (lif(2, 4, 4), nir.SumPool2d(*WINDOW), nir.Threshold(full((2, 2, 2), 1.5))),
    "a window without a spike is enough": (lif(2, 4, 4), nir.SumPool2d(*WINDOW), nir.Threshold(full((2, 2, 2), -0.5))),
    "of means": (lif(2, 4, 4), nir.AvgPool2d(*WINDOW), nir.Threshold(full((2, 2, 2), 0.5))),
    "of values": (conv((2, 4, 4), 2), nir.SumPool2d(*WINDOW), nir.Threshold(full((2, 2, 2), 0.5))),
    "of one input each": (conv((2, 4, 4), 2), nir.Threshold(full((2, 4, 4), 0.5))),
}


@pytest.mark.parametrize("name", NEURONS)
def test_any_other_threshold_is_a_layer_of_neurons(name: str) -> None:
    nodes = NEURONS[name]
    out = (2, *nodes[-1].threshold.shape[1:])
    table = entries(chain((2, 4, 4), out, *nodes))
    assert table[f"n{len(nodes) - 1}"].kind == "threshold"


@pytest.mark.parametrize("groups", [1, 2])
def test_absent_synapses_are_counted_by_input_channel(groups: int) -> None:
    node = conv((4, 3, 3), 6, groups=groups)
    node.weight[:] = 1
    node.weight[0, 0, 1, 2] = node.weight[5, 0, 0, 0] = 0
    (entry,) = layer_table(chain((4, 3, 3), (6, 3, 3), node))
    assert entry.zero_weights == 2
    expected = np.full((4, 3, 3), 6 // groups)
    expected[0, 1, 2] -= 1
    expected[2 if groups == 2 else 0, 0, 0] -= 1
    assert entry.nonzero == expected.tolist()


def test_a_layer_without_absent_synapses_says_nothing_of_them() -> None:
    node = affine(3, 2)
    node.weight[:] = 1
    (entry,) = layer_table(chain((3,), (2,), node))
    assert entry.zero_weights == 0
    assert "nonzero" not in write(entry)


SPIKING = {
    "leaky_integrate_and_fire": nir.LIF,
    "integrate_and_fire": nir.IF,
    "threshold_alone": nir.Threshold,
}


@pytest.mark.parametrize("name", SPIKING)
def test_beta_and_theta_are_those_of_the_training_equation(name: str) -> None:
    network = CASES[name].build()
    for node in network.nodes.values():  # the training equation knows no leak and rests at zero
        for field in ("v_leak", "v_reset"):
            if hasattr(node, field):
                setattr(node, field, 0 * getattr(node, field))
    (entry,) = layer_table(network)
    x = inputs(network)
    v, s = np.zeros_like(x[0]), np.zeros_like(x[0])
    for frame, expected in zip(x, interpret(network, x, STEPS)[0], strict=True):
        v = entry.beta * v * (1 - s) + frame
        s = (v > entry.theta).astype(np.float32)
        np.testing.assert_array_equal(s, expected)
    assert entry.kind == SPIKING[name].__name__.lower()


def test_our_own_form_reads_as_it_was_trained() -> None:
    beta, theta = 0.25, 0.5
    node = nir.LIF(
        tau=full((2, 2, 2), DT / (1 - beta)),
        r=full((2, 2, 2), 1),
        v_leak=full((2, 2, 2), 0),
        v_threshold=full((2, 2, 2), (1 - beta) * theta),
    )
    (entry,) = layer_table(chain((2, 2, 2), (2, 2, 2), node))
    assert (entry.beta, entry.theta) == (beta, theta)


def test_constants_that_differ_by_channel_are_a_list() -> None:
    (entry,) = layer_table(CASES["lif_per_channel"].build())
    assert entry.beta == [0.5, 0.75]
    assert entry.theta == [0.5, 3.0]


def test_constants_that_differ_within_a_channel_are_said_by_their_range() -> None:
    node = lif(2, 3, 3)
    node.v_threshold = np.arange(1, 19, dtype=np.float32).reshape(2, 3, 3)
    node.r = full((2, 3, 3), 2)
    (entry,) = layer_table(chain((2, 3, 3), (2, 3, 3), node))
    assert (entry.theta, entry.theta_range) == (None, (1, 18))  # theta = v_threshold / ((1 - beta) r), beta 1/2
    assert (entry.beta, entry.beta_range) == (0.5, None)
    assert {"theta", "beta_range"}.isdisjoint(write(entry))


def test_a_neuron_that_nothing_drives_has_no_theta_and_leaves_the_range_to_the_others() -> None:
    node = lif(2, 3, 3)
    node.r = np.ones((2, 3, 3), np.float32)
    node.r[0] = 0
    (entry,) = layer_table(chain((2, 3, 3), (2, 3, 3), node))
    assert entry.theta is None
    assert entry.theta_range == (2 * float(node.v_threshold.flat[-1]),) * 2
    node.r[:] = 0
    (entry,) = layer_table(chain((2, 3, 3), (2, 3, 3), node))
    assert (entry.theta, entry.theta_range) == (None, None)


def test_dt_is_the_arguments_before_the_graphs() -> None:
    (entry,) = layer_table(CASES["leaky_integrate_and_fire"].build(), dt=DT / 2)
    assert entry.beta == 0.75


def test_every_node_type_is_an_entry_or_looked_through() -> None:
    layers = {nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d, nir.Threshold, nir.IF, nir.LIF, nir.CubaLIF}
    pools = {nir.AvgPool2d, nir.SumPool2d}
    looked_through = {nir.Input, nir.Output, nir.Scale, nir.Flatten, nir.Delay, nir.I, nir.LI, nir.CubaLI}
    assert (set(ENTRIES), set(POOLS)) == ({*layers, SoftReset}, pools)
    assert set(CELLS) == layers | pools | looked_through


def test_a_broken_graph_is_refused() -> None:
    with pytest.raises(GraphError):
        layer_table(graph({"fc": affine(2, 2)}, [("input", "fc")], (2,), (2,)))
