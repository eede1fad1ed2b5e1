"""The short form of `make fuzz`: two dozen mutants, and that the harness sees what it is there to see."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fuzzing import outcomes, worker
from fuzzing.counts import Counts
from fuzzing.fuzzer import Fuzzer
from fuzzing.good_files import samples
from fuzzing.kinds import KINDS
from fuzzing.worker import Command, Seen, Worker

SEED = 0
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit needs /proc")


@pytest.fixture(scope="module")
def fuzzer(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    from idsnn import trainer
    from idsnn_evaluation import jobs

    drawn = trainer.draw_curves, jobs.write_figures
    scratch = tmp_path_factory.mktemp("fuzz")
    made = Fuzzer(samples(run, scratch / "good"), scratch, SEED)
    yield made
    made.close()
    assert (trainer.draw_curves, jobs.write_figures) == drawn  # the tests that come after see figures


@pytest.mark.slow
def test_no_mutant_ends_in_anything_but_a_typed_error_or_an_answer(fuzzer: Fuzzer) -> None:
    for name, kind in KINDS.items():
        for number in (0, 2) if kind.guarded else (0,):  # hashes recomputed, and kept
            fuzzer.mutant(name, number)
    assert not fuzzer.counts.faults
    assert fuzzer.counts.past >= 0.2
    assert Counts.read(json.loads(json.dumps(fuzzer.counts.to_dict()))) == fuzzer.counts


def command(body: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command whose body is `body`, as the harness calls it."""
    from idsnn_deploy.commands import run_command

    made = ModuleType("made_up")
    made.main = lambda arguments: run_command("idsnn-made", body)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up", made)
    return "made_up", []


def refused() -> int:
    from idsnn_deploy.errors import UsageError

    raise UsageError("no")


def said(*words: str) -> Callable[[], int]:
    return lambda: print(*words) or 0  # type: ignore[func-returns-value]


def second_line() -> int:
    os.write(2, b"a library has something to say\n")
    return refused()


def warned() -> int:
    warnings.warn("a library has something to say", UserWarning, stacklevel=1)
    return refused()


def greedy() -> int:
    return len(b"x" * 2**28) * 0


def busy() -> int:
    while True:
        pass


OUTCOMES: dict[str, tuple[Callable[[], int], str]] = {
    "a typed error": (refused, "typed"),
    "the same answer": (said('{"a": 1, "ms": 3}'), "equal"),
    "another answer": (said('{"a": 2}'), "different"),
    "what nobody foresaw": (lambda: 1 // 0, "untyped"),
    "a second line": (second_line, "untyped"),
    "a warning": (warned, "untyped"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, "crash"),  # type: ignore[func-returns-value]
    "no end": (busy, "hang"),
    "no end, asleep": (lambda: time.sleep(60) or 0, "hang"),  # type: ignore[func-returns-value]
    "much memory": (greedy, "memory"),
    "more memory than there is": (lambda: len(bytearray(2**42)), "memory"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_harness_tells_outcomes_apart(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, expected = OUTCOMES[name]
    monkeypatch.setattr(worker, "SECONDS", 0.5 if expected == "hang" else 60.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where tracebacks go
    good = alone(command(said('{"a": 1, "ms": 2}'), monkeypatch), tmp_path)
    monkeypatch.setattr(outcomes, "MEMORY", good.memory + 2**27)
    found = alone(command(body, monkeypatch), tmp_path)
    assert outcomes.outcome(found, good) == expected, found


def alone(given: Command, scratch: Path) -> Seen:
    one = Worker(scratch)
    try:
        return one.run(given)
    finally:
        one.close()


def test_what_one_command_took_or_said_is_not_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where tracebacks go
    bodies = [greedy, said("{}"), warned, warned, lambda: os.kill(os.getpid(), signal.SIGKILL), said("{}")]
    calls = iter(bodies)
    monkeypatch.setattr(worker, "LIVES", 4)  # all but the crash and what follows are in one process
    one = Worker(tmp_path)
    given = command(lambda: next(calls)() or 0, monkeypatch)
    seen = [one.run(given) for _ in range(4)]
    assert seen[0].memory > seen[1].memory + 2**27
    assert [each.err.count("UserWarning: a library") for each in seen] == [0, 0, 1, 1]
    one.close()
    calls = iter(bodies[4:])
    assert one.run(given).signal == signal.SIGKILL
    calls = iter(bodies[5:])
    assert one.run(given).out == "{}\n"  # in another process
    one.close()
