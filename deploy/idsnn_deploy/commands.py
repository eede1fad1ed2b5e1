"""What the four commands share: what they print, one-line errors, exit codes, missing extras."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from .errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_UNFORESEEN, IdsnnError, MissingExtraError, first_line
from .files import FULL
from .printable import printable

DEBUG_HELP = "show where an error comes from"


def run_command(prog: str, body: Callable[[], int], debug: bool = False, on_interrupt: str = "") -> int:
    """Runs a command's body and returns its exit code; an `IdsnnError` becomes one line on standard error.

    A full disk and other operating system errors are the user's to mend and end the same way. What nobody foresaw
    becomes one line too, with the traceback in a file; with `debug` every error shows its own. `on_interrupt` says how
    to go on after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not Unicode shows the rest
    try:
        with _terminable(), _unremarked(debug):
            code = body()
            sys.stdout.flush()  # here, where a full disk behind it can still be said
            return code
    except BrokenPipeError:
        _give_up(sys.stdout)  # the reader (`| head`) went away: nothing more can be said to it
        return 128 + 13  # SIGPIPE, which Windows has not
    except Terminated:
        print(f"\n{prog}: terminated{on_interrupt and '; '}{on_interrupt}", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted{on_interrupt and '; '}{on_interrupt}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _said(prog, error)
        over = "\r\x1b[K" if sys.stderr.isatty() else ""  # a bar that was being drawn
        print(f"{over}{prog}: error: {printable(' '.join(message.split()))}", file=sys.stderr)
        return code


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: it tidies up and says how to go on."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Raises `Terminated` at SIGTERM, unless whoever calls handles it; a second one ends the process at once."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of what is imported inside; a second one does not.

    torch asks for numpy as it is imported, takes an interrupt there for "there is no numpy", and goes on without.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        if len(held) > 1:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if callable(handler)}  # not what is ignored
    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
    if held:
        signal.raise_signal(held[0])


@contextmanager
def _unremarked(debug: bool) -> Iterator[None]:
    """numpy's remarks on overflow are lines that help nobody: gates and checks find what is not finite, and name it."""
    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _give_up(stream: TextIO) -> None:
    """Nothing more goes out, not even what Python would try to write as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _nameless(error: OSError) -> str:
    """Where an error that names no file comes from; a full disk's is named by whatever of ours was being written."""
    try:
        sys.stdout.flush()
    except OSError:
        _give_up(sys.stdout)
    return "standard output or a temporary file" if error.errno in FULL else "system"


def _said(prog: str, error: Exception) -> tuple[str, int]:
    """An error's line and exit code."""
    if isinstance(error, IdsnnError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return f"{error.filename or _nameless(error)}: {error.strerror or error}", EXIT_BAD_INPUT
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; give it less at a time", EXIT_BAD_INPUT
    return f"{type(error).__name__}: {first_line(error, '')}; not foreseen, {_kept(prog)}", EXIT_UNFORESEEN


def _kept(prog: str) -> str:
    """Writes the traceback of the error at hand into a file of its own and says where."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix=f"{prog}-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(printable(traceback.format_exc(), lines=True))
    except OSError as cause:
        return f"and its traceback could not be written ({cause.strerror}); --debug shows it"
    return f"please report it with its traceback, which is in {file.name}"


def say(what: Any) -> None:
    """Prints a command's answer: lines of text, each safe to show, or a JSON value in ASCII."""
    print(printable(what, lines=True) if isinstance(what, str) else json.dumps(what, indent=2, allow_nan=False))


def announce(prog: str, what: str) -> None:
    """Says on standard error, at once, what has begun: what follows may load for seconds."""
    print(f"{prog}: {printable(what)}", file=sys.stderr, flush=True)


@contextmanager
def announced(prog: str, what: str, after: float = 0.1) -> Iterator[None]:
    """Says what a block does once it has taken `after` seconds: a small board loads for long, a laptop says nothing."""
    slow = threading.Timer(after, announce, (prog, what))
    slow.daemon = True
    slow.start()
    try:
        yield
    finally:
        slow.cancel()
        slow.join()


def missing_extra(prog: str, extra: str, *modules: str) -> str | None:
    """What `prog` cannot do without and how to install it; None where all of `modules` are there."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{prog} needs {', '.join(missing)}: pip install 'idsnn[{extra}]'" if missing else None


def require_extra(prog: str, extra: str, *modules: str) -> None:
    """Raises `MissingExtraError` where one of `modules` is not installed."""
    missing = missing_extra(prog, extra, *modules)
    if missing:
        raise MissingExtraError(missing)
