"""The section of single samples: the image, its spikes in every layer, and what the network made of them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from ...quantities import percent
from ...report import Example
from ..words import flow
from . import charts, plots
from .plots import Line

_LIKELIEST = 3
_PAPER, _BLACK, _OFF, _ON, _BOTH = 128, (16, 16, 20), (80, 150, 255), (255, 90, 60), (220, 130, 255)
_PICTURE = 144  # pixels that a small image is enlarged to, in whole steps


def examples(found: Sequence[Example], classes: Sequence[str]) -> str:
    """The whole section; nothing without samples."""
    if not found:
        return ""
    cards = "".join(_card(example, classes) for example in found)
    text = flow("""
        Left to right lie the layers, each with its time steps; every row is one of up to 64 neurons traced in a layer,
        and a mark is a spike. Below, how probable the likeliest classes become, and the right one.
    """)
    return f'<h2 id="samples">A few samples, as the network saw them</h2><p>{text}</p><div class="grid">{cards}</div>'


def _card(example: Example, classes: Sequence[str]) -> str:
    final = example.evidence[-1]
    guess = int(final.argmax())
    said = f"{classes[guess]} ({percent(float(final[guess]), 0)})"
    wrong = "" if guess == example.label else f" <span class=wrong>wrong: it is {escape(classes[example.label])}</span>"
    picture = _picture(example.pixels)
    seen = f"a sample of the class {classes[example.label]}, as the network gets it"
    image = f'<img src="{picture}" alt="{escape(seen)}">' if picture else "<span></span>"
    return (
        f'<div class="card"><div class="example">{image}<p><b>{escape(said)}</b>{wrong}</p></div>'
        f"{_raster(example)}{_evidence(example, guess, classes)}</div>"
    )


def _raster(example: Example) -> str:
    if not example.rasters:
        return ""
    first, *_, last = [*example.rasters, *example.rasters]
    ends = f'<div class="from-to"><span>{escape(first)}</span><span>{escape(last)}</span></div>'
    return plots.raster(example.rasters) + ends


def _evidence(example: Example, guess: int, classes: Sequence[str]) -> str:
    final, steps = example.evidence[-1], [float(t) for t in range(1, len(example.evidence) + 1)]
    shown = [int(k) for k in np.argsort(-final, kind="stable")[:_LIKELIEST]]
    if example.label not in shown:
        shown[-1] = example.label
    kinds = {guess: ("ann", 1), example.label: ("spiking", 0)}  # the right class has the network's own colour
    looks = [kinds.get(k, ("quiet", 2 + shown.index(k) % 2)) for k in shown]
    curves = [
        Line(f"{classes[k]}: {percent(float(final[k]), 0)}", steps, example.evidence[:, k].tolist(), *look)
        for k, look in zip(shown, looks, strict=True)
    ]
    said = f"probabilities after each step, in the end: {', '.join(curve.label for curve in curves)}"
    return plots.lines(curves, "time step", said, floor=0.0) + charts.legend(curves)


def _picture(pixels: np.ndarray[Any, Any]) -> str | None:
    """The sample as an embedded PNG; None where it is neither an image nor frames of events."""
    if pixels.ndim == 4 and pixels.shape[1] == 2:
        image = Image.fromarray(_frames(pixels))
    elif pixels.ndim != 3 or len(pixels) not in (1, 3) or pixels.min() < 0 or pixels.max() > 1:
        return None
    else:
        array = (pixels * 255 + 0.5).astype(np.uint8)
        image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    times = max(1, _PICTURE // max(image.size))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _frames(frames: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Frames `(T, 2, H, W)` of events in rows, first to last: off blue, on red, both violet; uint8 `(h, w, 3)`."""
    steps, _, height, width = frames.shape
    columns = math.ceil(math.sqrt(steps))
    rows = -(-steps // columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), _PAPER, dtype=np.uint8)
    for t, (off, on) in enumerate(frames > 0):
        top, left = t // columns * (height + 1), t % columns * (width + 1)
        tile = sheet[top : top + height, left : left + width]
        tile[:] = _BLACK
        tile[off], tile[on], tile[off & on] = _OFF, _ON, _BOTH
    return sheet
