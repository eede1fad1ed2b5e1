"""`make fuzz`: N mutants of each kind of file, counts by kind and by mutation, and every fault kept."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from .kinds import KINDS, TINY, Kind, resign, samples
from .mutations import pick
from .outcomes import FAULTS, PROMISED, Seen, outcome, run, was_caught_by_a_hash

LEAST_PAST = 0.2  # of the mutants with recomputed hashes that must get past the hash check
WARM = ("idsnn.trainer", "idsnn_export.bundle", "idsnn_export.artefacts", "idsnn_export.lint.engine",
        "idsnn_evaluation.jobs", "idsnn_deploy.check", "idsnn_deploy.run", "idsnn_deploy.info", "onnxruntime",
        "idsnn.devices")  # fmt: skip


class Fuzzer:
    """Mutants of one workplace of good files, one after another."""

    def __init__(self, good: Path, scratch: Path, seed: int, kept: Path | None = None) -> None:
        self.good, self.scratch, self.seed, self.kept = good, scratch, seed, kept
        self.counts: Counter[tuple[str, str, str, str]] = Counter()  # kind, mutation, hashes, outcome
        self.past: Counter[bool] = Counter()  # of mutants with recomputed hashes: whether they got past the check
        self.faults: list[str] = []
        self._answers: dict[tuple[str, ...], Seen] = {}
        for module in WARM:
            importlib.import_module(module)
        # Figures take seconds and see nothing that the page does not.
        importlib.import_module("idsnn_evaluation.jobs").write_figures = lambda report, folder: None

    def mutant(self, name: str, number: int) -> str:
        """Makes mutant `number` of a kind, gives it to a command and counts what came of it."""
        kind = KINDS[name]
        rng = np.random.default_rng([self.seed, list(KINDS).index(name), number])
        work, how = self._workplace(kind), pick(rng, list(kind.mutations()))
        # Recomputed hashes are for what a manifest guards; kept ones are every third of these.
        hashes = "none" if not kind.guarded else "kept" if number % 3 == 2 else "recomputed"
        command = pick(rng, kind.commands(str(work)))
        good = self._answer(kind, command)
        self._mutate(kind, work, how, rng)
        if hashes == "recomputed":
            resign(work / "bundle")
        seen = run(command, self.scratch)
        found = outcome(seen, good)
        if hashes == "recomputed":
            self.past[not was_caught_by_a_hash(seen)] += 1
        self.counts[name, how, hashes, found] += 1
        if found in FAULTS or (found == "different" and hashes == "kept"):
            self._keep(
                f"{name}-{number}", f"{how}, hashes {hashes}: {found}: {command[0]} {' '.join(command[1])}", seen
            )
        return found

    def _workplace(self, kind: Kind) -> Path:
        work = self.scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for entry in self.good.iterdir():
            if entry.is_dir() and entry.name in ("bundle", kind.file.split("/")[0]):
                shutil.copytree(entry, work / entry.name)
            elif entry.is_file():
                shutil.copy(entry, work / entry.name)
        return work

    def _mutate(self, kind: Kind, work: Path, how: str, rng: np.random.Generator) -> None:
        file = work / kind.file
        source = pick(rng, sorted((self.good / "images").iterdir())) if kind.file == "image.png" else file
        data = kind.mutations()[how](source.read_bytes(), rng)
        file.write_bytes(data)

    def _answer(self, kind: Kind, command: tuple[str, list[str]]) -> Seen:
        """What the command does with the good file."""
        key = (command[0], *command[1])
        if key not in self._answers:
            self._answers[key] = run(command, self.scratch)
            if self._answers[key].code not in (0, 1) or ": error: " in self._answers[key].err:
                raise SystemExit(f"{' '.join(key)} fails on good files: {self._answers[key].err}")
            self._workplace(kind)
        return self._answers[key]

    def _keep(self, name: str, what: str, seen: Seen) -> None:
        self.faults.append(f"{name}: {what}: {seen.err.strip()[-300:]}")
        if self.kept is not None:
            shutil.copytree(self.scratch / "work", self.kept / name, dirs_exist_ok=True)
            (self.kept / name / "said.txt").write_text(f"{what}\n{seen.err}")

    def table(self, by: int) -> str:
        """Counts of outcomes by kind (0) or mutation (1), as lines of Markdown."""
        heads = (*PROMISED, "different, hashes kept", *FAULTS)
        lines = [
            f"| {('file', 'mutation')[by]} | mutants | {' | '.join(heads)} |",
            "|---|" + "---:|" * (1 + len(heads)),
        ]
        for row in dict.fromkeys(key[by] for key in self.counts):
            here = {key: n for key, n in self.counts.items() if key[by] == row}
            found = Counter(
                {each: sum(n for key, n in here.items() if key[3] == each) for each in (*PROMISED, *FAULTS)}
            )
            found[heads[3]] = sum(n for key, n in here.items() if key[2:] == ("kept", "different"))
            lines.append(f"| {row} | {sum(here.values()):,} | {' | '.join(f'{found[each]:,}' for each in heads)} |")
        return "\n".join(lines)


def main() -> int:
    """Runs the harness; 1 where a mutant found a fault, or too few got past the hashes for it to mean much."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="mutants per kind (default 2000)")
    parser.add_argument("--seed", type=int, default=None, help="of all mutants (default: drawn, and printed)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which (default: all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time (default: never)")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the mutants that found a fault")
    parser.add_argument("--good", type=Path, default=None, help="a folder for the good files, used again if there")
    given = parser.parse_args()
    seed = int(np.random.SeedSequence().entropy % 2**32) if given.seed is None else given.seed  # type: ignore[operator]
    print(f"seed {seed}, {given.count:,} mutants per kind", flush=True)
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as scratch:
        good = given.good or Path(scratch) / "good"
        if not good.exists():
            _samples(Path(scratch), good)
        fuzzer = Fuzzer(good, Path(scratch), seed, given.keep)
        for number in range(given.count):  # all kinds in turn: a harness that is stopped has seen them all
            for name in given.kinds.split(","):
                fuzzer.mutant(name, number)
            if time.monotonic() > end:
                break
    past = fuzzer.past[True] / max(1, fuzzer.past.total())
    print(f"{fuzzer.table(0)}\n\n{fuzzer.table(1)}\n\n{past:.0%} of the mutants with recomputed hashes got past them")
    print("\n".join(fuzzer.faults))
    return 1 if fuzzer.faults or (fuzzer.past.total() and past < LEAST_PAST) else 0


def _samples(scratch: Path, good: Path) -> None:
    """Good files, from a small run that is trained and exported in a process of its own."""
    from idsnn_deploy.errors import EXIT_OK

    run_folder, bundle = scratch / "trained", scratch / "exported"
    for module, arguments in (
        ("idsnn.cli", [*TINY, "--out", str(run_folder)]),
        ("idsnn_export.cli", [str(run_folder), "--out", str(bundle)]),
    ):
        seen = run((module, arguments), scratch)
        if seen.code != EXIT_OK:
            raise SystemExit(seen.err)
    samples(run_folder, bundle, good)


if __name__ == "__main__":
    sys.exit(main())
