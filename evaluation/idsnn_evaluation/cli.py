"""`idsnn-evaluate`: what the shipped network answers, how many spikes and operations that takes, and the energy."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idsnn_deploy.commands import require_extra, run_command
from idsnn_deploy.errors import EXIT_OK, UsageError

PROG = "idsnn-evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, or 2 for bad input."""
    given = _parser().parse_intermixed_args(argv)  # `A --limit 9 B` too
    return run_command(PROG, lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    require_extra(PROG, "evaluation", "matplotlib", "rich")
    if len(given.bundle) > 1 and given.out is not None and not given.compare:
        raise UsageError("--out names one folder, but there are several bundles; leave it out, or pass --compare")
    if given.batch_size < 1:
        raise UsageError(f"--batch-size {given.batch_size}: give at least 1")
    if given.write and not given.early_exit:
        raise UsageError("--write puts the margin of --early-exit into the manifest; pass both")
    if given.write and given.compare:
        raise UsageError("--write belongs to evaluating a bundle, not to --compare")
    # Everything heavy comes after the parser, so that --help takes no second.
    jobs: Any = importlib.import_module(".jobs", __package__)
    reports = jobs.run_compare(given) if given.compare else jobs.run_each(given)
    if given.json:
        print(json.dumps(reports[0] if len(reports) == 1 else reports, indent=2, allow_nan=False))
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Counts spikes and synaptic operations of a bundle's network and says what they cost.",
        epilog="Writes report.json, report.html (one file, no network) and figures; no torch is needed.",
    )
    add = parser.add_argument
    add("bundle", nargs="+", type=Path, metavar="BUNDLE", help="a bundle's folder")
    add("--dataset", metavar="NAME", help="data set to evaluate on, or npz (default: the one it was trained on)")
    add("--data", type=Path, metavar="DIR", help="where the data set's files are")
    add("--split", choices=("test", "train"), default="test", help="which part of it (default: test)")
    add("--limit", type=int, metavar="N", help="at most N images, classes in turn")
    add("--variant", choices=("fp32", "int8"), help="which network (default: fp32; with --compare all there are)")
    add("--compare", action="store_true", help="put the bundles side by side in one report")
    add("--early-exit", action="store_true", help="show accuracy against average steps, and the margin to stop at")
    add("--write", action="store_true", help="with --early-exit: write the margin into the bundle's manifest")
    add("--platform", type=Path, metavar="FILE", help="more hardware to estimate for: .toml or .json")
    add("--batch-size", type=int, default=16, metavar="N", help="images at a time (default: 16)")
    add("--threads", type=int, metavar="N", help="threads of onnxruntime (default: all cores)")
    add("--out", type=Path, metavar="REPORT", help="the report's folder (default: report beside the bundle)")
    add("--json", action="store_true", help="print the report as JSON instead of tables")
    add("--force", action="store_true", help="replace an existing report")
    return parser
