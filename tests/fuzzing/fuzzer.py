"""Mutants of one workplace of good files, one after another: made, given to a command, counted."""

from __future__ import annotations

import importlib
import shutil
import zlib
from pathlib import Path

import numpy as np

from .counts import Counts
from .good_files import resign
from .kinds import KINDS, Kind
from .mutations import Rng, pick
from .outcomes import FAULTS, outcome, was_caught_by_a_hash
from .worker import Command, Seen, Worker

WARM = ("idsnn.trainer", "idsnn_export.bundle", "idsnn_export.artefacts", "idsnn_export.c_folder",
        "idsnn_export.lint.engine", "idsnn_evaluation.jobs", "idsnn_deploy.check", "idsnn_deploy.run",
        "idsnn_deploy.info", "onnxruntime", "idsnn.devices")  # fmt: skip
# They take seconds, and see nothing that reports and tables do not.
FIGURES = (("idsnn_evaluation.jobs", "write_figures"), ("idsnn.trainer", "draw_curves"))


class Fuzzer:
    """Makes mutants of the files in a folder `good` and counts what commands make of them."""

    def __init__(
        self, good: Path, scratch: Path, seed: int, kept: Path | None = None, counts: Counts | None = None
    ) -> None:
        self.good, self.work, self.seed, self.kept = good, scratch / "work", seed, kept
        self.counts = counts or Counts()
        self._answers: dict[tuple[str, ...], Seen] = {}
        for module in WARM:
            importlib.import_module(module)
        self._drawn = {place: vars(importlib.import_module(place[0]))[place[1]] for place in FIGURES}
        for module, name in FIGURES:
            setattr(importlib.import_module(module), name, lambda what, path: None)
        self._worker = Worker(scratch)

    def mutant(self, name: str, number: int) -> str | None:
        """Makes mutant `number` of a kind, gives it to a command and counts what came of it; None: no good file."""
        kind = KINDS[name]
        if not (self.good / kind.file).exists():
            return None
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode()), number])
        how = pick(rng, list(kind.mutations()))
        # Recomputed hashes are for what a manifest guards; kept ones are every third of these.
        hashes = "none" if not kind.guarded else "kept" if number % 3 == 2 else "recomputed"
        command = pick(rng, kind.commands(str(self.work)))
        good = self._answer(kind, command)
        self._workplace(kind)
        self._mutate(kind, how, rng)
        if hashes == "recomputed":
            resign(self.work / kind.folder)
        seen = self._worker.run(command)
        found = outcome(seen, good)
        if hashes == "recomputed":
            self.counts.tried[not was_caught_by_a_hash(seen)] += 1
        self.counts.found[name, how, hashes, found] += 1
        if found in FAULTS or (found == "different" and hashes == "kept"):
            what = f"{how}, hashes {hashes}: {found}: {command[0]} {' '.join(command[1])}"
            self._keep(f"{name}-{number}", what, seen)
        return found

    def close(self) -> None:
        """Ends the process in which commands run, and lets figures be drawn again in this one."""
        self._worker.close()
        for (module, name), draw in self._drawn.items():
            setattr(importlib.import_module(module), name, draw)

    def _workplace(self, kind: Kind) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        for name in kind.needs(str(self.work)):
            source = self.good / name
            if source.is_dir():
                shutil.copytree(source, self.work / name)
            elif source.is_file():
                shutil.copy2(source, self.work / name)

    def _mutate(self, kind: Kind, how: str, rng: Rng) -> None:
        source = self.good / kind.file
        if kind.others is not None:
            source = pick(rng, sorted((self.good / kind.others).iterdir()))
        (self.work / kind.file).write_bytes(kind.mutations()[how](source.read_bytes(), rng))

    def _answer(self, kind: Kind, command: Command) -> Seen:
        """What the command does with the good file."""
        key = (command[0], *command[1])
        if key not in self._answers:
            self._workplace(kind)
            seen = self._answers[key] = self._worker.run(command)
            if seen.code not in (0, 1) or ": error: " in seen.err:
                raise SystemExit(f"{' '.join(key)} fails on good files: {seen.err}")
        return self._answers[key]

    def _keep(self, name: str, what: str, seen: Seen) -> None:
        self.counts.faults.append(f"{name}: {what}: {seen.err.strip()[-300:]}")
        if self.kept is not None:
            shutil.copytree(self.work, self.kept / name, dirs_exist_ok=True)
            (self.kept / name / "said.txt").write_text(f"{what}\n{seen.err}")
