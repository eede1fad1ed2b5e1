"""What cosmic-ray does not change and this project once did not notice: tables, tolerances, calls for their effect.

Fewer       {a: 1, b: 2}      → {b: 2}              an entry less in a list, tuple, set, dict, or a keyword argument
Tenfold     1e-5              → 1e-4 and 1e-6
Silence     refuse(graph)     → pass                also raises
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator

Position = tuple[tuple[int, int], tuple[int, int]]


class Fewer(Operator):
    """One entry less."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """A position for each entry that can go."""
        for _ in _entries(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Takes the entry and its comma out; what is left of a tuple stays one."""
        first, last = _entries(node)[index]
        comma = next(child for child in node.children if _is(child, ","))
        del node.children[first : last + 1]
        if not any(_is(child, ",") for child in node.children) and node.type == "testlist_comp":
            node.children.append(comma)
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """Of each kind."""
        return (
            Example("x = (1, 2)", "x = ( 2,)"),
            Example("x = (1, 2)", "x = (1,)", occurrence=1),
            Example("x = {1: 2, 3: 4}", "x = {1: 2,}", occurrence=1),
            Example("f(1, a=2)", "f(1,)"),
        )


class Tenfold(Operator):
    """A real number ten times as large, or as small."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """Two for each number with a point or an exponent."""
        if node.type == "number" and set(node.value) & set(".eE") and "x" not in node.value.lower():
            yield node.start_pos, node.end_pos
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The first is larger."""
        return parso.python.tree.Number(repr(float(node.value) * (10, 0.1)[index]), node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """Both."""
        return Example("x = 1e-5", "x = 0.0001"), Example("x = 2.0", "x = 0.2", occurrence=1)


class Silence(Operator):
    """A statement that does something, undone: a call whose value nobody takes, a raise."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """The statement's own."""
        if node.type == "simple_stmt" and _acts(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """`pass` in its place."""
        old = node.children[0]
        node.children[0] = parso.python.tree.Keyword("pass", old.start_pos, old.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """Both."""
        return Example("check(x)\n", "pass\n"), Example("raise Error(x)\n", "pass\n")


def _entries(node: Any) -> list[tuple[int, int]]:
    """First and last child of each entry of a display, its comma included; of a call, of each keyword argument."""
    if node.type not in ("testlist_comp", "dictorsetmaker", "arglist") or _is_type(node):
        return []
    commas = [place for place, child in enumerate(node.children) if _is(child, ",")]
    starts = [0, *(place + 1 for place in commas)]
    ends = [*commas, len(node.children) - 1]
    spans = [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]
    if node.type == "arglist":
        return [span for span in spans if node.children[span[0]].type == "argument" and _named(node.children[span[0]])]
    return spans if commas else []


def _named(argument: Any) -> bool:
    return len(argument.children) == 3 and _is(argument.children[1], "=")


def _is_type(display: Any) -> bool:
    """`[A, B]` in `Callable[[A, B], C]`."""
    atom = display.parent
    return _is(atom.children[0], "[") and atom.parent.type in ("trailer", "subscriptlist")


def _acts(statement: Any) -> bool:
    if statement.type == "raise_stmt":
        return True
    return statement.type in ("atom_expr", "power") and _is(statement.children[-1].children[0], "(")


def _is(node: Any, text: str) -> bool:
    return getattr(node, "value", None) == text
