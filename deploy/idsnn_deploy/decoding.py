"""Many image files at once, on all cores.

Workers are processes of their own that are handed names and hand back arrays over pipes: Pillow spends much of a small
file's time in Python, so threads would wait for each other, and neither forking a process that has threads nor
importing the caller's script once more (multiprocessing's two ways) is safe here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

from .errors import ImageError
from .images import load_image, look
from .progress import track

_CHUNK, _FEW = 64, 512  # files handed over at a time; how many are not worth a process
SMALL = 64 * 64  # pixels
Shape = tuple[int, int, int]


def decoded(files: Sequence[str], what: str, shape: Shape | None = None) -> Iterator[tuple[int, Any]]:
    """Yields (index, uint8 `(H, W, C)`) in order, or (index, `ImageError`) for a file that does not decode.

    Args:
        files: their names.
        what: words for the progress bar.
        shape: `(C, H, W)`; None yields each file as it is where it is small, else its (H, W, C) by the header (`look`).
    """
    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    with ExitStack() as stack:
        cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 64)
        if cores < 2 or len(files) < _FEW:
            answers: Iterator[list[Any]] = (_answers(chunk, shape) for chunk in chunks)
        else:
            cores = min(cores, len(chunks))
            workers: SimpleQueue[_Worker] = SimpleQueue()
            for _ in range(cores):
                workers.put(stack.enter_context(_Worker()))
            threads = stack.enter_context(ThreadPoolExecutor(cores))
            stack.callback(threads.shutdown, wait=True, cancel_futures=True)
            answers = threads.map(lambda chunk: _asked(workers, chunk, shape), chunks)
        every = (answer for chunk in answers for answer in chunk)
        yield from enumerate(track(every, what, len(files)))


def _answers(files: Sequence[str], shape: Shape | None) -> list[Any]:
    """What `decoded` yields for each file."""
    found: list[Any] = []
    for file in files:
        try:
            found.append(look(file, SMALL) if shape is None else load_image(file, shape))
        except ImageError as error:
            found.append(error)
    return found


class _Worker:
    """A process that answers chunks of names, one at a time."""

    def __enter__(self) -> _Worker:
        paths = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from idsnn_deploy.decoding import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if any(error):  # it may be in the middle of an answer that nobody will read
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, files: Sequence[str], shape: Shape | None) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((list(files), shape), self._process.stdin)
        self._process.stdin.flush()
        answers: list[Any] = pickle.load(self._process.stdout)  # our own process wrote it
        return answers


def _asked(workers: SimpleQueue[_Worker], files: Sequence[str], shape: Shape | None) -> list[Any]:
    worker = workers.get()
    try:
        return worker.ask(files, shape)
    finally:
        workers.put(worker)


def serve() -> None:
    """A worker's loop: until its input ends."""
    while True:
        try:
            files, shape = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answers(files, shape), sys.stdout.buffer)
        sys.stdout.buffer.flush()
