"""What the command lines share: help with examples, versions, and one-line errors that say which flag is meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from .closest import closest
from .commands import missing_extra
from .errors import EXIT_BAD_INPUT, EXIT_OK
from .printable import printable

PACKAGES = ("idsnn", "python", "torch", "onnxruntime")

# What other tools call a flag, and one of the command line's own names for it; the first that the command has is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("learning-rate", "lr0"), ("lr",)),
    **dict.fromkeys(("wd", "decay"), ("weight-decay",)),
    **dict.fromkeys(("model", "arch", "architecture", "net"), ("network",)),
    **dict.fromkeys(("batch", "bs", "batchsize"), ("batch-size",)),
    **dict.fromkeys(("steps", "num-steps", "time-steps", "t"), ("timesteps",)),
    **dict.fromkeys(("output", "output-dir", "out-dir", "save-dir", "name", "project", "o"), ("out",)),
    **dict.fromkeys(("data-dir", "data-path", "root", "dir", "path"), ("data",)),
    **dict.fromkeys(("overwrite", "exist-ok", "f"), ("force",)),
    **dict.fromkeys(("imgsz", "img-size", "size", "resolution"), ("image-size",)),
    **dict.fromkeys(("gpu", "cuda", "accelerator"), ("device", "provider")),
    **dict.fromkeys(("amp", "fp16", "bf16", "half"), ("precision",)),
    **dict.fromkeys(("grayscale", "grey"), ("gray",)),
    **dict.fromkeys(("decay-rate", "leak"), ("beta",)),
    **dict.fromkeys(("theta", "v-threshold", "vth"), ("threshold",)),
    **dict.fromkeys(("num-epochs", "n-epochs"), ("epochs",)),
    **dict.fromkeys(("continue", "checkpoint", "ckpt"), ("resume",)),
    **dict.fromkeys(("optimizer", "scheduler", "lr-scheduler"), ("schedule",)),
    **dict.fromkeys(("quantize", "quantized", "quant", "8bit"), ("int8",)),
    **dict.fromkeys(("val-split", "validation-split", "val"), ("val-fraction",)),
    **dict.fromkeys(("test-split", "test-size"), ("test-fraction",)),
    **dict.fromkeys(("max-samples", "num-samples", "limit-test", "samples"), ("limit",)),
    **dict.fromkeys(("workers", "num-workers", "jobs", "cpus"), ("threads",)),
    **dict.fromkeys(("verbose", "traceback", "v"), ("debug",)),
    **dict.fromkeys(("dry", "check", "plan"), ("dry-run",)),
    **dict.fromkeys(("topk", "k"), ("top",)),
}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose flags are never abbreviated and whose errors are one line."""

    def __init__(self, prog: str, description: str, *, examples: Sequence[str] = (), notes: str = "", **words: Any):
        """Examples and notes stand below the flags; `words` are argparse's."""
        shown = "\n".join(["examples:", *(f"  {each}" for each in examples)]) if examples else ""
        super().__init__(
            prog,
            description=description,
            epilog="\n\n".join(filter(None, (shown, notes))),
            formatter_class=partial(_Formatter, max_help_position=28),
            allow_abbrev=False,
            **words,
        )

    def add_version(self) -> None:
        """Adds `--version`: of the package, and of what decides what it computes, as far as it is installed."""
        self.add_argument("--version", action=_Version, nargs=0, help="show versions and stop")

    def error(self, message: str) -> NoReturn:
        """Says in one line what is wrong, what may be meant and where help is; exits with 2."""
        flag = re.search(r"unrecognized arguments: .*?(--?[A-Za-z][\w-]*)", message)
        value = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        meant = self._meant(flag[1]) if flag else None
        meant = closest(value[1], re.findall(r"[^', ]+", value[2])) if value else meant
        hint = f"did you mean {meant}? " if meant else ""
        what = printable(" ".join(message.split()))
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {what}; {hint}{self.prog} --help says what there is\n")

    def _meant(self, given: str) -> str | None:
        name, known = given.lstrip("-").replace("_", "-").lower(), {*_flags(self)}
        same = (each for each in (name, *SYNONYMS.get(name, ())) if f"--{each}" in known)
        return next((f"--{each}" for each in same), closest(f"--{name}", known, 0.7))


def command_parser(
    prog: str, description: str, *, usage: str, needs: Sequence[str], examples: Sequence[str] = (), notes: str = ""
) -> Parser:
    """The parser of a command that needs an extra: its help says what is missing, and it knows `--version`.

    Args:
        prog, description, usage: argparse's.
        needs: the extra, then the modules that it brings.
        examples: command lines, shown below the flags.
        notes: what stands below them.
    """
    below = "\n".join(filter(None, (notes, missing_extra(prog, *needs))))
    parser = Parser(prog, description, examples=examples, notes=below, usage=usage)
    parser.add_version()
    return parser


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every flag of a parser and of the commands below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written; `--no-name` only where `--name` is the default."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction) and not action.default:
            return action.option_strings[0]
        return super()._format_action_invocation(action)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from .versions import versions  # a tenth of a second that only this needs

        print(", ".join(f"{name} {version}" for name, version in versions(*PACKAGES).items()))
        parser.exit(EXIT_OK)
