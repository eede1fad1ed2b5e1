"""Plots for the page as inline SVG: curves, points, columns and rasters; all colours come from the style sheet.

Nothing in them depends on how wide a font is: a value stands on its grid line from the left edge on, names are in the
HTML around the plot (`charts.legend`), and what a plot shows is said in its `aria-label`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from idsnn_deploy.arrays import Array

from ...quantities import percent

# In units of the view box, which is about a phone's width of pixels: a unit of text is a pixel there.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 210, 66, 14, 22, 40
_DOTS = 24  # a curve of more points than this is a line alone


class Line(NamedTuple):
    """A curve of points; `kind` is its colour's class, `dash` tells curves of one colour apart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "spiking"
    dash: int = 0


class Point(NamedTuple):
    """A numbered point; `best` where no other is at least as good in both and better in one."""

    number: int
    x: float
    y: float
    best: bool


class Column(NamedTuple):
    """Two bars side by side, and what is said of them."""

    own: float
    other: float
    kind: str
    words: str


class _Ticks(NamedTuple):
    at: list[float]
    digits: int


def lines(curves: Sequence[Line], x_name: str, says: str, floor: float | None = None, whole: bool = True) -> str:
    """Curves with y in 0..1 shown as percent.

    Args:
        curves: at least one, each of at least one point.
        x_name: what x is.
        says: what the plot shows, for those who do not see it.
        floor: where y starts; None: below the least.
        whole: x are whole steps.
    """
    values, xs = [y for curve in curves for y in curve.y], [x for curve in curves for x in curve.x]
    low, high, ticks = _scale(*((min(values), max(values)) if floor is None else (floor, 1.0)))
    first, last = min(xs), max(xs)
    parts = [*_rows(low, high, ticks), *_x_ticks(_steps(first, last, whole), first, last), _axis(x_name)]
    for curve in curves:
        spots = [(_px(x, first, last), _py(y, low, high)) for x, y in zip(curve.x, curve.y, strict=True)]
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in spots) if len(spots) <= _DOTS else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<g class="{curve.kind} d{curve.dash}"><polyline points="{path}"/>{dots}</g>')
    return _svg(parts, says)


def points(found: Sequence[Point], x_name: str, says: str, shown: Sequence[str]) -> str:
    """Numbered points, y in 0..1 shown as percent against a cost on a logarithmic axis, and the front of the best.

    Args:
        found: the points; the front runs through those that are `best`.
        x_name: what x is, and its unit.
        says: what the plot shows, for those who do not see it.
        shown: the least and the largest x in words, the ends of the axis.
    """
    low, high, ticks = _scale(min(each.y for each in found), max(each.y for each in found))
    logs = [math.log(each.x) for each in found]
    margin = 0.08 * (max(logs) - min(logs))
    first, last = min(logs) - margin, max(logs) + margin

    def spot(each: Point) -> tuple[float, float]:
        return _px(math.log(each.x), first, last), _py(each.y, low, high)

    spots = [spot(each) for each in found]
    front = sorted((at for at, each in zip(spots, found, strict=True) if each.best), key=lambda at: (at[0], -at[1]))
    stairs = "".join(f"H{x:.1f}V{y:.1f}" if i else f"M{x:.1f} {y:.1f}" for i, (x, y) in enumerate(front))
    parts = [*_rows(low, high, ticks), f'<path class="front" d="{stairs}"/>']
    for each, (x, y), (left, base) in zip(found, spots, numbers(spots), strict=True):
        parts.append(
            f'<g class="{"best" if each.best else "rest"}"><circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text x="{left:.1f}" y="{base + 4.5:.1f}" text-anchor="middle">{each.number}</text></g>'
        )
    ends = zip((min(logs), max(logs)), shown, strict=True) if min(logs) < max(logs) else [(min(logs), shown[0])]
    parts += [_x_tick(_px(at, first, last), words) for at, words in ends]
    return _svg([*parts, _axis(x_name)], says)


def numbers(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where the numbers of points stand: each beside its own, and where there is room for that, on nothing else."""
    placed: list[tuple[float, float]] = []
    for x, y in spots:
        rings = [(r * a, r * b) for r in (14, 22, 32, 44) for a, b in _AROUND]
        free = [(x + dx, y + dy) for dx, dy in rings if all(_apart((x + dx, y + dy), at) for at in (*spots, *placed))]
        placed.append(next(iter(free), (x + 14, y)))
    return placed


_AROUND = ((1, 0), (0.7, -0.8), (0, -1), (-0.7, -0.8), (-1, 0), (-0.7, 0.8), (0, 1), (0.7, 0.8))


def _apart(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two numbers, of two digits each, or a number and a point do not touch."""
    return abs(a[0] - b[0]) >= 17 or abs(a[1] - b[1]) >= 14 or math.hypot(a[0] - b[0], a[1] - b[1]) >= 20


def columns(found: Sequence[Column], says: str, top: str) -> str:
    """Pairs of bars from left to right, as many as there are; `top` is the largest value in words."""
    most = max((max(each.own, each.other) for each in found), default=1.0) or 1.0
    slot = WIDTH / max(len(found), 1)
    width = min(0.42 * slot, 26)
    base, tall = HEIGHT - 24, HEIGHT - 24 - TOP
    parts = [f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>' for y in (TOP, base)] + [
        f'<text x="0" y="{TOP - 5}">{escape(top)}</text>'
    ]
    for i, each in enumerate(found):
        middle = (i + 0.5) * slot
        bars = ((middle - width, each.own, each.kind), (middle, each.other, "ann"))
        drawn = "".join(
            f'<rect class="{kind}" x="{x:.1f}" y="{base - tall * value / most:.1f}" width="{0.92 * width:.1f}" '
            f'height="{tall * value / most:.1f}"/>'
            for x, value, kind in bars
        )
        parts.append(f"<g><title>{escape(each.words)}</title>{drawn}</g>")
    numbers = {i for i in range(1, len(found) + 1) if slot >= 24 or i % 5 == 0 or i == 1}
    parts += [_x_tick((i - 0.5) * slot, str(i), base + 16) for i in sorted(numbers)]
    return _svg(parts, says)


def raster(layers: dict[str, Array]) -> str:
    """Spikes of every layer side by side: time runs right within a layer, traced neurons run down."""
    cell, gap, row = 4, 5, 2
    x, height, parts = 0, row * max(spikes.shape[1] for spikes in layers.values()), []
    for name, spikes in layers.items():
        steps, neurons = spikes.shape
        marks = "".join(f"M{x + t * cell} {n * row + row // 2}h{cell - 1}" for t, n in np.argwhere(spikes))
        title = f"{name}: {percent(float(spikes.mean()))} of {neurons} neurons traced spike"
        frame = f'<rect x="{x}" y="0" width="{steps * cell - 1}" height="{neurons * row}"/>'
        parts.append(f'<g><title>{escape(title)}</title>{frame}<path d="{marks}"/></g>')
        x += steps * cell + gap
    rates = ", ".join(f"{name} {percent(float(spikes.mean()))}" for name, spikes in layers.items())
    says = escape(f"spikes of the traced neurons by layer: {rates}")
    box = f'viewBox="0 0 {x - gap} {height}" preserveAspectRatio="none" role="img" aria-label="{says}"'
    return f'<svg class="raster" {box}>{"".join(parts)}</svg>'


def _svg(parts: Sequence[str], says: str) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(says)}"'
    return f'<svg class="chart" {box}>{"".join(parts)}</svg>'


def _px(x: float, first: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * ((x - first) / (last - first) if last > first else 0.5)


def _py(y: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - low) / (high - low))


def _rows(low: float, high: float, ticks: _Ticks) -> list[str]:
    """Grid lines from edge to edge, each with its value standing on it."""
    return [
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{_py(t, low, high):.1f}" y2="{_py(t, low, high):.1f}"/>'
        f'<text x="0" y="{_py(t, low, high) - 4:.1f}">{percent(t, ticks.digits)}</text>'
        for t in ticks.at
    ]


def _x_ticks(at: Sequence[float], first: float, last: float) -> list[str]:
    return [_x_tick(_px(x, first, last), f"{x:g}") for x in at]


def _x_tick(x: float, words: str, y: float = HEIGHT - BOTTOM + 16) -> str:
    # Near an edge a text leans on it, so that none leaves the picture.
    side, at = ("end", WIDTH) if x > WIDTH - 30 and len(words) > 3 else ("middle", x)
    return f'<text x="{at:.1f}" y="{y}" text-anchor="{side}">{escape(words)}</text>'


def _axis(name: str) -> str:
    return f'<text class="axis" x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(name)}</text>'


def _scale(low: float, high: float) -> tuple[float, float, _Ticks]:
    """A round axis around low..high, within 0..1, with at most six ticks."""
    spread = max(high - low, 0.004)
    step = next(s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if spread / s <= 4 or s == 0.25)
    start, stop = max(0.0, np.floor(low / step) * step), min(1.0, np.ceil(high / step) * step)
    if stop - start < step:
        start = max(0.0, stop - step)
        stop = start + step  # where every answer is wrong
    ticks = [float(start + i * step) for i in range(round((stop - start) / step) + 1)]
    return float(start), float(stop), _Ticks(ticks, 1 if step < 0.01 else 0)


def _steps(first: float, last: float, whole: bool) -> list[float]:
    if whole and last - first <= 8:
        return [float(x) for x in range(int(np.ceil(first)), int(last) + 1)]
    step = next((s for s in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (last - first) / s <= 6), (last - first) / 5)
    step = max(step, 1) if whole else step
    start = np.ceil(first / step) * step
    return [round(float(x), 2) for x in np.arange(start, last + step / 100, step)] if step else [first]
