"""What mutants came to, counted, and as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from .outcomes import FAULTS, PROMISED

AXES = ("file", "mutation")
KEPT = "different, hashes kept"  # what no accident may come to


@dataclass
class Counts:
    """Mutants by kind of file, mutation, hashes and outcome, and what of them is a fault."""

    found: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    tried: Counter[bool] = field(default_factory=Counter)  # recomputed hashes: whether they got past the check
    faults: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, body: dict[str, Any]) -> Counts:
        """What `to_dict` wrote; from {} none."""
        found = Counter({(str(a), str(b), str(c), str(d)): int(n) for a, b, c, d, n in body.get("found", [])})
        caught, past = body.get("past", (0, 0))
        return cls(found, Counter({False: caught, True: past}), body.get("faults", []))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        found = [[*key, n] for key, n in self.found.items()]
        return {"found": found, "past": [self.tried[False], self.tried[True]], "faults": self.faults}

    @property
    def past(self) -> float:
        """Part of the mutants with recomputed hashes that got past the hash check; 1 where there were none."""
        return self.tried[True] / self.tried.total() if self.tried.total() else 1.0

    def table(self, by: Literal["file", "mutation"]) -> str:
        """Counts of outcomes by kind or mutation, and in all, as lines of Markdown."""
        heads = (*PROMISED, KEPT, *FAULTS)
        lines = [f"| {by} | mutants | {' | '.join(heads)} |", "|---|" + "---:|" * (1 + len(heads))]
        at = AXES.index(by)
        for row in dict.fromkeys(key[at] for key in self.found):
            lines.append(self._row(row, {key: n for key, n in self.found.items() if key[at] == row}))
        return "\n".join([*lines, self._row("all", dict(self.found))])

    def _row(self, name: str, here: dict[tuple[str, str, str, str], int]) -> str:
        found: Counter[str] = Counter()
        for (_, _, hashes, outcome), n in here.items():
            found[outcome] += n
            found[KEPT] += n * ((hashes, outcome) == ("kept", "different"))
        cells = (f"{found[each]:,}" for each in (*PROMISED, KEPT, *FAULTS))
        return f"| {name} | {sum(here.values()):,} | {' | '.join(cells)} |"
