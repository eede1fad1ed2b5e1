"""`idsnn-export`: a run folder, a `.nir` file or a torch network becomes a bundle; two artefacts are compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idsnn_deploy.command_line import Parser, command_parser
from idsnn_deploy.commands import DEBUG_HELP, announce, require_extra, run_command, say
from idsnn_deploy.errors import EXIT_FAILED, EXIT_OK, UsageError
from idsnn_deploy.flags import add_flags, flag, from_flags

from .config import ExportConfig

PROG = "idsnn-export"
NEEDS = ("export", "onnx", "nir", "h5py")
EXAMPLES = (
    f"{PROG} runs/digits                                  # runs/digits/bundle: NIR, ONNX, golden vectors",
    f"{PROG} other.nir --timesteps 20 --dt 1e-4           # another framework's graph, without torch",
    f"{PROG} runs/digits --format c --out digits-c        # C99 without any library",
)
NOTES = "Nothing is written unless the parity gates pass: torch = NIR = ONNX, spike for spike."


@dataclass(frozen=True)
class Otherwise:
    """What the command can do instead of an export, and how it answers."""

    lint: str | None = flag(
        None,
        "only say what TARGET cannot run (loihi, speck, xylo, spinnaker2, snntorch, ...)",
        "TARGET",
        group="instead of exporting",
    )
    diff: tuple[Path, Path] | None = flag(
        None, "only compare two artefacts: layer, step and neuron of the first difference", ("A", "B")
    )
    json: bool = flag(False, "print the result as JSON", group="run")
    debug: bool = flag(False, DEBUG_HELP)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 where artefacts differ or a gate fails, 2 for bad input."""
    given = _parser().parse_args(argv)
    return run_command(PROG, lambda: _run(given), given.debug, "nothing was written; the same command starts again")


def _run(given: argparse.Namespace) -> int:
    require_extra(PROG, *NEEDS)
    otherwise = from_flags(Otherwise, given)
    if otherwise.diff:
        return _diff(*otherwise.diff, otherwise.json)
    if given.source is None:
        raise UsageError("name a run folder, a .nir file or package.module:factory, or two artefacts with --diff A B")
    config = from_flags(ExportConfig, given)
    announce(PROG, f"{config.source}; loading")
    if otherwise.lint:
        return _lint(config, otherwise.lint, otherwise.json)
    return (_export_c if config.format == "c" else _export)(config, otherwise.json)


def _export(config: ExportConfig, as_json: bool) -> int:
    from .bundle import export_bundle

    folder, manifest = export_bundle(config)
    if as_json:
        say({"bundle": str(folder), "files": manifest.files, "parity": manifest.parity, "warnings": manifest.warnings})
        return EXIT_OK
    width = max(map(len, manifest.files))
    for name, entry in manifest.files.items():
        say(f"{folder / name!s:<{len(str(folder)) + 1 + width}}  {entry['bytes'] / 1024:>9,.1f} KiB")
    for gate, figures in manifest.parity.items():
        say(
            f"parity, {gate}: "
            + ", ".join(f"{key.replace('_', ' ')} {_figure(value)}" for key, value in figures.items())
        )
    for warning in manifest.warnings:
        say(f"warning: {warning}")
    if "model.probe.onnx" in manifest.files and folder.is_dir():
        data = "" if manifest.dataset else " --dataset NAME --data DIR"
        announce(PROG, f"next: idsnn-evaluate {folder}{data}, or idsnn-deploy run {folder} with a sample")
    return EXIT_OK


def _export_c(config: ExportConfig, as_json: bool) -> int:
    from .c_folder import beside_float64, export_c

    folder, figures = export_c(config)
    if as_json:
        say({"folder": str(folder), "answers": figures})
        return EXIT_OK
    say(f"{folder}: C99; test it with: make -C {folder} check")
    say(beside_float64(figures))
    return EXIT_OK


def _diff(a: Path, b: Path, as_json: bool) -> int:
    from .artefacts import compare

    found = compare(a, b)
    say(found.to_dict() if as_json else str(found))
    return EXIT_OK if found.agree else EXIT_FAILED


def _lint(config: ExportConfig, target: str, as_json: bool) -> int:
    from .bundle import graph_of
    from .lint.engine import lint

    findings = lint(graph_of(config), target)
    if as_json:
        say([finding.to_dict() for finding in findings])
    else:
        say(
            "\n".join(map(str, findings))
            or f"{config.source}: nothing in it that {target} cannot run, as far as the rules know"
        )
    return EXIT_FAILED if findings else EXIT_OK


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if value is None or isinstance(value, str):
        return str(value or "-")
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def _parser() -> Parser:
    parser = command_parser(
        PROG,
        "Turns a trained run, a torch network or any NIR graph into a bundle: NIR, ONNX over T steps, golden vectors.",
        usage=f"{PROG} [FLAG ...] SOURCE",
        needs=NEEDS,
        examples=EXAMPLES,
        notes=NOTES,
    )
    add_flags(parser, ExportConfig)
    add_flags(parser, Otherwise)
    return parser


if __name__ == "__main__":
    sys.exit(main())
