"""From an image file to the array that a network was trained on: one rule, used in training and on the device.

1. At most 256 MiB of file and 64 million pixels; anything larger is refused before it is decoded.
2. Animated files (GIF, WebP, APNG, multi-page TIFF) are refused: which frame is meant is the caller's to say.
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
from typing import Any, Union

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError
from .files import read_bytes

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 64_000_000
MODES = {1: "L", 3: "RGB"}

# What Pillow's decoders raise on broken files.
_DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError)

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
    with _open(source, where) as image:
        grey = _reject(image, where)
        try:
            flat = _flatten(ImageOps.exif_transpose(image))
        except _DECODER_ERRORS as cause:
            raise ImageError(f"{where}: does not decode ({_first_line(cause)})") from cause
    channels = shape[0] if shape else (1 if grey else 3)
    if channels not in MODES:
        raise ImageError(f"{where}: the network takes {channels} channels; image files have 1 (grey) or 3 (RGB)")
    flat = flat.convert(MODES[channels])
    if shape and flat.size != (shape[2], shape[1]):
        flat = flat.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(flat).reshape(flat.height, flat.width, channels)


def _open(source: ImageSource, where: str) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    data = source if isinstance(source, bytes) else read_bytes(source, MAX_FILE_BYTES, ImageError)
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError as cause:
        raise ImageError(f"{where}: not an image that Pillow can read") from cause
    except Image.DecompressionBombError as cause:
        raise ImageError(f"{where}: at most {MAX_PIXELS:,} pixels are decoded") from cause
    except _DECODER_ERRORS as cause:
        raise ImageError(f"{where}: does not decode ({_first_line(cause)})") from cause


def _reject(image: Image.Image, where: str) -> bool:
    """Refuses by the header alone, before any pixel is decoded; says whether the image is grey."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{where}: {image.width}x{image.height} pixels; at most {MAX_PIXELS:,} are decoded")
    frames: int = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{where}: animated ({frames} frames); save the frame you mean as a file of its own")
    if image.mode in ("I", "F"):
        raise ImageError(f"{where}: {image.mode}-mode pixels have no known range; save as 8 or 16 bits")
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I;16")


def _flatten(image: Image.Image) -> Image.Image:
    """Grey or colour without palette, transparency or 16-bit samples."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        return over.convert("RGB")
    return image.convert("RGB") if image.mode == "P" else image


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
