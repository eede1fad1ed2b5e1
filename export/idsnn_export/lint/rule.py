"""What a rule is, and what it finds.

Each rule names its targets, what breaks, what to do, and where that is known from. `ran`: seen in this project by
running the importer (docs/nir_consumers.md has the outcomes). `read`: taken from the source or paper named, not run
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import nir

from ..graph.plan import Plan


@dataclass(frozen=True)
class Finding:
    """One node that a target cannot run.

    Attributes:
        target: a key of `TARGETS`.
        node: its name; `graph` where it is the graph as a whole.
        type: of the node.
        problem: what breaks.
        advice: what to do.
        evidence: `ran` or `read`.
        source: what was run or read.
    """

    target: str
    node: str
    type: str
    problem: str
    advice: str
    evidence: str
    source: str

    def __str__(self) -> str:
        return (
            f"{self.node} ({self.type}): {self.problem}; {self.advice} [{self.target}, {self.evidence}: {self.source}]"
        )

    def to_dict(self) -> dict[str, str]:
        """The attributes."""
        return asdict(self)


@dataclass(frozen=True)
class Facts:
    """What rules look at: the graph, its plan with resets by subtraction fused, and the step in seconds."""

    graph: nir.NIRGraph
    plan: Plan
    dt: float


Find = Callable[[Facts], Iterator[str]]  # the names of the nodes that break


@dataclass(frozen=True)
class Rule:
    """One row of the table; the attributes are those of `Finding`."""

    targets: tuple[str, ...]
    problem: str
    advice: str
    evidence: str
    source: str
    find: Find
