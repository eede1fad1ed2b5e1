"""From an image file to the array that a network was trained on: one rule, used in training and on the device.

1. JPEG, PNG, GIF, WebP, BMP, TIFF and PPM/PGM, at most 256 MiB of file, 64 million pixels and 200 MiB of them decoded
   (a byte a pixel of grey, two of 16-bit grey, four of any other kind); anything else is refused before it is decoded.
   (Other formats that Pillow knows start programs, or are read by decoders that few have tested.)
2. Animated files (GIF, WebP, APNG, multi-page TIFF) are refused: which frame is meant is the caller's to say. A phone's
   multi-picture JPEG is its first picture; the others are previews and depth maps.
3. The EXIF orientation is applied.
4. 16-bit grey is scaled to 8 bits (divided by 257, rounded). 32-bit integer and float images are refused: the file does
   not say their range.
5. Palettes are looked up. Transparent pixels are laid over white.
6. Grey (mode L) where the network has one channel, RGB where it has three; CMYK, YCbCr, LAB and HSV are converted.
7. Resized to the network's height and width with Pillow's bilinear filter (it averages when shrinking), never cropped.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Union

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError, first_line
from .files import read_bytes
from .silence import SILENT, Shared

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS, MAX_DECODED = 64_000_000, 200 * 2**20
_BYTES = {"1": 1, "L": 1, "P": 1}  # of a pixel in memory; of any other mode 4
_STRIP = 2**20  # pixels that are brought to 8 bits without transparency at a time
MODES = {1: "L", 3: "RGB"}

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF: height and width change places
_PICTURE_SETS = ("MPO",)  # a JPEG with more pictures behind the first; its further frames are no animation

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its words about broken files, which else go to a terminal

ImageSource = Union[str, "os.PathLike[str]", bytes, Image.Image]


def load_image(source: ImageSource, shape: tuple[int, int, int] | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns an image as uint8 `(H, W, C)` by the rule of this module.

    Args:
        source: a path, an encoded file's bytes, or a decoded Pillow image.
        shape: the network's `(C, H, W)`; None keeps the image's own size, grey where it is grey and else RGB.

    Raises:
        ImageError: where the file is missing, does not decode, or is of a kind the rule refuses.
    """
    where = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "image"
    with _decoding(where), _open(source) as image:
        _refuse(image, where)
        return _pixels(image, shape, where)


def _pixels(image: Image.Image, shape: tuple[int, int, int] | None, where: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    channels = shape[0] if shape else _channels(image)
    if channels not in MODES:
        raise ImageError(f"{where}: the network takes {channels} channels; image files have 1 (grey) or 3 (RGB)")
    with SILENT if image.format == "TIFF" else nullcontext():
        flat = _flatten(ImageOps.exif_transpose(image))
    flat = flat if flat.mode == MODES[channels] else flat.convert(MODES[channels])
    if shape and flat.size != (shape[2], shape[1]):
        flat = flat.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(flat).reshape(flat.height, flat.width, channels)


def look(source: ImageSource, most: int) -> np.ndarray[Any, np.dtype[np.uint8]] | tuple[int, int, int]:
    """What `load_image` gives without a shape, where that is at most `most` pixels; else its `(H, W, C)` by the header.

    Raises:
        ImageError: as `load_image`, as far as it was read.
    """
    where = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "image"
    with _decoding(where), _open(source) as image:
        _refuse(image, where)
        if image.width * image.height <= most:
            return _pixels(image, None, where)
        lies = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
        return (image.width, image.height, _channels(image)) if lies else (image.height, image.width, _channels(image))


def _channels(image: Image.Image) -> int:
    """1 of a grey image, 3 of any other."""
    return 1 if image.mode in ("1", "L", "LA") or image.mode.startswith("I;16") else 3


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Everything that a broken file can raise, as one `ImageError`."""
    try:
        with _QUIET:
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as cause:
        raise ImageError(f"{where}: not an image of a known format ({', '.join(_FORMATS)})") from cause
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as cause:
        raise ImageError(f"{where}: more than {MAX_PIXELS:,} pixels, the most that are decoded") from cause
    except Exception as cause:  # decoders raise what their parsing happens to meet: struct, zlib, key, type errors
        reason = first_line(cause)
        raise ImageError(f"{where}: does not decode ({reason})") from cause


@contextmanager
def _ignored_warnings() -> Iterator[None]:
    """Nothing is said about odd metadata, which nothing here reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


_QUIET = Shared(_ignored_warnings)


@contextmanager
def _open(source: ImageSource) -> Iterator[Image.Image]:
    """The image, its pixels not yet decoded; a caller's Pillow image stays open and as it is."""
    if isinstance(source, Image.Image):
        yield source
        return
    data = source if isinstance(source, bytes) else read_bytes(source, MAX_FILE_BYTES, ImageError)
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        yield image


def _refuse(image: Image.Image, where: str) -> None:
    """Raises `ImageError` by the header alone, before any pixel is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{where}: {image.width}x{image.height} pixels; at most {MAX_PIXELS:,} are decoded")
    size = image.width * image.height * (2 if image.mode.startswith("I;16") else _BYTES.get(image.mode, 4))
    if size > MAX_DECODED:
        raise ImageError(
            f"{where}: {image.width}x{image.height} pixels of mode {image.mode} are {size:,} bytes decoded; at most "
            f"{MAX_DECODED:,} are"
        )
    # Not `n_frames`, which walks through every frame of the file to count them. A decoded copy stands on one frame.
    if getattr(image, "is_animated", False) and image.format not in _PICTURE_SETS:
        raise ImageError(f"{where}: animated; save the frame that you mean as a file of its own")
    if image.mode in ("I", "F"):
        raise ImageError(f"{where}: {image.mode}-mode pixels have no known range; save as 8 or 16 bits")


def _flatten(image: Image.Image) -> Image.Image:
    """Grey or colour without palette, transparency or 16-bit samples; in strips, for each step takes a copy."""
    wide = image.mode.startswith("I;16")
    if not wide and image.mode not in ("LA", "RGBA", "RGBa", "PA") and "transparency" not in image.info:
        return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")
    flat = Image.new("L" if wide else "RGB", image.size)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        flat.paste(_narrowed(strip) if wide else _over_white(strip), (0, top))
    return flat


def _narrowed(strip: Image.Image) -> Image.Image:
    wide = np.asarray(strip).astype(np.uint32)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _over_white(strip: Image.Image) -> Image.Image:
    over = Image.new("RGBA", strip.size, "white")
    over.alpha_composite(strip.convert("RGBA"))
    return over.convert("RGB")
