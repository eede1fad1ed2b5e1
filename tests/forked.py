"""A command in a fork of the test process, which has imported everything already: seconds less than a new one."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path


def fork(body: Callable[[], int], errors: Path, **environment: str) -> int:
    """The child's process id; it runs `body` with what is added to the environment and ends with its exit code.

    What it prints is in `errors`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: those of the test runner only wait
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.environ.update(environment)
        written = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
        code = body()
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    """Waits for it; negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
