"""A process that may die, in which commands run one after another, each within limits of its own."""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Command = tuple[str, list[str]]  # the module whose `main` it is, and its arguments
SECONDS, ROOM = 60.0, 3 * 2**30  # of a command: processor time, and address space beside what there is before it
ASLEEP = 120.0  # seconds without any processor time
LIVES = 200  # commands until a worker is left for a fresh one
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # as Python starts


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


# What says how long something took, or when.
_PASSING = frozenset({"ms", "seconds", "measured", "latency_ms", "images_per_second", "versions", "versions_here"})


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in _PASSING}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


class Worker:
    """Runs commands in a fork of this process, which is made again when it dies, is stopped, or has lived long enough.

    A fork per command would spend most of its time on the fork and on what each command imports or warms up first.
    """

    def __init__(self, scratch: Path) -> None:
        self.files = scratch / "out", scratch / "err"
        self._child = self._lives = 0

    def run(self, command: Command) -> Seen:
        """What a command does."""
        if not self._lives:
            self.close()
            self._fork()
        self._lives -= 1
        os.write(self._orders, (json.dumps(command) + "\n").encode())
        code, sent, memory = self._watched()
        out, err = (file.read_text(errors="replace") for file in self.files)
        return Seen(code, sent, out, err, memory)

    def close(self) -> None:
        """Ends the process."""
        if self._child:
            os.close(self._orders)
            os.close(self._reports)
            os.waitpid(self._child, 0)
        self._child = self._lives = 0

    def _fork(self) -> None:
        gc.freeze()  # what is here already no collector in the child need look at, or copy
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        self._child, self._lives = os.fork(), LIVES
        if not self._child:
            os.close(self._orders)
            os.close(self._reports)
            _serve(orders, reports, self.files)
        os.close(orders)
        os.close(reports)

    def _watched(self) -> tuple[int | None, int, int]:
        """Exit code, signal and memory of the command that runs."""
        begun = last = self._seconds()
        moved = time.monotonic()
        while not select.select([self._reports], [], [], 0.5)[0]:
            now = self._seconds()
            if now > last:
                last, moved = now, time.monotonic()
            if now - begun > SECONDS or time.monotonic() - moved > min(ASLEEP, 2 * SECONDS):
                os.kill(self._child, signal.SIGKILL)
                return (None, *self._ended()[1:])
        report = os.read(self._reports, 100)
        if not report:
            return self._ended()
        code, memory = json.loads(report)
        return code, 0, memory

    def _seconds(self) -> float:
        """Processor time of the process, all threads of it."""
        try:
            fields = Path(f"/proc/{self._child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ended(self) -> tuple[int | None, int, int]:
        _, status, used = os.wait4(self._child, 0)
        os.close(self._orders)
        os.close(self._reports)
        self._child = self._lives = 0
        return -1, os.WTERMSIG(status), used.ru_maxrss * 1024


def _serve(orders: int, reports: int, files: tuple[Path, Path]) -> None:
    """The process itself: reads commands and reports exit code and memory, until nobody asks any more."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(orders) as lines:
            for line in lines:
                Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted from here
                code = _one(json.loads(line), files)
                os.write(reports, json.dumps([code, _most_memory()]).encode())
    finally:
        os._exit(0)


def _one(command: Command, files: tuple[Path, Path]) -> int:
    """A command with both outputs in files, within its room; a fresh Python would show the same warnings."""
    for number, file in enumerate(files, 1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", errors="backslashreplace") for number in (1, 2))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    code = 1
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.showwarning = _shown  # whoever collects them in this process
            for quiet in QUIET:
                warnings.simplefilter("ignore", quiet)
            module, arguments = command
            code = int(importlib.import_module(module).main(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.close()
        sys.stderr.close()
        gc.collect()
    return code


def _shown(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
    print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


def _most_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
