"""A progress bar of one line for commands that bring no terminal library."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")
_QUIET_SECONDS, _REDRAW_SECONDS, _WIDTH = 1.0, 0.1, 24


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items`, drawing on standard error what is done, and how much of it once a second has passed.

    Nothing is drawn where standard error is not a terminal, so logs stay clean.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not sys.stderr.isatty():
        yield from items
        return
    start = drawn = time.monotonic()
    sys.stderr.write(f"\r{what} ...\x1b[K")  # the first item alone may take minutes
    sys.stderr.flush()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - start > _QUIET_SECONDS and now - drawn > _REDRAW_SECONDS:
            drawn = now
            sys.stderr.write("\r" + _line(what, done, total, now - start) + "\x1b[K")
            sys.stderr.flush()
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


def _line(what: str, done: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{what} {done:,} ({done / seconds:,.0f}/s)"
    filled = _WIDTH * min(done, total) // total
    left = seconds * (total - done) / done
    return f"{what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,}/{total:,}, {_time(left)} left"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest:02} s" if minutes else f"{rest} s"
