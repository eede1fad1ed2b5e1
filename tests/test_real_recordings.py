"""Real N-MNIST recordings, where IDSNN_TEST_DATA names a folder with nmnist-small.tar.xz; nothing of it is kept."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from idsnn_deploy.datasets import Reading, load_split
from idsnn_deploy.events import Binning, read, to_frames

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
