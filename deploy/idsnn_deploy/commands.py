"""What the four commands share: what they print, one-line errors, exit codes, missing extras."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from .errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_UNFORESEEN, IdsnnError, MissingExtraError
from .printable import printable

DEBUG_HELP = "show where an error comes from"


def run_command(prog: str, body: Callable[[], int], debug: bool = False) -> int:
    """Runs a command's body and returns its exit code; an `IdsnnError` becomes one line on standard error.

    A full disk and other operating system errors are the user's to mend and end the same way. What nobody foresaw
    becomes one line too, with the traceback in a file; with `debug` every error shows its own.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not Unicode shows the rest
    try:
        return body()
    except BrokenPipeError:
        # The reader (`| head`) went away: nothing more can be said to it, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _said(prog, error)
        print(f"{prog}: error: {printable(' '.join(message.split()))}", file=sys.stderr)
        return code


def _said(prog: str, error: Exception) -> tuple[str, int]:
    """An error's line and exit code."""
    if isinstance(error, IdsnnError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return f"{error.filename or 'system'}: {error.strerror or error}", EXIT_BAD_INPUT
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; give it less at a time", EXIT_BAD_INPUT
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {reason}; not foreseen, {_kept(prog)}", EXIT_UNFORESEEN


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


def require_extra(prog: str, extra: str, *modules: str) -> None:
    """Raises `MissingExtraError` where one of `modules` is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"{prog} needs {', '.join(missing)}: pip install 'idsnn[{extra}]'")
