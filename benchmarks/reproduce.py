"""The paper's tables at a chosen scale: python benchmarks/reproduce.py --scale cpu [--data CIFAR10] [--minutes 110]

    ablation        four arms at one interval                                       Table 3
    convergence     baseline and idsnn at each interval                             Fig. 5
    timesteps       baseline and idsnn at each T
    beyond          the whole method with one thing changed that the paper has not  RECIPES

Without `--data` the images are scikit-learn's digits, with it a tree `train/CLASS/*`, `test/CLASS/*` of CIFAR-10. One
teacher a seed is trained and shared by the arms. Each run is trained, exported through the parity gates, evaluated,
and appended to `benchmarks/results/SCALE-DATASET.jsonl` as one JSON line; what has a line is not run again. When the
time is up, the epoch that is running is finished and the next call goes on after it. Several processes may work at
once on different `--seeds`, or on different `--arms` when the teacher is there. Epochs and settings are chosen on
held-out training images; test figures are only written down.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from idsnn.config import TrainConfig
from idsnn.config import settings as config_settings
from idsnn.display import Display
from idsnn.trainer import train
from idsnn_deploy.errors import DivergedError, IdsnnError, ParityError, RunError
from idsnn_evaluation import evaluate
from idsnn_evaluation.data import open_source
from idsnn_evaluation.show import words
from idsnn_export import ExportConfig, export_bundle
from provenance import commit, processor
from reproduce_plan import ARMS, PAPER, RECIPES, SCALES, Run, plan
from reproduce_rows import read

RESULTS, RUNS = Path(__file__).parent / "results", Path("runs/reproduce")


class OutOfTime(Exception):
    """The budget is used up; the last epoch is on the disk."""


class Watch(Display):
    """Shows epochs and ends the training after the first one that is done past the deadline."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline

    def epoch(self, row: Mapping[str, Any], epochs: int) -> None:
        """The checkpoint of this epoch has been written."""
        super().epoch(row, epochs)
        if time.monotonic() > self.deadline:
            raise OutOfTime


class Reproduction:
    """The runs of one scale, where their folders and rows are, and the time there is."""

    def __init__(
        self, scale: str, data: str | None, minutes: float, results: Path = RESULTS, runs: Path = RUNS
    ) -> None:
        self.dataset = "digits" if data is None else "cifar10-jpeg"
        self.scale = SCALES[scale, self.dataset]
        self.data = data
        self.runs = runs / scale
        self.rows = results / f"{scale}-{self.dataset}.jsonl"
        self.watch = Watch(time.monotonic() + 60 * minutes)
        self.commit = commit()

    def read(self) -> list[dict[str, Any]]:
        """The rows so far.

        Raises:
            RunError: a line that is no row.
        """
        return read(self.rows) if self.rows.exists() else []

    def go(
        self,
        experiments: Sequence[str],
        seeds: Sequence[int],
        arms: Sequence[str] = ARMS,
        recipes: Sequence[str] = tuple(RECIPES),
        intervals: Sequence[int] = (),
    ) -> dict[str, str]:
        """Does what has no row yet, of these arms, recipes and intervals (none given: all).

        Returns what failed, by run: a loss that left the finite numbers, an export that did not pass its gates.

        Raises:
            OutOfTime: where something is left.
            RunError: rows or folders of other settings than the scale's.
        """
        failed: dict[str, str] = {}
        for run in plan(self.scale, self.dataset, experiments, seeds):
            if (
                run.arm not in arms
                or run.recipe not in recipes
                or run.interval not in (intervals or self.scale.intervals)
            ):
                continue
            done = [row for row in self.read() if Run(**{key: row[key] for key in asdict(run)}) == run]
            self._check(done)
            if any(row["experiment"] == run.experiment for row in done):
                continue
            if not done and time.monotonic() > self.watch.deadline:
                raise OutOfTime
            self.watch.say(f"{run.experiment}: {run.name}")
            try:
                row = done[0] | {"experiment": run.experiment} if done else self._row(run)
            except (DivergedError, ParityError) as error:
                failed[run.name] = str(error)
                continue
            self.rows.parent.mkdir(parents=True, exist_ok=True)
            with self.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return failed

    def _check(self, rows: list[dict[str, Any]]) -> None:
        """Rows of before say what they were run with; those that do not are of this scale."""
        mine = (self.scale.settings, self.scale.teacher_epochs)
        if any((row.get("settings", mine[0]), row["teacher_epochs"]) != mine for row in rows):
            raise RunError(f"{self.rows}: has rows of other settings; move it away to begin anew")

    def _settings(self, run: Run) -> dict[str, Any]:
        source = {"dataset": "digits"} if self.data is None else {"dataset": "folder", "data": self.data}
        return {**source, **self.scale.settings, "seed": run.seed, "teacher_epochs": self.scale.teacher_epochs}

    def _train(self, config: TrainConfig, folder: Path) -> dict[str, Any]:
        """The run's summary, from where it was left.

        Raises:
            RunError: the folder holds a run of other settings.
        """
        if (folder / "config.json").exists():
            before = json.loads((folder / "config.json").read_text())
            wanted = {key: value for key, value in config_settings(config).items() if value is not None}
            other = [key for key, value in wanted.items() if before.get(key, value) != value]
            if other:
                raise RunError(f"{folder}: was run with another {', '.join(other)}; remove it to run it again")
        if (folder / "summary.json").exists():
            return dict(json.loads((folder / "summary.json").read_text()))
        return train(config, folder, resume=folder.exists(), display=self.watch)

    def _teacher(self, run: Run) -> Path:
        """The seed's teacher, as the run folder of a student of one epoch and one step that nothing is read from."""
        folder = self.runs / f"{run.dataset}-teacher-w{run.width}-s{run.seed}"
        settings = {**self._settings(run), "arm": "init", "epochs": 1, "timesteps": 1, "schedule": "cosine"}
        self._train(TrainConfig(**settings), folder)
        return folder

    def _row(self, run: Run) -> dict[str, Any]:
        settings = {**self._settings(run), "arm": run.arm, "epochs": run.epochs, "timesteps": run.timesteps}
        settings |= {**PAPER, "milestones": tuple(run.interval * k for k in (1, 2, 3))}
        teacher = None if run.arm == "baseline" else self._teacher(run)
        if teacher is not None:
            settings["teacher"] = str(teacher)
        folder = self.runs / run.name
        summary = self._train(TrainConfig(**{**settings, **RECIPES[run.recipe]}), folder)
        with (folder / "metrics.csv").open() as file:
            epochs = [row for row in csv.DictReader(file) if row["phase"] == "student"]
        resolved = json.loads((folder / "config.json").read_text())
        return {
            **asdict(run),
            **{name: summary[name] for name in ("train_images", "teacher_accuracy", "student_accuracy")},
            **{name: summary[name] for name in ("best_epoch", "best_val_accuracy", "best_val_test_accuracy")},
            "val_accuracy": [float(row["val_accuracy"]) for row in epochs],
            "test_accuracy": [float(row["test_accuracy"]) for row in epochs],
            "val_images": resolved["validation_images"],
            "test_images": resolved["test_images"],
            "firing_rate": summary["firing_rate"],
            **self._operations(folder),
            "seconds": summary["seconds"],
            "images_per_second": max(float(row["images_per_second"]) for row in epochs),
            "teacher_epochs": self.scale.teacher_epochs,
            "device": f"{summary['device']}, {processor()}",
            "versions": summary["versions"],
            "commit": self.commit,
            "settings": self.scale.settings,
        }

    def _operations(self, folder: Path) -> dict[str, Any]:
        """Of an image, counted in the network that ships: exported through the gates, run by onnxruntime."""
        data = None if self.data is None else Path(self.data)
        bundle, manifest = export_bundle(ExportConfig(folder, graphs=("onnx", "probe"), data=data, force=True))
        test = open_source(manifest, None, "test", data, self.scale.samples)
        report = evaluate(bundle, test.images, test.labels, threads=torch.get_num_threads()).to_dict()
        snn, ann = (words.arithmetic_row(report, each) for each in ("spiking network", "same network as an ANN"))
        memory = words.memory_row(report)
        return {
            **{name: report["totals"][name] for name in ("effective_acs", "effective_macs", "ann_macs")},
            "counted_images": report["provenance"]["samples"],
            "arithmetic_pj": {"snn": snn["pj"], "ann": ann["pj"]},
            "memory_pj": {"snn": memory["spiking_pj"], "ann": memory["ann_pj"], "tier": memory["tier"]},
        }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("ablation", "convergence", "timesteps", "beyond")
    parser.add_argument("--scale", choices=sorted({scale for scale, _ in SCALES}), default="cpu")
    parser.add_argument("--data", metavar="DIR", help="train/CLASS/* and test/CLASS/* (default: digits)")
    parser.add_argument(
        "--experiments", nargs="+", choices=names, default=list(names), metavar="NAME", help="see above"
    )
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: the scale's")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=", ".join(ARMS))
    known = ", ".join(RECIPES)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="NAME", help=known)
    parser.add_argument("--intervals", nargs="+", type=int, metavar="N", help="default: the scale's")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="time budget (default: none)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and onnxruntime")
    given = parser.parse_args(argv)
    if (given.scale, "digits" if given.data is None else "cifar10-jpeg") not in SCALES:
        parser.error(f"--scale {given.scale} needs --data, a tree of CIFAR-10")
    reproduction = Reproduction(given.scale, given.data, given.minutes)
    intervals = reproduction.scale.intervals
    if not set(given.intervals or ()) <= set(intervals):
        parser.error(f"--intervals: this scale has {', '.join(map(str, intervals))}")
    torch.set_num_threads(given.threads)
    seeds = given.seeds or reproduction.scale.seeds
    try:
        failed = reproduction.go(given.experiments, seeds, given.arms, given.recipes, given.intervals or ())
    except OutOfTime:
        print(f"out of time; the same command goes on. Rows so far: {reproduction.rows}")
        return 0
    except IdsnnError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    for name, reason in failed.items():
        print(f"reproduce: {name}: {reason}", file=sys.stderr)
    print(f"done{' but for the failed' if failed else ''}: {reproduction.rows}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
