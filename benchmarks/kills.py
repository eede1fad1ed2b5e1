"""`make kills`: trainings and exports killed before every file operation, without space at every one, and racing.

| | held to |
|---|---|
| killed | the old or the new is there; again, it ends with an undisturbed run's weights or bytes, and nothing else |
| no space | one line that names the file, exit code 2; then the same |
| race | of two that begin together one ends with 0 and one with 2 (with --force, which may come later, 0, too) |

    python benchmarks/kills.py [--points N] [SUBJECT ...]        N points of each subject, evenly spread, instead of all
"""

from __future__ import annotations

import argparse
import atexit
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import nir
import numpy as np
from traced import NEEDS_SPACE, Operation, Outcome, at_once, killed_before, operations, run, without_space

import idsnn.cli
import idsnn.display
import idsnn.trainer
import idsnn_export.bundle
import idsnn_export.cli
from idsnn_deploy.text_table import format_table

TRAIN = ["--width", "4", "--epochs", "1", "--teacher-depth", "18", "--limit-train", "32", "--limit-test", "10"]
TRAIN += ["--batch-size", "32", "--timesteps", "2", "--val-fraction", "0.2"]
TRIES = 3
WEIGHTS = ("teacher.safetensors", "student.safetensors", "best.safetensors")
Files = dict[str, bytes]


@dataclass(frozen=True)
class Subject:
    """A command whose disturbances are tried.

    Attributes:
        start: makes what is in the scratch folder before.
        first: the command; `out` in the scratch folder is what it writes.
        again: what brings a disturbed one to its end.
        same: the files of `out` that must end as an undisturbed command's do; None: all of them.
    """

    start: Callable[[Path], None]
    first: Callable[[Path], int]
    again: Callable[[Path], int]
    same: tuple[str, ...] | None = None


@dataclass
class Tally:
    """What was tried and how often it held."""

    operations: int = 0
    tried: dict[str, int] = field(default_factory=lambda: {"killed": 0, "no space": 0, "race": 0})
    missed: int = 0
    broken: list[str] = field(default_factory=list)


def train(*flags: str) -> Callable[[Path], int]:
    return lambda scratch: idsnn.cli.main([*TRAIN, *flags, "--out", str(scratch / "out")])


def export(*flags: str) -> Callable[[Path], int]:
    source = str(_graph())
    return lambda scratch: idsnn_export.cli.main([source, *flags, "--out", str(scratch / "out")])


def after(command: Callable[[Path], int]) -> Callable[[Path], None]:
    """A scratch folder in which another command wrote `out` before."""
    kept = _home / f"before-{len(list(_home.iterdir()))}"

    def start(scratch: Path) -> None:
        if not kept.exists():
            kept.mkdir()
            assert run(lambda: command(kept)).code == 0
        shutil.copytree(kept, scratch, dirs_exist_ok=True)

    return start


def _graph() -> Path:
    path = _home / "net.nir"
    if not path.exists():  # once, before anything is traced
        rng = np.random.default_rng(0)
        cells = {"tau": np.full(4, 2e-4), "r": np.ones(4), "v_leak": np.zeros(4), "v_threshold": np.full(4, 0.3)}
        nodes = {
            "input": nir.Input(np.array([3])),
            "a": nir.Linear(rng.normal(size=(4, 3))),
            "lif": nir.LIF(**cells, v_reset=np.zeros(4)),
            "b": nir.Linear(rng.normal(size=(2, 4))),
            "output": nir.Output(np.array([2])),
        }
        names = list(nodes)
        nir.write(path, nir.NIRGraph(nodes, list(pairwise(names))))
    return path


_home = Path(tempfile.mkdtemp(prefix="kills-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)
OLD_RUN, NEW_RUN = train("--epochs", "2"), train("--arm", "baseline", "--force")
OLD_BUNDLE, NEW_BUNDLE = export("--timesteps", "2"), export("--timesteps", "3", "--force")
SUBJECTS = {
    "idsnn-train": Subject(lambda scratch: None, train(), train("--resume"), WEIGHTS),
    "idsnn-train --force": Subject(after(OLD_RUN), NEW_RUN, NEW_RUN, WEIGHTS),
    "idsnn-export": Subject(lambda scratch: None, export("--timesteps", "3"), NEW_BUNDLE),
    "idsnn-export --force": Subject(after(OLD_BUNDLE), NEW_BUNDLE, NEW_BUNDLE),
}


def files_of(scratch: Path) -> Files:
    return {str(file.relative_to(scratch)): file.read_bytes() for file in scratch.rglob("*") if file.is_file()}


class Trial:
    """One subject: what an undisturbed command leaves, its operations, and every disturbance held to that."""

    def __init__(self, name: str, subject: Subject) -> None:
        self.name, self.subject, self.tally = name, subject, Tally()
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            subject.start(scratch)
            self.before = files_of(scratch)
            self.found = operations(lambda: subject.first(scratch), scratch)
            self.whole = files_of(scratch)
        self.tally.operations = len(self.found)

    def killed(self, operation: Operation) -> None:
        """Killed before the operation."""
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            self.subject.start(scratch)
            outcome = killed_before(lambda: self.subject.first(scratch), operation)
            self._note("killed", outcome.code == -9, operation, f"ended with {outcome.code}")
            self._note("", self._old_or_new(scratch), operation, "neither the old nor the new")
            if "train" in self.name:
                self._goes_on(scratch, operation)
            self._ends_whole(scratch, operation)

    def no_space(self, operation: Operation) -> None:
        """The operation finds no space; calls elsewhere may come in another number, and then it is tried again."""
        self.tally.missed += not any(self._found_no_space(operation) for _ in range(TRIES))

    def _found_no_space(self, operation: Operation) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            self.subject.start(scratch)
            outcome = without_space(lambda: self.subject.first(scratch), operation, scratch)
            if outcome is None:
                return False
            last = outcome.printed.strip().rpartition("\n")[2]
            named = f"error: {scratch}/out" in last and last.endswith("No space left on device") and ".tmp/" not in last
            self._note("no space", outcome.code == 2 and named, operation, f"{outcome.code}: {outcome.printed[-300:]}")
            self._note("", self._old_or_new(scratch), operation, "neither the old nor the new")
            self._ends_whole(scratch, operation)
        return True

    def race(self) -> None:
        """Two at once."""
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            self.subject.start(scratch)
            codes = sorted(outcome.code for outcome in at_once(lambda: self.subject.first(scratch), 2))
            one_wins = codes == [0, 2] or ("--force" in self.name and codes == [0, 0])  # one after the other
            self._note("race", one_wins, None, f"exit codes {codes}")
            self._ends_whole(scratch, None)

    def _ends_whole(self, scratch: Path, operation: Operation | None) -> None:
        outcome = run(lambda: self.subject.again(scratch))
        self._note("", outcome.code == 0, operation, f"again: {outcome.code}: {outcome.printed[-300:]}")
        left = files_of(scratch)
        self._note("", left.keys() == self.whole.keys(), operation, f"left: {left.keys() ^ self.whole.keys()}")
        for name in self.whole:
            if self.subject.same is None or Path(name).name in self.subject.same:
                self._note("", left.get(name) == self.whole[name], operation, f"{name} is another")

    def _goes_on(self, scratch: Path, operation: Operation) -> None:
        """`--resume` and a plain start, each in a copy of what was left."""
        left = {file.name for file in (scratch / "out").glob("*")}
        taken, begun = any(not name.startswith(".") for name in left), bool(left & {"config.json", ".next.json"})
        if taken:
            outcome = _in_a_copy(scratch, TRAIN)
            refused = outcome.code == 2 and "exists already" in outcome.printed
            self._note("", refused, operation, f"a plain start: {outcome.code}: {outcome.printed[-300:]}")
        outcome = _in_a_copy(scratch, ["--resume"] if begun else [*TRAIN, "--resume"])
        self._note("", outcome.code == 0, operation, f"--resume: {outcome.code}: {outcome.printed[-300:]}")

    def _old_or_new(self, scratch: Path) -> bool:
        """Whether what there was is there, or what there will be, which for a run is so once it has begun."""
        out = {name: data for name, data in files_of(scratch).items() if name.startswith("out/")}
        if self.subject.same is None:
            return out in (self.before, self.whole)
        if any(name.startswith("out/.next.json") for name in out) or not self.before:
            return True
        return self.before.items() <= out.items() or out.get("out/config.json") == self.whole["out/config.json"]

    def _note(self, kind: str, held: bool, operation: Operation | None, what: str) -> None:
        if kind:
            self.tally.tried[kind] += 1
        if not held:
            where = "race" if operation is None else f"{operation.call} {operation.nth} ({operation.about[:150]})"
            self.tally.broken.append(f"{self.name}, {where}: {what}")


def _in_a_copy(scratch: Path, command: list[str]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(scratch, folder, dirs_exist_ok=True)
        return run(lambda: idsnn.cli.main([*command, "--out", f"{folder}/out"]))


def warm() -> None:
    """One training here, so that no child imports what all can share."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        train()(Path(folder))
    assert threading.active_count() == 1  # others would not survive a fork


def spread(found: Sequence[Operation], points: int | None) -> list[Operation]:
    if points is None or points >= len(found):
        return list(found)
    return [found[(2 * i + 1) * len(found) // (2 * points)] for i in range(points)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)} (default: all)")
    parser.add_argument("--points", type=int, metavar="N", help="points of each subject (default: all)")
    given = parser.parse_args()
    if shutil.which("strace") is None:
        parser.error("strace is needed: apt-get install strace")
    begun, tallies = time.monotonic(), {}
    names = given.subjects or list(SUBJECTS)
    if any("train" in name for name in names):
        warm()
    for name in names:
        trial = Trial(name, SUBJECTS[name])
        for operation in spread(trial.found, given.points):
            trial.killed(operation)
        for operation in spread([each for each in trial.found if each.call in NEEDS_SPACE], given.points):
            trial.no_space(operation)
        trial.race()
        tallies[name] = trial.tally
        print("\n".join(trial.tally.broken), file=sys.stderr, flush=True)
    rows = [(name, t.operations, *t.tried.values(), t.missed, len(t.broken)) for name, t in tallies.items()]
    print(
        format_table(
            ("", "operations", "killed", "no space", "races", "missed", "broken"), [tuple(map(str, r)) for r in rows]
        )
    )
    print(f"{time.monotonic() - begun:.0f} s")
    return int(any(tally.broken for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
