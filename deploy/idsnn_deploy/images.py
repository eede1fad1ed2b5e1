"""From an image file to the array that a network was trained on: one rule, used in training and on the device.

1. JPEG, PNG, GIF, WebP, BMP, TIFF and PPM/PGM, at most 256 MiB of file and 64 million pixels; anything else is refused
   before it is decoded. (Other formats that Pillow knows start programs, or are read by decoders that few have tested.)
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
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Union

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError
from .files import read_bytes

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 64_000_000
MODES = {1: "L", 3: "RGB"}

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_PICTURE_SETS = ("MPO",)  # a JPEG with more pictures behind the first; its further frames are no animation

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
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
        channels = shape[0] if shape else (1 if grey else 3)
        if channels not in MODES:
            raise ImageError(f"{where}: the network takes {channels} channels; image files have 1 (grey) or 3 (RGB)")
        flat = _flatten(ImageOps.exif_transpose(image)).convert(MODES[channels])
    if shape and flat.size != (shape[2], shape[1]):
        flat = flat.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(flat).reshape(flat.height, flat.width, channels)


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Everything that a broken file can raise, as one `ImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, which nothing here reads
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as cause:
        raise ImageError(f"{where}: not an image of a known format ({', '.join(_FORMATS)})") from cause
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as cause:
        raise ImageError(f"{where}: more than {MAX_PIXELS:,} pixels, the most that are decoded") from cause
    except Exception as cause:  # decoders raise what their parsing happens to meet: struct, zlib, key, type errors
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ImageError(f"{where}: does not decode ({reason})") from cause


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
    # Not `n_frames`, which walks through every frame of the file to count them. A decoded copy stands on one frame.
    if getattr(image, "is_animated", False) and image.format not in _PICTURE_SETS:
        raise ImageError(f"{where}: animated; save the frame that you mean as a file of its own")
    if image.mode in ("I", "F"):
        raise ImageError(f"{where}: {image.mode}-mode pixels have no known range; save as 8 or 16 bits")


def _flatten(image: Image.Image) -> Image.Image:
    """Grey or colour without palette, transparency or 16-bit samples."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        return over.convert("RGB")
    return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")
