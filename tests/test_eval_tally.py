"""What is added up over a split, by hand: one layer, two samples, every branch."""

from __future__ import annotations

import numpy as np
import pytest

from idsnn_deploy.layer_table import Neurons, Pool, Synapses
from idsnn_evaluation.counting.tally import NeuronTally, SynapseTally

# 2 channels of 1 x 2 pixels through a 1 x 1 convolution into 3 channels: every spike meets 3 weights.
CONV = Synapses(
    name="conv",
    kind="conv2d",
    sources=("lif",),
    weight_shape=(3, 2, 1, 1),
    in_shape=(2, 1, 2),
    out_shape=(3, 1, 2),
    stride=(1, 1),
    padding=((0, 0), (0, 0)),
    dilation=(1, 1),
)
POOL = Pool(name="pool", kind="avg", kernel=(2, 2), in_shape=(2, 2, 4), out_shape=(2, 1, 2))


def maps(*values: float) -> np.ndarray:
    """(samples, 1, 2) float32, as the probe sums channels."""
    return np.array(values, np.float32).reshape(-1, 1, 2)


def test_the_names_are_those_of_the_probe_s_outputs() -> None:
    assert SynapseTally(CONV).outputs == ("sum.conv", "nnz.conv")
    assert NeuronTally(Neurons(name="lif", kind="lif", sources=(), shape=(2,)), 3).outputs == ("spikes.lif",)


def test_spikes_are_accumulates_sample_by_sample_and_batch_by_batch() -> None:
    tally = SynapseTally(CONV)
    assert tally.add({"sum.conv": maps(1, 0, 2, 1)}).tolist() == [3, 9]  # without nnz every value is 0 or 1 at its step
    assert tally.add({"sum.conv": maps(0, 1), "nnz.conv": maps(0, 1)}).tolist() == [3]
    assert (tally.acs, tally.events, tally.values, tally.analog) == (15, 5, 5.0, False)
    assert (tally.effective_acs, tally.effective_macs) == (15, 0)


def test_a_value_of_two_counts_twice_and_is_no_binary_operation() -> None:
    tally = SynapseTally(CONV)
    found = tally.add({"sum.conv": maps(2, 0, 1, 1), "nnz.conv": maps(1, 0, 1, 1)})
    assert found.tolist() == [6, 6]
    assert found.dtype == np.int64
    assert (tally.effective_acs, tally.effective_macs) == (6, 3)  # the second sample is binary, the first is not
    assert not tally.analog


def test_behind_an_average_pool_spikes_are_counted_before_it() -> None:
    tally = SynapseTally(Synapses(**{**vars(CONV), "pools": (POOL,)}))
    shown = {"sum.conv": maps(0.25, 0.5), "nnz.conv": maps(1, 2)}
    assert tally.add(shown).tolist() == [9]  # 1 and 2 spikes of windows of 4
    assert (tally.events, tally.values) == (3, 0.75)


@pytest.mark.parametrize("value", [0.5, -1.0], ids=["no whole number", "below 0"])
def test_what_is_no_spike_makes_the_layer_analog_for_good(value: float) -> None:
    tally = SynapseTally(CONV)
    found = tally.add({"sum.conv": maps(value, 1, 1, 1), "nnz.conv": maps(1, 1, 1, 1)})
    assert found.tolist() == [0, 6]  # each sample by itself, whatever it came with
    assert found.dtype == np.int64
    assert tally.add({"sum.conv": maps(1, 1)}).tolist() == [6]
    assert tally.analog
    assert (tally.effective_acs, tally.effective_macs) == (6 + 6, 6)


def test_a_still_picture_is_spikes_only_where_it_is_black_and_white() -> None:
    whole = {"sum.conv": maps(4, 0), "nnz.conv": maps(1, 0)}  # a pixel of 4, or of 1 at each of 4 steps
    assert SynapseTally(CONV).add(whole).tolist() == [12]
    still = SynapseTally(CONV, still=True)
    assert still.add(whole).tolist() == [0]
    assert still.analog
    assert SynapseTally(CONV, True).add({"sum.conv": maps(1, 0)}).tolist() == [3]


def test_channels_are_added_up_where_all_weights_are_there_and_told_apart_where_some_are_zero() -> None:
    by_channel = np.array([[[[1, 0]], [[2, 1]]]], np.float32)  # (1, 2, 1, 2)
    assert SynapseTally(CONV).add({"sum.conv": by_channel}).tolist() == [12]
    sparse = Synapses(**{**vars(CONV), "zero_weights": 2, "nonzero": (((1,),), ((3,),))})
    assert SynapseTally(sparse).add({"sum.conv": by_channel}).tolist() == [1 * 1 + 3 * 3]


def test_the_sums_of_channels_decide_what_is_binary() -> None:
    # One channel gave 2 at one step, the other 1 at two steps: 4 in all and 3 times not 0.
    two_channels = {
        "sum.conv": np.array([[[[2, 0]], [[2, 0]]]], np.float32),
        "nnz.conv": np.array([[[[1, 0]], [[2, 0]]]]),
    }
    tally = SynapseTally(CONV)
    assert tally.add(two_channels).tolist() == [12]
    assert (tally.effective_acs, tally.effective_macs) == (0, 9)


def test_neurons_spikes_are_counted_by_step_and_by_sample_beyond_32_bits() -> None:
    tally = NeuronTally(Neurons(name="lif", kind="lif", sources=(), shape=(2,)), 2)
    many = np.array([[2**23, 1], [2**23, 0]], np.float32)
    for _ in range(300):
        found = tally.add({"spikes.lif": many})
    assert found.tolist() == [2**23 + 1, 2**23]
    assert found.dtype == np.int64
    assert tally.spikes.tolist() == [300 * 2**24, 300]
    assert tally.spikes.dtype == np.int64
