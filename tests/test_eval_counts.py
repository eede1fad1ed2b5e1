"""Operation counts of one layer: the closed form against convolutions run tap by tap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from eval_bundles import conv

from idsnn_deploy.errors import BundleError
from idsnn_deploy.json_types import read
from idsnn_deploy.layer_table import Synapses
from idsnn_evaluation.counting.operations import dense, fan_out, integers, is_whole, operations, touches


def random_layer(seed: int) -> tuple[Synapses, np.ndarray, np.ndarray]:
    """A convolution of one or two axes with some zero weights, and spikes (n, T, C, ...) for it."""
    rng = np.random.default_rng(seed)
    axes, groups = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    inputs, outputs = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    size, kernel = tuple(rng.integers(7, 11, axes)), tuple(rng.integers(1, 4, axes))
    stride, dilation = tuple(rng.integers(1, 4, axes)), tuple(rng.integers(1, 3, axes))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (axes, 2)))
    weights = rng.normal(size=(outputs, inputs // groups, *kernel))
    if seed % 2:
        weights[rng.random(weights.shape) < 0.3] = 0
    spikes = rng.random((3, 2, inputs, *size)) < 0.3
    out = tuple(
        (n + a + b - d * (k - 1) - 1) // s + 1
        for n, (a, b), d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    )
    per_group = (weights != 0).reshape(groups, outputs // groups, inputs // groups, *kernel).sum(axis=1)
    layer = Synapses(
        name="conv", kind="conv1d" if axes == 1 else "conv2d", sources=("lif",), weight_shape=weights.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups, in_shape=(inputs, *size),
        out_shape=(outputs, *out), zero_weights=int((weights == 0).sum()),
        nonzero=per_group.reshape(inputs, *kernel).tolist(),
    )  # fmt: skip
    return layer, weights, spikes


def brute_force(layer: Synapses, weights: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Every spike times every non-zero weight that meets it, one output and tap after the other; (n,)."""
    found = np.zeros(len(spikes), dtype=np.int64)
    per_group = layer.weight_shape[0] // layer.groups
    for output in np.ndindex(*layer.out_shape):
        first = (output[0] // per_group) * layer.weight_shape[1]
        for tap in np.ndindex(*layer.weight_shape[1:]):
            place = [
                o * s - before + t * d
                for o, s, (before, _), t, d in zip(
                    output[1:], layer.stride, layer.padding, tap[1:], layer.dilation, strict=True
                )
            ]
            inside = all(0 <= p < n for p, n in zip(place, layer.in_shape[1:], strict=True))
            if inside and weights[(output[0], *tap)] != 0:
                found += spikes[(slice(None), slice(None), first + tap[0], *place)].sum(axis=1)
    return found


@pytest.mark.parametrize("block", range(10))
def test_accumulates_equal_those_counted_one_by_one_on_200_random_convolutions(block: int) -> None:
    for seed in range(20 * block, 20 * block + 20):
        layer, weights, spikes = random_layer(seed)
        maps = spikes.sum(axis=1) if layer.zero_weights else spikes.sum(axis=(1, 2))
        assert (operations(maps, fan_out(layer)) == brute_force(layer, weights, spikes)).all(), f"seed {seed}"
        assert fan_out(layer).dtype == np.int64
        ones = np.ones((1, 1, *layer.in_shape), dtype=np.int64)
        assert dense(layer) == brute_force(layer, np.ones_like(weights), ones)[0], f"seed {seed}"


def synapses(**more: object) -> Synapses:
    """A 3 x 3 convolution from 5 to 7 channels on 8 x 8."""
    layer = read(Synapses, {**conv("a", "lif", (5, 7), 8), **more}, "a")
    assert isinstance(layer, Synapses)
    return layer


def test_the_map_of_a_layer_without_zero_weights_tells_no_channels_apart() -> None:
    layer = synapses()
    assert fan_out(layer).shape == (8, 8)
    assert fan_out(layer)[3, 3] == 9 * 7
    assert fan_out(layer)[0, 0] == 4 * 7
    assert layer.nominal_macs == 9 * 5 * 7 * 64 > dense(layer) == 5 * 7 * (3 * 8 - 2) ** 2


def test_touches_agree_with_their_definition() -> None:
    for n, k, s, before, after, d in itertools.product((5, 8), (1, 3), (1, 2, 3), (0, 2), (0, 1), (1, 2)):
        outputs = (n + before + after - d * (k - 1) - 1) // s + 1
        expected = [[sum(o * s - before + t * d == i for o in range(outputs)) for i in range(n)] for t in range(k)]
        assert (touches(n, k, s, (before, after), d) == expected).all()


def test_zero_weights_without_their_table_are_refused() -> None:
    layer = synapses(zero_weights=3)
    with pytest.raises(BundleError, match=r"layer 'a'.*3 weights are zero.*\(5, 3, 3\)"):
        fan_out(layer)


@pytest.mark.parametrize("value", [0.5, 2.0**24, -(2.0**24)])
def test_sums_that_float32_may_have_rounded_are_refused(value: float) -> None:
    with pytest.raises(BundleError, match=r"sum\.a: not exact integer"):
        integers(np.array([1.0, value], np.float32), "sum.a")


def test_sums_that_float32_holds_exactly_are_taken() -> None:
    assert integers(np.array([0.0, 2.0**24 - 1]), "sum.a").tolist() == [0, 16_777_215]


@pytest.mark.parametrize(
    ("value", "whole"), [(1.00099, True), (1.00101, False), (-2.9991, True), (1000.0019, True), (1000.0021, False)]
)
def test_a_pooled_sum_is_whole_up_to_float32_s_rounding(value: float, whole: bool) -> None:
    assert is_whole(np.array([3.0, value])) is whole


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(BundleError, match=r"event maps of shape \(7, 8\) where the layer table says \(8, 8\)"):
        operations(np.zeros((2, 7, 8), np.int64), fan_out(synapses()))


@pytest.mark.parametrize("change", [{"stride": [1]}, {"padding": []}, {"dilation": [1, 1, 1]}, {"in_shape": [5, 8]}])
def test_a_window_without_every_axis_is_named(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"layer 'a'.*2 entries"):
        fan_out(synapses(**change))


@pytest.mark.parametrize("nonzero", [[[1]], [[1], [2, 3]], []])
def test_a_table_of_present_weights_of_another_shape_is_named(nonzero: list[object]) -> None:
    with pytest.raises(BundleError, match=r"layer 'a': 3 weights are zero"):
        fan_out(synapses(zero_weights=3, nonzero=nonzero))
