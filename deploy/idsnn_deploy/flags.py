"""A command's flags, made from its frozen dataclass: name, type, default and help are written once, in the field.

| field | on the command line |
|---|---|
| without a default | a positional argument |
| `bool` | `--name`, which turns it on |
| `int`, `float`, `str`, `Path`, `Literal` | `--name VALUE`; a `Literal` lists its values |
| `tuple[X, X]` | `--name A B` |
| `tuple[str, ...]` | `--name A,B,C`; a positional one takes all arguments that are left |
| any of these, or None | the same, None where it is not given |

Values that depend on each other are judged by the dataclass itself, in its `__post_init__`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Config = TypeVar("Config", bound="DataclassInstance")


def flag(default: T, help: str, metavar: str | tuple[str, ...] | None = None) -> T:
    """A field with a default: `pool: Literal["avg", "sum"] = flag("avg", "how averages are taken")`.

    The help text names the default where that is not None; there it says itself what happens.
    """
    value: T = field(default=default, metadata=about(help, metavar))
    return value


def about(help: str, metavar: str | tuple[str, ...] | None = None, nargs: str | None = None) -> Mapping[str, Any]:
    """What argparse is told of a field; a positional one carries it as `field(metadata=about(...))`."""
    return {"help": help, "metavar": metavar, "nargs": nargs}


def add_flags(parser: argparse.ArgumentParser, config: type[DataclassInstance]) -> None:
    """Adds an argument for each field of `config`."""
    kinds = get_type_hints(config)
    for each in fields(config):
        words = {"help": _help(each), **_form(_plain(kinds[each.name]), _positional(each))}
        words |= {key: each.metadata[key] for key in ("metavar", "nargs") if each.metadata[key] is not None}
        if _positional(each):
            parser.add_argument(each.name, **words)
        else:
            parser.add_argument(f"--{each.name.replace('_', '-')}", default=each.default, **words)


def from_flags(config: type[Config], given: argparse.Namespace) -> Config:
    """The dataclass that the flags say.

    Raises:
        UsageError: values that the dataclass refuses.
    """
    named = {each.name: getattr(given, each.name) for each in fields(config)}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in named.items()})


def _positional(each: Field[Any]) -> bool:
    return each.default is MISSING


def _help(each: Field[Any]) -> str:
    text, default = each.metadata["help"].replace("%", "%%"), each.default
    if default is None or default is MISSING or isinstance(default, bool):
        return str(text)
    return f"{text} (default: {','.join(default) if isinstance(default, tuple) else default})"


def _plain(kind: Any) -> Any:
    """X of `X | None`."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    (plain,) = (each for each in get_args(kind) if each is not type(None))
    return plain


def _form(kind: Any, positional: bool) -> dict[str, Any]:
    """A type in argparse's words."""
    if kind is bool:
        return {"action": "store_true"}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is not tuple:
        return {"type": kind}
    first, *others = get_args(kind)
    if others != [...]:
        return {"type": first, "nargs": 1 + len(others)}
    return {"type": first, "nargs": "+"} if positional else {"type": _split}


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
