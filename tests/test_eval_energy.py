"""The energy readings, worked out by hand, and the constants they rest on."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from eval_bundles import tape_bundle

from idsnn_deploy.errors import UsageError
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cost import measure
from idsnn_evaluation.cost.energy import bit_matched, compare, estimate, verdict
from idsnn_evaluation.cost.platforms import constants, platforms, read_platforms
from idsnn_evaluation.cost.powercap import Reading, joules, read_counters
from idsnn_evaluation.counts import ADDED
from idsnn_evaluation.quantities import ann_of

TOTALS: dict[str, Any] = {
    **dict.fromkeys(ADDED, 0),
    "conv_acs": 900, "head_acs": 100, "stem_macs": 50, "neuron_updates": 40, "threshold_compares": 40, "bias_adds": 7,
    "residual_adds": 2, "pool_adds": 1, "events": 30, "spikes": 20, "dense_each_step": 8000,
    "firing_rate": 0.1, "spikes_per_synapse": 0.5,
}  # fmt: skip
BASELINES = {"ann": {"macs": 2000, "outputs": 10}, "teacher": {"name": "resnet34", "dense_macs": 5000}}


@pytest.fixture(scope="module")
def energy() -> dict[str, Any]:
    return estimate(TOTALS, BASELINES, timesteps=4)


def test_reading_a_is_arithmetic_alone(energy: dict[str, Any]) -> None:
    found = {(row["network"], row["precision"]): row["pj"][0] for row in energy["arithmetic"]}
    assert found["spiking network", "fp32"] == pytest.approx(1000 * 0.9 + 50 * 4.6)
    assert found["spiking network", "int8"] == pytest.approx(1000 * 0.03 + 50 * 0.23)
    assert found["same network as an ANN", "fp32"] == pytest.approx(2000 * 4.6)
    assert found["teacher", "int8"] == pytest.approx(5000 * 0.23)
    assert found["spiking network with neurons", "fp32"] == pytest.approx(1050 * 0.9 + 90 * 4.6)


def test_reading_b_adds_every_word_at_each_tier(energy: dict[str, Any]) -> None:
    rows = {(row["tier"], row["precision"]): row for row in energy["memory"]}
    words = (1000 + 50 + 7) / 2 + (2 * 1000 + 2 * 40 + 30 + 50 + 20) / 2  # of 64 bits, all values of 32
    arithmetic = 1050 * 0.9 + 90 * 4.6
    assert rows["32 KiB SRAM", "fp32"]["spiking_pj"][0] == pytest.approx(arithmetic + 20 * words)
    assert rows["off-chip DRAM", "fp32"]["spiking_pj"] == pytest.approx(
        [arithmetic + 1300 * words, arithmetic + 2600 * words]
    )
    ann = rows["8 KiB SRAM", "int8"]
    assert ann["ann_pj"][0] == pytest.approx(2000 * 0.23 + 10 * (2 * 2000 + 2 * 10) / 8)
    assert ann["ratio"] == pytest.approx(ann["spiking_pj"][0] / ann["ann_pj"][0])
    assert [row["tier"] for row in energy["memory"] if row["reference"]] == ["32 KiB SRAM"] * 2


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_reading_c_matches_the_bits_that_t_steps_can_say(timesteps: int, bits: int) -> None:
    found = bit_matched(TOTALS, BASELINES, timesteps, constants())
    assert found["bits"] == bits
    assert found["ann_pj"][0] == pytest.approx(2000 * (0.2 * bits / 8 + 0.03))


def test_one_step_says_one_bit_and_no_plural() -> None:
    assert [ann_of(bits) for bits in (1, 2)] == ["ANN of 1 bit", "ANN of 2 bits"]
    assert "than an ANN of 1 bit." in verdict(
        {**TOTALS, "firing_rate": 0.03, "spikes_per_synapse": 0.1}, 1, "below", "below", constants()
    )


@pytest.mark.parametrize(
    ("rate", "synapse", "words"),
    [
        (0.03, 0.1, "this network should need less energy than an ANN of 3 bits"),
        (0.30, 2.0, "an ANN of 3 bits should need less energy"),
        (0.06, 0.5, "leave it open"),
        (None, None, "do not apply"),
        (None, 0.5, "do not apply"),
        (0.1, None, "do not apply"),
    ],
)
def test_the_verdict_follows_the_published_break_even_points(rate: float, synapse: float, words: str) -> None:
    totals = {**TOTALS, "firing_rate": rate, "spikes_per_synapse": synapse}
    assert words in bit_matched(totals, BASELINES, 4, constants())["verdict"]


def test_a_value_is_below_within_or_above_a_range() -> None:
    assert [compare(v, (1, 2)) for v in (0.9, 1, 2, 2.1, None)] == ["below", "within", "within", "above", "unknown"]


def test_every_row_says_what_it_counted_and_by_which_constants(energy: dict[str, Any]) -> None:
    """By hand, from the constants that are published: Horowitz 2014, Yan et al. 2024, Dampfhoffer et al. 2023."""
    assert energy.keys() == {
        *("unit", "arithmetic", "memory", "bit_matched", "platforms", "no_figure", "constants"),
    }
    assert energy["unit"] == "pJ per sample"
    neurons = next(row for row in energy["arithmetic"] if row["network"] == "spiking network with neurons")
    assert neurons == {
        "network": "spiking network with neurons",
        "precision": "fp32",
        "acs": 1050,  # 1000, 40 comparisons, 7 + 2 + 1 additions
        "macs": 90,
        "pj": pytest.approx([1050 * 0.9 + 90 * 4.6] * 2),
    }
    assert energy["bit_matched"] == {
        "bits": 3,
        "ann_pj": pytest.approx([2000 * (3 / 8 * 0.2 + 0.03)] * 2),
        "spiking_pj": pytest.approx([1000 * 0.03 + 50 * 0.23] * 2),
        "firing_rate": 0.1,
        "break_even_rate": [0.057, 0.064],
        "rate_is": "above",
        "spikes_per_synapse": 0.5,
        "break_even_synapse": [0.15, 1.38],
        "synapse_is": "within",
        "verdict": "The mean spike rate of 10.0 % is above the published break-even of 5.7 to 6.4 % and 0.50 spikes "
        "per synapse are within the published 0.15 to 1.38: against an ANN of 3 bits the sources leave it open.",
    }
    loihi = next(row for row in energy["platforms"] if row["name"] == "Loihi")
    assert {key: loihi[key] for key in ("counts", "synop_pj", "update_pj", "node", "year")} == {
        "counts": "events",
        "synop_pj": [23.6, 27.1],
        "update_pj": [52, 81],
        "node": "14 nm",
        "year": 2018,
    }
    assert "M. Davies et al." in loihi["source"]
    assert "a synaptic operation" in loihi["includes"]
    assert energy["constants"]["int8_multiply"] == {
        "value": [0.2, 0.2],
        "unit": "pJ",
        "node": "45 nm, 0.9 V",
        "year": 2014,
        "includes": "one 8-bit integer multiply",
        "source": "M. Horowitz, ISSCC 2014",
    }


def test_memory_is_compared_at_the_least_of_each_tier(energy: dict[str, Any]) -> None:
    rows = {(row["tier"], row["precision"]): row for row in energy["memory"]}
    assert {tier for tier, _ in rows} == {"8 KiB SRAM", "32 KiB SRAM", "1 MiB SRAM", "off-chip DRAM"}
    dram, cache = rows["off-chip DRAM", "fp32"], rows["1 MiB SRAM", "fp32"]
    assert dram["ratio"] == pytest.approx((1359 + 1300 * 1618.5) / (9200 + 1300 * 2010))
    assert dram["ann_pj"] == pytest.approx([9200 + 1300 * 2010, 9200 + 2600 * 2010])
    assert cache["spiking_pj"] == pytest.approx([1359 + 100 * 1618.5] * 2)


def test_platforms_give_ranges_and_only_where_a_figure_is_published(energy: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in energy["platforms"]}
    assert rows["Loihi"]["pj"] == pytest.approx([1000 * 23.6 + 40 * 52, 1000 * 27.1 + 40 * 81])
    assert rows["TrueNorth"]["pj"] == pytest.approx([2500, 26000])
    assert rows["Arm Cortex-A"]["pj"][0] == pytest.approx(8000 * 900 + 40 * 900)  # dense: every operation is done
    assert not set(rows) & set(energy["no_figure"])
    assert "Loihi 2" in energy["no_figure"]


def test_every_constant_says_what_it_is_and_where_it_is_from() -> None:
    for record in (*constants().values(), *platforms()):
        assert record.year > 2000
        assert record.node
        assert record.includes
        assert len(record.source) > 10
    for constant in constants().values():
        assert constant.unit


MINE = {
    "name": "mine", "synop_pj": 2, "counts": "events", "node": "28 nm", "year": 2026, "includes": "all", "source": "me"
}  # fmt: skip


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reading TOML needs Python 3.11")
def test_a_user_s_platform_joins_the_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[[platforms]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in MINE.items()))
    found = estimate(TOTALS, BASELINES, 4, read_platforms(file))["platforms"][-1]
    assert found["name"] == "mine"
    assert found["pj"] == [2000.0, 2000.0]
    as_json = tmp_path / "mine.json"
    as_json.write_text(json.dumps({"platforms": [MINE]}))
    assert read_platforms(as_json) == read_platforms(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("{}", r"has no \[\[platforms\]\]"),
        ("[]", r"has no \[\[platforms\]\]"),
        ("[" * 9999, "deeper than is read"),
        (json.dumps({"platforms": [{**MINE, "year": "Y"}]}).replace('"Y"', "1e400"), "not finite"),
        (json.dumps({"platforms": [{**MINE, "year": "soon"}]}), "'mine': .*'soon'"),
        (json.dumps({"platforms": [{"name": "x"}]}), "platform 'x' lacks counts"),
        (json.dumps({"platforms": [3]}), "table of keys"),
        (json.dumps({"platforms": [{**MINE, "volts": 1}]}), "unknown volts"),
        (json.dumps({"platforms": [{**MINE, "source": True}]}), "source is 'True', not a text"),
        (json.dumps({"platforms": [{**MINE, "name": 3}]}), "name is '3', not a text"),
        (json.dumps({"platforms": [{**MINE, "node": "x" * 4097}]}), "node is 'x.*', not a text of 4,096"),
        (json.dumps({"platforms": [{**MINE, "counts": "x"}]}), "known are events, dense"),
        (json.dumps({"platforms": [{**MINE, "synop_pj": [3, 2]}]}), "least first"),
        (json.dumps({"platforms": [{**MINE, "synop_pj": -1}]}), "-1 must lie in 1e-12 to 1e\\+12"),
        (json.dumps({"platforms": [{**MINE, "synop_pj": [1.2, 1e308]}]}), "must lie in"),
        (json.dumps({"platforms": [{**MINE, "update_pj": 1e-310}]}), "must lie in"),
        (json.dumps({"platforms": [{**MINE, "synop_pj": "x"}]}), "neither a number"),
    ],
)
def test_a_malformed_platform_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_platforms(file)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reading TOML needs Python 3.11")
@pytest.mark.parametrize(
    ("year", "words"), [("inf", "'mine': .*infinity"), ("nan", "'mine': .*NaN"), ("[" * 9999, "cannot be read")]
)
def test_a_platform_of_no_year_is_one_line_in_toml(tmp_path: Path, year: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    said = {key: json.dumps(value) for key, value in MINE.items()} | {"year": year}
    file.write_text("[[platforms]]\n" + "".join(f"{key} = {value}\n" for key, value in said.items()))
    with pytest.raises(UsageError, match=words) as caught:
        read_platforms(file)
    assert "\n" not in str(caught.value)


def zone(root: Path, name: str, energy: int) -> None:
    (root / name).mkdir(exist_ok=True, parents=True)
    (root / name / "energy_uj").write_text(f"{energy}\n")
    (root / name / "max_energy_range_uj").write_text("999999\n")


def test_the_processor_s_counters_are_added_and_may_wrap(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 999_000)
    zone(tmp_path, "intel-rapl:1", 10)
    zone(tmp_path, "intel-rapl:0:0", 5)  # a part of the first
    before = read_counters(tmp_path)
    assert set(before) == {"intel-rapl:0", "intel-rapl:1"}
    zone(tmp_path, "intel-rapl:0", 1_000)
    zone(tmp_path, "intel-rapl:1", 510)
    assert joules(before, read_counters(tmp_path)) == pytest.approx(2500e-6)


def test_without_a_counter_there_is_no_energy(tmp_path: Path) -> None:
    assert read_counters(tmp_path / "none") == {}
    (tmp_path / "intel-rapl:0").mkdir()
    assert read_counters(tmp_path) == {}
    assert joules({}, {"intel-rapl:0": Reading(1, 2)}) is None


def test_latency_and_energy_are_per_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = {"step_logits": np.zeros((2, 40, 3))}
    bundle = read_bundle(tape_bundle(tmp_path / "four", [], logits, batch=4))
    clock = itertools.count()  # every look at the clock comes 8 ms after the last: so long is a call, looks included
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: 0.008 * next(clock)))
    energy = iter([{"package": Reading(0, 10**9)}, {"package": Reading(6_000_000, 10**9)}])
    monkeypatch.setattr(measure, "read_counters", lambda: next(energy))
    found = measure.measure(bundle)
    assert found["batch"] == 4
    assert found["latency_ms"] == pytest.approx({"p50": 2.0, "p90": 2.0})
    assert found["energy_mj"] == pytest.approx(6000 / (4 * found["runs"]))


def test_percentiles_of_latency_are_those_of_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle(tape_bundle(tmp_path / "one", [], {"step_logits": np.zeros((2, 40, 3))}))
    calls = itertools.chain.from_iterable((0.0, ms / 1000) for ms in range(20, 0, -1))
    ticks = itertools.chain([0.0], calls, [2.5])  # the start, 20 calls, and the time is up
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    found = measure.measure(bundle)
    assert (found["batch"], found["runs"]) == (1, 20)
    assert found["latency_ms"] == pytest.approx({"p50": 10.5, "p90": 18.1})
