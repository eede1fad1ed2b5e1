"""The short form of `make fuzz`: two dozen mutants, and that the harness sees what it is there to see."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from fuzzing import outcomes
from fuzzing.__main__ import LEAST_PAST, Fuzzer
from fuzzing.kinds import KINDS, samples

SEED = 0
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit needs /proc")


@pytest.fixture(scope="module")
def fuzzer(run: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    scratch = tmp_path_factory.mktemp("fuzz")
    return Fuzzer(samples(run, bundle, scratch / "good"), scratch, SEED)


@pytest.mark.slow
def test_no_mutant_ends_in_anything_but_a_typed_error_or_an_answer(fuzzer: Fuzzer) -> None:
    for name, kind in KINDS.items():
        for number in (0, 2) if kind.guarded else (0,):  # hashes recomputed, and kept
            fuzzer.mutant(name, number)
    assert not fuzzer.faults
    assert fuzzer.past[True] >= LEAST_PAST * fuzzer.past.total() > 0


def command(body: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> outcomes.Command:
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


def greedy() -> int:
    return len(b"x" * 2**28) * 0


OUTCOMES: dict[str, tuple[Callable[[], int], str]] = {
    "a typed error": (refused, "typed"),
    "the same answer": (said('{"a": 1, "ms": 3}'), "equal"),
    "another answer": (said('{"a": 2}'), "different"),
    "what nobody foresaw": (lambda: 1 // 0, "untyped"),
    "a second line": (second_line, "untyped"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, "crash"),  # type: ignore[func-returns-value]
    "no end": (lambda: time.sleep(60) or 0, "hang"),  # type: ignore[func-returns-value]
    "much memory": (greedy, "memory"),
    "more memory than there is": (lambda: len(bytearray(2**42)), "memory"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_harness_tells_outcomes_apart(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, expected = OUTCOMES[name]
    monkeypatch.setattr(outcomes, "SECONDS", 1.5 if expected == "hang" else 60.0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    good = outcomes.run(command(said('{"a": 1, "ms": 2}'), monkeypatch), tmp_path)
    monkeypatch.setattr(outcomes, "MEMORY", good.memory + 2**27)
    found = outcomes.run(command(body, monkeypatch), tmp_path)
    assert outcomes.outcome(found, good) == expected, found
