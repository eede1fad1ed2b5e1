"""`idsnn-evaluate`: what it writes, what it refuses, and that a refusal leaves everything as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eval_bundles import SCALE, tape_bundle, tape_images
from PIL import Image
from test_deploy_c import needs_compiler, with_c
from test_eval_report import NET, K, N
from tiny_bundle import resigned

from idsnn_deploy.errors import BundleError
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cli import main
from idsnn_evaluation.cost import measure as time_here
from idsnn_evaluation.cost.measure import measure
from idsnn_evaluation.show.comparison import short_names
from idsnn_evaluation.show.words import in_c

FILES = {"report.json", "report.html", "figures"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tape_bundle(tmp_path / "run" / "bundle", NET.layers, NET.tables)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", images=tape_images(N), labels=NET.labels)
    return tmp_path / "data.npz"


def run(bundle: Path, data: Path, *more: str) -> int:
    return main([str(bundle), "--dataset", "npz", "--data", str(data), *more])


def everything_under(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_the_report_lies_beside_the_bundle(bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bundle, data) == 0
    out = bundle.parent / "report"
    assert {entry.name for entry in out.iterdir()} == FILES
    body = json.loads((out / "report.json").read_text())
    assert body["accuracy"]["samples"] == N
    assert body["measured"]["latency_ms"]["p50"] > 0
    assert body["provenance"]["dataset"] == "data"
    figures = {entry.name for entry in (out / "figures").iterdir()}
    assert figures == {f"{n}.{s}" for n in ("firing_rate", "operations", "accuracy", "energy") for s in ("png", "svg")}
    shown = capsys.readouterr().out
    assert "three readings" in shown
    assert "break-even" in shown
    assert "mix" in shown


def test_a_bundle_s_name_may_be_in_another_encoding(
    bundle: Path, data: Path, tmp_path: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    named = bundle.with_name(os.fsdecode(b"B\xfcndel"))
    try:
        bundle.rename(named)
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    assert run(named, data, "--out", str(tmp_path / "report")) == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["provenance"]["bundle"] == "B\\udcfcndel"


def test_json_on_standard_output_is_the_report_alone(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    out = tmp_path / "elsewhere"
    assert run(bundle, data, "--json", "--limit", "8", "--out", str(out)) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "report.json").read_text())


@needs_compiler
def test_c_is_timed_where_it_is_asked_for_and_else_the_report_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")
    monkeypatch.setattr(time_here, "_SECONDS", 0.01)
    folder = with_c(tmp_path / "bundle")
    assert "c" not in measure(read_bundle(folder), threads=1)
    found = measure(read_bundle(folder), threads=1, c=True)
    assert found["c"]["runs"] >= 20
    assert found["c"]["latency_ms"] is not None
    assert 0 < found["c"]["latency_ms"]["p50"] <= found["c"]["latency_ms"]["p90"]
    assert "times model.onnx's and" in in_c(found)
    monkeypatch.setenv("CC", "no-such-compiler")
    found = measure(read_bundle(folder), threads=1, c=True)
    assert found["c"]["latency_ms"] is None
    assert "no-such-compiler is none" in in_c(found)
    (folder / "c" / "idsnn_model.c").write_text("int changed;")
    monkeypatch.delenv("CC")
    shutil.rmtree(tmp_path / ".bundle.c")
    with pytest.raises(BundleError, match="copy or export the bundle again"):
        measure(read_bundle(folder), threads=1, c=True)


def test_a_bundle_without_c_says_so_beside_its_latency(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    assert run(bundle, data, "--measure-c") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Its C was not measured: the bundle has none; idsnn-export BUNDLE --format c adds it." in shown
    body = json.loads((bundle.parent / "report" / "report.json").read_text())
    assert body["measured"]["c"]["latency_ms"] is None
    assert main([str(bundle), "--measure-c", "--shard", "1/2"]) == 2
    assert "--measure-c" in capsys.readouterr().err


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds, and one test draws them."""
    monkeypatch.setattr("idsnn_evaluation.jobs.write_figures", lambda report, folder: None)
    monkeypatch.setattr("idsnn_evaluation.jobs.write_fronts", lambda rows, folder: None)


def test_the_margin_is_written_into_the_manifest(bundle: Path, data: Path, no_figures: None) -> None:
    before = read_bundle(bundle).manifest
    assert run(bundle, data, "--early-exit", "--write") == 0
    after = read_bundle(bundle)  # its digest holds
    after.verify()
    assert after.manifest.digest != before.digest
    found = after.manifest.early_exit
    assert 0 <= found["margin"] <= 1
    assert found["rest"]["samples"] + found["validation"]["samples"] == N
    assert {**vars(after.manifest), "early_exit": {}, "digest": ""} == {**vars(before), "digest": ""}


def test_bundles_stand_side_by_side(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = NET.tables | {"spikes.lif1": NET.tables["spikes.lif1"] / 2 // 1}
    other = tape_bundle(tmp_path / "other" / "bundle", NET.layers, quiet)
    out = tmp_path / "both"
    assert main([str(bundle), str(other), "--dataset", "npz", "--data", str(data), "--compare", "--out", str(out)]) == 0
    body = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in body["comparison"]] == ["run", "other"]
    assert body["comparison"][0]["firing_rate"] > body["comparison"][1]["firing_rate"]
    assert len(body["reports"]) == 2
    page = (out / "report.html").read_text()
    assert "run" in page
    assert "other" in page
    assert "Side by side" in capsys.readouterr().out
    assert {file.name for file in (out / "figures").iterdir()} == {"pareto.png", "pareto.svg"}


def test_int8_counts_come_from_its_own_probe(bundle: Path, data: Path, tmp_path: Path, no_figures: None) -> None:
    fewer = NET.tables | {"sum.conv": NET.tables["sum.conv"] // 2}
    both = tape_bundle(tmp_path / "quantized" / "bundle", NET.layers, NET.tables, int8=fewer)
    assert run(both, data, "--compare", "--out", str(tmp_path / "both")) == 0
    exact, quantized = json.loads((tmp_path / "both" / "report.json").read_text())["comparison"]
    assert (exact["name"], quantized["name"]) == ("bundle fp32", "bundle int8")
    assert exact["conv_acs"] > quantized["conv_acs"]
    assert run(both, data, "--variant", "int8") == 0
    body = json.loads((both.parent / "report-int8" / "report.json").read_text())
    assert body["totals"]["conv_acs"] == quantized["conv_acs"]
    assert body["measured"]["model"] == "model.int8.onnx"


def test_names_are_what_tells_the_paths_apart() -> None:
    assert short_names(["/a/x/bundle", "/a/y/bundle"], ["fp32", "fp32"]) == ["x", "y"]
    assert short_names(["/a/x/bundle", "/a/x/bundle"], ["fp32", "int8"]) == ["bundle fp32", "bundle int8"]
    assert short_names(["/a/x/bundle", "/a/x/bundle", "/a/y/bundle"], ["fp32", "int8", "fp32"]) == [
        "x fp32",
        "x int8",
        "y fp32",
    ]


def folder_of_images(root: Path, classes: int = K) -> Path:
    for part in ("train", "test"):
        for k in range(classes):
            (root / part / f"class {k}").mkdir(parents=True)
            Image.new("L", (1, 1), round(255 * k / SCALE)).save(root / part / f"class {k}" / "0.png")
    return root


def test_an_image_folder_is_read_as_it_is_needed(bundle: Path, tmp_path: Path, no_figures: None) -> None:
    root = folder_of_images(tmp_path / "photos")
    assert main([str(bundle), "--dataset", "folder", "--data", str(root), "--batch-size", "3"]) == 0
    body = json.loads((bundle.parent / "report" / "report.json").read_text())
    assert body["accuracy"]["samples"] == K


def changed(bundle: Path) -> Path:
    file = bundle / "model.probe.onnx"
    data = bytearray(file.read_bytes())
    data[50] ^= 1
    file.write_bytes(data)
    return bundle


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def text(path: Path, words: str) -> Path:
    path.write_text(words)
    return path


Case = tuple[Callable[[Path, Path, Path], list[str]], str]
# name → arguments, given bundle, data and a scratch folder; what the one line must say
BAD: dict[str, Case] = {
    "no such bundle": (lambda b, d, s: [str(s / "none")], "no such bundle"),
    "a changed byte": (lambda b, d, s: [str(changed(b)), "--dataset", "npz", "--data", str(d)], "changed since"),
    "no data set": (lambda b, d, s: [str(b)], "--dataset"),
    "unknown data set": (lambda b, d, s: [str(b), "--dataset", "imagenet21k"], "unknown data set"),
    "other shapes": (lambda b, d, s: [str(b), "--dataset", "digits"], "classes that are not the bundle's"),
    "npz without data": (lambda b, d, s: [str(b), "--dataset", "npz"], "--data FILE.npz"),
    "no npz": (lambda b, d, s: npz(b, text(s / "x.npz", "no")), "no .npz file"),
    "npz without labels": (lambda b, d, s: npz(b, saved(s / "x.npz", images=tape_images(2))), "labels"),
    "npz of another shape": (
        lambda b, d, s: npz(b, saved(s / "x.npz", images=np.zeros((2, 3, 4, 4)), labels=np.zeros(2, int))),
        "(2, 3, 4, 4) where the bundle takes (N, 1, 1, 1)",
    ),
    "npz of NaN": (
        lambda b, d, s: npz(b, saved(s / "x.npz", images=np.full((2, 1, 1, 1), np.nan), labels=np.zeros(2, int))),
        "finite",
    ),
    "npz of objects": (
        lambda b, d, s: npz(b, saved(s / "x.npz", images=np.array([{}, {}]), labels=np.zeros(2, int))),
        "no .npz file",
    ),
    "an empty split": (
        lambda b, d, s: npz(b, saved(s / "x.npz", images=tape_images(0), labels=np.zeros(0, int))),
        "the split is empty",
    ),
    "labels beyond the classes": (
        lambda b, d, s: npz(b, saved(s / "x.npz", images=tape_images(2), labels=np.array([0, K]))),
        f"the bundle has {K} classes",
    ),
    "folder with other classes": (
        lambda b, d, s: [str(b), "--dataset", "folder", "--data", str(folder_of_images(s / "p", K - 1))],
        "classes that are not the bundle's",
    ),
    "no folder": (lambda b, d, s: [str(b), "--dataset", "folder", "--data", str(s / "none")], "no such folder"),
    "folder without data": (lambda b, d, s: [str(b), "--dataset", "folder"], "--data DIR"),
    "images for an input of another kind": (
        lambda b, d, s: [str(resigned(b, input_shape=[7])), "--dataset", "folder"],
        "takes inputs of shape (7,), not images",
    ),
    "no images": (lambda b, d, s: [*npz(b, d), "--limit", "0"], "--limit 0"),
    "no batch": (lambda b, d, s: [*npz(b, d), "--batch-size", "0"], "--batch-size 0"),
    "no threads": (lambda b, d, s: [*npz(b, d), "--threads", "0"], "0 threads"),
    "no int8": (lambda b, d, s: [*npz(b, d), "--variant", "int8"], "idsnn-export --int8"),
    "an existing report": (lambda b, d, s: [*npz(b, d), "--out", str(d.parent / "run")], "--force"),
    "somebody's folder": (lambda b, d, s: [*npz(b, d), "--out", str(mine(s)), "--force"], "nothing that idsnn wrote"),
    "no platform file": (lambda b, d, s: [*npz(b, d), "--platform", str(s / "x.toml")], "no such file"),
    "a broken platform file": (
        lambda b, d, s: [*npz(b, d), "--platform", str(text(s / "x.json", "{"))],
        "cannot be read",
    ),
    "one folder for two": (lambda b, d, s: [*npz(b, d), str(b), "--out", str(s / "r")], "pass --compare"),
    "the same bundle twice": (lambda b, d, s: [*npz(b, d), str(b)], "share a report"),
    "write alone": (lambda b, d, s: [*npz(b, d), "--write"], "--early-exit"),
    "compare other classes": (
        lambda b, d, s: [
            *npz(b, d),
            str(tape_bundle(s / "o", NET.layers, NET.tables, labels=list("abcd"))),
            "--compare",
        ],
        "--compare needs one data set for all: the classes",
    ),
    "compare other data sets": (
        lambda b, d, s: [str(b), str(tape_bundle(s / "o", NET.layers, NET.tables, dataset="mnist")), "--compare"],
        "--compare needs one data set for all: the data sets",
    ),
    "a shard of none": (lambda b, d, s: [*npz(b, d), "--shard", "0/4"], "--shard 0/4: give K/N"),
    "a shard beyond the last": (lambda b, d, s: [*npz(b, d), "--shard", "5/4"], "--shard 5/4: give K/N"),
    "a shard in words": (lambda b, d, s: [*npz(b, d), "--shard", "first"], "--shard first: give K/N"),
    "more shards than batches": (
        lambda b, d, s: [*npz(b, d), "--shard", "4/4"],
        "40 samples are 3 batches of 16; give at most 3 shards",
    ),
    "a shard to compare": (lambda b, d, s: [*npz(b, d), "--shard", "1/2", "--compare"], "leave out --compare"),
    "a shard and a merger": (lambda b, d, s: [str(b), "--shard", "1/2", "--merge", str(s)], "leave out --merge"),
    "a merger with data": (lambda b, d, s: [*npz(b, d), "--merge", str(s)], "leave out --dataset"),
    "a merger of two": (lambda b, d, s: [str(b), str(b), "--merge", str(s)], "--merge is for one bundle"),
    "a merger of nothing": (lambda b, d, s: [str(b), "--merge", str(s)], "holds no shard-K-of-N.npz"),
    "write and compare": (lambda b, d, s: [*npz(b, d), "--write", "--early-exit", "--compare"], "--compare"),
}


def npz(bundle: Path, data: Path) -> list[str]:
    return [str(bundle), "--dataset", "npz", "--data", str(data)]


def mine(scratch: Path) -> Path:
    (scratch / "mine").mkdir()
    text(scratch / "mine" / "thesis.txt", "keep me")
    return scratch / "mine"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(
    case: str, bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    arguments, words = BAD[case]
    argv = arguments(bundle, data, tmp_path)
    before = everything_under(tmp_path)
    assert main(argv) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert line.startswith("idsnn-evaluate: error: ")
    assert words in line
    assert everything_under(tmp_path) == before


def test_force_replaces_a_report(bundle: Path, data: Path, no_figures: None) -> None:
    assert run(bundle, data) == 0
    old = (bundle.parent / "report" / "report.json").read_bytes()
    assert run(bundle, data) == 2
    assert run(bundle, data, "--limit", "8", "--force") == 0
    assert (bundle.parent / "report" / "report.json").read_bytes() != old


# Markup of rich, a formula that matplotlib cannot set, HTML, escape sequences, a mark of direction, another script.
NASTY = ("[/x]", "a$\\frac$", "b_{$ and $", "<script>", "\x1b[2J\x9b1m", "\u202eturned", "猫", ":smile:")


@pytest.mark.slow
def test_names_are_shown_as_they_are_and_obeyed_by_nothing(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {layer["name"]: f"{layer['name']}{NASTY[i % len(NASTY)]}" for i, layer in enumerate(NET.layers)}
    layers = [
        {**layer, "name": names[layer["name"]], "sources": [names.get(s, s) for s in layer["sources"]]}
        for layer in NET.layers
    ]
    tables = {  # `sum.NAME`, `spikes.NAME`, ...
        ".".join([kind, *(names.get(name, name) for name in rest)]): table
        for key, table in NET.tables.items()
        for kind, *rest in [key.split(".", 1)]
    }
    labels = [*NASTY, *map(str, range(K))][:K]
    folder = tape_bundle(tmp_path / "r[/x]$\x1b" / "b$un[/y]", layers, tables, labels=labels)
    named = data.rename(data.with_name("a$b_{$[red]\x9b.npz"))
    assert run(folder, named) == 0
    assert main([str(folder), str(folder), "--compare", "--dataset", "npz", "--data", str(named)]) == 0
    shown = capsys.readouterr()
    pages = [(folder.parent / kind / "report.html").read_text() for kind in ("report", "comparison")]
    figure = (folder.parent / "report" / "figures" / "operations.svg").read_text()
    for text in (shown.out, shown.err, *pages, figure):
        assert not set(text) & {"\x1b", "\x9b", "\u202e"}
    assert all(line.endswith("; loading") for line in shown.err.splitlines())
    assert next(iter(names.values())) in shown.out
    assert "a$b_{$[red]\\x9b" in shown.out
    assert all("<script>" not in page for page in pages)
