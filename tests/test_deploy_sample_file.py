"""Arrays on the command line: one sample or several, as the network takes them, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import FRAMES, STATIC

from idsnn_deploy import Session, read_bundle
from idsnn_deploy.cli import main


def answers(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, object]]:
    assert main(["run", *map(str, words), "--json"]) == 0
    images: list[dict[str, object]] = json.loads(capsys.readouterr().out)["images"]
    return images


@pytest.mark.parametrize("bundle", [STATIC, FRAMES], ids=["an image", "frames"])
def test_an_array_is_answered_as_the_session_answers_it(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_bundle(bundle).manifest
    rng = np.random.default_rng(0)
    one = (*(manifest.timesteps,) * manifest.sample_axis, *manifest.input_shape)
    sample = rng.random(one).astype(np.float32)
    several = np.stack([sample, sample[..., ::-1], 0 * sample], axis=manifest.sample_axis)
    np.save(tmp_path / "one.npy", sample)
    np.savez(tmp_path / "several.npz", input=several, labels=np.arange(3))
    expected = Session(bundle)(several)
    found = answers(capsys, bundle, tmp_path / "one.npy", tmp_path / "several.npz")
    names = [Path(str(each["image"])).name for each in found]
    assert names == ["one.npy", "several.npz[0]", "several.npz[1]", "several.npz[2]"]
    order = [0, 0, 1, 2]
    for each, i in zip(found, order, strict=True):
        assert each["class"] == manifest.labels[int(expected[i].argmax())]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((2, 2), np.float32), "(2, 2)"),
        (np.array(["a"]), "no array that can be read"),
        (
            np.zeros(3, [("x", "u2")]),
            "not plain numbers; it holds fields x: a recording, say, which a bundle for events",
        ),
    ],
    ids=["another shape", "texts", "fields"],
)
def test_an_array_that_does_not_fit_is_one_line_with_the_file_s_name(
    values: np.ndarray, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "bad.npy", values)
    assert main(["run", str(FRAMES), str(tmp_path / "bad.npy")]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert "bad.npy" in line
    assert words in line


@pytest.mark.parametrize(
    ("bundle", "value", "words"),
    [
        (FRAMES, np.nan, "the network takes values that are finite"),
        (FRAMES, np.inf, "the network takes values that are finite"),
        (FRAMES, 1e39, "the network takes values that are finite"),
        (STATIC, 1.5, "from 0 to 1.5; the network takes values that are in 0..1"),
        (STATIC, -0.5, "from -0.5 to 0; the network takes values that are in 0..1"),
        (STATIC, np.nan, "the network takes values that are in 0..1"),
    ],
)
def test_values_that_no_network_takes_are_one_line_with_the_file_s_name(
    bundle: Path, value: float, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_bundle(bundle).manifest
    values = np.zeros((*(manifest.timesteps,) * manifest.sample_axis, *manifest.input_shape))
    values.flat[3] = value
    np.save(tmp_path / "bad.npy", values)
    assert main(["run", str(bundle), str(tmp_path / "bad.npy")]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert "bad.npy" in line
    assert words in line


def test_an_archive_of_several_arrays_needs_one_that_is_named_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    assert main(["run", str(STATIC), str(tmp_path / "two.npz")]) == 2
    assert "one named input" in capsys.readouterr().err
    assert main(["run", str(STATIC), str(tmp_path / "broken.npz")]) == 2
    assert "broken.npz" in capsys.readouterr().err
