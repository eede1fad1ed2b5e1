"""`idsnn-export`: a run folder or a `.nir` file becomes a bundle; two artefacts are compared; a graph is linted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idsnn_deploy.commands import require_extra, run_command
from idsnn_deploy.errors import EXIT_FAILED, EXIT_OK, UsageError

from .config import ENCODINGS, FORMATS, GRAPHS, POOLS, ExportConfig

PROG = "idsnn-export"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 where artefacts differ or a gate fails, 2 for bad input."""
    arguments = _parser().parse_args(argv)
    return run_command(PROG, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    require_extra(PROG, "export", "onnx", "nir", "h5py")
    if arguments.diff:
        return _diff(Path(arguments.diff[0]), Path(arguments.diff[1]), arguments.json)
    if arguments.source is None:
        raise UsageError("name a run folder or a .nir file, or two artefacts with --diff A B")
    if arguments.lint:
        return _lint(arguments.source, arguments.lint, as_json=arguments.json)
    return _export(arguments)


def _export(arguments: argparse.Namespace) -> int:
    config = ExportConfig(
        source=arguments.source,
        out=arguments.out,
        format=arguments.format,
        graphs=tuple(arguments.graphs.split(",")),
        int8=arguments.int8,
        weights_int8=arguments.weights_int8,
        calibrate=arguments.calibrate,
        batch=arguments.batch,
        timesteps=arguments.timesteps,
        dt=arguments.dt,
        pool=arguments.pool,
        encoding=arguments.encoding,
        data=arguments.data,
        force=arguments.force,
    )
    from .bundle import export_bundle

    folder, manifest = export_bundle(config)
    if arguments.json:
        print(json.dumps({"bundle": str(folder), "files": manifest.files, "parity": manifest.parity}, indent=2))
        return EXIT_OK
    width = max(map(len, manifest.files))
    for name, entry in manifest.files.items():
        print(f"{folder / name!s:<{len(str(folder)) + 1 + width}}  {entry['bytes'] / 1024:>9,.1f} KiB")
    for gate, figures in manifest.parity.items():
        print(
            f"parity, {gate}: "
            + ", ".join(f"{key.replace('_', ' ')} {_figure(value)}" for key, value in figures.items())
        )
    return EXIT_OK


def _diff(a: Path, b: Path, as_json: bool) -> int:
    from .artefacts import compare

    found = compare(a, b)
    print(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    return EXIT_OK if found.agree else EXIT_FAILED


def _lint(source: Path, target: str, as_json: bool) -> int:
    from .bundle import graph_of
    from .lint.engine import lint

    findings = lint(graph_of(source), target)
    if as_json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        print(
            "\n".join(map(str, findings))
            or f"{source}: nothing in it that {target} cannot run, as far as the rules know"
        )
    return EXIT_FAILED if findings else EXIT_OK


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Turns a trained run or any NIR graph into a bundle: NIR, ONNX with time unrolled, golden vectors.",
        epilog="Nothing is written unless the parity gates pass: torch = NIR = ONNX, spike for spike.",
    )
    add = parser.add_argument
    add("source", nargs="?", type=Path, metavar="RUN_OR_NIR", help="a run folder, or a .nir file of any framework")
    add("--out", type=Path, metavar="BUNDLE", help="the bundle's folder (default: RUN/bundle, or NAME-bundle)")
    add("--format", choices=FORMATS, default="all", help="model.nir, model.onnx, or both (default: all)")
    add("--graphs", default=",".join(GRAPHS), metavar="LIST", help="which ONNX graphs (default: onnx,step,probe)")
    add("--int8", action="store_true", help="also 8-bit convolutions, gated by accuracy, and their probe")
    add("--weights-int8", action="store_true", help="also 8-bit weights, for size alone")
    add(
        "--calibrate",
        type=int,
        default=256,
        metavar="N",
        help="training images that set the 8-bit ranges (default: 256)",
    )
    add("--batch", default="dynamic", metavar="dynamic|N", help="batch size of the ONNX graphs (default: dynamic)")
    add("--timesteps", type=int, metavar="T", help="steps to unroll (default: as trained)")
    add("--dt", type=float, metavar="S", help="seconds per step (default: 1e-4, or as the file says)")
    add(
        "--pool",
        choices=POOLS,
        default="avg",
        help="sum: spikes stay whole numbers, the next weights are divided (default: avg)",
    )
    add("--encoding", choices=ENCODINGS, help="of a foreign graph: one image, or one frame per step (default: frames)")
    add("--data", type=Path, metavar="DIR", help="where the data set's files are now (default: as trained)")
    add(
        "--lint",
        metavar="TARGET",
        help="only say what TARGET cannot run (loihi, speck, xylo, spinnaker2, snntorch, ...)",
    )
    add(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="only compare two artefacts: layer, step and neuron of the first difference",
    )
    add("--json", action="store_true", help="print the result as JSON")
    add("--force", action="store_true", help="replace an existing bundle")
    return parser
