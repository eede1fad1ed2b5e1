"""What a file can make its reader do is bounded: by what is useful, and before it is done."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from idsnn_deploy.array_file import read_npy, read_npz
from idsnn_deploy.datasets import load_split
from idsnn_deploy.errors import BundleError, DataError, ImageError, UsageError
from idsnn_deploy.images import load_image
from idsnn_deploy.json_file import parse_json, read_json_object
from idsnn_deploy.manifest import read_bundle

MIB = 2**20
ROOT = Path(__file__).parents[1]


# ---- JSON -----------------------------------------------------------------------------------------------------------

HOSTILE_JSON: dict[str, tuple[bytes, str]] = {
    "many values": (b"[" + b"0," * 600_000 + b"0]", "more than 524,288 values"),
    "depth": (b"[" * 100_000, "deeper than is read"),
    "a number beyond all": (b'{"year": 1e400}', "not finite"),
    "a number that only Python reads": (b"[NaN]", "no JSON number"),
    "an integer beyond all": (b"[1" + b"0" * 400 + b"]", "401 digits"),
    "half a character": (b'["\\ud800"]', "no UTF-8"),
    "half a character as a key": (b'{"\\udc00": 1}', "no UTF-8"),
    "bytes that are no text": (b'["\xff"]', "no UTF-8"),
    "nothing": (b"", "Expecting value"),
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_json_from_outside_is_bounded(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE_JSON[name]
    with pytest.raises(ValueError, match=words):
        parse_json(data)
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UsageError, match=words) as caught:
        read_json_object(tmp_path / "a.json", MIB * 2, UsageError)
    assert "\n" not in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**38), 10**38) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
def test_any_other_json_is_what_the_standard_library_reads(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(("data", "words"), [(b"[0" + b", 0" * (2 * MIB) + b"]", "larger"), (b"[" * 10**6, "deeper")])
def test_a_large_manifest_costs_little(data: bytes, words: str, tmp_path: Path) -> None:
    """60 MB of zeros took 1.6 GB and a minute."""
    (tmp_path / "manifest.json").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(BundleError, match=words):
        read_bundle(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    tracemalloc.stop()


# ---- arrays ---------------------------------------------------------------------------------------------------------


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def archive(member: bytes, name: str = "x.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, member)
    return stream.getvalue()


HUGE = npy(np.zeros(4)).replace(b"(4,), }", b"(10**9,)}"[:0] + b"(999999999,), }").replace(b" " * 8, b"", 1)

HOSTILE_ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "objects": (lambda: read_npy(npy(np.array([{}]), allow_pickle=True)), "no plain number"),
    "texts": (lambda: read_npy(npy(np.array(["a"]))), "no plain number"),
    "fields of arrays": (lambda: read_npy(npy(np.zeros(2, [("x", "f4", (3,))]))), "no plain number"),
    "more than the limit": (lambda: read_npy(npy(np.zeros(100)), 799), "800 bytes; at most 799"),
    "a bomb": (lambda: read_npz(npz(x=np.zeros(4 * MIB)), ["x"], MIB), "33,554,432 bytes; at most 1,048,576"),
    "two that are too large together": (lambda: read_npz(npz(x=np.zeros(9), y=np.zeros(9)), None, 100), "144 bytes"),
    "a shape that nothing stands behind": (lambda: read_npz(archive(HUGE)), "at most 1,073,741,824"),
    "a header that no tokenizer reads": (lambda: read_npy(npy(np.zeros(1)).replace(b"}", b"(")), "."),
    "a header that Python 2 wrote": (lambda: read_npy(npy(np.zeros(1)).replace(b"(1,)", b"(1L)")), "."),
    "a name that is not there": (lambda: read_npz(npz(x=np.zeros(1)), ["y"]), "y.npy"),
    "no archive": (lambda: read_npz(b"PK nothing"), "not a zip file"),
    "broken contents": (lambda: read_npz(npz(x=np.arange(99)).replace(b"\0\0", b"\7\7", 40)), "."),
    "a compression of its own": (lambda: read_npz(npz(x=np.arange(9)).replace(b"\x08\0", b"\x63\0")), "."),
    "another version": (lambda: read_npy(npy(np.zeros(1)).replace(b"\x01\x00", b"\x09\x00", 1)), "unknown version"),
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_arrays_are_looked_at_before_they_are_unpacked(name: str) -> None:
    read, words = HOSTILE_ARRAYS[name]
    tracemalloc.start()
    with pytest.raises(ValueError, match=words):
        read()
    tracemalloc.stop()


@given(st.integers(0, 2**32), st.sampled_from(["npy", "npz"]))
@settings(max_examples=60)
def test_a_broken_array_file_is_one_kind_of_error(seed: int, ending: str) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(npy(np.arange(9)) if ending == "npy" else npz(x=np.arange(9), y=np.eye(3)))
    for place in rng.integers(len(data) if ending == "npz" else 128, size=3):
        data[place] = rng.integers(256)
    with suppress(ValueError):
        read_npy(bytes(data)) if ending == "npy" else read_npz(bytes(data))


def test_arrays_that_are_numbers_are_read() -> None:
    for array in (np.arange(6).reshape(2, 3), np.float32(3), np.zeros((0, 2), bool), np.zeros(2, [("x", "f4")])):
        np.testing.assert_array_equal(read_npy(npy(array)), array)
    found = read_npz(npz(x=np.arange(3), y=np.eye(2)))
    assert found.keys() == {"x", "y"}
    np.testing.assert_array_equal(found["y"], np.eye(2))
    assert read_npz(npz(x=np.arange(3), y=np.eye(2)), ["y"]).keys() == {"y"}


# ---- images ---------------------------------------------------------------------------------------------------------


def encoded(mode: str, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@pytest.mark.parametrize(("mode", "side"), [("RGBA", 7_500), ("RGB", 7_500), ("LA", 7_500)])
def test_an_image_is_refused_by_its_decoded_bytes(mode: str, side: int) -> None:
    data = encoded(mode, (8, 8))
    large = data[:16] + side.to_bytes(4, "big") * 2 + data[24:]  # its header alone says so
    crc = __import__("zlib").crc32(large[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageError, match=r"225,000,000 bytes decoded; at most 209,715,200"):
        load_image(large[:29] + crc + large[33:])


MEASURE = """
import resource, sys
from idsnn_deploy.images import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_image(sys.stdin.buffer.read(), (3, 8, 8))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_decoding_takes_three_times_the_decoded_bytes(mode: str) -> None:
    """Without transparency or 16 bits as the rule says, in copies of strips."""
    size = (4096, 4096)
    data = encoded(mode, size)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=data, capture_output=True, check=True, cwd=ROOT / "deploy"
    )
    decoded = 16 * (2 if mode == "I;16" else 4)
    assert int(done.stdout) < 3 * decoded + 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "I;16", "P"])
def test_strips_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, (37, 23)).astype(np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (37, 23, 4)).astype(np.uint8)).convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = load_image(image)
    for strip in (1, 23, 50, 100):
        monkeypatch.setattr("idsnn_deploy.images._STRIP", strip)
        np.testing.assert_array_equal(load_image(image), whole)


def test_warnings_are_as_before_when_threads_have_read_images() -> None:
    """`catch_warnings` in several threads at once leaves the filters of one of them behind, for good."""
    data = encoded("RGB", (300, 300))
    before = list(warnings.filters)

    def work() -> None:
        for _ in range(20):
            load_image(data)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_decoders_say_nothing_past_python(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """libtiff writes to the file descriptor, Pillow's logger to standard error where nobody has set up logging."""
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31)).astype(np.uint8)).save(
        stream, "TIFF", compression="tiff_lzw"
    )
    data, refused = stream.getvalue(), 0
    broken = [data[:place] + b"\xff\xff" + data[place + 2 :] for place in range(8, len(data), 3)]
    planes, samples = b"\x1c\x01\x03\x00\x01\x00\x00\x00\x01", b"\x15\x01\x03\x00\x01\x00\x00\x00\x63"
    assert planes in data  # 99 samples a pixel in its place are what Pillow logs an error about
    for each in (*broken, data.replace(planes, samples)):
        try:
            load_image(each)
        except ImageError:
            refused += 1
    assert refused
    assert capfd.readouterr() == ("", "")
    os.write(2, b"here again")
    assert capfd.readouterr().err == "here again"


def test_a_class_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    folder = bytes(tmp_path / "train") + b"/caf\xe9"
    os.makedirs(folder)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", folder + b"/a.png")
    with pytest.raises(DataError, match=r"caf\\udce9.* not UTF-8"):
        load_split("folder", "train", tmp_path)
