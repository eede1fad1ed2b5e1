"""`idsnn-train`: a teacher and a spiking student from images, into a run folder.

The parser and the settings need the standard library alone, so `--help` and a wrong flag answer at once, anywhere.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from idsnn_deploy.command_line import Parser, command_parser
from idsnn_deploy.commands import DEBUG_HELP, announce, require_extra, run_command, say, uninterrupted
from idsnn_deploy.errors import EXIT_OK, RunError, UsageError
from idsnn_deploy.flags import add_flags, flag, from_flags

from .config import TrainConfig, default, preset, read_config, settings
from .run_facts import read_summary
from .run_folder import begun, finished, held

PROG = "idsnn-train"
NEEDS = ("train", "torch", "lightning_fabric", "snntorch", "safetensors", "rich", "matplotlib")
EXAMPLES = (
    f"{PROG} --dataset digits --out runs/digits                      # a minute on two cores",
    f"{PROG} --dataset folder --data my-photos --val-fraction 0.1    # train/CLASS/*.jpg, test/CLASS/*.jpg",
    f"{PROG} --resume --out runs/digits                              # go on where it stopped",
)


@dataclass(frozen=True, kw_only=True)
class Flags(TrainConfig):
    """Trains a teacher, then a spiking student that starts from it and learns from it; writes a run folder."""

    preset: str | None = flag(
        None,
        "settings to start from: paper-c10, paper-c100, each with -i20 or -i10 and -t6; released; cifar10-cpu; fast",
        "NAME",
    )
    config: str | None = flag(None, "a config.json to start from, say that of an earlier run", "FILE")
    out: str | None = flag(None, "the run folder; runs/DATASET-ARM-sSEED where not given", "RUN")
    resume: bool = flag(False, "go on with the run in --out where it stopped; begin where none was begun")
    force: bool = flag(False, "replace the run that is in --out")
    dry_run: bool = flag(False, "read everything, say what would be done, write nothing")
    json: bool = flag(False, "print the summary as JSON")
    debug: bool = flag(False, DEBUG_HELP)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 where training diverges, 2 for bad input, 130 for Ctrl-C."""
    # Threads that wait for each other must not burn the cores that others on this machine compute on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(PROG, lambda: _run(arguments), "--debug" in arguments)


def _run(arguments: list[str]) -> int:
    start = _start(arguments)
    flags = from_flags(Flags, _parser(start).parse_args(arguments))
    require_extra(PROG, *NEEDS)
    config = TrainConfig(**{field.name: getattr(flags, field.name) for field in fields(TrainConfig)})
    folder = Path(flags.out or f"runs/{config.dataset}-{config.arm}-s{config.seed}")
    with nullcontext() if flags.dry_run else held(folder, flags.resume, flags.force):
        if flags.resume:
            config = _resumed(folder, config, start)
            summary = finished(folder)
            if summary is not None:
                return _show(read_summary(summary), folder, flags.json)
        return _train(config.check(), folder, flags)


def _train(config: TrainConfig, folder: Path, flags: Flags) -> int:
    announce(PROG, f"{config.dataset}, {config.arm}, T {config.timesteps} into {folder}; loading torch")
    with uninterrupted(), _uncollected():
        from .devices import make_fabric
        from .display import Display
        from .trainer import Trainer

    fabric = make_fabric(config)
    display = Display(quiet=not fabric.is_global_zero)
    trainer = Trainer(config, folder, fabric, display, flags.resume)
    if flags.dry_run:
        display.table("would do", trainer.plan())
        return EXIT_OK
    if flags.resume and not trainer.resume:
        display.say(f"{folder}: nothing to resume; the run begins")
    try:
        summary = trainer.run()
    except KeyboardInterrupt:
        if begun(folder) is not None:
            display.say(f"{PROG}: go on with: {PROG} --resume --out {folder}")
        raise
    return _show(summary, folder, flags.json) if fabric.is_global_zero else EXIT_OK


@contextmanager
def _uncollected() -> Iterator[None]:
    """Imports without the garbage collector: modules stay, so its search of all that they make takes time for nothing.

    A tenth of the time to the first step (docs/results.md).
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _start(arguments: list[str]) -> TrainConfig:
    """The settings that flags are added to: a preset's, a file's, the data set's own, or the defaults."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--config")
    first.add_argument("--dataset")
    first.add_argument("--network")
    chosen, _ = first.parse_known_args(arguments)
    if chosen.preset is not None and chosen.config is not None:
        raise UsageError("--preset and --config both say where to start from; give one")
    if chosen.config is not None:
        return read_config(chosen.config)
    return default(chosen.dataset, chosen.network) if chosen.preset is None else preset(chosen.preset)


def _parser(start: TrainConfig) -> Parser:
    parser = command_parser(PROG, str(Flags.__doc__), usage=f"{PROG} [FLAG ...]", needs=NEEDS, examples=EXAMPLES)
    add_flags(parser, Flags, start)
    return parser


def _resumed(folder: Path, config: TrainConfig, start: TrainConfig) -> TrainConfig:
    """The run's own settings, which flags may repeat but not change; where no run was begun, those to begin with."""
    path = begun(folder)
    if path is None:
        if config == TrainConfig():
            raise RunError(f"{folder}: no run to resume; name its folder with --out, or say what to train")
        return config
    stored = read_config(path)
    for name, value in settings(config).items():
        if value != settings(start)[name] and value != settings(stored)[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} {_words(value)}: "
                f"the run in {folder} was started with {_words(settings(stored)[name])}"
            )
    return stored


def _words(value: Any) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _show(summary: dict[str, Any], folder: Path, as_json: bool) -> int:
    if as_json:
        say(summary)
        return EXIT_OK
    from .display import Display

    teacher, best = summary["teacher_accuracy"], summary.get("best_val_accuracy")
    by_step = summary.get("test_by_step", [])
    rows = {
        "teacher, test accuracy": "none" if teacher is None else f"{teacher:.2%}",
        "student, test accuracy": f"{summary['student_accuracy']:.2%}",
        **({"after each step": ", ".join(f"{each:.2%}" for each in by_step)} if len(by_step) > 1 else {}),
        **({} if best is None else {"student, best validation accuracy": f"{best:.2%}, epoch {summary['best_epoch']}"}),
        "firing rate, spikes per neuron and step": f"{summary['firing_rate']:.2%}",
        **_asked(summary),
        "parameters": f"{summary['parameters']:,}",
        "time": f"{summary['seconds']:.0f} s on {summary['device']}",
        "run folder": str(folder),
    }
    Display().table(f"{summary['dataset']}, {summary['arm']}, T {summary['timesteps']}", rows)
    announce(PROG, f"next: idsnn-export {folder}")
    return EXIT_OK


def _asked(summary: dict[str, Any]) -> dict[str, str]:
    if "spikes" not in summary:
        return {}
    from .spikes import verdict

    name, words = verdict(summary["spikes"]).split(": ", 1)
    return {name: words}


if __name__ == "__main__":
    sys.exit(main())
