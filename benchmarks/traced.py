"""A block of code in a forked process, its file operations traced, and one of them made the last or made to fail.

    this process, warm ── fork ──▶ child ◀── strace -p: kills it as it enters an operation, or lets that fail

The operations are those that the kernel saw, whoever asked for them: Python, HDF5 or matplotlib.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Act = Callable[[], int]
# "?": not every machine has every call.
CALLS = (
    *("open", "openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
    *("write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync", "flock", "link", "linkat", "fchmod", "chmod"),
)
NEEDS_SPACE = (
    "open",
    "openat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "write",
    "pwrite64",
    "writev",
    "fsync",
)
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")


@dataclass(frozen=True)
class Operation:
    """The `nth` call of a name that a process makes, and what it was about."""

    call: str
    nth: int
    about: str


@dataclass(frozen=True)
class Outcome:
    """How a child ended (its exit code, or the signal's negative number) and what it printed."""

    code: int
    printed: str


def run(act: Act) -> Outcome:
    """`act` in a child of its own."""
    return _traced(act, None)


def at_once(act: Act, processes: int) -> list[Outcome]:
    """`act` in several children that begin together."""
    children = [_Child(act) for _ in range(processes)]
    for child in children:
        child.goes()
    return [child.ended() for child in children]


def operations(act: Act, folder: Path) -> list[Operation]:
    """Every call of `act` that changed, or locked, something under `folder`."""
    with tempfile.NamedTemporaryFile("r") as log:
        outcome = _traced(act, ["-y", "-o", log.name, *_trace(CALLS)])
        assert outcome.code == 0, outcome.printed
        counts: Counter[str] = Counter()
        found = []
        for line in log:
            match = re.match(r"(\w+)\((.*)", line)
            if match is None:
                continue
            call, about = match.groups()
            counts[call] += 1
            about = about.partition(",")[0] if "write" in call else about  # the file, not what is written
            if " = -1 " in line:
                continue
            if str(folder) in about and (not call.startswith("open") or _WRITES.search(about)):
                found.append(Operation(call, counts[call], about.strip()))
    return found


def killed_before(act: Act, operation: Operation) -> Outcome:
    """`act` with SIGKILL as it enters the operation."""
    return _injected(act, operation, "signal=KILL")


def without_space(act: Act, operation: Operation, folder: Path) -> Outcome | None:
    """`act` with the operation failing as on a full disk; None where another file's call had its number this time."""
    with tempfile.NamedTemporaryFile("r") as log:
        outcome = _injected(act, operation, "error=ENOSPC", log.name)
        hit = [line for line in log if line.rstrip().endswith("(INJECTED)")]
    return outcome if any(str(folder) in line for line in hit) else None


def _injected(act: Act, operation: Operation, what: str, log: str = os.devnull) -> Outcome:
    inject = f"inject={operation.call}:{what}:when={operation.nth}"
    return _traced(act, ["-y", "-o", log, *_trace([operation.call]), "-e", inject])


def _trace(calls: Sequence[str]) -> list[str]:
    return ["-e", "trace=" + ",".join(f"?{call}" for call in calls)]


def _traced(act: Act, strace: list[str] | None) -> Outcome:
    child = _Child(act)
    if strace is None:
        child.goes()
        return child.ended()
    with subprocess.Popen(["strace", "-p", str(child.pid), *strace], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        if "attached" not in attached:
            os.kill(child.pid, signal.SIGKILL)
            raise RuntimeError(f"strace does not attach: {attached.strip()}")
        child.goes()
        return child.ended()


class _Child:
    """A forked process that waits to be told to do its work, and prints into a file."""

    def __init__(self, act: Act) -> None:
        ready, self.go = os.pipe()
        self.printed = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `ended`)
        self.pid = os.fork()
        if self.pid == 0:
            self._be(act, ready)
        os.close(ready)

    def _be(self, act: Act, ready: int) -> None:
        """The child itself, which is gone without what Python does at exit."""
        code = 99
        try:
            os.close(self.go)
            os.dup2(self.printed.fileno(), 1)
            os.dup2(self.printed.fileno(), 2)
            os.read(ready, 1)
            code = act()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def goes(self) -> None:
        os.write(self.go, b"!")
        os.close(self.go)

    def ended(self) -> Outcome:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with self.printed:
            self.printed.seek(0)
            return Outcome(code, self.printed.read())
