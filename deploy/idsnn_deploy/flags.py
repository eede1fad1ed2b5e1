"""A command's flags, made from its frozen dataclass: name, type, default and help are written once, in the field.

| field | on the command line |
|---|---|
| without a default | a positional argument |
| `bool` | `--name`, which turns it on, and `--no-name` |
| `int`, `float`, `str`, `Path`, `Literal` | `--name VALUE`; a `Literal` lists its values |
| `tuple[X, X]` | `--name A B` |
| `tuple[str, ...]` | `--name A,B,C`, with `nargs="*"` `--name A B C`; a positional one takes all that are left |
| any of these, or None | the same, None where it is not given |

Values that depend on each other are judged by the dataclass itself, in its `__post_init__`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Config = TypeVar("Config", bound="DataclassInstance")
_METAVAR: dict[Any, dict[str, str]] = {int: {"metavar": "N"}, float: {"metavar": "X"}}


def flag(
    default: T,
    help: str,
    metavar: str | tuple[str, ...] | None = None,
    *,
    nargs: str | None = None,
    group: str | None = None,
) -> T:
    """A field with a default: `pool: Literal["avg", "sum"] = flag("avg", "how averages are taken")`.

    The help text names the default where that is not None; there it says itself what happens. `group` is a
    heading in the help, under which the fields that follow stand, too.
    """
    value: T = field(default=default, metadata={**about(help, metavar, nargs), "group": group})
    return value


def about(help: str, metavar: str | tuple[str, ...] | None = None, nargs: str | None = None) -> Mapping[str, Any]:
    """What argparse is told of a field; a positional one carries it as `field(metadata=about(...))`."""
    return {"help": help, "metavar": metavar, "nargs": nargs}


class Switch(argparse.BooleanOptionalAction):
    """`--name` and `--no-name`, in the same words in every version of Python."""

    def __init__(self, option_strings: Sequence[str], dest: str, default: bool, help: str) -> None:
        """Takes what argparse hands on; its own form adds the default to the help in some versions."""
        super().__init__(option_strings, dest, default=default)
        self.help = help


def add_flags(
    parser: argparse.ArgumentParser, config: type[DataclassInstance], start: DataclassInstance | None = None
) -> None:
    """Adds an argument for each field of `config`; `start` has other defaults than the fields'."""
    kinds, groups = get_type_hints(config), {str(each.title): each for each in parser._action_groups}
    place: argparse._ActionsContainer = parser
    for each in fields(config):
        default = getattr(start, each.name, each.default)
        words = {"help": _help(each, default), **_form(_plain(kinds[each.name]), each)}
        words |= {key: each.metadata[key] for key in ("metavar", "nargs") if each.metadata[key] is not None}
        if each.metadata.get("group"):
            name = each.metadata["group"]
            place = groups[name] = groups.get(name) or parser.add_argument_group(name)
        if _positional(each):
            parser.add_argument(each.name, **words)
        else:
            place.add_argument(f"--{each.name.replace('_', '-')}", default=default, **words)


def from_flags(config: type[Config], given: argparse.Namespace) -> Config:
    """The dataclass that the flags say.

    Raises:
        UsageError: values that the dataclass refuses.
    """
    named = {each.name: getattr(given, each.name) for each in fields(config)}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in named.items()})


def _positional(each: Field[Any]) -> bool:
    return each.default is MISSING


def _help(each: Field[Any], default: Any) -> str:
    text = each.metadata["help"].replace("%", "%%")
    if default is None or default is MISSING or isinstance(default, bool) or default == ():
        return str(text)
    return f"{text} (default: {','.join(map(str, default)) if isinstance(default, tuple) else default})"


def _plain(kind: Any) -> Any:
    """X of `X | None`."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    (plain,) = (each for each in get_args(kind) if each is not type(None))
    return plain


def _form(kind: Any, each: Field[Any]) -> dict[str, Any]:
    """A type in argparse's words."""
    if kind is bool:
        return {"action": Switch}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is not tuple:
        return {"type": kind, **_METAVAR.get(kind, {})}
    first, *others = get_args(kind)
    if others != [...]:
        return {"type": first, "nargs": 1 + len(others)}
    if _positional(each):
        return {"type": first, "nargs": "+"}
    return {"type": first, **_METAVAR.get(first, {})} if each.metadata["nargs"] else {"type": _split}


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
