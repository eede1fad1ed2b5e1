"""Recordings of event cameras: read from files, and binned into frames in integers."""

from __future__ import annotations

import importlib.util
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idsnn_deploy import event_files
from idsnn_deploy.errors import DataError, MissingExtraError, UsageError
from idsnn_deploy.events import DTYPE, Binning, read, to_frames

H, W = 5, 7
FORMS = [(by, values) for by in ("time", "count") for values in ("counts", "binary")]


def events(*rows: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    """Events (x, y, t, p)."""
    return np.array(list(rows), DTYPE)


@st.composite
def recordings(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    count = draw(st.integers(1, 60))
    times = st.integers(0, draw(st.sampled_from([1, 10, 10**7])))
    t = sorted(draw(st.lists(times, min_size=count, max_size=count)))
    places = st.tuples(st.integers(0, W - 1), st.integers(0, H - 1), st.integers(0, 1))
    xyp = draw(st.lists(places, min_size=count, max_size=count))
    return np.array([(x, y, time, p) for (x, y, p), time in zip(xyp, t, strict=True)], DTYPE)


def by_hand(found: np.ndarray[Any, Any], steps: int, by: str, values: str, window: int | None) -> np.ndarray[Any, Any]:
    """One event after the other, in Python's integers: event in frame k where k W <= T d < (k + 1) W."""
    frames = np.zeros((steps, 2, H, W), np.float32)
    whole = len(found) if by == "count" else int(found["t"][-1]) - int(found["t"][0]) + 1
    for i, (x, y, t, p) in enumerate(found.tolist()):
        k = steps * (i if by == "count" else t - int(found["t"][0])) // (window or whole)
        if k < steps:
            frames[k, int(p), y, x] += 1
    return np.minimum(frames, 1) if values == "binary" else frames


@settings(max_examples=150)
@given(recordings(), st.integers(1, 12), st.sampled_from(FORMS), st.one_of(st.none(), st.integers(1, 70)))
def test_every_event_lies_in_the_frame_of_the_equation(
    found: np.ndarray[Any, Any], steps: int, form: tuple[Any, Any], window: int | None
) -> None:
    frames = to_frames(found, (2, H, W), steps, *form, window)
    assert (frames.dtype, frames.shape) == (np.float32, (steps, 2, H, W))
    np.testing.assert_array_equal(frames, by_hand(found, steps, *form, window))


@settings(max_examples=60)
@given(recordings(), st.integers(1, 12), st.sampled_from(["time", "count"]))
def test_frames_of_the_whole_recording_add_up_to_its_histogram(
    found: np.ndarray[Any, Any], steps: int, by: Any
) -> None:
    histogram = np.zeros((2, H, W))
    np.add.at(histogram, (found["p"].astype(int), found["y"], found["x"]), 1)
    np.testing.assert_array_equal(to_frames(found, (2, H, W), steps, by).sum(axis=0), histogram)
    if by == "count":
        sizes = to_frames(found, (2, H, W), steps, by).sum(axis=(1, 2, 3))
        assert sizes.max() - sizes.min() <= 1


@settings(max_examples=60)
@given(recordings(), st.integers(1, H), st.integers(1, W))
def test_fewer_pixels_hold_the_same_events_each_where_the_equation_says(
    found: np.ndarray[Any, Any], height: int, width: int
) -> None:
    frames = to_frames(found, (2, height, width), 3, sensor=(H, W))
    wanted = np.zeros_like(frames)
    for (k, p, y, x), count in np.ndenumerate(to_frames(found, (2, H, W), 3)):
        wanted[k, p, y * height // H, x * width // W] += count
    np.testing.assert_array_equal(frames, wanted)
    assert frames.sum() == len(found)
    binary = to_frames(found, (2, height, width), 3, values="binary", sensor=(H, W))
    np.testing.assert_array_equal(binary, wanted > 0)


def test_an_event_on_a_border_belongs_to_the_later_frame() -> None:
    found = events((0, 0, 100, 1), (1, 0, 109, 1), (2, 0, 110, 1), (3, 0, 119, 0), (4, 0, 120, 1))
    frames = to_frames(found, (2, H, W), 2, "time", "counts", 20)
    assert [np.argwhere(frame).tolist() for frame in frames] == [[[1, 0, 0], [1, 0, 1]], [[0, 0, 3], [1, 0, 2]]]


def test_ten_frames_are_those_of_tonic_where_the_time_divides() -> None:
    tonic = pytest.importorskip("tonic.functional")
    rng = np.random.default_rng(0)
    found = np.empty(1000, DTYPE)
    found["x"], found["y"] = rng.integers(0, W, 1000), rng.integers(0, H, 1000)
    found["t"], found["p"] = np.sort(rng.integers(0, 999, 1000)), rng.integers(0, 2, 1000)
    found["t"][0], found["t"][-1] = 0, 999
    theirs = tonic.to_frame_numpy(found, (W, H, 2), time_window=100, include_incomplete=True)
    np.testing.assert_array_equal(to_frames(found, (2, H, W), 10, window=1000), theirs[:10])


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (events((0, 0, 5, 1), (0, 0, 4, 1)), r"3\.bin: time runs backwards at event 1 \(from 5 to 4 µs\)"),
        (events((W, 0, 5, 1)), r"3\.bin: an event at x = 7, outside the sensor of 7x5 pixels"),
        (events((0, H, 5, 1)), r"3\.bin: an event at y = 5, outside"),
        (events((-1, 0, 5, 1)), r"3\.bin: x reaches down to -1"),
        (events(), r"3\.bin: holds no events"),
        (np.zeros((3, 4)), r"3\.bin: events are a structured array"),
    ],
)
def test_events_that_cannot_be_binned_are_said_in_one_line(found: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        to_frames(found, (2, H, W), 2, where="3.bin")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, H, W)},
        {"shape": (H, W)},
        {"timesteps": 0},
        {"by": "space"},
        {"values": "signed"},
        {"window": 0},
        {"sensor": (H - 1, W)},
        {"sensor": (H, W - 1)},
    ],
)
def test_a_binning_that_does_not_exist_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        to_frames(events((0, 0, 0, 0)), **{"shape": (2, H, W), "timesteps": 2, **options})
    assert Binning().window is None


# files ----------------------------------------------------------------------------------------------------------------

ROWS = ((3, 1, 0, 1), (33, 32, 70_000, 0), (0, 33, 8_388_607, 1))  # up to the last µs that 23 bits can say


def five_bytes(*rows: tuple[int, int, int, int]) -> bytes:
    """x, y, then polarity and time as one big-endian number of 24 bits."""
    return b"".join(bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in rows)


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def dumped(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


X, Y, T, P = (np.array(column) for column in zip(*ROWS, strict=True))
SIGNED = 2 * P - 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.bin", five_bytes(*ROWS)),
        ("a.BIN", five_bytes(*ROWS)),
        ("a.npy", dumped(events(*ROWS))),
        (
            "a.npy",
            dumped(
                np.array([(t, p, x, y) for x, y, t, p in ROWS], [("t", "<u4"), ("p", "i1"), ("x", "u1"), ("y", "u1")])
            ),
        ),
        ("a.npy", dumped(np.array(ROWS, np.float64))),
        ("a.npz", saved(x=X, y=Y, t=T, p=P)),
        ("a.npz", saved(p=SIGNED, t=T.astype(np.uint64), y=Y.astype(np.uint8), x=X.astype(np.float32), label=3)),
    ],
)
def test_a_recording_is_its_events_whatever_the_file(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    found = read(tmp_path / name)
    assert found.dtype == DTYPE
    assert found.tolist() == [(x, y, t, bool(p)) for x, y, t, p in ROWS]


def test_five_byte_files_are_read_as_tonic_reads_them(tmp_path: Path) -> None:
    tonic = pytest.importorskip("tonic.io")
    rows = [(1, 2, 10, 1), (0, 240, 0, 0), (3, 4, 5, 0), (5, 6, 9, 1), (0, 240, 0, 0), (7, 8, 1, 1)]
    (tmp_path / "a.bin").write_bytes(five_bytes(*rows))
    assert read(tmp_path / "a.bin").tolist() == tonic.read_mnist_file(tmp_path / "a.bin", DTYPE).tolist()


BROKEN: list[tuple[str, bytes, str]] = [
    ("a.bin", five_bytes(*ROWS)[:-1], "14 bytes, not five an event"),
    ("a.bin", b"", "holds no events"),
    ("a.bin", five_bytes((0, 0, 9, 0), (0, 0, 8, 0)), "time runs backwards at event 1"),
    ("a.txt", b"x", r"not a recording of a known ending \(.*\.bin"),
    ("a.npy", b"", "not a recording that numpy reads"),
    ("a.npy", dumped(np.array([{}])), "not a recording that numpy reads"),
    ("a.npy", dumped(np.zeros((3, 5))), r"shape \(3, 5\).*columns x, y, t, p"),
    ("a.npy", dumped(np.array(ROWS)[:, [2, 0, 1, 3]]), "x reaches beyond 32,767"),
    ("a.npy", dumped(np.array(ROWS)[:, [0, 1, 3, 2]]), "is the order x, y, t, p"),
    ("a.npy", dumped(np.array([(0, 0, 0.5, 1)])), "times are whole microseconds"),
    ("a.npz", saved(x=X, y=Y, t=T), "has no p beside t, x, y"),
    ("a.npz", saved(x=X, y=Y, t=T[:2], p=P), "of one length"),
    ("a.npz", saved(x=X, y=Y, t=T, p=np.array(["on", "off", "on"])), "no plain number"),
    ("a.npz", saved(x=np.array(["1", "2", "3"]), y=Y, t=T, p=P), "no plain number"),
    ("a.npz", saved(x=X, y=Y, t=T, p=P)[:-40], "not a recording that numpy reads"),
    ("a.npz", saved(x=np.full(3, np.nan), y=Y, t=T, p=P), "x reaches beyond"),
]


@pytest.mark.parametrize(("name", "data", "words"), BROKEN)
def test_a_broken_recording_is_said_in_one_line_with_its_name(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_small_archive_that_claims_to_be_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "MAX_BYTES", 2**16)
    (tmp_path / "a.npz").write_bytes(saved(x=np.zeros(2**16, np.int8), y=Y, t=T, p=P))
    assert (tmp_path / "a.npz").stat().st_size < 2**12
    with pytest.raises(DataError, match="at most 65,536 are read"):
        read(tmp_path / "a.npz")


def test_a_missing_recording_is_said_by_name(tmp_path: Path) -> None:
    for name in ("a.bin", "a.npy"):
        with pytest.raises(DataError, match=rf"{name}: no such file"):
            read(tmp_path / name)


# formats of the extra -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "name"), [("dat", "a.dat"), ("evt2", "a.raw"), ("evt3", "a.raw")])
def test_prophesee_recordings_are_what_their_own_library_wrote(
    encoding: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    rng = np.random.default_rng(0)
    written = np.empty(500, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
    written["t"], written["p"] = np.sort(rng.integers(0, 300_000, 500)), rng.integers(0, 2, 500)
    written["x"], written["y"] = rng.integers(0, 64, (2, 500))
    expelliarmus.Wizard(encoding=encoding).save(fpath=tmp_path / name, arr=written)
    found = read(tmp_path / name)
    for field in ("x", "y", "t", "p"):
        np.testing.assert_array_equal(found[field], written[field])
    (tmp_path / name).write_bytes(b"% evt 3.0\n\0\0")
    capfd.readouterr()
    with pytest.raises(DataError, match=rf"{name}: not a recording that expelliarmus reads \(it finds no events\)"):
        read(tmp_path / name)
    assert capfd.readouterr() == ("", "")  # it writes past Python
    for cut in (b"", b"% evt 3.0", b"% evt 3.0\n", b"% evt 3.0\n% Date"):  # it looks for the end of these for ever
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(DataError, match=rf"{name}: not a recording that idsnn reads \(it ends within its header\)"):
            read(tmp_path / name)


def test_packets_of_an_aedat4_file_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    packets = [{"events": np.array([(t, x, y, p)], dtype)} for x, y, t, p in ROWS]
    fake = types.SimpleNamespace(Decoder=lambda path: [packets[0], {"frame": None}, *packets[1:]])
    monkeypatch.setitem(sys.modules, "aedat", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    (tmp_path / "a.aedat4").write_bytes(b"anything")
    assert read(tmp_path / "a.aedat4").tolist() == [(x, y, t, bool(p)) for x, y, t, p in ROWS]


@pytest.mark.parametrize("name", ["a.raw", "a.dat", "a.aedat4"])
def test_a_missing_reader_is_named_with_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(MissingExtraError, match=r"pip install 'idsnn\[events\]'"):
        read(tmp_path / name)
