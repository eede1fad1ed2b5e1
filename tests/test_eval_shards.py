"""Shards: whatever the cuts, what they add up to is the report of one run; what is no shard of it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_bundles import tape_bundle, tape_images
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eval_report import NET, K, N, T, fan

from idsnn_deploy.errors import DataError
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation import evaluate, render_html
from idsnn_evaluation.cli import main
from idsnn_evaluation.evaluator import evaluate_shard
from idsnn_evaluation.one_pass import Share
from idsnn_evaluation.shards import merge, read_shard

# Pixels, and a layer whose inputs are scaled spikes: whole by chance in some samples, and then not.
SCALED = np.where(np.arange(N) % 4 == 3, 0.37, 1.0)[:, None, None, None] * NET.spikes1.sum(axis=(1, 2))[:, None]
NETS: dict[str, dict[str, np.ndarray]] = {
    "spikes": NET.tables,
    "scaled spikes": NET.tables | {"sum.conv": SCALED[:, 0], "nnz.conv": NET.spikes1.sum(axis=(1, 2))},
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shards")
    return {name: tape_bundle(root / name / "bundle", NET.layers, tables) for name, tables in NETS.items()}


@settings(max_examples=8)
@given(st.data(), st.sampled_from(list(NETS)), st.integers(1, 13))
def test_shards_add_up_to_the_report_of_one_run(
    bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, draw: Any, net: str, size: int
) -> None:
    bundle = read_bundle(bundles[net])
    labels = np.array(draw.draw(st.lists(st.integers(0, 3), min_size=N, max_size=N)))
    of = draw.draw(st.integers(1, min(7, -(-N // size))))
    folder = tmp_path_factory.mktemp("parts")
    for number in draw.draw(st.permutations(range(1, of + 1))):
        shard = evaluate_shard(bundle, tape_images(N), labels, Share(number, of), batch_size=size, dataset="tape")
        shard.write(folder)
    whole, merged = evaluate(bundle, tape_images(N), labels, batch_size=17, dataset="tape"), merge(bundle, folder)
    assert merged.to_dict() == whole.to_dict()
    assert render_html(merged) == render_html(whole)  # with the same samples shown


@given(st.integers(1, 3000), st.integers(1, 500), st.integers(1, 300))
def test_shards_are_the_batches_of_one_run_and_none_is_empty(count: int, size: int, of: int) -> None:
    of = min(of, -(-count // size))
    parts = [list(Share(k, of).starts(count, size)) for k in range(1, of + 1)]
    assert [start for part in parts for start in part] == list(range(0, count, size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert min(map(len, parts)) >= 1


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds, and are drawn elsewhere."""
    monkeypatch.setattr("idsnn_evaluation.jobs.write_figures", lambda report, folder: None)


def test_the_command_s_merged_report_is_that_of_one_run_but_for_times(
    bundles: dict[str, Path], tmp_path: Path, quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "data.npz", images=tape_images(N), labels=NET.labels)
    bundle, data = str(bundles["spikes"]), ["--dataset", "npz", "--data", str(tmp_path / "data.npz")]
    for k in (2, 1, 3):
        assert main([bundle, *data, "--shard", f"{k}/3", "--out", str(tmp_path / "parts")]) == 0
    assert "shard 3 of 3, 8 of 40 samples" in capsys.readouterr().out
    assert main([bundle, "--merge", str(tmp_path / "parts"), "--out", str(tmp_path / "merged")]) == 0
    assert main([bundle, *data, "--out", str(tmp_path / "whole")]) == 0
    one, other = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("merged", "whole"))
    assert one.pop("measured")["model"] == other.pop("measured")["model"]
    assert one == other
    assert main([bundle, *data, "--shard", "1/3", "--out", str(tmp_path / "parts")]) == 2  # is there already
    assert "--force" in capsys.readouterr().err


@pytest.fixture(scope="module")
def parts(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, bundle = tmp_path_factory.mktemp("three"), read_bundle(bundles["spikes"])
    for k in (1, 2, 3):
        evaluate_shard(bundle, tape_images(N), NET.labels, Share(k, 3), dataset="tape").write(folder)
    return folder


def again(folder: Path, bundle: Path, k: int = 2, images: int = N, **more: Any) -> None:
    """Writes shard k of 3 anew, with something else about it."""
    labels = np.resize(more.pop("labels", NET.labels), images)
    words = {"dataset": "tape", **more}
    evaluate_shard(read_bundle(bundle), tape_images(images), labels, Share(k, 3), **words).write(folder)


def resigned(folder: Path, **changes: Any) -> None:
    """Another program's shard 2: its facts are changed, its digest is right."""
    from idsnn_evaluation import shards

    found = shards.read_shard(folder / "shard-2-of-3.npz")
    arrays = {**found.arrays, **changes.pop("arrays", {})}
    about = replace(found.about, digest="", **changes)
    shards.Shard(replace(about, digest=shards._digest(about, arrays)), arrays).write(folder)


def cut(folder: Path) -> None:
    file = folder / "shard-2-of-3.npz"
    file.write_bytes(file.read_bytes()[:-30])


def without(folder: Path, *gone: int) -> None:
    for k in gone:
        (folder / f"shard-{k}-of-3.npz").unlink()


def of_very_many(folder: Path) -> None:
    resigned(folder, of=2**40)
    without(folder, 1, 2, 3)


TALLIED = ("acs", "effective_acs", "effective_macs", "events", "units", "analog")
# what is done to the shards, given them, their bundle and another; what the one line must say
BAD: dict[str, tuple[Callable[[Path, Path, Path], Any], str]] = {
    "one is missing": (lambda p, b, o: without(p, 2), "1 of 3 shards are missing (2); run --shard 2/3"),
    "two are missing": (lambda p, b, o: without(p, 1, 3), "2 of 3 shards are missing (1, 3); run --shard 1/3"),
    "nearly all are missing": (
        lambda p, b, o: of_very_many(p),
        "1099511627775 of 1099511627776 shards are missing (1, 3, 4, 5, 6 and 1099511627770 more); run --shard 1/1",
    ),
    "one is there twice": (
        lambda p, b, o: shutil.copy(p / "shard-2-of-3.npz", p / "shard-2-of-3 (1).npz"),
        "shard 2 a second time",
    ),
    "another bundle's": (lambda p, b, o: again(p, o), "of another bundle than"),
    "another data set's": (lambda p, b, o: again(p, b, dataset="other"), "the data set is other, and tape in"),
    "another split's": (lambda p, b, o: again(p, b, split="train"), "the split is train, and test in"),
    "other samples": (lambda p, b, o: again(p, b, labels=NET.labels[::-1]), "the digest of the samples' classes is"),
    "fewer samples": (lambda p, b, o: again(p, b, images=39), "the number of samples is 39, and 40 in"),
    "other batches": (lambda p, b, o: again(p, b, batch_size=8), "the batch size is 8, and 16 in"),
    "another version's": (lambda p, b, o: resigned(p, versions={"idsnn": "9"}), "counted with idsnn 9; merge it there"),
    "another format's": (lambda p, b, o: resigned(p, format_version=2), "shard format 2; this version reads 1"),
    "fewer layers": (lambda p, b, o: resigned(p, counted=[{"acs": 1}]), "does not hold what the bundle's layers count"),
    "counts below 0": (lambda p, b, o: resigned(p, counted=[{"acs": -1}]), "a count below 0"),
    "counts without end": (
        lambda p, b, o: resigned(p, counted=[dict.fromkeys([*"123", *TALLIED], 2**80)] * 7),
        "does not hold what the bundle's layers count",
    ),
    "a class of none": (
        lambda p, b, o: resigned(p, arrays={"labels": np.full(16, K)}),
        "classes beyond the bundle's 4",
    ),
    "an answer of none": (
        lambda p, b, o: resigned(p, arrays={"classes": np.full((T, 16), -1)}),
        "classes beyond the bundle's 4",
    ),
    "halves for classes": (lambda p, b, o: resigned(p, arrays={"labels": np.full(16, 0.5)}), "`labels` is float64"),
    "no numbers": (lambda p, b, o: resigned(p, arrays={"margins": np.full((T, 16), np.nan)}), "`margins` is float64"),
    "another picture": (lambda p, b, o: resigned(p, arrays={"0.pixels": np.zeros((9, 9))}), "`0.pixels` is float64"),
    "other samples' counts": (
        lambda p, b, o: resigned(p, arrays={"singly": np.zeros((7, 9), int)}),
        "`singly` is int64",
    ),
    "cut short": (lambda p, b, o: cut(p), "is no shard that can be read"),
    "no archive": (lambda p, b, o: (p / "shard-2-of-3.npz").write_text("no"), "is no shard that can be read"),
    "other arrays": (lambda p, b, o: np.savez(p / "shard-2-of-3.npz", x=np.zeros(3)), "is no shard that can be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_shard_of_the_report_is_refused_in_one_line(
    case: str, parts: Path, bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "parts", tmp_path / "report"
    shutil.copytree(parts, folder)
    harm, words = BAD[case]
    harm(folder, bundles["spikes"], bundles["scaled spikes"])
    assert main([str(bundles["spikes"]), "--merge", str(folder), "--out", str(out)]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert words in line
    assert not out.exists()


@settings(max_examples=60)
@given(st.data())
def test_a_shard_with_any_byte_changed_is_refused_or_says_the_same(
    parts: Path, tmp_path_factory: pytest.TempPathFactory, draw: Any
) -> None:
    file = parts / "shard-1-of-3.npz"
    data = bytearray(file.read_bytes())
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    changed = tmp_path_factory.getbasetemp() / "changed.npz"
    changed.write_bytes(data)
    try:
        found = read_shard(changed)
    except DataError:
        return
    whole = read_shard(file)
    assert found.about == whole.about  # a time in the archive's directory, and such
    assert all((found.arrays[name] == array).all() for name, array in whole.arrays.items())


def test_scaled_spikes_are_added_up_exactly(bundles: dict[str, Path]) -> None:
    """float32's 0.37 times whole numbers: the mean value that arrives, to 1e-9, whatever the batches."""
    found = evaluate(bundles["scaled spikes"], tape_images(N), NET.labels)
    layer = next(each for each in found.layers if each["name"] == "conv")
    others = fan(NET.graded, 3, 1) + NET.spikes3.sum(axis=(1, 2, 3, 4)) * K
    assert found.spread["acs"]["max"] == others.max()  # those whose input is whole by chance add nothing either
    assert layer["firing_rate"] == pytest.approx(
        SCALED.astype(np.float32).sum(dtype=np.float64) / (32 * T * N), rel=1e-9
    )
