"""What came of a mutant: as promised, or a fault."""

from __future__ import annotations

import re

from .worker import Seen

MEMORY = 2 * 2**30  # bytes of resident memory that count as a fault; a quarter of it are the libraries
PROMISED, FAULTS = ("typed", "equal", "different"), ("untyped", "crash", "hang", "memory")
# What a command says first, at once: what it does, and with what.
_BEGINS = re.compile(r"idsnn-\w+: (?!error: ).*; loading( \w+)?$")


def outcome(seen: Seen, good: Seen) -> str:
    """Which of `PROMISED` or `FAULTS` it was, beside what the command does with the good file."""
    if seen.code is None:
        return "hang"
    if seen.memory > MEMORY or "not enough memory" in seen.err:
        return "memory"
    if seen.signal:
        return "crash"
    lines = [line for line in seen.err.splitlines() if not _BEGINS.match(line)]
    errors = [line for line in lines if ": error: " in line]
    if seen.code in (0, 1) and not errors and "Traceback" not in seen.err:
        return "equal" if seen.answer == good.answer else "different"
    alone = len(lines) == 1 or (lines[:1] and lines[0].startswith(("layer ", "teacher ", "student ", "recovered")))
    return "typed" if seen.code in (1, 2) and len(errors) == 1 and alone and "Traceback" not in seen.err else "untyped"


def was_caught_by_a_hash(seen: Seen) -> bool:
    """Whether the mutant went no further than a hash or the digest."""
    return any(words in seen.err for words in ("changed since it was", "where the manifest lists", "is not JSON"))
