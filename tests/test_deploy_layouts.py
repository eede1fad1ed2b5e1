"""Data sets of recordings as their authors give them out: tiny trees of the documented layouts, no official file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_trees import five_bytes

from idsnn_deploy.datasets import Reading, load_split
from idsnn_deploy.errors import DataError
from idsnn_deploy.events import DTYPE, Binning, read, to_frames

ROWS = ((0, 0, 10, 1), (127, 3, 20, 0), (5, 127, 5_000_000, 1), (64, 64, 5_000_001, 0))
HEADER_2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
HEADER_3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def version_2(*rows: tuple[int, int, int, int], header: bytes = HEADER_2) -> bytes:
    """A DVS128 as jAER keeps it: columns from the right, rows from below, 1 for darker."""
    return header + b"".join(struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | 1 - p, t) for x, y, t, p in rows)


def packet(*rows: tuple[int, int, int, int], kind: int = 1, valid: int = 1, capacity: int | None = None) -> bytes:
    """A packet of AEDAT 3; times share what lies above 31 bits."""
    events = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | valid, t & 0x7FFFFFFF) for x, y, t, p in rows)
    over, most = (rows[0][2] >> 31 if rows else 0), len(rows) if capacity is None else capacity
    return struct.pack("<HHIIIIII", kind, 0, 8, 4, over, most, len(rows), len(rows)) + events.ljust(8 * most, b"\0")


def version_3(*packets: bytes) -> bytes:
    return HEADER_3 + b"".join(packets)


def later(*rows: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """An hour and a half later, when 31 bits of microseconds have run over twice."""
    return [(x, y, t + (2 << 31), p) for x, y, t, p in rows]


FILES = {
    "version 2": (version_2(*ROWS), list(ROWS)),
    "version 3": (version_3(packet(*ROWS[:3]), packet(*ROWS[3:])), list(ROWS)),
    "room to spare": (version_3(packet(*ROWS, capacity=9)), list(ROWS)),
    "invalid, and of another kind": (
        version_3(packet(*ROWS, valid=0), packet(*ROWS, kind=3), packet(*ROWS)),
        list(ROWS),
    ),
    "a clock that ran over": (version_3(packet(*ROWS), packet(*later(*ROWS))), [*ROWS, *later(*ROWS)]),
}


@pytest.mark.parametrize("name", FILES)
def test_aedat_files_are_their_events(name: str, tmp_path: Path) -> None:
    data, rows = FILES[name]
    (tmp_path / "a.aedat").write_bytes(data)
    found = read(tmp_path / "a.aedat")
    assert found.dtype == DTYPE
    assert found.tolist() == [(x, y, t, bool(p)) for x, y, t, p in rows]


@pytest.mark.parametrize("data", [version_2(*ROWS), version_3(packet(*ROWS[:1]), packet(*ROWS[1:]))])
def test_addresses_and_times_are_those_that_tonic_finds(data: bytes, tmp_path: Path) -> None:
    tonic = pytest.importorskip("tonic.io")
    (tmp_path / "a.aedat").write_bytes(data)
    number, start, _ = tonic.read_aedat_header_from_file(str(tmp_path / "a.aedat"))
    theirs = tonic.get_aer_events_from_file(str(tmp_path / "a.aedat"), number, start)
    found, address = read(tmp_path / "a.aedat"), theirs["address"].astype(np.int64)
    assert found["t"].tolist() == theirs["timeStamp"].tolist()
    if number == 2.0:  # the bits of tonic's read_dvs_128, whose rows and columns change places
        x, y, p = 127 - (address >> 1 & 0x7F), 127 - (address >> 8 & 0x7F), 1 - (address & 1)
    else:  # those of its read_dvs_ibm
        x, y, p = address >> 17 & 0x1FFF, address >> 2 & 0x1FFF, address >> 1 & 1
    for field, wanted in (("x", x), ("y", y), ("p", p)):
        assert found[field].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin with #!AER-DAT"),
        (b"#!AER-DAT1.0\r\n", "version 1; 2 and 3 are read"),
        (version_2(), "holds no events"),
        (version_2(*ROWS)[:-1], "31 bytes of events, not eight an event; truncated"),
        (version_2(*ROWS, header=HEADER_2 + b"# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"), "of a DAVIS"),
        (version_2(ROWS[1], ROWS[0]), "time runs backwards"),
        (HEADER_3[:-6], "its header has no end"),
        (version_3(), "holds no events"),
        (version_3(packet(*ROWS))[:-1], "ends within a packet of events; truncated"),
        (version_3(packet(*ROWS))[:-40], "ends within a packet's header; truncated"),
        (version_3(packet(*ROWS, capacity=1)), "ends within a packet of events; truncated"),
        (HEADER_3.replace(b"RAW", b"SERIALIZED_TS") + packet(*ROWS), "kept as SERIALIZED_TS; RAW is read"),
    ],
)
def test_a_broken_aedat_file_is_said_in_one_line_with_its_name(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.aedat").write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / "a.aedat")
    assert str(caught.value).startswith(str(tmp_path / "a.aedat"))
    assert "\n" not in str(caught.value)


# sorted by class ------------------------------------------------------------------------------------------------------


def write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "ending", "data", "shape"),
    [
        ("cifar10-dvs", "aedat", version_2(*ROWS), (2, 128, 128)),
        ("n-caltech101", "bin", five_bytes(np.array([(230, 170, 3, 1)], DTYPE)), (2, 180, 240)),
    ],
)
def test_a_flat_tree_by_class_has_its_own_sensor_and_comes_in_fewer_pixels(
    name: str, ending: str, data: bytes, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    for label in ("airplane", "cat"):
        for i in range(5):
            write(tmp_path / label / f"{i}.{ending}", data)
    parts = [load_split(name, part, tmp_path, reading=Reading(timesteps=2)) for part in ("train", "test")]
    assert [(len(part), part.shape, part.classes) for part in parts] == [
        (8, shape, ("airplane", "cat")),
        (2, shape, ("airplane", "cat")),
    ]
    small = load_split(name, "train", tmp_path, reading=Reading(timesteps=2, image_size=32))
    assert (small.shape, small.events) == ((2, 32, 32), Binning(sensor=shape[1:]))
    assert small.notes[-1] == f"{tmp_path}: {shape[2]}x{shape[1]} pixels are counted into 32x32"
    np.testing.assert_array_equal(small.images.sum(axis=(2, 3, 4)), parts[0].images.sum(axis=(2, 3, 4)))


# DVS128 Gesture -------------------------------------------------------------------------------------------------------

TAPS = tuple((i % 128, i % 90, 1000 * i, i % 2) for i in range(60))


def as_its_authors(root: Path) -> Path:
    """Two recordings; in the first the classes 3 and 1, in the second 11."""
    for split, name, rows in (
        ("train", "user01_led", ["3,5000,20000", "1,30000,45500"]),
        ("test", "user24_lab", ["11,0,999999"]),
    ):
        write(root / f"trials_to_{split}.txt", f"{name}.aedat\n".encode())
        write(root / f"{name}.aedat", version_3(packet(*TAPS[:20]), packet(*TAPS[20:])))
        write(root / f"{name}_labels.csv", "\n".join(["class,startTime_usec,endTime_usec", *rows]).encode())
    return root


def as_tonic(root: Path) -> Path:
    """The same gestures, cut out, in milliseconds."""
    cuts: list[tuple[str, str, slice]] = [
        ("Train", "user01_led/2", slice(5, 20)),
        ("Train", "user01_led/0", slice(30, 46)),
        ("Test", "user24_lab/10", slice(0, 60)),
    ]
    for part, name, cut in cuts:
        file = root / f"ibmGesture{part}" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.array([(x, y, p, t // 1000) for x, y, t, p in TAPS[cut]]))
    return root


@pytest.mark.parametrize("layout", [as_its_authors, as_tonic])
def test_gestures_are_cut_out_of_their_recordings(layout: Any, tmp_path: Path) -> None:
    train, test = (load_split("dvs128-gesture", part, layout(tmp_path / part), None) for part in ("train", "test"))
    assert (train.shape, train.classes[2], len(train.classes)) == ((2, 128, 128), "left hand wave", 11)
    by_label = dict(zip(train.labels.tolist(), train.images, strict=True))
    for label, cut in ((2, slice(5, 20)), (0, slice(30, 46))):
        wanted = to_frames(np.array(list(TAPS[cut]), DTYPE), (2, 128, 128), 10)
        np.testing.assert_array_equal(by_label[label], wanted.transpose(0, 2, 3, 1))
    assert (test.labels.tolist(), int(test.images.sum())) == ([10], 60)
    assert len(load_split("dvs128-gesture", "train", tmp_path / "train", limit=1)) == 1


@pytest.mark.parametrize(
    ("broken", "text", "words"),
    [
        ("trials_to_train.txt", "", r"trials_to_train\.txt: names no gesture"),
        ("trials_to_train.txt", "user99.aedat", r"user99_labels\.csv: no such file"),
        ("user01_led_labels.csv", "class,start,end\n12,0,5\n", "labels.csv: line 2 is no class of 1 to 11"),
        ("user01_led_labels.csv", "class,start,end\n1,9,5\n", "labels.csv: line 2 is no class"),
        ("user01_led_labels.csv", "class,start,end\n1,x,5\n", "labels.csv: line 2 is no class"),
        ("user01_led_labels.csv", "class,start,end\n1,70000,80000\n", "user01_led.aedat, 70000 to 80000 µs: holds no"),
        ("user01_led.aedat", "x", r"user01_led\.aedat: not a recording that idsnn reads"),
    ],
)
def test_a_broken_tree_of_gestures_is_said_in_one_line(broken: str, text: str, words: str, tmp_path: Path) -> None:
    (as_its_authors(tmp_path) / broken).write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_split("dvs128-gesture", "train", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_gestures_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither trials_to_train\.txt nor ibmGestureTrain/ in it"):
        load_split("dvs128-gesture", "train", tmp_path)
    write(tmp_path / "ibmGestureTrain" / "user01_led" / "11.npy", b"")
    with pytest.raises(DataError, match=r"11\.npy: a gesture's file is called 0\.npy to 10\.npy"):
        load_split("dvs128-gesture", "train", tmp_path)
    (tmp_path / "ibmGestureTrain" / "user01_led" / "11.npy").unlink()
    np.save(tmp_path / "ibmGestureTrain" / "user01_led" / "1.npy", np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"1\.npy: not a recording that numpy reads \(has the shape \(4, 5\)"):
        load_split("dvs128-gesture", "train", tmp_path)
