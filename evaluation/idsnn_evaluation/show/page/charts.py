"""Small charts for the page in HTML: bars, gauges, heat maps, tables, legends; colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from .plots import Line

_COLUMNS = 16  # of a heat map, at most: more are read by nobody, and fit on no screen


class Bar(NamedTuple):
    """A horizontal bar from 0 to the interval's least, lighter on to its most; `kind` is its colour's class."""

    label: str
    interval: tuple[float, float]
    text: str
    kind: str = "spiking"


def bars(rows: Sequence[Bar], logarithmic: bool = False) -> str:
    """Bars over one another on one scale; `logarithmic` from a decade below the least to the most."""
    top = max((row.interval[1] for row in rows), default=1.0) or 1.0
    least = min((row.interval[0] for row in rows if row.interval[0] > 0), default=1.0) / 10

    def share(value: float) -> float:
        if not logarithmic:
            return 100 * value / top
        return 0.0 if value <= 0 else 100 * math.log(value / least) / math.log(top / least)

    lines = []
    for row in rows:
        start, end = map(share, row.interval)
        # A thousandth of the scale is drawn as a hair, so that it is not taken for nothing.
        hair = max(start, 0.4) if row.interval[0] > 0 else 0.0
        spread = f'<i class="range" style="left:{start:.2f}%;width:{end - start:.2f}%"></i>' if end > start else ""
        lines.append(
            f'<li class="bar {row.kind}"><span class="label">{escape(row.label)}</span>'
            f'<span class="track"><i style="width:{hair:.2f}%"></i>{spread}</span>'
            f'<span class="value">{escape(row.text)}</span></li>'
        )
    return f'<ul class="bars">{"".join(lines)}</ul>'


def key(names: Mapping[str, str]) -> str:
    """What the colours mean: class → words."""
    return '<ul class="key">' + "".join(f'<li class="{k}"><i></i>{escape(v)}</li>' for k, v in names.items()) + "</ul>"


def legend(curves: Sequence[Line]) -> str:
    """The names of curves, each beside a piece of its line."""
    items = "".join(f'<li class="{c.kind} d{c.dash}">{_sample(c)}{escape(c.label)}</li>' for c in curves)
    return f'<ul class="key">{items}</ul>'


def _sample(curve: Line) -> str:
    shape = '<polyline points="0,5 28,5"/>' if len(curve.x) > 1 else '<circle cx="14" cy="5" r="4"/>'
    return f'<svg viewBox="0 0 28 10" aria-hidden="true">{shape}</svg>'


def heat(names: Sequence[str], rates: Sequence[Sequence[float]]) -> str:
    """A table of rates in percent by time step, one row per name, coloured up to the largest.

    Where there are many steps, a column is the mean of several; the last column is the mean of all.
    """
    parts = _grouped(max(map(len, rates)))
    shown = [[_mean(row[part]) for part in parts] for row in rates]
    top = max((max(row) for row in shown), default=0.0) or 1.0
    rows = []
    for name, row, every in zip(names, shown, rates, strict=True):
        cells = [
            f'<td style="--v:{0.6 * value / top:.3f}"{" class=mean" if i == len(row) else ""}>{100 * value:.1f}</td>'
            for i, value in enumerate([*row, _mean(every)])
        ]
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>")
    head = [str(p.start + 1) if p.stop - p.start == 1 else f"{p.start + 1}–{p.stop}" for p in parts]
    titles = "".join(f"<th scope=col>{title}</th>" for title in ("layer", *head, "mean"))
    return _scrolled(
        f'<table class="heat"><thead><tr>{titles}</tr></thead><tbody>{"".join(rows)}</tbody></table>',
        "firing rate by layer and step, in percent",
    )


def _grouped(steps: int) -> list[slice]:
    size = -(-steps // _COLUMNS)
    return [slice(at, min(at + size, steps)) for at in range(0, steps, size)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1, says: str = "") -> str:
    """A table whose first `text_columns` are words and whose others are numbers; cells are escaped.

    The first cell of a row names it; `says` is what the table holds, for those who do not see it.
    """
    titles = "".join(f"<th scope=col{_side(i, text_columns)}>{escape(title)}</th>" for i, title in enumerate(head))
    body = "".join(f"<tr>{_row(row, text_columns)}</tr>" for row in rows)
    return _scrolled(f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>", says or head[0])


def _row(cells: Sequence[str], text_columns: int) -> str:
    first, *others = cells
    return f"<th scope=row>{escape(first)}</th>" + "".join(
        f"<td{_side(i, text_columns)}>{escape(cell)}</td>" for i, cell in enumerate(others, 1)
    )


def _scrolled(markup: str, says: str) -> str:
    """What may be wider than a phone scrolls by itself, with the arrow keys too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(says)}">{markup}</div>'


def details(summary: str, content: str) -> str:
    """What only some want to see."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def gauge(value: float | None, limits: Sequence[float], shown: str, words: str) -> str:
    """A marker on a scale with a shaded band: where a value lies against a published range."""
    if value is None:
        return ""
    top = 1.25 * max(value, limits[1])
    left, width = 100 * limits[0] / top, 100 * (limits[1] - limits[0]) / top
    at = 100 * value / top
    # The value leans to the side that has room, whatever its width.
    side = f"left:{at:.1f}%" if at < 50 else f"right:{100 - at:.1f}%"
    return (
        f'<div class="gauge"><p>{escape(words)}</p><div class="scale"><i class="band" style="left:{left:.1f}%;'
        f'width:{max(width, 0.6):.1f}%"></i><i class="mark" style="left:{at:.1f}%"></i></div>'
        f'<p class="at"><span style="{side}">{escape(shown)}</span></p></div>'
    )


def _side(column: int, text_columns: int) -> str:
    return ' class="n"' if column >= text_columns else ""
