"""The command `idsnn-deploy`: run, bench, check and info. Nothing heavy is imported before a bundle is opened."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .command_line import Parser
from .commands import DEBUG_HELP, announce, announced, run_command, say
from .errors import UsageError
from .manifest import VARIANTS, C, bundle_of

PROG = "idsnn-deploy"
EXAMPLES = {
    "": (
        f"{PROG} run BUNDLE photo.png         # its class and confidence",
        f"{PROG} check BUNDLE                 # does this machine answer as the exporting one did?",
        f"{PROG} bench BUNDLE --threads 2     # latency and memory of every variant",
    ),
    "run": (
        f"{PROG} run BUNDLE *.jpg --top 3              # the three likeliest classes of each",
        f"{PROG} run BUNDLE photo.png --anytime        # stops as soon as a class stands out",
        f"{PROG} run BUNDLE photo.png --variant c      # the bundle's C, compiled once",
    ),
    "bench": (
        f"{PROG} bench BUNDLE                          # every variant at every level of optimization",
        f"{PROG} bench BUNDLE --variant fp32 --variant c   # onnxruntime beside the bundle's C",
        f"{PROG} bench BUNDLE --anytime                # stopping early, with the mean of its steps",
    ),
    "check": (
        f"{PROG} check BUNDLE                          # PASS or FAIL, and where",
        f"{PROG} check BUNDLE --threads 1",
        f"{PROG} check BUNDLE --provider CUDAExecutionProvider",
    ),
    "info": (
        f"{PROG} info BUNDLE                           # data set, T, files, what was trained where",
        f"{PROG} info BUNDLE --layers                  # and a line per layer",
        f"{PROG} info BUNDLE --json",
    ),
}
C_HELP = "c compiles the bundle's C and runs it as a program: of bundles that you trust"
OPTIMIZATIONS = ("all", "extended", "basic", "disable")


def main(argv: list[str] | None = None) -> int:
    """Runs `idsnn-deploy` and returns its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(PROG, lambda: _answer(arguments), arguments.debug)


def _answer(given: argparse.Namespace) -> int:
    given.bundle = str(bundle_of(given.bundle))
    body: Callable[[argparse.Namespace], int] = given.body
    return body(given)


def _parser() -> Parser:
    parser = Parser(PROG, "Run a bundle on this machine, without torch.", examples=EXAMPLES[""])
    parser.add_version()
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", _run, "classify image files")
    run.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    run.add_argument("--top", type=int, default=1, metavar="K", help="show the K most likely classes (default 1)")
    run.add_argument("--steps", action="store_true", help="show each time step's logits")
    _add_anytime(run)
    run.add_argument("--int8", action="store_true", help="use the 8-bit network")
    run.add_argument("--variant", choices=(*VARIANTS, C), help=f"which form of the network (default: fp32); {C_HELP}")
    run.add_argument("--optimization", choices=OPTIMIZATIONS, default="all", help="graph optimization (default all)")

    bench = _command(commands, "bench", _bench, "measure latency, throughput and memory")
    bench.add_argument(
        "--variant",
        action="append",
        choices=(*VARIANTS, C),
        help=f"only this one (default: all there are but c); {C_HELP}",
    )
    bench.add_argument(
        "--optimization",
        action="append",
        choices=OPTIMIZATIONS,
        help="only this level (default: all, extended, disable)",
    )
    _add_anytime(bench)
    bench.add_argument("--batch", type=int, default=1, metavar="N", help="images per call (default 1)")
    bench.add_argument("--seconds", type=float, default=2.0, metavar="S", help="seconds per row (default 2)")
    bench.add_argument("--warmup", type=int, default=5, metavar="N", help="calls before the timing (default 5)")

    _command(commands, "check", _check, "verify hashes, replay the golden vectors; exit 0 on PASS, 1 on FAIL")

    info = _command(commands, "info", _info, "say what a bundle is")
    info.add_argument("--layers", action="store_true", help="list the layers")
    return parser


def _command(commands: Any, name: str, body: Callable[[argparse.Namespace], int], what: str) -> Parser:
    parser: Parser = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".", examples=EXAMPLES[name]
    )
    parser.set_defaults(body=body)
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, or the run that it lies in")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    if name != "info":
        parser.add_argument("--threads", type=int, metavar="N", help="threads within an operator (default: all cores)")
        parser.add_argument(
            "--provider", metavar="P", help="onnxruntime execution provider, such as CUDAExecutionProvider"
        )
    return parser


def _add_anytime(parser: Parser) -> None:
    parser.add_argument("--anytime", action="store_true", help="stop as soon as the class stands out by the margin")
    parser.add_argument("--margin", type=float, metavar="M", help="p1 - p2 to stop at, in 0..1 (default: the bundle's)")


def _check_margin(given: argparse.Namespace) -> None:
    if given.margin is not None and not 0 <= given.margin <= 1:
        raise UsageError(f"--margin {given.margin:g}: a difference of probabilities lies in 0..1")
    if given.margin is not None and not given.anytime:
        raise UsageError("--margin belongs to --anytime")


def _run(given: argparse.Namespace) -> int:
    if given.top < 1:
        raise UsageError(f"--top {given.top}: give at least 1")
    _check_margin(given)
    if given.int8 and given.variant not in (None, "int8"):
        raise UsageError(f"--int8 and --variant {given.variant} are two networks; choose one")
    if given.anytime and (given.int8 or given.steps or given.variant == "int8"):
        raise UsageError(
            "--anytime steps through the float32 graph and stops early; it goes with neither --int8 nor --steps"
        )
    variant = given.variant or ("int8" if given.int8 else "step" if given.anytime else "fp32")
    with _loading(given):
        session = _module("session").Session(
            given.bundle, variant, given.threads, _providers(given), given.optimization
        )
    margin = None if not given.anytime else session.margin() if given.margin is None else given.margin
    code: int = _module("run").run(session, given.images, given.top, given.steps, margin, given.json, say)
    return code


def _bench(given: argparse.Namespace) -> int:
    _check_margin(given)
    if given.anytime and (given.batch > 1 or "int8" in (given.variant or ())):
        raise UsageError("--anytime stops each image on its own, in float32; it goes with neither --batch nor int8")
    if not given.json:
        announce(PROG, f"{given.bundle}; measuring")
    bench = _module("bench")
    settings = bench.Settings(
        batch=given.batch, threads=given.threads, provider=given.provider, seconds=given.seconds, warmup=given.warmup,
        margin=given.margin,
    )  # fmt: skip
    levels = given.optimization or ["all", "extended", "disable"]
    code: int = bench.bench_command(given.bundle, given.variant, levels, settings, given.anytime, given.json, say)
    return code


def _check(given: argparse.Namespace) -> int:
    with _loading(given):
        options = _module("onnx_file").Options(given.threads, _providers(given))
        code: int = _module("check").check(given.bundle, options, given.json, say)
    return code


def _info(given: argparse.Namespace) -> int:
    code: int = _module("info").info(given.bundle, given.json, given.layers, say)
    return code


def _loading(given: argparse.Namespace) -> AbstractContextManager[None]:
    # onnxruntime takes seconds to import on a small board; a program that asks for JSON asks for nothing else.
    return nullcontext() if given.json else announced(PROG, f"{given.bundle}; loading")


def _module(name: str) -> Any:
    # numpy and Pillow cost a device a good part of a second, which --help and a mistyped flag need not pay.
    return importlib.import_module(f".{name}", __package__)


def _providers(given: argparse.Namespace) -> list[str] | None:
    return None if given.provider is None else [given.provider]


if __name__ == "__main__":
    sys.exit(main())
