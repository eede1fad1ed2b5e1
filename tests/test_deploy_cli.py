"""The four device commands: what they print, what they refuse, how they exit."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_bundle as tiny
from PIL import Image
from tiny_bundle import FRAMES, STATIC, resigned

import idsnn_deploy
from idsnn_deploy import Session, bench, cli
from idsnn_deploy.cli import OPTIMIZATIONS, main
from idsnn_deploy.errors import IdsnnError
from idsnn_deploy.manifest import read_bundle
from idsnn_deploy.onnx_file import OPTIMIZATIONS as LEVELS
from idsnn_deploy.text_table import format_table
from idsnn_deploy.versions import versions


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATIC, tmp_path / "bundle"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for i, image in enumerate(tiny.images(3)):
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(3)]


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert main(list(argv)) == code
    out, err = capsys.readouterr()
    assert answer_to(err) == ""
    return out


def answer_to(err: str) -> str:
    """Standard error without what is said of a load that takes long, as it may where much else runs."""
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.endswith(("; loading\n", "; measuring\n")))


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    err = answer_to(err)
    assert out == ""
    assert err.startswith("idsnn-deploy: error: ")
    assert err.count("\n") == 1
    return err


def test_the_flags_say_what_the_modules_hold() -> None:
    assert tuple(LEVELS) == OPTIMIZATIONS


@pytest.mark.parametrize("command", [["run"], ["check"]])
def test_a_load_that_takes_long_is_said_unless_a_program_asks(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pictures: list[str]
) -> None:
    images = pictures[:1] if command == ["run"] else []
    find = cli._module
    monkeypatch.setattr(cli, "_module", lambda name: (time.sleep(0.3), find(name))[1])
    assert main([*command, str(STATIC), *images]) == 0
    assert capsys.readouterr().err == f"idsnn-deploy: {STATIC}; loading\n"
    assert main([*command, str(STATIC), *images, "--json"]) == 0
    assert capsys.readouterr().err == ""


# run -----------------------------------------------------------------------------------------------------------------


def test_run_names_the_class_that_the_session_gives(capsys: pytest.CaptureFixture[str], pictures: list[str]) -> None:
    logits = Session(STATIC)(pictures)
    lines = said(capsys, "run", str(STATIC), *pictures).splitlines()
    assert lines[0].split() == ["image", "class", "confidence", "steps", "ms"]
    for line, picture, row in zip(lines[1:], pictures, logits, strict=True):
        assert line.split()[:2] == [picture, ["left", "right", "none"][row.argmax()]]


def test_run_as_json_with_steps_and_top(capsys: pytest.CaptureFixture[str], pictures: list[str]) -> None:
    got = json.loads(said(capsys, "run", str(STATIC), *pictures, "--json", "--steps", "--top", "2"))
    steps = Session(STATIC).step_logits(pictures)
    for i, image in enumerate(got["images"]):
        np.testing.assert_allclose(image["step_logits"], steps[:, i], atol=1e-6)
        np.testing.assert_allclose(image["logits"], steps[:, i].mean(axis=0), atol=1e-6)
        assert image["top"][0]["class"] == image["class"]
        assert len(image["top"]) == 2
        assert image["confidence"] == pytest.approx(image["top"][0]["confidence"])
        assert image["steps"] == tiny.T


def test_run_shows_each_steps_logits(capsys: pytest.CaptureFixture[str], pictures: list[str]) -> None:
    text = said(capsys, "run", str(STATIC), pictures[0], "--steps", "--top", "9")
    assert [line.split()[:2] for line in text.splitlines()[6:]] == [
        *([["logits", "left"]]),
        *[["step", str(t)] for t in range(1, 5)],
        ["mean", text.splitlines()[-1].split()[1]],
    ]


def test_run_anytime_takes_the_bundles_margin_or_its_own(
    capsys: pytest.CaptureFixture[str], pictures: list[str]
) -> None:
    session = Session(STATIC, "step")
    for flags, margin in (([], 0.5), (["--margin", "0.1"], 0.1)):
        got = json.loads(said(capsys, "run", str(STATIC), *pictures, "--anytime", *flags, "--json"))
        assert got["margin"] == margin
        decisions = [session.run_until(picture, margin) for picture in pictures]
        assert [(image["index"], image["steps"]) for image in got["images"]] == [(d.label, d.steps) for d in decisions]


def test_run_int8_runs_that_file(capsys: pytest.CaptureFixture[str], pictures: list[str]) -> None:
    assert json.loads(said(capsys, "run", str(STATIC), *pictures, "--int8", "--json"))["variant"] == "int8"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--top", "0"], "at least 1"),
        (["--margin", "0.5"], "--anytime"),
        (["--anytime", "--margin", "1.5"], "0..1"),
        (["--anytime", "--margin", "nan"], "0..1"),
        (["--anytime", "--int8"], "neither --int8"),
        (["--threads", "0"], "at least 1"),
        (["--provider", "Abacus"], "no Abacus"),
    ],
)
def test_run_refuses_values_that_mean_nothing(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str], pictures: list[str]
) -> None:
    assert words in refused(capsys, "run", str(STATIC), *pictures, *flags)


def test_run_names_the_image_that_is_none(
    capsys: pytest.CaptureFixture[str], pictures: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    for bad, words in (
        (tmp_path, "not a file"),
        (tmp_path / "x.png", "no such file"),
        (tmp_path / "text.png", "not an"),
    ):
        error = refused(capsys, "run", str(STATIC), pictures[0], str(bad))
        assert words in error
        assert str(bad) in error


def test_run_says_that_frames_are_no_files(capsys: pytest.CaptureFixture[str], pictures: list[str]) -> None:
    assert "varies in time" in refused(capsys, "run", str(FRAMES), *pictures)


def test_run_anytime_without_a_margin_names_the_command_that_chooses_it(
    capsys: pytest.CaptureFixture[str], pictures: list[str], copy: Path
) -> None:
    resigned(copy, early_exit={})
    assert "idsnn-evaluate --early-exit --write" in refused(capsys, "run", str(copy), *pictures, "--anytime")


# every command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "bench", "check", "info"])
def test_a_broken_bundle_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], copy: Path, pictures: list[str]
) -> None:
    rest = pictures if command == "run" else []
    data = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(data[:-9] + b"tampered!")
    assert "changed since it was exported" in refused(capsys, command, str(copy), *rest)
    (copy / "model.onnx").unlink()
    assert "no such file" in refused(capsys, command, str(copy), *rest)
    assert "no such bundle" in refused(capsys, command, str(copy / "x"), *rest)


def test_a_run_stands_for_the_bundle_in_it(capsys: pytest.CaptureFixture[str], copy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    assert f"idsnn-export {run} puts its bundle into it" in refused(capsys, "info", str(run))
    copy.rename(run / "bundle")
    assert said(capsys, "info", str(run)) == said(capsys, "info", str(run / "bundle"))


@pytest.mark.parametrize("argv", [[], ["fly"], ["run"], ["run", "b"], ["info"], ["bench", "b", "--batch", "x"]])
def test_malformed_flags_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("idsnn-deploy")
    assert " --help says what there is" in error
    assert error.count("\n") == 1


def test_the_installed_command_says_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "idsnn_deploy.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert {"run", "bench", "check", "info"} <= set(done.stdout.split())


def test_help_and_the_package_load_nothing_heavy() -> None:
    script = "import idsnn_deploy.cli, sys; print({n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "onnxruntime", "torch", "onnx", "idsnn"} & eval(done.stdout)


def test_a_session_loads_neither_torch_nor_the_packages_above() -> None:
    script = (
        "import sys\nfrom idsnn_deploy import Session\n"
        f"Session({str(STATIC)!r})\nprint({{n.partition('.')[0] for n in sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "nir", "idsnn", "idsnn_export", "idsnn_evaluation"} & eval(done.stdout)


def test_the_public_names_are_those_that_the_package_lists() -> None:
    for name in idsnn_deploy.__all__:
        assert getattr(idsnn_deploy, name).__name__ == name
    assert set(idsnn_deploy.__all__) <= set(dir(idsnn_deploy))
    with pytest.raises(AttributeError, match="no attribute 'torch'"):
        idsnn_deploy.torch  # noqa: B018


# check ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [STATIC, FRAMES])
def test_check_passes_a_whole_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "check", str(folder)).splitlines()
    manifest = read_bundle(folder).manifest
    assert (text[0], text[-1]) == (f"{len(manifest.files)} files unchanged", "PASS")
    here = versions("idsnn", "python", "numpy", "onnxruntime", "PIL")
    assert {*here, *manifest.versions} <= {line.split()[0] for line in text if line}
    got = json.loads(said(capsys, "check", str(folder), "--json"))
    assert got["passed"]
    onnx_files = sorted(file.name for file in folder.glob("*.onnx"))
    assert sorted(result["file"] for result in got["results"]) == onnx_files
    assert (got["bundle"], got["versions"], got["exported_with"]) == (str(folder), here, manifest.versions)


def test_check_says_which_file_fails(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (copy / "model.step.onnx").read_bytes()
    weight = tiny.WEIGHT.T.tobytes()
    (copy / "model.step.onnx").write_bytes(whole.replace(weight, (-tiny.WEIGHT.T).tobytes()))
    text = said(capsys, "check", str(resigned(copy, versions={"torch": "9.9"})), code=1)
    assert [line.split()[0] for line in text.splitlines() if line.endswith("FAIL")] == ["model.step.onnx"]
    assert ["torch", "-", "9.9"] in [line.split() for line in text.splitlines()]
    assert text.splitlines()[-1] == "FAIL: this machine does not answer as the exporting one did"
    assert not json.loads(said(capsys, "check", str(copy), "--json", code=1))["passed"]


# info ----------------------------------------------------------------------------------------------------------------


def test_info_says_what_the_bundle_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", str(STATIC), "--layers")
    for words in (
        "3: left, right, none",
        "1 x 6 x 5",
        "90.00%",
        "198 weights",
        "60 neurons",
        "model.step.onnx",
        "conv2d",
    ):
        assert words in text
    manifest = json.loads(said(capsys, "info", str(STATIC), "--json"))
    assert manifest == json.loads((STATIC / "manifest.json").read_bytes())


def test_a_label_cannot_write_to_the_terminal(
    capsys: pytest.CaptureFixture[str], copy: Path, pictures: list[str]
) -> None:
    resigned(copy, labels=["\x1b[2Jleft", "ri\nght", "no\rne"])
    for argv in (["info", str(copy)], ["run", str(copy), *pictures, "--steps"]):
        assert not set(said(capsys, *argv)) & set("\x1b\r")


# bench ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [STATIC, FRAMES])
@pytest.mark.parametrize("variant", ["fp32", "step"])
def test_a_measurement_holds_together(folder: Path, variant: str) -> None:
    row = bench.measure(folder, bench.Settings(variant, "basic", batch=11, threads=1, seconds=0.01, warmup=1))
    assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
    assert row["calls"] >= 10
    assert row["images_per_second"] > 0
    assert row["peak_memory_mib"] > 10
    assert (row["variant"], row["batch"]) == (variant, 11)


def test_percentiles_and_rates_are_those_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    lasting = [0.25, *(ms / 1000 for ms in range(101, 0, -1))]  # loading, then calls of 101, 100, ... 1 ms: 5.151 s
    ticks = itertools.chain.from_iterable((0.0, seconds) for seconds in lasting)
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    row = bench.measure(STATIC, bench.Settings("fp32", "basic", batch=3, threads=1, seconds=5.1505, warmup=1))
    assert row["calls"] == 101
    assert row["load_ms"] == 250
    assert [row[key] for key in ("p50_ms", "p90_ms", "p99_ms")] == pytest.approx([51, 91, 100])
    assert row["images_per_second"] == pytest.approx(3 * 101 / 5.151)


def test_bench_measures_every_variant_in_processes_of_their_own(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    (copy / "model.int8.onnx").unlink()
    resigned(copy)
    flags = ["--seconds", "0.01", "--warmup", "1", "--optimization", "basic"]
    got = json.loads(said(capsys, "bench", str(copy), *flags, "--json"))
    assert [row["variant"] for row in got["rows"]] == ["fp32", "step"]
    assert got["machine"]["cores"] >= 1
    lines = said(capsys, "bench", str(copy), *flags, "--variant", "step").splitlines()
    assert lines[-1].split()[:2] == ["step", "basic"]
    assert "T 4" in lines[0]


def test_bench_says_what_its_processes_say(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    for flags in (["--batch", "0"], ["--seconds", "0"], ["--warmup", "-1"]):
        assert "at least" in refused(capsys, "bench", str(copy), *flags)
    assert "no Abacus" in refused(capsys, "bench", str(copy), "--provider", "Abacus")
    for flags in (["--batch", "2"], ["--variant", "int8"]):
        assert "neither --batch nor int8" in refused(capsys, "bench", str(copy), "--anytime", *flags)
    assert "0..1" in refused(capsys, "bench", str(copy), "--anytime", "--margin", "1.5")
    assert "belongs to --anytime" in refused(capsys, "bench", str(copy), "--margin", "0.5")
    (copy / "model.int8.onnx").unlink()
    resigned(copy)
    assert "--int8" in refused(capsys, "bench", str(copy), "--variant", "int8")
    with pytest.raises(IdsnnError, match="at least 1"):
        bench.bench(read_bundle(copy), [bench.Settings(threads=0)])


# tables --------------------------------------------------------------------------------------------------------------


def test_a_table_sets_numbers_right_and_words_left() -> None:
    text = format_table(("name", "bytes"), [("a", "1"), ("long", "1,000")])
    assert text == "name  bytes\na         1\nlong  1,000"
    assert format_table(("only", "a header"), []) == "only  a header"
