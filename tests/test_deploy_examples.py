"""The examples that a device runs, run."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import STATIC, images

from idsnn_deploy import Session
from idsnn_deploy.cli import main

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, image in enumerate(images(3)):
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_the_edge_loop_is_under_60_lines() -> None:
    assert len((EXAMPLES / "edge_loop.py").read_text(encoding="utf-8").splitlines()) < 60


def test_the_edge_loop_names_every_image_of_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.png").write_text("no image")
    example("edge_loop").main([str(STATIC), str(photos), "--margin", "0.1"])
    *rows, last = capsys.readouterr().out.splitlines()
    session = Session(STATIC, "step")
    for i, row in enumerate(rows):
        decision = session.run_until(photos / f"{i}.png", 0.1)
        assert row.split()[:2] == [f"{i}.png", session.labels[decision.label]]
        assert f"{decision.steps} steps" in row
    assert "broken.png: not an image" in last


def test_the_edge_loop_reads_a_camera(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [np.full((12, 10, 3), value, np.uint8) for value in (0, 200)]

    class Camera:
        def __init__(self, number: int) -> None:
            assert number == 3

        def grab(self) -> bool:
            return bool(frames)

        def retrieve(self) -> tuple[bool, np.ndarray[Any, Any]]:
            return True, frames.pop()

    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=Camera))
    example("edge_loop").main([str(STATIC), "camera:3"])
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["frame", "0"], ["frame", "1"]]


def test_the_run_example_prints_a_line_an_image(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(photos / f"{i}.png") for i in range(3)]
    example("run").main(str(STATIC), *files)
    session = Session(STATIC)
    expected = [session.labels[row.argmax()] for row in session(files)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(": ", 1)[1].split()[0] for line in lines] == expected


@pytest.mark.parametrize(("name", "mebibytes", "pictures"), [("digits", 4, 10), ("cifar10", 13, 10)])
def test_a_bundle_that_ships_is_small_whole_and_answers_on_this_machine_as_its_page_says(
    name: str, mebibytes: int, pictures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = EXAMPLES / name
    assert sum(path.stat().st_size for path in (folder / "bundle").iterdir()) < mebibytes << 20
    assert main(["check", str(folder / "bundle")]) == 0
    assert capsys.readouterr().out.rstrip().endswith("PASS")
    session, files = Session(folder / "bundle"), sorted((folder / "images").glob("*.png"))
    assert len(files) == pictures
    # A picture is called after what it shows; the page says which ones the network takes for something else.
    taken = dict(re.findall(r"`(\S+)\.png` for an? (\w+)", (folder / "README.md").read_text(encoding="utf-8")))
    for path in files:
        answer = session.labels[int(session(path).argmax())]
        assert answer == taken.get(path.stem, path.stem.removeprefix("digit-"))


def test_the_bundle_of_events_that_ships_is_small_whole_and_right_on_this_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = EXAMPLES / "events"
    recordings = sorted(folder.glob("*.npy"))
    assert sum(path.stat().st_size for path in (folder / "bundle").iterdir()) < 1 << 20
    assert main(["check", str(folder / "bundle")]) == 0
    assert capsys.readouterr().out.rstrip().endswith("PASS")
    assert main(["run", str(folder / "bundle"), *map(str, recordings)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [[str(path), path.stem] for path in recordings]
    assert [path.stem for path in recordings] == ["right", "up-left"]


def test_recordings_that_ship_are_as_they_are_made_and_go_where_they_say(tmp_path: Path) -> None:
    made = example("events/recordings")
    made.main([str(tmp_path), "--train", "1", "--test", "1"])
    assert len(list(tmp_path.rglob("*.npy"))) == 16
    for name, (x, y) in {"right": (1, 0), "up-left": (-1, -1), "down": (0, 1)}.items():
        found = np.load(tmp_path / "test" / name / "000.npy")
        if name != "down":
            np.testing.assert_array_equal(found, np.load(EXAMPLES / "events" / f"{name}.npy"))
        early, late = np.array_split(found, 2)
        for axis, way in (("x", x), ("y", y)):
            moved = late[axis].mean() - early[axis].mean()
            assert moved * way > 2 if way else abs(moved) < 2
