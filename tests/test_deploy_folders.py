"""Images as people have them: many sizes, a few in colour, some that are none, and the second start at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idsnn_deploy import decoding
from idsnn_deploy.datasets import Reading, load_split
from idsnn_deploy.errors import DataError, ImageError
from idsnn_deploy.images import load_image, look
from idsnn_deploy.reading import Division


def save(file: Path, height: int, width: int, mode: str = "L", seed: int = 0, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    bands = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *bands), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **options)


def folder(root: Path, *sizes: tuple[int, int], mode: str = "L") -> Path:
    for part in ("train", "test"):
        for i, size in enumerate(sizes):
            save(root / part / "ab"[i % 2] / f"{i}.png", *size, mode=mode, seed=i)
    return root


@pytest.mark.parametrize(
    ("sizes", "shape", "words"),
    [
        (((10, 8),) * 4, (1, 10, 8), "4 images of 8x10 pixels, 0 of them in colour; taken as 8x10 grey"),
        (((10, 8), (30, 40), (12, 9), (14, 9)), (1, 13, 9), "4 images of 8x10 to 40x30 pixels"),
        (((300, 200), (300, 200)), (1, 64, 43), "2 images of 200x300 pixels, 0 of them in colour; taken as 43x64"),
    ],
)
def test_images_take_their_median_size_at_most_64_and_that_is_said(
    sizes: tuple[tuple[int, int], ...], shape: tuple[int, int, int], words: str, tmp_path: Path
) -> None:
    split = load_split("folder", "train", folder(tmp_path, *sizes))
    assert split.shape == shape
    assert words in split.notes[-1]
    np.testing.assert_array_equal(split.images[0], load_image(split.files[0], shape))


def test_a_size_that_is_asked_for_holds(tmp_path: Path) -> None:
    root = folder(tmp_path, (10, 8), (30, 40))
    assert load_split("folder", "train", root, reading=Reading(image_size=100)).shape == (1, 100, 100)
    assert load_split("folder", "test", root, (3, 5, 6)).shape == (3, 5, 6)


def test_one_image_in_colour_makes_all_rgb_unless_gray_is_asked_for(tmp_path: Path) -> None:
    root = folder(tmp_path, (8, 8), (8, 8), (8, 8))
    save(root / "train" / "a" / "z.png", 8, 8, "RGB")
    split = load_split("folder", "train", root)
    assert split.shape == (3, 8, 8)
    assert "1 of them in colour; taken as 8x8 RGB" in split.notes[-1]
    assert (split.images[0][..., 0] == split.images[0][..., 2]).all()  # a grey one
    assert load_split("folder", "train", root, reading=Reading(gray=True)).shape == (1, 8, 8)


def test_a_header_says_what_the_pixels_will_be(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    save(tmp_path / "phone.jpg", 20, 30, "RGB", exif=exif)
    save(tmp_path / "clear.png", 6, 7, "RGBA")
    save(tmp_path / "grey.png", 6, 7)
    Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(tmp_path / "wide.png")
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).quantize(4).save(tmp_path / "palette.gif")
    for file in sorted(tmp_path.iterdir()):
        assert look(file, 0) == load_image(file).shape, file
        np.testing.assert_array_equal(look(file, 600), load_image(file))
    assert look(tmp_path / "phone.jpg", 599) == (30, 20, 3)


def test_the_first_unreadable_file_is_named_and_skip_broken_goes_on_without(tmp_path: Path) -> None:
    root = folder(tmp_path, *((8, 8),) * 6)
    (root / "train" / "a" / "2.png").write_bytes(b"")
    whole = (root / "train" / "b" / "3.png").read_bytes()
    (root / "train" / "b" / "3.png").write_bytes(whole[:-30])
    with pytest.raises(ImageError, match=r"a/2\.png: not an image.*; --skip-broken leaves such files out") as caught:
        load_split("folder", "train", root)
    assert "\n" not in str(caught.value)
    split = load_split("folder", "train", root, reading=Reading(division=Division(skip_broken=True)))
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert [Path(file).name for file in split.files] == ["0.png", "4.png", "1.png", "5.png"]
    assert "2 unreadable files are left out" in split.notes[-1]
    assert "2.png" in split.notes[-1]
    assert "3.png" in split.notes[-1]
    np.testing.assert_array_equal(split.images[1], load_image(split.files[1]))


def test_a_class_without_a_readable_image_is_said(tmp_path: Path) -> None:
    root = folder(tmp_path, (8, 8), (8, 8))
    (root / "train" / "b" / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="train/b: no image in it can be read"):
        load_split("folder", "train", root, reading=Reading(division=Division(skip_broken=True)))


def test_many_files_are_decoded_by_processes_to_the_same_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for i in range(150):
        save(tmp_path / f"{i}.png", 4 + i % 3, 5, seed=i)
        files.append(str(tmp_path / f"{i}.png"))
    Path(files[70]).write_bytes(b"broken")
    alone = list(decoding.decoded(files, "reading", (1, 4, 5)))
    monkeypatch.setattr(decoding, "_FEW", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    shared = list(decoding.decoded(files, "reading", (1, 4, 5)))
    assert [i for i, _ in shared] == list(range(150))
    assert isinstance(shared[70][1], ImageError)
    assert str(shared[70][1]) == str(alone[70][1])
    for (_, one), (_, other) in zip(alone, shared, strict=True):
        if not isinstance(one, ImageError):
            np.testing.assert_array_equal(one, other)
    stopped = decoding.decoded(files, "looking at images")
    assert next(stopped)[1].shape == (4, 5, 1)
    stopped.close()  # workers end with it


def test_the_second_start_reads_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, reading = folder(tmp_path / "photos", (8, 8), (9, 8), (10, 8)), Reading(cache=tmp_path)
    first = load_split("folder", "train", root, reading=reading)
    (cache,) = tmp_path.glob(".photos-train-*.cache.npz")
    with monkeypatch.context() as patch:
        patch.setattr("idsnn_deploy.image_folders.decoded", None)
        again = load_split("folder", "train", root, reading=reading)
        with pytest.raises(TypeError):
            load_split("folder", "train", root, reading=Reading(cache=tmp_path, image_size=4))
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.notes, first.files, first.labels.tolist()) == (again.notes, again.files, again.labels.tolist())
    file = root / "train" / "a" / "0.png"
    save(file, 8, 8, seed=99)
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 10**9))
    changed = load_split("folder", "train", root, reading=reading)
    assert (changed.images[0] != first.images[0]).any()
    with np.load(cache) as held:
        whole = dict(held)
    for odd in (
        {"images": whole["images"][:1]},
        {"kept": whole["kept"] + 9},
        {"kept": whole["kept"] / 1},
        {"notes": None},
    ):
        np.savez(cache, **{**whole, **odd})
        np.testing.assert_array_equal(load_split("folder", "train", root, reading=reading).images, changed.images)
    cache.write_bytes(cache.read_bytes().replace(b"'descr'", b"(descr'"))
    np.testing.assert_array_equal(load_split("folder", "train", root, reading=reading).images, changed.images)
    cache.write_bytes(b"half a file")
    np.testing.assert_array_equal(load_split("folder", "train", root, reading=reading).images, changed.images)
