"""What libraries say past Python, kept from standard error: an error is one line, and it is ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

_STDERR = 2  # file descriptor


class Shared:
    """A change to the whole process, in any number of threads at once: the first to come makes it, the last undoes it.

    Two threads that each put back what they found, warning filters say, leave one's change behind for good.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change, self._lock, self._inside = change, threading.Lock(), 0
        self._made = change()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._made = self._change()
                self._made.__enter__()
            self._inside += 1

    def __exit__(self, *error: Any) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._made.__exit__(None, None, None)


@contextmanager
def _closed_stderr() -> Iterator[None]:
    """libtiff and readers of recordings write what they think of a file to the process's standard error themselves."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # there is none
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


SILENT = Shared(_closed_stderr)
