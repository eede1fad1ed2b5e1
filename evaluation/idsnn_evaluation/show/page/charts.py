"""Small charts for the page: HTML bars and tables, inline SVG lines; all colours come from the style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from idsnn_deploy.arrays import Array


class Bar(NamedTuple):
    """A horizontal bar from 0 to the interval's least, lighter on to its most; `kind` is its colour's class."""

    label: str
    interval: tuple[float, float]
    text: str
    kind: str = "spiking"


class Line(NamedTuple):
    """A curve of points; `kind` is its colour's class, `label` stands at its end."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "spiking"


def bars(rows: Sequence[Bar], logarithmic: bool = False) -> str:
    """Bars over one another on one scale; `logarithmic` from a decade below the least to the most."""
    top = max((row.interval[1] for row in rows), default=1.0) or 1.0
    least = min((row.interval[0] for row in rows if row.interval[0] > 0), default=1.0) / 10

    def share(value: float) -> float:
        if not logarithmic:
            return 100 * value / top
        return 0.0 if value <= 0 else 100 * float(np.log(value / least) / np.log(top / least))

    lines = []
    for row in rows:
        start, end = map(share, row.interval)
        # A thousandth of the scale is drawn as a hair, so that it is not taken for nothing.
        hair = max(start, 0.4) if row.interval[0] > 0 else 0.0
        spread = f'<i class="range" style="left:{start:.2f}%;width:{end - start:.2f}%"></i>' if end > start else ""
        lines.append(
            f'<div class="bar {row.kind}"><span class="label">{escape(row.label)}</span>'
            f'<span class="track"><i style="width:{hair:.2f}%"></i>{spread}</span>'
            f'<span class="value">{escape(row.text)}</span></div>'
        )
    return f'<div class="bars">{"".join(lines)}</div>'


def key(names: dict[str, str]) -> str:
    """What the colours mean: class → words."""
    return (
        '<p class="key">' + "".join(f'<span class="{k}"><i></i>{escape(v)}</span>' for k, v in names.items()) + "</p>"
    )


def heat(names: Sequence[str], rates: Sequence[Sequence[float]], head: Sequence[str]) -> str:
    """A table of rates in percent, one row per name, coloured up to the largest; the last column is the mean."""
    top = max((max(row) for row in rates), default=0.0) or 1.0
    rows = []
    for name, row in zip(names, rates, strict=True):
        cells = [
            f'<td style="--v:{0.75 * value / top:.3f}"{" class=mean" if i == len(row) else ""}>{100 * value:.1f}</td>'
            for i, value in enumerate([*row, sum(row) / len(row)])
        ]
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>")
    titles = "".join(f"<th scope=col>{escape(title)}</th>" for title in (*head, "mean"))
    head_row = f"<tr><th scope=col>layer</th>{titles}</tr>"
    return f'<table class="heat"><thead>{head_row}</thead><tbody>{"".join(rows)}</tbody></table>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table whose first `text_columns` are words and whose others are numbers; cells are escaped."""
    titles = "".join(f"<th scope=col{_side(i, text_columns)}>{escape(title)}</th>" for i, title in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(i, text_columns)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def lines(curves: Sequence[Line], x_name: str, y_name: str, floor: float | None = None, whole: bool = True) -> str:
    """Curves with y in 0..1 shown as percent, x in whole steps; `floor` is where y starts (default: below the least).

    Labels at the curves' ends are moved apart so that none covers another.
    """
    width, height, left, top, bottom = 360, 210, 44, 12, 38
    right = 74 if any(curve.label for curve in curves) else 12
    values = [y for curve in curves for y in curve.y]
    low, high = (min(values), max(values)) if floor is None else (floor, 1.0)
    low, high, ticks = _scale(low, high)
    xs = [x for curve in curves for x in curve.x]
    first, last = min(xs), max(xs)

    def px(x: float) -> float:
        return left + (width - left - right) * ((x - first) / (last - first) if last > first else 0.5)

    def py(y: float) -> float:
        return top + (height - top - bottom) * (1 - (y - low) / (high - low))

    parts = [
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
        f'<text x="{left - 6}" y="{py(t) + 4:.1f}" text-anchor="end">{100 * t:.{ticks.digits}f} %</text>'
        for t in ticks.at
    ]
    for x in _steps(first, last, whole):
        parts.append(f'<text x="{px(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{x:g}</text>')
    parts.append(
        f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">{x_name}</text>'
    )
    labelled = [curve for curve in curves if curve.label]
    ends = dict(
        zip(map(id, labelled), apart([py(curve.y[-1]) for curve in labelled], 13, height - bottom), strict=True)
    )
    for curve in curves:
        points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        dots = "".join(
            f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="2.6"/>' for x, y in zip(curve.x, curve.y, strict=True)
        )
        label = escape(_clipped(curve.label))
        at = max(px(x) for x in curve.x)
        parts.append(
            f'<g class="{curve.kind}"><polyline points="{points}"/>{dots if len(curve.x) <= 24 else ""}'
            f'<text class="end" x="{at + 7:.1f}" y="{ends.get(id(curve), 0) + 4:.1f}">{label}</text></g>'
        )
    box = f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(y_name)}"'
    return f'<svg class="chart" {box}>{"".join(parts)}</svg>'


def gauge(value: float | None, limits: Sequence[float], shown: str, words: str) -> str:
    """A marker on a scale with a shaded band: where a value lies against a published range."""
    if value is None:
        return ""
    top = 1.25 * max(value, limits[1])
    left, width = 100 * limits[0] / top, 100 * (limits[1] - limits[0]) / top
    return (
        f'<div class="gauge"><p>{escape(words)}</p><div class="scale"><i class="band" style="left:{left:.1f}%;'
        f'width:{max(width, 0.6):.1f}%"></i><i class="mark" style="left:{100 * value / top:.1f}%"></i></div>'
        f'<p class="at" style="--at:{100 * value / top:.1f}%">{escape(shown)}</p></div>'
    )


def raster(layers: dict[str, Array]) -> str:
    """Spikes of every layer side by side: time runs right within a layer, traced neurons run down."""
    cell, gap, row = 4, 5, 2
    x, height, parts = 0, row * max(spikes.shape[1] for spikes in layers.values()), []
    for name, spikes in layers.items():
        steps, neurons = spikes.shape
        dots = "".join(f"M{x + t * cell} {n * row}h{cell - 1}v{row}h-{cell - 1}z" for t, n in np.argwhere(spikes))
        title = f"{name}: {spikes.mean():.1%} of {neurons} neurons traced spike"
        frame = f'<rect x="{x}" y="0" width="{steps * cell - 1}" height="{neurons * row}"/>'
        parts.append(f"<g><title>{escape(title)}</title>{frame}<path d='{dots}'/></g>")
        x += steps * cell + gap
    return (
        f'<svg class="raster" viewBox="0 0 {x - gap} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="spikes of {len(layers)} layers">{"".join(parts)}</svg>'
    )


def apart(positions: Sequence[float], distance: float, high: float) -> list[float]:
    """The positions moved to lie at least `distance` apart and under `high`, order kept."""
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, dtype=float)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + distance)
    if len(placed) and placed[-1] > high:
        placed[-1] = high
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - distance)
    result = np.empty(len(placed))
    result[order] = placed
    return [float(value) for value in result]


class _Ticks(NamedTuple):
    at: list[float]
    digits: int


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


def _clipped(label: str, most: int = 11) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _side(column: int, text_columns: int) -> str:
    return ' class="n"' if column >= text_columns else ""
