"""The one image rule: what is read, what is converted, what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from idsnn_deploy import images as module
from idsnn_deploy.errors import ImageError
from idsnn_deploy.images import load_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def frames(count: int = 3) -> list[Image.Image]:
    return [Image.fromarray(np.full((6, 6, 3), 40 * i, dtype=np.uint8)) for i in range(count)]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")) + end


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_own_pixels(kind: str, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(COLOUR), kind)
    file = tmp_path / "a.bin"  # the content decides, not the name
    file.write_bytes(data)
    for source in (data, file, str(file), Image.fromarray(COLOUR)):
        np.testing.assert_array_equal(load_image(source, (3, 12, 10)), COLOUR)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_a_lossy_file_comes_close(kind: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 16, dtype=np.uint8)[:, None, None], (1, 16, 3))
    got = load_image(encoded(Image.fromarray(smooth), kind), (3, 16, 16))
    assert np.abs(got.astype(int) - smooth).max() <= 12


def test_the_network_decides_between_grey_and_colour() -> None:
    grey = COLOUR[..., 0]
    assert load_image(Image.fromarray(grey)).shape == (12, 10, 1)
    np.testing.assert_array_equal(load_image(Image.fromarray(grey), (3, 12, 10)), np.repeat(grey[..., None], 3, axis=2))
    luma = (COLOUR @ np.array([0.299, 0.587, 0.114])).round()
    assert np.abs(load_image(Image.fromarray(COLOUR), (1, 12, 10))[..., 0] - luma).max() <= 1


def test_sixteen_bits_are_divided_by_257() -> None:
    wide = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    expected = [[0, 0, 1, 1, 128, 255]]
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(load_image(encoded(Image.fromarray(wide), kind), (1, 1, 6))[..., 0], expected)


def test_a_palette_is_looked_up() -> None:
    flat = Image.fromarray(np.where(COLOUR > 127, 255, 0).astype(np.uint8))
    indexed = flat.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    np.testing.assert_array_equal(load_image(encoded(indexed), (3, 12, 10)), np.asarray(flat))


def test_transparency_lies_over_white() -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = [0, 255, 51]
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(rgba)), (1, 1, 3))[..., 0], [[255, 0, 204]])
    keyed = encoded(Image.fromarray(np.array([[0, 9]], dtype=np.uint8)), transparency=0)
    np.testing.assert_array_equal(load_image(keyed, (1, 1, 2))[..., 0], [[255, 9]])


def test_the_orientation_in_the_exif_data_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    got = load_image(encoded(Image.fromarray(COLOUR), exif=exif))
    np.testing.assert_array_equal(got, np.rot90(COLOUR, -1))


def test_resizing_is_pillows_bilinear_filter_and_averages_when_shrinking() -> None:
    expected = Image.fromarray(COLOUR).resize((4, 6), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(COLOUR)), (3, 6, 4)), np.asarray(expected))
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = load_image(Image.fromarray(checks.astype(np.uint8)), (1, 4, 4)).astype(int)
    assert np.abs(small - 127.5).max() < 4


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I;16"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_pixel_is_converted(mode: str, channels: int) -> None:
    got = load_image(Image.new(mode, (5, 4)), (channels, 4, 5))
    assert got.shape == (4, 5, channels)
    assert got.dtype == np.uint8


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="no known range"):
        load_image(encoded(Image.new(mode, (5, 4)), "TIFF"), (1, 4, 5))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_animated_files_are_refused(kind: str) -> None:
    first, *rest = frames()
    with pytest.raises(ImageError, match="animated"):
        load_image(encoded(first, kind, save_all=True, append_images=rest), (3, 6, 6))


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 11, reason="older Pillow writes such files malformed")
def test_a_phones_multi_picture_file_is_its_first_picture() -> None:
    first, *rest = frames()
    data = encoded(first, "MPO", save_all=True, append_images=rest)
    assert load_image(data, (3, 6, 6)).max() <= 2


@pytest.mark.parametrize("size", [(8001, 8000), (9000, 9900), (12000, 8000), (60000, 60000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    # The last two are past the limits at which Pillow itself warns and raises.
    with pytest.raises(ImageError, match="64,000,000"):
        load_image(png_header(*size), (3, 8, 8))


def test_a_file_larger_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    (tmp_path / "a.bmp").write_bytes(encoded(Image.fromarray(COLOUR), "BMP"))
    with pytest.raises(ImageError, match="larger than 100 bytes"):
        load_image(tmp_path / "a.bmp")


def test_formats_that_start_programs_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not an image of a known format"):
        load_image(encoded(Image.fromarray(COLOUR), "EPS"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_text("hello"), "not an image"),
        (lambda path: path.write_bytes(encoded(Image.fromarray(COLOUR), "JPEG")[:400]), "does not decode"),
    ],
)
def test_what_is_no_image_is_named_in_one_line(make: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    make(path)
    with pytest.raises(ImageError, match=words) as caught:
        load_image(path, (3, 4, 4))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_two_channels_reads_no_image_file() -> None:
    with pytest.raises(ImageError, match="2 channels"):
        load_image(Image.fromarray(COLOUR), (2, 12, 10))


def test_the_callers_image_stays_open_and_as_it_was() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(COLOUR))))
    first = load_image(image, (1, 4, 4))
    np.testing.assert_array_equal(load_image(image, (1, 4, 4)), first)
    assert (image.size, image.mode) == ((10, 12), "RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_mutated_files_end_in_an_image_error_or_an_image(kind: str) -> None:
    exif = {"exif": Image.Exif()} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    for value in exif.values():
        value[0x0112] = 6
    whole = encoded(Image.fromarray(COLOUR), kind, **exif)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        try:
            got = load_image(bytes(data[: rng.integers(1, len(data) + 1)] if seed % 3 == 0 else data), (3, 5, 5))
        except ImageError:
            continue
        assert got.shape == (5, 5, 3)
