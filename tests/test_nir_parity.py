"""The gates: what they let pass, what they stop, and what they say."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import nir
import numpy as np
import pytest
from graphs import CASES, STEPS, chain, full, inputs, lif

from idsnn_deploy.errors import ParityError
from idsnn_export.gates.diff import diff
from idsnn_export.gates.parity import Divergence, combined, divergences, exact_gate, float_gate
from idsnn_export.graph.equality import differences
from idsnn_export.reference.interpreter import Trace, interpret, trace


def reference(name: str = "residual") -> Trace:
    graph = CASES[name].build()
    return trace(graph, inputs(graph), STEPS)


def flipped(found: Trace, layer: str, step: int, sample: int, neuron: tuple[int, ...]) -> Trace:
    other = copy.deepcopy(found)
    other.spikes[layer][(step, sample, *neuron)] ^= True
    return other


def at_distance(found: Trace, layer: str, place: tuple[int, ...], distance: float) -> Trace:
    """The trace with one membrane put at a distance from its threshold."""
    other = copy.deepcopy(found)
    other.membranes[layer][place] = other.thresholds[layer][place[2:]] + distance
    return other


def test_equal_runs_pass_and_say_how_much_was_compared() -> None:
    found = reference()
    figures = exact_gate(found, {"file": found, "torch": found})
    assert figures["samples"] == 3
    assert figures["timesteps"] == STEPS
    assert figures["spikes"] == sum(spikes.sum() for spikes in found.spikes.values()) > 0
    assert figures["largest_difference"] == 0
    assert figures["artefacts"] == ["file", "torch"]
    assert exact_gate(found, {})["largest_difference"] == 0


def test_the_exact_gate_stops_one_flip_and_names_it() -> None:
    found = reference()
    other = flipped(found, "lif2", 3, 1, (2, 0, 1))
    other.membranes["lif2"][3, 1, 2, 0, 1] = 0.125
    with pytest.raises(ParityError) as caught:
        exact_gate(found, {"torch": other})
    text = str(caught.value)
    ours = float(found.membranes["lif2"][3, 1, 2, 0, 1])
    place = f"lif2, step 3, sample 1, neuron (2, 0, 1): membranes {ours:.9g} and 0.125, threshold 0.5"
    assert text == f"torch is not the graph, spike for spike: first difference at {place}"


def test_of_two_samples_that_differ_the_first_is_named() -> None:
    found = reference()
    other = flipped(flipped(found, "lif2", 3, 1, (2, 0, 1)), "lif1", 1, 2, (0, 0, 0))
    with pytest.raises(ParityError, match="sample 1"):
        exact_gate(found, {"torch": other})
    assert [(each.sample, each.step, each.layer) for each in divergences(found, other.spikes)] == [
        *((1, 3, "lif2"), (2, 1, "lif1"))
    ]


def test_a_flip_exactly_on_the_threshold_is_named_by_its_own_neuron() -> None:
    found = at_distance(reference(), "lif1", (1, 0, 0, 2, 2), 0.0)
    (divergence,) = divergences(found, flipped(found, "lif1", 1, 0, (0, 2, 2)).spikes)
    assert (divergence.neuron, divergence.distance, divergence.membranes[1]) == ((0, 2, 2), 0, None)


@pytest.mark.parametrize(("distance", "excused"), [(1e-5, True), (1.001e-5, False)])
def test_the_bound_itself_is_excused(distance: float, excused: bool) -> None:
    assert Divergence("lif", 0, 0, (0,), (0.5, None), 0.5, distance).excused is excused


def test_the_exact_gate_stops_outputs_that_drift() -> None:
    found = reference()
    with pytest.raises(ParityError, match="outputs differ by"):
        exact_gate(found, {"torch": dataclasses.replace(found, outputs=found.outputs + 1e-6)})
    exact_gate(found, {"torch": dataclasses.replace(found, outputs=found.outputs + 1e-11)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_pass_no_gate(bad: float) -> None:
    found = reference()
    outputs = found.outputs.copy()
    outputs[0, 0, 0] = bad
    with pytest.raises(ParityError):
        exact_gate(found, {"torch": dataclasses.replace(found, outputs=outputs)})
    with pytest.raises(ParityError):
        float_gate(found, "onnx", outputs.mean(0), found.spikes)


@pytest.mark.parametrize("distance", [0.0, 0.99e-5, -0.99e-5])
def test_a_flip_on_the_threshold_is_excused_and_its_sample_is_set_aside(distance: float) -> None:
    place = (3, 1, 2, 0, 1)
    found = at_distance(reference(), "lif2", place, distance)
    other = flipped(found, "lif2", 3, 1, place[2:])
    logits = found.logits.copy()
    logits[1] += 5
    figures = float_gate(found, "onnx", logits, other.spikes)
    assert figures["flipped_samples"] == 1
    assert figures["largest_difference"] == 0


@pytest.mark.parametrize("distance", [1.01e-5, -1.01e-5, 0.3])
def test_a_flip_away_from_the_threshold_fails(distance: float) -> None:
    place = (3, 1, 2, 0, 1)
    found = at_distance(reference(), "lif2", place, distance)
    with pytest.raises(ParityError, match=r"onnx: first difference at lif2, step 3.*not rounding"):
        float_gate(found, "onnx", found.logits, flipped(found, "lif2", 3, 1, place[2:]).spikes)


def test_what_follows_an_excused_flip_is_excused_too() -> None:
    place = (1, 0, 0, 2, 2)
    found = at_distance(reference(), "lif1", place, 0.0)
    other = flipped(flipped(found, "lif1", 1, 0, (0, 2, 2)), "lif2", 1, 0, (1, 1, 1))
    assert float_gate(found, "onnx", found.logits, other.spikes)["flipped_samples"] == 1


def test_what_comes_before_an_excused_flip_is_not() -> None:
    place = (3, 0, 0, 2, 2)
    found = at_distance(reference(), "lif1", place, 0.0)
    far = at_distance(found, "lif2", (2, 0, 1, 1, 1), 0.3)
    other = flipped(flipped(far, "lif1", 3, 0, (0, 2, 2)), "lif2", 2, 0, (1, 1, 1))
    with pytest.raises(ParityError, match="lif2, step 2"):
        float_gate(far, "onnx", far.logits, other.spikes)


def test_of_two_neurons_that_flip_at_once_the_farther_one_decides() -> None:
    near = at_distance(reference(), "lif1", (1, 0, 0, 0, 0), 0.0)
    both = at_distance(near, "lif1", (1, 0, 1, 1, 1), 0.25)
    other = flipped(flipped(both, "lif1", 1, 0, (0, 0, 0)), "lif1", 1, 0, (1, 1, 1))
    with pytest.raises(ParityError, match=r"neuron \(1, 1, 1\)"):
        float_gate(both, "onnx", both.logits, other.spikes)


@pytest.mark.parametrize("threshold", [8.0, -8.0])
def test_a_large_threshold_widens_what_is_excused(threshold: float) -> None:
    graph = chain((2,), (2,), lif(2, threshold=threshold))
    run = trace(graph, np.ones((1, 2)), 1)
    near, far = (at_distance(run, "n0", (0, 0, 1), distance) for distance in (7.9e-5, 8.1e-5))
    other = flipped(run, "n0", 0, 0, (1,))
    assert float_gate(near, "onnx", near.logits, other.spikes)["flipped_samples"] == 1
    with pytest.raises(ParityError, match="not rounding"):
        float_gate(far, "onnx", far.logits, other.spikes)


def answers(*logits: float) -> Trace:
    """One step of one sample, in a network without neurons."""
    return Trace(np.array([[logits]]), {}, {}, {})


@pytest.mark.parametrize(("largest", "unit"), [(0.5, 1.0), (1.0, 1.0), (4.0, 4.0), (-4.0, 4.0)])
def test_outputs_may_differ_so_far_and_no_farther(largest: float, unit: float) -> None:
    found = answers(0.25, largest)

    def moved(by: float) -> Trace:
        return answers(0.25 - by, largest)

    float_gate(found, "onnx", moved(0.99e-4 * unit).logits, {})
    with pytest.raises(ParityError, match=r"onnx: outputs differ by .* though every spike agrees"):
        float_gate(found, "onnx", moved(1.01e-4 * unit).logits, {})
    exact_gate(found, {"torch": moved(0.99e-9 * unit)})
    with pytest.raises(ParityError, match=r"torch: outputs differ by .* though every spike agrees"):
        exact_gate(found, {"torch": moved(1.01e-9 * unit)})
    assert diff(("a", "b"), found, moved(0.99e-4)).agree
    assert not diff(("a", "b"), found, moved(1.01e-4)).agree


def test_the_largest_difference_that_may_be_may_be() -> None:
    assert float_gate(answers(0.0, 0.5), "onnx", answers(1e-4, 0.5).logits, {})["largest_difference"] == 1e-4
    assert exact_gate(answers(0.0, 0.5), {"torch": answers(1e-9, 0.5)})["largest_difference"] == 1e-9


def test_another_class_is_another_answer_unless_the_two_are_as_good() -> None:
    found = answers(0.5, 0.5 - 1.9e-4)
    float_gate(found, "onnx", answers(0.5 - 0.99e-4, 0.5 - 0.95e-4).logits, {})
    with pytest.raises(ParityError):
        float_gate(found, "onnx", answers(0.5, 0.5001).logits, {})


@pytest.mark.parametrize("change", [lambda s: s.pop("lif2"), lambda s: s.update(lif2=s["lif2"][:-1])])
def test_spikes_that_are_missing_or_of_another_shape_fail(change: Any) -> None:
    found = reference()
    spikes = dict(found.spikes)
    change(spikes)
    with pytest.raises(ParityError, match="onnx: spikes of lif2 have shape"):
        float_gate(found, "onnx", found.logits, spikes)
    with pytest.raises(ParityError, match="torch: spikes of lif2 have shape"):
        exact_gate(found, {"torch": dataclasses.replace(found, spikes=spikes)})


def test_outputs_of_another_shape_fail() -> None:
    found = reference()
    with pytest.raises(ParityError, match="onnx: logits of shape"):
        float_gate(found, "onnx", found.logits[:, :1], found.spikes)
    with pytest.raises(ParityError, match="torch: outputs of shape"):
        exact_gate(found, {"torch": dataclasses.replace(found, outputs=found.outputs[..., :1])})


def test_where_every_sample_flipped_no_logits_are_compared() -> None:
    found = at_distance(trace(chain((2,), (2,), lif(2)), np.ones((1, 2)), 1), "n0", (0, 0, 1), 0.0)
    figures = float_gate(found, "onnx", found.logits + 5, flipped(found, "n0", 0, 0, (1,)).spikes)
    assert (figures["flipped_samples"], figures["largest_difference"]) == (1, 0)


def test_a_float32_run_of_random_weights_passes_the_float_gate() -> None:
    rng = np.random.default_rng(0)
    graph = CASES["residual"].build()
    for node in graph.nodes.values():
        if hasattr(node, "weight"):
            node.weight = rng.normal(0, 0.5, node.weight.shape).astype(np.float32)
    x = rng.random((200, 2, 4, 4))
    outputs, spikes = interpret(graph, x, 8)
    float_gate(trace(graph, x, 8), "float32", outputs.mean(0), spikes)


def test_figures_of_batches_add_up() -> None:
    found = reference()
    place = (3, 1, 2, 0, 1)
    near = at_distance(found, "lif2", place, 0.0)
    parts = [
        float_gate(found, "onnx", found.logits + 1e-6, found.spikes),
        float_gate(near, "onnx", near.logits, flipped(near, "lif2", 3, 1, place[2:]).spikes),
    ]
    total = combined([*parts, parts[1]])
    assert (total["samples"], total["timesteps"], total["flipped_samples"]) == (9, STEPS, 2)
    assert total["spikes"] == 3 * parts[0]["spikes"] > 0
    assert total["largest_difference"] == parts[0]["largest_difference"]


def test_a_graph_without_neurons_is_gated_by_its_outputs() -> None:
    graph = CASES["affine_alone"].build()
    found = trace(graph, inputs(graph), STEPS)
    assert exact_gate(found, {"file": found})["spikes"] == 0
    assert divergences(found, {}) == []


# ---- diff -----------------------------------------------------------------------------------------------------------


def test_equal_runs_agree() -> None:
    found = reference()
    result = diff(("a", "b"), found, found)
    assert result.agree
    assert "a and b: agree" in str(result)
    assert result.to_dict()["divergence"] is None


def test_a_changed_weight_is_found_in_the_file_and_in_the_spikes() -> None:
    ours, theirs = CASES["residual"].build(), CASES["residual"].build()
    theirs.nodes["conv2"].weight = theirs.nodes["conv2"].weight + np.float32(0.25)
    x = inputs(ours)
    result = diff(("a", "b"), trace(ours, x, STEPS), trace(theirs, x, STEPS), differences(ours, theirs))
    assert not result.agree
    assert result.divergence is not None
    assert result.divergence.layer == "lif2"
    assert all(value is not None for value in result.divergence.membranes)
    assert "conv2.weight" in str(result)
    assert "not rounding" in str(result)
    assert result.to_dict()["agree"] is False


def test_counts_find_the_layer_the_step_and_a_suspect() -> None:
    found = reference()
    counts = {name: spikes.reshape(*spikes.shape[:2], -1).sum(2) for name, spikes in found.spikes.items()}
    probe = Trace(found.outputs, counts, {}, {})
    assert diff(("a", "probe"), found, probe).agree
    counts["lif2"][2, 1] += 1
    result = diff(("a", "probe"), found, probe)
    assert result.divergence is not None
    assert (result.divergence.layer, result.divergence.step, result.divergence.sample) == ("lif2", 2, 1)
    distance = np.abs(found.membranes["lif2"][2, 1] - 0.5)
    assert result.divergence.distance == distance.min()


def test_outputs_alone_are_compared_where_nothing_else_is_shown() -> None:
    found = reference()
    assert diff(("a", "b"), found, Trace(found.outputs, {}, {}, {})).agree
    assert not diff(("a", "b"), found, Trace(found.outputs + 1, {}, {}, {})).agree


def test_layers_that_only_one_shows_are_named() -> None:
    graph = chain((2, 3, 3), (2, 3, 3), nir.Threshold(full((2, 3, 3), 0.5)), lif(2, 3, 3))
    other = chain((2, 3, 3), (2, 3, 3), nir.Threshold(full((2, 3, 3), 0.5)), nir.Scale(full((2, 3, 3), 1)))
    x = inputs(graph)
    result = diff(("a", "b"), trace(graph, x, STEPS), trace(other, x, STEPS), differences(graph, other))
    assert result.unmatched == ("n1",)
    assert "n1: LIF and Scale" in result.structure
