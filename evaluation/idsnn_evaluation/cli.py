"""`idsnn-evaluate`: what the shipped network answers, how many spikes and operations that takes, and the energy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from idsnn_deploy.command_line import Parser, command_parser
from idsnn_deploy.commands import announce, require_extra, run_command, say
from idsnn_deploy.errors import EXIT_OK
from idsnn_deploy.flags import add_flags, from_flags

from .config import EvaluateConfig

PROG = "idsnn-evaluate"
NEEDS = ("evaluation", "matplotlib", "rich")
EXAMPLES = (
    f"{PROG} runs/digits/bundle                            # runs/digits/report: report.html, report.json, figures",
    f"{PROG} runs/photos/bundle --data my-photos           # where the images are now",
    f"{PROG} runs/a/bundle runs/b/bundle --compare         # side by side",
    f"{PROG} runs/photos/bundle --shard 3/8                # an eighth of the work, for --merge runs/photos/shards",
)
NOTES = "Writes report.json, report.html (one file, no network) and figures; no torch is needed."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, or 2 for bad input."""
    given = _parser().parse_intermixed_args(argv)  # `A --limit 9 B` too
    return run_command(PROG, lambda: _run(given), given.debug, "no report was written; the same command starts again")


def _run(given: argparse.Namespace) -> int:
    require_extra(PROG, *NEEDS)
    config = from_flags(EvaluateConfig, given)
    announce(PROG, f"{', '.join(map(str, config.bundle))}; loading")
    # Everything heavy comes after the parser, so that --help takes no second.
    from .jobs import run_compare, run_each, run_merge, run_shard

    if config.shard:
        run_shard(config)
        return EXIT_OK
    reports = run_merge(config) if config.merge else run_compare(config) if config.compare else run_each(config)
    if config.json:
        say(reports[0] if len(reports) == 1 else reports)
    return EXIT_OK


def _parser() -> Parser:
    parser = command_parser(
        PROG,
        "Counts spikes and synaptic operations of a bundle's network and says what they cost.",
        usage=f"{PROG} [FLAG ...] BUNDLE ...",
        needs=NEEDS,
        examples=EXAMPLES,
        notes=NOTES,
    )
    add_flags(parser, EvaluateConfig)
    return parser


if __name__ == "__main__":
    sys.exit(main())
