"""Mutation tests: a line is changed, and some test must fail.

    python tests/mutants.py [MODULE ...]            what tests/mutants.toml names, or those whose path holds a word

cosmic-ray makes the mutants of a module, together with the operators of `mutant_operators`. Each runs in a process of
its own, forked where every library is loaded already, and is seen by that process alone: no file is changed. A mutant
that the module's tests let live must be listed in tests/mutants.toml with the reason; a listed one that is killed, or
is no longer made, is an error, too. Tests that start another Python do not see the mutant there.
"""

from __future__ import annotations

import ast
import difflib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomllib
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from mutant_operators import Fewer, Silence, Tenfold

ROOT = Path(__file__).resolve().parents[1]
OURS = ("idsnn", "test", "conftest", "graphs", "tiny_bundle", "eval_bundles", "onnx_runs", "consumers", "_pytest")

# Of cosmic-ray's 213 those that are different in kind: one or two for each sign.
BINARY = (
    "Add_Sub Sub_Add Mul_Div Mul_Add Div_Mul FloorDiv_Div Mod_FloorDiv Pow_Mul BitOr_BitAnd BitAnd_BitOr BitXor_BitOr"
)
COMPARISON = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
UNARY = "Delete_USub Delete_Invert Delete_Not"
OTHER = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd ReplaceBreakWithContinue "
    "ReplaceContinueWithBreak ExceptionReplacer NumberReplacer RemoveDecorator ZeroIterationForLoop"
)
CORE = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in BINARY.split()),
    *(f"ReplaceComparisonOperator_{pair}" for pair in COMPARISON.split()),
    *(f"ReplaceUnaryOperator_{pair}" for pair in UNARY.split()),
    *OTHER.split(),
)
OWN = (Fewer, Tenfold, Silence)


@dataclass(frozen=True)
class Mutant:
    """A module's source with one change, and the lines of it before and after."""

    source: str
    was: str
    becomes: str

    @property
    def change(self) -> tuple[str, str]:
        """How it is named in the list."""
        return self.was, self.becomes

    def brings(self, pattern: str) -> bool:
        """Whether the pattern is in the changed lines and was not there before."""
        return bool(re.search(pattern, self.becomes) and not re.search(pattern, self.was))


def mutants(source: str) -> list[Mutant]:
    """Every different mutant that compiles and that more than annotations tell apart."""
    seen, found = {_meaning(source)}, []
    operators = [*(get_operator(f"core/{name}")() for name in CORE), *(operator() for operator in OWN)]
    for text in (each for operator in operators for each in _occurrences(source, operator)):
        with suppress(SyntaxError):
            if (meaning := _meaning(text)) not in seen:
                seen.add(meaning)
                found.append(Mutant(text, *_lines(source, text)))
    return found


def _occurrences(source: str, operator: Any) -> Iterator[str]:
    occurrence = 0
    while (text := mutate_code(source, operator, occurrence)) is not None:
        yield text
        occurrence += 1


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def _lines(source: str, text: str) -> tuple[str, str]:
    changed = [line for line in difflib.ndiff(source.splitlines(), text.splitlines()) if line[0] in "+-"]
    was, becomes = (" ".join(line[2:].strip() for line in changed if line[0] == sign) for sign in "-+")
    return was, becomes


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, path: str, source: str) -> None:
        parts = Path(path).with_suffix("").parts
        self.name = ".".join(parts[parts[0] in ("export", "deploy", "evaluation") :])
        self.path, self.source = str(ROOT / path), source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Of that module alone."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: Any) -> None:
        """Runs the source."""
        exec(compile(self.source, self.path, "exec"), module.__dict__)


def passes(path: str, source: str, tests: Sequence[str], limit: float, report: str = os.devnull) -> bool:
    """Whether the tests pass with `source` in the place of `path`, within `limit` seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(_run(path, source, tests, report))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(path: str, source: str, tests: Sequence[str], report: str) -> int:
    with suppress(BaseException):
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.meta_path.insert(0, Loader(path, source))
        flags = ["-x", "-q", "--tb=native", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*flags, "--rootdir", str(ROOT), *tests]))
        Path(report).write_text(json.dumps([name for name in sys.modules if not name.startswith(OURS)]))
        return code
    return 1


def examine(module: dict[str, Any], equivalent: Sequence[str]) -> bool:
    """Runs every mutant of a module, says what lives, and whether that is what the list says.

    Args:
        module: its path, its tests, its survivors.
        equivalent: patterns of changed lines that mean the same wherever they stand.
    """
    path, tests = module["path"], [str(ROOT / "tests" / name) for name in module["tests"]]
    source, start = (ROOT / path).read_text(encoding="utf-8"), time.monotonic()
    with tempfile.NamedTemporaryFile() as report:
        if not passes(path, source, tests, 600, report.name):
            sys.exit(f"{path}: its tests fail without a mutant")
        limit = 20 + 4 * (time.monotonic() - start)
        for name in json.loads(Path(report.name).read_text()):
            with suppress(BaseException):
                importlib.import_module(name)
    gc.freeze()  # a child's collector need not look at them
    made = mutants(source)
    listed = {(each["was"], each["becomes"]) for each in module.get("survivors", [])}
    alive, left = [], 0
    for each in made:
        if passes(path, each.source, tests, limit):
            alive.append(each.change)
            if each.change not in listed and not any(each.brings(pattern) for pattern in equivalent):
                left += 1
                print(f"  lives:  {each.was}\n     as:  {each.becomes}", flush=True)
    for was, becomes in sorted(listed - set(alive)):
        print(f"  listed, and killed or not made:  {was}\n                              as:  {becomes}")
    counts = f"{len(made)} mutants, {len(made) - len(alive)} killed, {len(alive) - left} listed, {left} live"
    print(f"{path}: {counts}, {time.monotonic() - start:.0f} s", flush=True)
    return not left and listed <= set(alive)


def main(words: Sequence[str]) -> int:
    """Examines the chosen modules; 1 where one of them has a survivor that is not listed, or the reverse."""
    for operator in OWN:
        for each in operator.examples():
            assert mutate_code(each.pre_mutation_code, operator(), each.occurrence) == each.post_mutation_code
    listed = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    patterns = [each["pattern"] for each in listed["equivalent"]]
    chosen = [each for each in listed["module"] if not words or any(word in each["path"] for word in words)]
    as_listed = [examine(each, patterns) for each in chosen]
    return 0 if all(as_listed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
