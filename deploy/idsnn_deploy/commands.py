"""What the four commands share: one-line errors, exit codes, missing extras."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable

from .errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, IdsnnError, MissingExtraError


def run_command(prog: str, body: Callable[[], int]) -> int:
    """Runs a command's body and returns its exit code; an `IdsnnError` becomes one line on standard error.

    A full disk and other operating system errors are the user's to mend and end the same way.
    """
    try:
        return body()
    except IdsnnError as error:
        _say(prog, str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) went away: nothing more can be said to it, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        _say(prog, f"{error.filename or 'system'}: {error.strerror or error}")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def require_extra(prog: str, extra: str, *modules: str) -> None:
    """Raises `MissingExtraError` where one of `modules` is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"{prog} needs {', '.join(missing)}: pip install 'idsnn[{extra}]'")


def _say(prog: str, message: str) -> None:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
