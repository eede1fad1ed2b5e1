"""8-bit layers against their equations in float64: biases survive whatever stands beside them, nothing overflows."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import nir
import numpy as np
import pytest
from graphs import DT, chain, full
from numpy.typing import NDArray
from onnx_runs import run

from idsnn_export.graph.plan import plan
from idsnn_export.lowering import calibrate, integer_weights, to_onnx
from idsnn_export.lowering.int8 import Range, integer_layers
from idsnn_export.reference.interpreter import interpret

Array = NDArray[Any]
STEPS = 4


def neuron(size: int, theta: float = 0.5) -> nir.LIF:
    """v[t] = v[t-1] / 2 (1 - s[t-1]) + I[t], s = v > theta."""
    return nir.LIF(full((size,), 2 * DT), full((size,), 2), full((size,), 0), full((size,), theta), full((size,), 0))


def network(*layers: tuple[Array, Array], theta: float = 0.5) -> nir.NIRGraph:
    """Spikes of the input through layers (weights, bias), each with its neurons."""
    inputs = layers[0][0].shape[1]
    nodes: list[nir.NIRNode] = [nir.Threshold(full((inputs,), 0.5))]
    for w, b in layers:
        nodes += [nir.Affine(w.astype(np.float32), b.astype(np.float32)), neuron(len(w), theta)]
    return chain((inputs,), (len(layers[-1][0]),), *nodes)


def spikes(graph: nir.NIRGraph, frames: Array, int8: Any = None) -> list[Array]:
    """(T, N, K) of every layer but the first."""
    found = run(to_onnx(graph, STEPS, kind="trace", static=False, int8=int8), input=frames)
    return [found[name] for name in sorted(found) if name.startswith("spikes.")][1:]


def random_frames(seed: int, inputs: int, batch: int = 8) -> Array:
    return np.random.default_rng(seed).integers(0, 2, (STEPS, batch, inputs)).astype(np.float32)


# ---- the equations, in float64 --------------------------------------------------------------------------------------


def current(x: Array, w: Array, b: Array, reach: Range) -> tuple[Array, Array]:
    """The currents of an 8-bit layer, and how far each is from a tie of rounding, in steps."""
    w, b = w.astype(np.float64), b.astype(np.float64)
    y = float(np.float32((reach.high - reach.low) / 255))
    zero = round(-reach.low / y)
    scale = np.maximum(np.maximum(abs(w).max(1) / 127, abs(b) / 2**22), np.maximum(y / 2**30, 2.0**-126))
    scale = scale.astype(np.float32).astype(np.float64)
    inside = np.where(scale > y, 0, np.rint(b / scale))
    exact = (x @ np.clip(np.rint(w / scale[:, None]), -127, 127).T + inside) * (scale / y)
    units = np.clip(np.rint(exact) + zero, 0, 255) - zero
    ties = np.where(np.abs(exact) > 300, 1, np.abs(np.abs(exact % 1) - 0.5))
    return y * units + np.where(scale > y, b, 0), ties


def expected(frames: Array, layers: list[tuple[Array, Array]], reach: Range, theta: float) -> tuple[list[Array], Array]:
    """Spikes by layer, and the samples in which rounding or a threshold is too close to call in float32."""
    x, found, close = frames.astype(np.float64), [], np.zeros(frames.shape[1], bool)
    for w, b in layers:
        currents, ties = current(x, w, b, reach)
        v, out = np.zeros_like(currents[0]), []
        for now in currents:
            v = v / 2 + now
            out.append(v > theta)
            close |= (abs(v - theta) < 1e-5 * max(1, theta)).any(1)
            v = np.where(v > theta, 0, v)
        close |= (ties < 1e-3).any((0, 2))
        x = np.stack(out).astype(np.float64)
        found.append(x > 0)
    return found, close


SIZES = st.sampled_from([0.0, 1e-44, 1e-42, 1e-30, 1e-9, 1e-3, 1.0, 1.0, 1.0, 30.0, 1e9, 1e30, 3e38])


@st.composite
def layers(draw: st.DrawFn, inputs: int, out: int) -> tuple[Array, Array]:
    """Channels of every size, biases beside them of any."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    w = rng.uniform(-1, 1, (out, inputs)) * np.array(draw(st.lists(SIZES, min_size=out, max_size=out)))[:, None]
    b = rng.uniform(-1, 1, out) * np.array(draw(st.lists(SIZES, min_size=out, max_size=out)))
    return w.astype(np.float32), b.astype(np.float32)


@hypothesis.settings(max_examples=80, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(layers(12, 6), layers(6, 5), st.sampled_from([0.5, 1.7, 40.0]), st.integers(0, 99))
def test_spikes_are_those_of_the_equations_whatever_the_channels(
    first: tuple[Array, Array], second: tuple[Array, Array], reach: float, seed: int
) -> None:
    frames, limits = random_frames(seed, 12), Range(-reach, 0.8 * reach)
    wanted, close = expected(frames, [first, second], limits, 0.5)
    hypothesis.assume(not close.all())
    found = spikes(network(first, second), frames, {"n1": limits, "n3": limits})
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours[:, ~close], theirs[:, ~close])


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-30, 1e-9])
def test_a_channel_of_no_weight_is_its_bias(size: float) -> None:
    """A pruned channel, or one whose batch norm has gamma 0, fires as it does in float32."""
    rng = np.random.default_rng(0)
    w, b = rng.uniform(-1, 1, (8, 12)), np.linspace(-0.9, 0.9, 8)
    w[::2] *= size
    frames = random_frames(0, 12, 32)
    graph = network((w, b), theta=0.2)
    ranges = calibrate(graph, STEPS, frames, static=False)
    (full_precision,), (integers,) = spikes(graph, frames), spikes(graph, frames, ranges)
    assert full_precision[:, :, ::2].any()
    np.testing.assert_array_equal(integers[:, :, ::2], full_precision[:, :, ::2])
    assert (integers != full_precision).mean() < 0.01


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-9])
def test_a_layer_of_no_weight_is_its_biases(size: float) -> None:
    graph = network((np.full((6, 12), size), np.array([0.05, 0.15, 0.3, 0.45, 0.6, 0.9])), theta=0.2)
    frames = random_frames(0, 12)
    assert np.array_equal(
        spikes(graph, frames)[0], spikes(graph, frames, calibrate(graph, STEPS, frames, static=False))[0]
    )


@pytest.mark.parametrize("size", [1e3, 1e9, 1e30])
def test_a_huge_channel_keeps_its_bias_and_leaves_the_others_theirs(size: float) -> None:
    rng = np.random.default_rng(0)
    w, b = rng.uniform(-0.3, 0.3, (16, 12)), rng.uniform(-0.3, 0.3, 16)
    w[0], b[0] = size, 0.45
    frames = random_frames(0, 12, 64)
    frames[:, :32] = 0
    graph = network((w, b), theta=0.2)
    ranges = calibrate(graph, STEPS, frames, static=False)
    (full_precision,), (integers,) = spikes(graph, frames), spikes(graph, frames, ranges)
    np.testing.assert_array_equal(integers[:, :, 0], full_precision[:, :, 0])
    assert (integers != full_precision).mean() < 0.03


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-30, 1e30, 3e38])
def test_weights_stored_in_8_bits_are_finite_whatever_their_size(size: float) -> None:
    w = np.random.default_rng(0).uniform(-1, 1, (4, 12)) * size
    graph = network((w, np.full(4, 0.45)), theta=0.2)
    frames = np.zeros((STEPS, 2, 12), np.float32)
    outputs = run(to_onnx(graph, STEPS, static=False, int8=integer_weights(graph)), input=frames)["step_logits"]
    np.testing.assert_array_equal(outputs, interpret(graph, frames, STEPS)[0])


def test_a_share_counts_from_the_output() -> None:
    layer = (np.ones((20, 20)), np.zeros(20))
    graph = network(layer, layer, layer, layer)
    for share, left in ((1.0, 4), (0.75, 3), (0.7, 2), (0.25, 1), (0.0, 0)):
        names = [step.name for step in integer_layers(plan(graph), share)]
        assert names == ["n1", "n3", "n5", "n7"][4 - left :]
        assert [*calibrate(graph, 2, random_frames(0, 20)[:2], static=False, share=share)] == names
