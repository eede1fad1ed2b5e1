"""Real N-MNIST recordings, where IDSNN_TEST_DATA names a folder with nmnist-small.tar.xz; nothing of it is kept."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from idsnn.cli import main as train
from idsnn_deploy.cli import main as deploy
from idsnn_deploy.datasets import Reading, load_split
from idsnn_deploy.events import Binning, read, to_frames
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.cli import main as export

ARCHIVE = Path(os.environ.get("IDSNN_TEST_DATA", "")) / "nmnist-small.tar.xz"
pytestmark = pytest.mark.skipif(
    "IDSNN_TEST_DATA" not in os.environ or not ARCHIVE.is_file(),
    reason="IDSNN_TEST_DATA names no folder with nmnist-small.tar.xz (real recordings)",
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    return root / "nmnist-small"


def test_real_recordings_are_what_their_authors_say(recordings: Path) -> None:
    files = sorted((recordings / "Test").rglob("*.bin"))
    assert len(files) == 100
    for file in files[::5]:
        events = read(file)
        assert len(events) * 5 == file.stat().st_size
        assert max(events["x"].max(), events["y"].max()) < 34
        assert 280_000 < events["t"][-1] - events["t"][0] < 330_000
        frames = to_frames(events, (2, 34, 34), 10)
        assert frames.sum() == len(events)
        # The camera makes three saccades, and each moves every edge: no tenth of the recording is empty.
        assert (frames.sum(axis=(1, 2, 3)) > 0).all()


def test_a_ridge_regression_on_square_roots_of_counts_knows_most_digits(recordings: Path) -> None:
    train, test = (
        load_split("nmnist", part, recordings, reading=Reading(timesteps=1, binning=Binning("time", "counts")))
        for part in ("train", "test")
    )
    assert (len(train), len(test), train.shape, train.classes) == (800, 100, (2, 34, 34), tuple("0123456789"))
    x, z = (np.sqrt(part.pixels()[0].reshape(len(part), -1)).astype(np.float64) for part in (train, test))
    mean = x.mean(axis=0)
    x, z, y = x - mean, z - mean, np.eye(10)[train.labels]
    weights = x.T @ np.linalg.solve(x @ x.T + 300 * np.eye(len(x)), y)
    assert ((z @ weights).argmax(axis=1) == test.labels).mean() > 0.75


ROOT = Path(__file__).parents[1]
COMMANDS = {"idsnn-train": train, "idsnn-export": export, "idsnn-evaluate": evaluate, "idsnn-deploy": deploy}
SHORT = "--epochs 1 --width 2 --limit-train 80"  # a training of seconds; all else is as written


def words_of(line: str, recordings: Path) -> list[str]:
    """A line of the page as a shell would split it, with its comment and DIR's wildcards gone."""
    found: list[str] = []
    for word in shlex.split(line, comments=True):
        path = word.replace("DIR", str(recordings), 1) if word.startswith("DIR") else word
        found += sorted(map(str, recordings.glob(word.removeprefix("DIR/")))) if "*" in word else [path]
    return found


@pytest.mark.slow
def test_every_command_of_the_page_on_events_runs_as_written(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "events.md").read_text()
    lines = re.findall(r"^    ((?:idsnn|python).*)$", page, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        name, *arguments = words_of(line, recordings)
        if name == "python":
            loop = runpy.run_path(str(ROOT / arguments[0]))["main"]
            assert len(loop([*arguments[1:], "--speed", "100"])) >= 5
            continue
        assert COMMANDS[name]([*arguments, *(SHORT.split() if name == "idsnn-train" else ())]) == 0, line
    shutil.copy(sorted((recordings / "Test" / "3").iterdir())[0], "3.bin")
    subprocess.run(["make", "-s", "-C", "C"], check=True)
    events = read("3.bin")
    known = {"bundle": "BUNDLE", "camera": [events[:1000], events[1000:]]}
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, known)
    (label,) = [line for line in capfd.readouterr().out.splitlines() if line.isdecimal()]  # of the C program
    assert int(label) < 10
