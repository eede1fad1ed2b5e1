"""One recording, one answer: torch, ONNX, `idsnn-evaluate` and `idsnn-deploy run` bin alike and agree."""

from __future__ import annotations

import base64
import io
import json
import re
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_trees import write_tree
from PIL import Image

import idsnn
from idsnn.cli import main as train
from idsnn_deploy import Session, read_bundle
from idsnn_deploy.cli import main as deploy
from idsnn_deploy.errors import DataError, UsageError
from idsnn_deploy.events import Binning, read, to_frames
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.c.quantize import integer_network
from idsnn_export.cli import main as export
from idsnn_export.graph.metadata import read_metadata
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.reference.integer import run_integer

STEPS = 3
RESNET = ["--network", "resnet", "--depth", "18", "--teacher-depth", "34"]  # VGGs need 16 pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tree/, a run trained on binary frames of a fixed window, and its bundle."""
    root = tmp_path_factory.mktemp("events")
    write_tree(root / "tree", train=6, test=3)
    settings = ["--timesteps", str(STEPS), "--width", "4", "--epochs", "2", "--batch-size", "4", *RESNET]
    window = ["--events-window", "40000", "--sensor", "12", "12"]
    assert (
        train([*settings, *window, "--dataset", "events", "--data", str(root / "tree"), "--out", str(root / "run")])
        == 0
    )
    assert export([str(root / "run"), "--out", str(root / "bundle"), "--int8"]) == 0
    return root


@pytest.fixture(scope="module")
def recordings(folder: Path) -> list[str]:
    return [str(file) for file in sorted((folder / "tree" / "test").rglob("*.bin"))]


def said(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> Any:
    assert deploy(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_the_binning_travels_from_the_config_to_the_device(folder: Path) -> None:
    config = json.loads((folder / "run" / "config.json").read_text())
    assert (config["events_by"], config["events_values"], config["events_window"]) == ("time", "binary", 40_000)
    metadata = read_metadata(read_nir(folder / "bundle" / "model.nir"))
    assert metadata is not None
    assert (metadata.events, metadata.encoding, metadata.mean) == (Binning("time", "binary", 40_000), "frames", None)
    body = json.loads((folder / "bundle" / "manifest.json").read_text())
    assert body["events"] == {"by": "time", "values": "binary", "window": 40_000}
    assert body["division"] == {"test_fraction": 0.2, "split_seed": 0}
    assert read_bundle(folder / "bundle").manifest.events == Binning("time", "binary", 40_000)


def test_one_recording_has_the_same_logits_everywhere(
    folder: Path, recordings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    frames = np.stack([to_frames(read(f), (2, 12, 12), STEPS, "time", "binary", 40_000) for f in recordings], axis=1)
    with torch.no_grad():
        trained = idsnn.load_run(folder / "run").student(torch.from_numpy(frames)).numpy()
    session = Session(folder / "bundle")
    np.testing.assert_allclose(session(recordings), trained, atol=1e-4)
    np.testing.assert_array_equal(session(recordings), session(frames))
    np.testing.assert_array_equal(session([read(f) for f in recordings]), session(frames))
    printed = said(capsys, ["run", str(folder / "bundle"), *recordings, "--json"])
    one_by_one = np.concatenate([session(recording) for recording in recordings])
    np.testing.assert_array_equal(np.float32([each["logits"] for each in printed["images"]]), one_by_one)
    stepped = Session(folder / "bundle", "step")
    np.testing.assert_allclose(stepped(recordings), trained, atol=1e-4)
    assert len(said(capsys, ["run", str(folder / "bundle"), recordings[0], "--anytime", "--margin", "1", "--json"])) > 0


def test_the_stem_of_binary_frames_counts_as_accumulates(folder: Path, recordings: list[str]) -> None:
    arguments = [str(folder / "bundle"), "--data", str(folder / "tree"), "--out", str(folder / "report")]
    assert evaluate(arguments) == 0
    report = json.loads((folder / "report" / "report.json").read_text())
    stem = report["layers"][0]
    assert (stem["role"], stem["stem_macs"], report["totals"]["stem_macs"]) == ("stem", 0, 0)
    frames = np.stack([to_frames(read(f), (2, 12, 12), STEPS, "time", "binary", 40_000) for f in recordings])
    # Every event meets 4 kernels of 3x3 weights, fewer at the borders: 2 of 3 rows on an edge.
    taps = np.full(12, 3)
    taps[[0, -1]] = 2
    by_hand = 4 * (frames.sum(axis=(1, 2)) * np.outer(taps, taps)).sum()
    assert stem["split"]["conv_acs"] == stem["split"]["effective_acs"] == by_hand
    assert stem["split"]["events"] == frames.sum()
    accuracy = json.loads((folder / "run" / "summary.json").read_text())["student_accuracy"]
    assert report["accuracy"]["top1"] == accuracy
    assert stem["firing_rate"] == pytest.approx(frames.mean())
    page = " ".join((folder / "report" / "report.html").read_text().split())
    assert "Its input is events, so the first layer accumulates" in page
    assert f"{100 * (1 - frames.mean()):.1f} % of the input is zero" in page
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 2 * STEPS
    for (off, on), data in zip(frames[0].astype(bool), pictures, strict=False):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert picture.shape == (144, 144, 3)  # a frame of 12x12, enlarged
        for colour, wanted in (((255, 90, 60), on & ~off), ((80, 150, 255), off & ~on), ((220, 130, 255), on & off)):
            np.testing.assert_array_equal((picture[::12, ::12] == colour).all(axis=-1), wanted)


def test_other_numbers_of_frames_are_binned_anew(folder: Path, recordings: list[str]) -> None:
    assert export([str(folder / "run"), "--out", str(folder / "seven"), "--timesteps", "7"]) == 0
    frames = np.stack([to_frames(read(f), (2, 12, 12), 7, "time", "binary", 40_000) for f in recordings], axis=1)
    session = Session(folder / "seven")
    np.testing.assert_array_equal(session(recordings), session(frames))


def test_a_broken_recording_is_one_line_with_its_name_and_code_2(
    folder: Path, recordings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data, words in (
        ("cut.bin", Path(recordings[0]).read_bytes()[:-1], "truncated"),
        ("empty.bin", b"", "holds no events"),
        ("far.bin", bytes((30, 0, 0, 0, 0)), "an event at x = 30, outside the sensor of 12x12 pixels"),
        ("back.bin", bytes((0, 0, 0, 0, 9, 0, 0, 0, 0, 8)), "time runs backwards at event 1"),
        ("what.jpg", b"\xff\xd8", "not a recording of a known ending"),
    ):
        (tmp_path / name).write_bytes(data)
        assert deploy(["run", str(folder / "bundle"), str(tmp_path / name)]) == 2
        *before, error = capsys.readouterr().err.splitlines()
        assert name in error
        assert words in error
        assert before in ([], [f"idsnn-deploy: {folder / 'bundle'}; loading"])  # the latter where that took long


def test_a_tree_without_a_test_part_in_fewer_pixels_is_evaluated_on_what_training_left_out(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "tree" / "train", tmp_path / "flat")
    arguments = [
        "--dataset",
        "events",
        "--data",
        str(tmp_path / "flat"),
        "--width",
        "4",
        "--epochs",
        "1",
        "--timesteps",
        "2",
    ]
    more = ["--test-fraction", "0.5", "--split-seed", "3", *RESNET, "--batch-size", "2", "--image-size", "8"]
    assert train([*arguments, *more, "--sensor", "12", "12", "--out", str(tmp_path / "run")]) == 0
    assert export([str(tmp_path / "run"), "--graphs", "probe,step"]) == 0
    bundle = tmp_path / "run" / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["division"] == {"test_fraction": 0.5, "split_seed": 3}
    assert manifest["events"] == {"by": "time", "values": "binary", "window": None, "sensor": [12, 12]}
    assert manifest["input_shape"] == [2, 8, 8]
    assert evaluate([str(bundle), "--data", str(tmp_path / "flat"), "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["provenance"]["samples"] == 6
    session, recording = Session(bundle, "step"), next((tmp_path / "flat").rglob("*.bin"))
    events = read(recording)
    frames = to_frames(events, (2, 8, 8), 2, "time", "binary", sensor=(12, 12))
    logits = session.step_logits(frames[:, None])
    np.testing.assert_array_equal(session.step_logits(str(recording)), logits)
    stream = session.stream(window=int(events["t"][-1] - events["t"][0]) + 1)
    answers = stream.push(events) + stream.close()
    np.testing.assert_array_equal(np.stack([answer.logits for answer in answers]), logits[:, 0])
    accuracy = json.loads((tmp_path / "run" / "summary.json").read_text())["student_accuracy"]
    assert report["accuracy"]["top1"] == accuracy


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_c_answers_a_recording_s_bytes_as_the_whole_numbers_do(
    folder: Path, recordings: list[str], tmp_path: Path
) -> None:
    assert export([str(folder / "bundle"), "--format", "c", "--out", str(tmp_path / "c")]) == 0
    make = ["make", "-s", "-C", str(tmp_path / "c"), "check", "CFLAGS=-O1 -Werror -fsanitize=undefined"]
    done = subprocess.run(make, capture_output=True, text=True, check=True)
    assert "golden vectors answered, bit for bit" in done.stdout
    frames = [to_frames(read(f), (2, 12, 12), STEPS, "time", "binary", 40_000).astype(np.uint8) for f in recordings]
    network = integer_network(read_nir(folder / "bundle" / "model.nir"), STEPS, static=False)
    logits, _ = run_integer(network, np.stack(frames, axis=1))
    (unit,) = re.findall(r"define IDSNN_LOGIT_UNIT (\S+)", (tmp_path / "c" / "idsnn_model.h").read_text())
    for each, wanted in zip(frames, logits, strict=True):
        pixels = each.transpose(0, 2, 3, 1).tobytes()  # frame, row, column, polarity
        said = subprocess.run([tmp_path / "c" / "idsnn", "run"], input=pixels, capture_output=True, check=True).stdout
        label, *values = np.array(said.split(), dtype=float)
        assert int(label) == wanted.argmax()
        np.testing.assert_array_equal(np.rint(np.array(values) / float(unit)), wanted)


# streams --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 100, 10_000])
def test_a_stream_in_any_chunks_says_what_the_recording_says(folder: Path, recordings: list[str], chunk: int) -> None:
    session = Session(folder / "bundle", "step")
    stream = session.stream()
    for recording in recordings[:2] if chunk == 1 else recordings:
        events = read(recording)
        events = events[events["t"] < events["t"][0] + 40_000]  # what is behind it would begin a window of its own
        events["t"] += 10**9 * (1 + recordings.index(recording))  # one camera, one recording after the other
        answers = [a for i in range(0, len(events), chunk) for a in stream.push(events[i : i + chunk])]
        answers += stream.close()
        logits = session.step_logits(recording)[:, 0]
        np.testing.assert_array_equal(np.stack([a.logits for a in answers]), logits)
        np.testing.assert_allclose(answers[-1].mean, logits.mean(axis=0), atol=1e-6)
        assert [(a.step, a.done) for a in answers] == [(1, False), (2, False), (3, True)]
        assert [a.time for a in answers] == [13_334, 26_667, 40_000]
        assert answers[-1].label == int(logits.mean(axis=0).argmax())


def test_a_gap_closes_empty_frames_and_the_next_event_begins_anew(folder: Path, recordings: list[str]) -> None:
    session = Session(folder / "bundle", "step")
    stream, events = session.stream(), read(recordings[0])[:5]
    late = events.copy()
    late["t"] += 10**7
    assert stream.push(events) == []
    answers = stream.push(late)
    assert [a.step for a in answers] == [1, 2, 3]
    np.testing.assert_array_equal(np.stack([a.logits for a in answers]), session.step_logits(events)[:, 0])
    again = stream.close()
    np.testing.assert_array_equal(again[0].logits, answers[0].logits)
    assert stream.close() == []


def test_an_early_answer_is_final_and_the_rest_of_its_window_is_not_run(folder: Path, recordings: list[str]) -> None:
    session = Session(folder / "bundle", "step")
    stream = session.stream(margin=0.0)
    answers = stream.push(read(recordings[0])) + stream.close()  # 50 ms: a window, and a part of another
    assert [(a.step, a.done) for a in answers] == [(1, True), (1, True)]


def test_streams_by_count_close_with_the_next_event(folder: Path, recordings: list[str]) -> None:
    bundle = read_bundle(folder / "bundle")
    counted = replace(bundle, manifest=replace(bundle.manifest, events=Binning("count", "counts", 10)))
    session, events = Session(counted, "step"), read(recordings[0])
    stream = session.stream()
    answers = [a for i in range(0, 20) for a in stream.push(events[i : i + 1])]
    assert [(a.step, a.time) for a in answers] == [(1, 4), (2, 7), (3, 10), (1, 4), (2, 7)]
    np.testing.assert_array_equal(np.stack([a.logits for a in answers[:3]]), session.step_logits(events)[:, 0])


def test_a_stream_says_what_it_cannot_take(folder: Path, recordings: list[str]) -> None:
    session, events = Session(folder / "bundle", "step"), read(recordings[0])
    stream = session.stream()
    stream.push(events[10:])
    with pytest.raises(DataError, match="stream: time runs backwards between chunks"):
        stream.push(events[:10])
    events["x"] = 40
    with pytest.raises(DataError, match="stream: an event at x = 40, outside the sensor"):
        session.stream().push(events)
    bundle = read_bundle(folder / "bundle")
    whole = replace(bundle, manifest=replace(bundle.manifest, events=Binning()))
    with pytest.raises(UsageError, match="a stream has no end"):
        Session(whole, "step").stream()
    assert Session(whole, "step").stream(window=1000).push(events[:0]) == []
    with pytest.raises(UsageError, match="not trained on events"):
        Session(replace(bundle, manifest=replace(bundle.manifest, events=None)), "step").stream()


def test_the_example_prints_an_answer_a_frame_and_its_latency(
    folder: Path, recordings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    loop = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "event_loop.py"))["main"]
    latencies = loop([str(folder / "bundle"), recordings[0], "--speed", "2", "--chunk", "5000", "--window", "60000"])
    lines = capsys.readouterr().out.splitlines()
    assert (len(latencies), len(lines)) == (3, 4)
    assert min(latencies) >= 0
    assert lines[2].endswith("final")
    assert lines[3].startswith("latency from a frame's end to its answer: median")


def test_a_run_on_arrays_is_exported_and_evaluated_on_its_own_test_part(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2)
    arguments = [
        "--dataset",
        "npz",
        "--data",
        str(tmp_path / "a.npz"),
        "--width",
        "2",
        "--epochs",
        "1",
        "--arm",
        "baseline",
    ]
    assert train([*arguments, "--timesteps", "2", "--batch-size", "4", "--out", str(tmp_path / "run")]) == 0
    assert export([str(tmp_path / "run"), "--graphs", "probe"]) == 0
    bundle = str(tmp_path / "run" / "bundle")
    assert evaluate([bundle, "--data", str(tmp_path / "a.npz"), "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["provenance"]["samples"] == 4
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert report["accuracy"]["top1"] == summary["student_accuracy"]
