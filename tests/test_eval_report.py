"""Evaluating a network whose every spike is known: the counts, the answers and the keys of the report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from eval_bundles import conv, fc, graph_bundle, lif, tape_bundle, tape_images

from idsnn_deploy.errors import BundleError, DataError, UsageError
from idsnn_deploy.manifest import read_bundle
from idsnn_deploy.onnx_file import Options
from idsnn_deploy.readout import running
from idsnn_evaluation import Report, evaluate
from idsnn_evaluation.counting.probe import Probe
from idsnn_evaluation.counts import ADDED, RATIOS

N, T, K = 40, 3, 4
ROOT = Path(__file__).resolve().parents[1]


class Net:
    """stem 1→2 on 4x4, lif1; conv 2→3 stride 2, lif2; sum (graded, 3 channels on 2x2) → mix 3→3, lif3; pool, fc."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.labels = np.arange(N) % K
        self.image = rng.normal(size=(N, 1, 4, 4)) * (rng.random((N, 1, 4, 4)) < 0.8)
        self.spikes1 = rng.random((N, T, 2, 4, 4)) < 0.3
        self.spikes2 = rng.random((N, T, 3, 2, 2)) < 0.4
        self.spikes3 = rng.random((N, T, 3, 2, 2)) < 0.5
        self.graded = self.spikes2.astype(int) + self.spikes3
        self.graded[:10] = self.graded[:10] > 0  # the first ten samples are binary by luck
        self.spikes3[0] = False  # and the head of the first one sees nothing
        self.logits = rng.normal(size=(T, N, K)) + 1.5 * np.eye(K)[self.labels]

    @property
    def layers(self) -> list[dict[str, Any]]:
        pool = {"name": "pool", "kind": "avg", "kernel": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]]}
        pool |= {"in_shape": [3, 2, 2], "out_shape": [3, 1, 1]}
        return [
            conv("stem", "input", (1, 2), 4),
            lif("lif1", "stem", (2, 4, 4)),
            conv("conv", "lif1", (2, 3), 4, stride=2),
            lif("lif2", "conv", (3, 2, 2)),
            conv("mix", "lif2", (3, 3), 2, sources=["lif2", "lif3"]),
            lif("lif3", "mix", (3, 2, 2)),
            fc("fc", "lif3", 3, K, pools=[pool]),
        ]

    @property
    def tables(self) -> dict[str, np.ndarray]:
        pooled = self.spikes3.mean(axis=(3, 4))
        return {
            "step_logits": self.logits,
            "sum.stem": T * self.image.sum(axis=1),
            "nnz.stem": T * (self.image != 0).sum(axis=1),
            "spikes.lif1": self.spikes1.sum(axis=(2, 3, 4)),
            "raster.lif1": self.spikes1.reshape(N, T, -1),
            "sum.conv": self.spikes1.sum(axis=(1, 2)),
            "spikes.lif2": self.spikes2.sum(axis=(2, 3, 4)),
            "raster.lif2": self.spikes2.reshape(N, T, -1),
            "sum.mix": self.graded.sum(axis=(1, 2)),
            "nnz.mix": (self.graded != 0).sum(axis=(1, 2)),
            "spikes.lif3": self.spikes3.sum(axis=(2, 3, 4)),
            "raster.lif3": self.spikes3.reshape(N, T, -1),
            "sum.fc": pooled.sum(axis=(1, 2)),
            "nnz.fc": (pooled != 0).sum(axis=(1, 2)),
        }


NET = Net()


def fan(maps: np.ndarray, outputs: int, stride: int) -> np.ndarray:
    """Events (N, ..., H, W) times the outputs that a 3 x 3 window with padding 1 gives them; (N,)."""
    size = maps.shape[-1]
    reach = [sum(abs(o * stride - i) <= 1 for o in range((size - 1) // stride + 1)) for i in range(size)]
    return (maps * np.outer(reach, reach)).reshape(len(maps), -1).sum(axis=1) * outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape_bundle(tmp_path_factory.mktemp("tape") / "bundle", NET.layers, NET.tables, test_accuracy=0.75)


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return evaluate(folder, tape_images(N), NET.labels, batch_size=16)


def layer(report: Report, name: str) -> dict[str, Any]:
    return next(entry for entry in report.layers if entry["name"] == name)


def test_accumulates_are_those_of_every_spike_and_every_weight(report: Report) -> None:
    assert layer(report, "conv")["split"]["conv_acs"] == fan(NET.spikes1, 3, 2).sum()
    assert layer(report, "mix")["split"]["conv_acs"] == fan(NET.graded, 3, 1).sum()  # a 2 is two spikes
    assert layer(report, "fc")["split"]["head_acs"] == NET.spikes3.sum() * K  # before the pool
    assert report.totals["conv_acs"] == (fan(NET.spikes1, 3, 2) + fan(NET.graded, 3, 1)).sum() / N
    acs = fan(NET.spikes1, 3, 2) + fan(NET.graded, 3, 1) + NET.spikes3.sum(axis=(1, 2, 3, 4)) * K
    assert report.spread["acs"]["min"] == acs.min()
    assert report.spread["acs"]["max"] == acs.max()


def test_effective_operations_follow_neurobench_s_rule_sample_by_sample(report: Report) -> None:
    binary = (NET.graded <= 1).all(axis=(1, 2, 3, 4))
    assert 0 < binary.sum() < N
    operations = fan(NET.graded != 0, 3, 1)
    assert layer(report, "mix")["split"]["effective_acs"] == operations[binary].sum()
    assert layer(report, "mix")["split"]["effective_macs"] == operations[~binary].sum()
    pooled = NET.spikes3.mean(axis=(3, 4))
    binary = np.isin(pooled, (0, 1)).all(axis=(1, 2))
    assert layer(report, "fc")["split"]["effective_acs"] == (pooled[binary] != 0).sum() * K
    assert layer(report, "fc")["split"]["effective_macs"] == (pooled[~binary] != 0).sum() * K
    totals = report.totals
    assert totals["synops_total"] == pytest.approx(totals["effective_acs"] + totals["effective_macs"])


def test_a_static_image_s_stem_is_counted_once_and_at_every_step(report: Report) -> None:
    stem, effective = layer(report, "stem"), fan(NET.image != 0, 2, 1).sum()
    assert stem["split"]["effective_macs"] == effective
    assert stem["split"]["effective_macs_each_step"] == T * effective
    assert stem["stem_macs"] == 2 * (3 * 4 - 2) ** 2 == stem["dense"] == stem["dense_each_step"] / T
    assert stem["firing_rate"] is None


def test_a_total_is_the_sum_of_its_layers(report: Report) -> None:
    for key in ADDED:
        assert report.split[key] == sum(entry["split"][key] for entry in report.layers)
        assert report.totals[key] == pytest.approx(report.split[key] / N)


def test_rates_and_what_neurons_do(report: Report) -> None:
    spikes = [NET.spikes1, NET.spikes2, NET.spikes3]
    neurons = 32 + 12 + 12
    assert report.totals["firing_rate"] == pytest.approx(sum(s.sum() for s in spikes) / (neurons * T * N))
    assert layer(report, "lif2")["firing_rate_by_step"] == pytest.approx(NET.spikes2.mean(axis=(0, 2, 3, 4)))
    assert layer(report, "conv")["firing_rate"] == pytest.approx(NET.spikes1.mean())
    assert report.totals["neuron_updates"] == report.totals["threshold_compares"] == neurons * T
    assert report.totals["resets"] == report.totals["spikes"]
    assert report.totals["residual_adds"] == layer(report, "mix")["residual_adds"] == 12 * T
    assert report.totals["pool_adds"] == 3 * 3 * T
    assert report.totals["bias_adds"] == 32 + T * (12 + 12 + K)


BY_HAND: dict[str, dict[str, float]] = {  # per sample, whatever is not 0
    "stem": {
        **{"stem_macs": 200, "stem_macs_each_step": 200 * T, "dense": 200, "dense_each_step": 200 * T},
        **{"ann_macs": 200, "nominal_macs": 288, "bias_adds": 32},
    },
    "conv": {
        **{"conv_acs": fan(NET.spikes1, 3, 2).mean(), "events": NET.spikes1.sum() / N, "bias_adds": 12 * T},
        **{"dense": 150 * T, "dense_each_step": 150 * T, "ann_macs": 150, "nominal_macs": 216},
        "rate_acs": 216 * T * NET.spikes1.mean(),
    },
    "lif2": {
        **{"neurons": 12, "neuron_updates": 12 * T, "threshold_compares": 12 * T},
        **{"spikes": NET.spikes2.sum() / N, "resets": NET.spikes2.sum() / N},
    },
    "fc": {
        **{"head_acs": NET.spikes3.sum() / N * K, "events": NET.spikes3.sum() / N, "bias_adds": K * T},
        **{"dense": 3 * K * T, "dense_each_step": 3 * K * T, "ann_macs": 3 * K, "nominal_macs": 3 * K},
        "pool_adds": 9 * T,
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_count_of_a_layer_by_hand(report: Report, name: str) -> None:
    neurobench = {"effective_acs", "effective_macs", "effective_macs_each_step", "synops_total"}  # tested on their own
    counted = {key: value for key, value in layer(report, name)["split"].items() if value and key not in neurobench}
    assert counted == pytest.approx({key: value * N for key, value in BY_HAND[name].items()})


def test_counts_are_integers_but_for_the_estimate_from_rates(report: Report) -> None:
    kinds = {(key, type(value)) for entry in report.layers for key, value in entry["split"].items()}
    assert {key for key, kind in kinds if kind is not int} == {"rate_acs"}


def test_what_there_is_nothing_to_divide_by_is_none(report: Report) -> None:
    assert [layer(report, "stem")[key] for key in RATIOS] == [None] * len(RATIOS)
    assert layer(report, "lif2")["sparsity"] == pytest.approx(1 - NET.spikes2.mean())
    assert report.totals["sparsity"] == pytest.approx(1 - report.totals["firing_rate"])


def test_a_still_picture_of_zeros_and_ones_is_events_and_seen_once(tmp_path: Path) -> None:
    ones = (NET.image != 0).astype(int)
    layers, seen = NET.layers, T * ones.sum(axis=1)
    layers[1]["pools"] = [{**layers[-1]["pools"][0], "in_shape": [2, 4, 4], "out_shape": [2, 2, 2]}]
    tables = NET.tables | {"sum.stem": seen, "nnz.stem": seen}
    found = evaluate(tape_bundle(tmp_path / "black-and-white", layers, tables), tape_images(N), NET.labels)
    stem = layer(found, "stem")["split"]
    assert stem["conv_acs"] == stem["effective_acs"] == fan(ones, 2, 1).sum()
    assert (stem["events"], stem["stem_macs"], stem["effective_macs"]) == (ones.sum(), 0, 0)
    assert stem["rate_acs"] == pytest.approx(ones.mean() * 288 * N)
    assert layer(found, "lif1")["split"]["pool_adds"] == 2 * 4 * 3 * N  # what a still layer gives is pooled once


def test_sources_are_added_before_the_first_of_several_pools(tmp_path: Path) -> None:
    layers, pool = NET.layers, {**NET.layers[-1]["pools"][0], "kind": "sum"}
    first = {**pool, "name": "first", "in_shape": [3, 8, 8], "out_shape": [3, 4, 4]}
    layers[4]["pools"] = [first, {**pool, "name": "second", "in_shape": [3, 4, 4], "out_shape": [3, 2, 2]}]
    found = evaluate(tape_bundle(tmp_path / "pools", layers, NET.tables), tape_images(N), NET.labels)
    assert layer(found, "mix")["split"]["residual_adds"] == 3 * 8 * 8 * T * N
    assert layer(found, "mix")["split"]["pool_adds"] == 3 * (48 + 12) * T * N


def test_a_max_pool_of_spikes_holds_no_neurons_and_passes_single_spikes_on(tmp_path: Path) -> None:
    """4 x 4 neurons that repeat a black and white image, the maximum of each 2 x 2, and four weights for each class.

    1 1 | 0 0      OR    1 | 0          5 of 16 neurons fire at each of 2 steps; 2 spikes reach 3 x 4 weights
    1 0 | 0 0     ───▶   ──┼──          pooling: 3 ORs for each of 4 windows
    ────┼────            0 | 1          where the sum of two such pools arrives, it is added behind them: 4 adds
    0 0 | 0 1
    0 0 | 1 0
    """
    image = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.float32).reshape(1, 1, 4, 4)
    two, zero = np.array([2, 2]), np.array([0, 0])
    fires = nir.IF(*(np.full((1, 4, 4), value, np.float32) for value in (1e4, 0.5, 0)))
    nodes = {"sum": nir.SumPool2d(two, two, zero), "max": nir.Threshold(np.full((1, 2, 2), 0.5, np.float32))}
    last = {"flat": nir.Flatten(np.array([1, 2, 2]), -3, -1), "fc": nir.Linear(np.ones((3, 4), np.float32))}
    ports = {"input": nir.Input(np.array([1, 4, 4])), "output": nir.Output(np.array([3]))}
    names = ["input", "if", *nodes, *last, "output"]
    once = nir.NIRGraph({**ports, "if": fires, **nodes, **last}, list(pairwise(names)), type_check=False)
    found = evaluate(graph_bundle(once, tmp_path / "once", (1, 4, 4), 2, 3), np.repeat(image, 2, 0), [0, 1]).totals
    assert (found["neurons"], found["spikes"], found["firing_rate"]) == (16, 10, 5 / 16)
    assert found["neuron_updates"] == found["threshold_compares"] == 32
    assert (found["head_acs"], found["events"], found["effective_acs"]) == (2 * 2 * 3, 2 * 2, 2 * 2 * 3)
    assert (found["pool_adds"], found["residual_adds"]) == (2 * 3 * 4, 0)

    again = {f"{name}2": node for name, node in {"if": fires, **nodes}.items()}
    edges = [*pairwise(names), *pairwise(["input", *again, "flat"])]
    twice = nir.NIRGraph({**ports, "if": fires, **nodes, **again, **last}, edges, type_check=False)
    found = evaluate(graph_bundle(twice, tmp_path / "twice", (1, 4, 4), 2, 3), np.repeat(image, 2, 0), [0, 1]).totals
    assert (found["neurons"], found["head_acs"], found["residual_adds"]) == (32, 2 * 4 * 3, 2 * 4)


def test_scaled_spikes_are_multiplied_at_every_step(tmp_path: Path) -> None:
    tables = NET.tables | {"sum.conv": 0.37 * NET.spikes1.sum(axis=(1, 2)), "nnz.conv": NET.spikes1.sum(axis=(1, 2))}
    found = evaluate(tape_bundle(tmp_path / "scaled", NET.layers, tables), tape_images(N), NET.labels)
    conv = layer(found, "conv")["split"]
    assert conv["stem_macs"] == conv["stem_macs_each_step"] == conv["dense"] == 150 * T * N
    assert conv["effective_macs"] == conv["effective_macs_each_step"] == fan(NET.spikes1, 3, 2).sum()
    assert conv["conv_acs"] == conv["effective_acs"] == conv["events"] == conv["rate_acs"] == 0


def test_every_layer_has_its_role(report: Report) -> None:
    roles = {entry["name"]: entry["role"] for entry in report.layers}
    assert roles == {
        **{"stem": "stem", "conv": "hidden", "mix": "hidden", "fc": "head"},
        **dict.fromkeys(("lif1", "lif2", "lif3"), "neurons"),
    }


def test_the_ann_twin_runs_every_layer_once(report: Report) -> None:
    macs = 2 * 10**2 + 2 * 3 * 5 * 5 + 3 * 3 * 4 * 4 + 3 * K  # 4x4: 10 touches an axis, 5 with stride 2; 2x2: 4
    assert report.totals["ann_macs"] == macs == report.baselines["ann"]["macs"]
    accumulates = report.totals["conv_acs"] + report.totals["head_acs"]
    assert report.totals["spikes_per_synapse"] == pytest.approx(accumulates / (macs - 200))


def test_the_literature_s_estimate_stands_beside_the_exact_count(report: Report) -> None:
    found = layer(report, "conv")
    assert found["rate_acs"] == pytest.approx(NET.spikes1.mean() * T * 9 * 2 * 3 * 4)
    assert found["rate_overcount_percent"] == pytest.approx(100 * (found["rate_acs"] / found["conv_acs"] - 1))


def test_answers_are_judged_at_every_step(report: Report) -> None:
    right = running(NET.logits.astype(np.float32), "mean").argmax(axis=2) == NET.labels
    assert report.accuracy["by_step"] == pytest.approx(right.mean(axis=1))
    assert report.accuracy["top1"] == report.accuracy["by_step"][-1]
    assert report.accuracy["torch"] == 0.75
    assert report.accuracy["per_class"]["class 1"] == {"accuracy": right[-1, 1::K].mean(), "samples": N // K}


def test_batches_change_nothing(folder: Path, report: Report) -> None:
    for size in (1, 7, 1000):
        assert evaluate(folder, tape_images(N), NET.labels, batch_size=size).to_dict() == report.to_dict()


def test_a_fixed_batch_gives_the_same_counts(tmp_path: Path, report: Report) -> None:
    fixed = tape_bundle(tmp_path / "fixed", NET.layers, NET.tables, batch=16)
    assert evaluate(fixed, tape_images(N), NET.labels).totals == report.totals


def test_report_json_has_every_key_and_no_nan(report: Report) -> None:
    body = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert body == report.to_dict()
    assert set(ADDED) | set(RATIOS) == set(body["totals"])
    for entry in body["layers"]:
        assert set(ADDED) | set(RATIOS) | {"name", "kind", "role", "split"} <= set(entry)


def test_every_key_is_explained(report: Report) -> None:
    page = (ROOT / "docs" / "report.md").read_text()
    for key in report.to_dict():
        assert f"`{key}`" in page, f"docs/report.md does not explain {key}"
    for key, meaning in {**ADDED, **RATIOS}.items():
        assert f"| `{key}` | {meaning} |" in page, f"docs/report.md does not say of {key} what the types say"


def test_zero_weights_are_counted_channel_by_channel(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.random((3, 2, 3, 3)) < 0.6
    layers = NET.layers
    layers[2] |= {"zero_weights": int((~weights).sum()), "nonzero": weights.sum(axis=0).tolist()}
    tables = NET.tables | {"sum.conv": NET.spikes1.sum(axis=1)}
    found = evaluate(tape_bundle(tmp_path / "pruned", layers, tables), tape_images(N), NET.labels)
    padded = np.pad(NET.spikes1.sum(axis=(0, 1)), ((0, 0), (1, 1), (1, 1)))
    expected = sum(
        weights[:, :, y, x].sum(axis=0) @ padded[:, y : y + 4 : 2, x : x + 4 : 2].sum(axis=(1, 2))
        for y in range(3)
        for x in range(3)
    )
    assert layer(found, "conv")["split"]["conv_acs"] == expected


def test_examples_carry_their_own_spikes(report: Report) -> None:
    assert [example.label for example in report.examples] == [0, 1, 2, 3]
    for index, example in enumerate(report.examples):
        assert (example.rasters["lif2"] == NET.spikes2[index].reshape(T, -1)).all()
        assert example.evidence.shape == (T, K)
        assert np.allclose(example.evidence.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("count", "labels", "words"),
    [
        (0, [], "the split is empty"),
        (2, [0], "2 images with labels of shape"),
        (2, [0, K], rf"labels run from 0 to {K}, but the bundle has {K} classes"),
        (2, [-1, 0], "labels run from -1"),
        (2, [0.5, 1.0], "labels are float64, not integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder: Path, count: int, labels: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        evaluate(folder, tape_images(count), labels)


def test_outputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    logits = NET.logits.copy()
    logits[1, 5] = np.nan
    broken = tape_bundle(tmp_path / "nan", NET.layers, NET.tables | {"step_logits": logits})
    with pytest.raises(BundleError, match=r"step_logits is not finite"):
        evaluate(broken, tape_images(N), NET.labels)


def test_a_runtime_that_fails_is_one_line_and_says_no_other(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BundleError, match=r"probe\.onnx: fails while running \(.*Gather") as caught:
        evaluate(folder, tape_images(N + 1), np.zeros(N + 1, int))  # a row beyond its tables
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_bundle_without_its_probe_says_how_to_make_it(tmp_path: Path) -> None:
    from dataclasses import replace

    from idsnn_deploy.manifest import listing, read_bundle, write_manifest

    bare = tape_bundle(tmp_path / "bare", NET.layers, NET.tables)
    (bare / "model.probe.onnx").unlink()
    write_manifest(bare, replace(read_bundle(bare).manifest, files=listing(bare)))
    with pytest.raises(BundleError, match=r"no model\.probe\.onnx.*--graphs probe"):
        evaluate(bare, tape_images(N), NET.labels)


@pytest.mark.parametrize("name", ["logits", "step_logits"])
def test_a_probe_of_other_classes_than_the_manifest_s_is_refused(name: str, tmp_path: Path) -> None:
    wide = np.concatenate([NET.logits, NET.logits[..., :1]], axis=2)
    tables = NET.tables | {"logits": NET.logits.mean(axis=0)}
    tables[name] = wide if name == "step_logits" else wide.mean(axis=0)
    broken = tape_bundle(tmp_path / "b", NET.layers, tables, labels=list("abcd"))
    with pytest.raises(BundleError, match=rf"probe\.onnx: {name} has the shape .*5\) where the manifest says .*4\)"):
        evaluate(broken, tape_images(N), NET.labels)


def test_a_probe_runs_as_its_options_say(folder: Path) -> None:
    with pytest.raises(UsageError, match="0 threads"):
        Probe(read_bundle(folder), options=Options(threads=0))


def test_a_probe_that_shows_no_raster_of_a_layer_counts_all_the_same(tmp_path: Path, report: Report) -> None:
    tables = NET.tables
    del tables["raster.lif2"]
    found = evaluate(tape_bundle(tmp_path / "b", NET.layers, tables), tape_images(N), NET.labels)
    assert found.totals == report.totals
    assert [*found.examples[0].rasters] == ["lif1", "lif3"]


def test_a_probe_without_a_layer_s_sum_is_named(tmp_path: Path) -> None:
    tables = NET.tables
    del tables["sum.mix"]
    with pytest.raises(BundleError, match=r"no output sum\.mix"):
        evaluate(tape_bundle(tmp_path / "b", NET.layers, tables), tape_images(N), NET.labels)
