"""`make fuzz`: N mutants of each kind of file, counts by kind and by mutation, and every fault kept."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .counts import Counts
from .fuzzer import Fuzzer
from .good_files import TINY, samples
from .kinds import KINDS
from .worker import Worker

LEAST_PAST = 0.2  # of the mutants with recomputed hashes that must get past the hash check


def main() -> int:
    """Runs the harness; 1 where a mutant found a fault, or too few got past the hashes for it to mean much."""
    given = _parser().parse_args()
    kept = json.loads(given.counts.read_text()) if given.counts and given.counts.exists() else {}
    seed, first = kept.get("seed", given.seed), kept.get("next", 0)
    seed = int(np.random.SeedSequence().entropy % 2**32) if seed is None else seed  # type: ignore[operator]
    print(f"seed {seed}, {given.count:,} mutants per kind" + (f", from {first:,} on" if first else ""), flush=True)
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as scratch:
        good = given.good or Path(scratch) / "good"
        if not good.exists():
            _samples(Path(scratch), good)
        fuzzer = Fuzzer(good, Path(scratch), seed, given.keep, Counts.read(kept.get("counts", {})))
        for number in range(first, given.count):  # all kinds in turn: a harness that is stopped has seen them all
            for name in given.kinds.split(","):
                fuzzer.mutant(name, number)
            if given.counts:
                given.counts.write_text(
                    json.dumps({"seed": seed, "next": number + 1, "counts": fuzzer.counts.to_dict()})
                )
            if time.monotonic() > end:
                break
        fuzzer.close()
    counts = fuzzer.counts
    print(f"{counts.table('file')}\n\n{counts.table('mutation')}\n\n{counts.past:.0%} of the mutants with recomputed")
    print("hashes got past them", *counts.faults, sep="\n")
    return 1 if counts.faults or counts.past < LEAST_PAST else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="mutants per kind (default 2000)")
    parser.add_argument("--seed", type=int, default=None, help="of all mutants (default: drawn, and printed)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which (default: all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time (default: never)")
    parser.add_argument("--counts", type=Path, default=None, help="a file of counts, to go on with the next time")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the mutants that found a fault")
    parser.add_argument("--good", type=Path, default=None, help="a folder for the good files, used again if there")
    return parser


def _samples(scratch: Path, good: Path) -> None:
    """Good files, the run among them trained in a process of its own."""
    worker = Worker(scratch)
    seen = worker.run(("idsnn.cli", [*TINY, "--out", str(scratch / "trained")]))
    if seen.code:
        raise SystemExit(seen.err)
    worker.close()
    samples(scratch / "trained", good)


if __name__ == "__main__":
    sys.exit(main())
