"""One command on one mutant, in a process of its own that may die, and what came of it."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kinds import Command

SECONDS, ROOM = 60.0, 3 * 2**30  # of a mutant: time, and address space beside what the parent has
MEMORY = 2 * 2**30  # bytes of resident memory that count as a fault; a quarter of it are the libraries
PROMISED, FAULTS = ("typed", "equal", "different"), ("untyped", "crash", "hang", "memory")
# What says how long something took, or when.
_PASSING = frozenset({"ms", "seconds", "measured", "latency_ms", "images_per_second", "versions", "versions_here"})


@dataclass(frozen=True)
class Seen:
    """What a command did: exit code (None: it was stopped), signal, output, errors, and the memory that it took."""

    code: int | None
    signal: int
    out: str
    err: str
    memory: int

    @property
    def answer(self) -> Any:
        """What it said, without what differs from run to run."""
        try:
            return _lasting(json.loads(self.out)), self.code
        except ValueError:
            return self.out, self.code


def run(command: Command, scratch: Path) -> Seen:
    """Runs a command in a fork of this process, with limits of time and memory."""
    out, err = scratch / "out", scratch / "err"
    child = os.fork()
    if not child:
        _work(command, out, err)
    code, sent, used = _wait(child)
    return Seen(code, sent, out.read_text(errors="replace"), err.read_text(errors="replace"), used.ru_maxrss * 1024)


def _work(command: Command, out: Path, err: Path) -> None:
    code = 1
    try:
        for number, file in ((1, out), (2, err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", errors="backslashreplace") for number in (1, 2))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        module, arguments = command
        code = int(importlib.import_module(module).main(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> tuple[int | None, int, resource.struct_rusage]:
    end = time.monotonic() + SECONDS
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else -1, os.WTERMSIG(status), used
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            _, _, used = os.wait4(child, 0)
            return None, signal.SIGKILL, used
        time.sleep(0.002)


def outcome(seen: Seen, good: Seen) -> str:
    """Which of `PROMISED` or `FAULTS` it was, beside what the command does with the good file."""
    if seen.code is None:
        return "hang"
    if seen.memory > MEMORY or "not enough memory" in seen.err:
        return "memory"
    if seen.signal:
        return "crash"
    errors = [line for line in seen.err.splitlines() if ": error: " in line]
    if seen.code in (0, 1) and not errors and "Traceback" not in seen.err:
        return "equal" if seen.answer == good.answer else "different"
    begun = ("layer ", "teacher ", "student ", "recovered")
    said = [line for line in seen.err.splitlines() if not line.endswith(("; loading", "; loading torch"))]
    alone = len(said) == 1 or (said[:1] and said[0].startswith(begun))
    return "typed" if seen.code in (1, 2) and len(errors) == 1 and alone and "Traceback" not in seen.err else "untyped"


def was_caught_by_a_hash(seen: Seen) -> bool:
    """Whether the mutant went no further than a hash or the digest."""
    return any(words in seen.err for words in ("changed since it was", "where the manifest lists", "is not JSON"))


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in _PASSING}
    return [_lasting(item) for item in value] if isinstance(value, list) else value
