"""The section of single samples: the image, its spikes in every layer, and what the network made of them."""

from __future__ import annotations

import base64
import io
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
_BLACK, _OFF, _ON, _BOTH = (16, 16, 20), (80, 150, 255), (255, 90, 60), (220, 130, 255)
_PICTURE = 144  # pixels that a small image is enlarged to, in whole steps

Picture = np.ndarray[Any, np.dtype[Any]]


def examples(found: Sequence[Example], classes: Sequence[str]) -> str:
    """The whole section; nothing without samples."""
    if not found:
        return ""
    cards = "".join(_card(example, classes) for example in found)
    events = _is_events(found[0].pixels)
    intro = "On top the events of each step, in the order of time. " if events else ""
    text = intro + flow("""
        Left to right lie the layers, each with its time steps; every row is one of up to 64 neurons traced in a layer,
        and a mark is a spike. Below, how probable the likeliest classes become, and the right one.
    """)
    key = _key() if events else ""
    title = '<h2 id="samples">A few samples, as the network saw them</h2>'
    return f'{title}<p>{text}</p>{key}<div class="grid">{cards}</div>'


def _card(example: Example, classes: Sequence[str]) -> str:
    final = example.evidence[-1]
    guess = int(final.argmax())
    said = f"{classes[guess]} ({percent(float(final[guess]), 0)})"
    wrong = "" if guess == example.label else f" <span class=wrong>wrong: it is {escape(classes[example.label])}</span>"
    answer = f"<p><b>{escape(said)}</b>{wrong}</p>"
    seen = f"a sample of the class {classes[example.label]}, as the network gets it"
    return (
        f'<div class="card">{_sample(example.pixels, answer, seen)}'
        f"{_raster(example)}{_evidence(example, guess, classes)}</div>"
    )


def _sample(pixels: Picture, answer: str, seen: str) -> str:
    """The answer, beside the image or over the frames; `seen` says what is shown."""
    if _is_events(pixels):
        return answer + _strip(pixels, seen)
    picture = _picture(pixels)
    image = f'<img src="{picture}" alt="{escape(seen)}">' if picture else "<span></span>"
    return f'<div class="example">{image}{answer}</div>'


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


def _is_events(pixels: Picture) -> bool:
    """Whether a sample is frames `(T, 2, H, W)` of events."""
    return pixels.ndim == 4 and pixels.shape[1] == 2


def _picture(pixels: Picture) -> str | None:
    """An image `(C, H, W)` in 0..1 as an embedded PNG; None where the sample is none."""
    if pixels.ndim != 3 or len(pixels) not in (1, 3) or pixels.min() < 0 or pixels.max() > 1:
        return None
    array = (pixels * 255 + 0.5).astype(np.uint8)
    return _png(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _strip(frames: Picture, seen: str) -> str:
    """Frames `(T, 2, H, W)` of events, in the order of time."""
    shown = "".join(
        f'<figure><img src="{_png(_frame(frame > 0))}" alt="{escape(seen)}: its events at step {t}">'
        f"<figcaption>{t}</figcaption></figure>"
        for t, frame in enumerate(frames, start=1)
    )
    return f'<div class="frames">{shown}</div>'


def _frame(events: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One frame, uint8 `(H, W, 3)`, of where there were events, bool `(2, H, W)`: off, then on."""
    off, on = events
    picture = np.full((*off.shape, 3), _BLACK, dtype=np.uint8)
    picture[off], picture[on], picture[off & on] = _OFF, _ON, _BOTH
    return picture


def _key() -> str:
    """What the colours of events mean."""
    named = (("brighter (on)", _ON), ("darker (off)", _OFF), ("both within the step", _BOTH))
    chips = "".join(f'<span><i style="--c: rgb{colour}"></i>{name}</span>' for name, colour in named)
    return f'<div class="key">{chips}</div>'


def _png(array: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    image = Image.fromarray(array)
    times = max(1, _PICTURE // max(image.size))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
