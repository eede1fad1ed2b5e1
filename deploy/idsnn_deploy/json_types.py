"""JSON held to annotations: what a dataclass's fields say is what a reader checks, in the same words for every key.

| annotation | the JSON value |
|---|---|
| `str`, `bool`, `int`, `float`, `None` | a text, true or false, an integer, a number within 1e300, null |
| `Any` | anything |
| `Annotated[X, rule]` | an X for which the `Rule` holds |
| `Literal["a", "b"]` | one of these texts |
| `list[X]`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]` | a list, a list of that length, an object |
| a dataclass | an object with its keys; keys that it does not know are ignored |
| a `TypedDict` | an object with its keys, and whatever other keys there are |
| `X | Y` | the first that fits; of dataclasses the first whose `Literal` fields fit |

A dataclass is written in the order of its fields, those that are `WhereThere[X]` only where they say something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

LARGEST = 1e300  # of a number
LONGEST = 4096  # characters of a name
INTEGERS = 2**53  # every JSON reader holds an integer up to here exactly


class MalformedError(ValueError):
    """A value that does not fit its annotation; `str(error)` says at which path, what it is and what it must be."""


@dataclass(frozen=True, eq=False)  # a union asks for a hash, which a schema has not
class Rule:
    """What more must hold of a value, the words for it, and what JSON Schema calls it."""

    holds: Callable[[Any], bool]
    words: str
    schema: Mapping[str, Any]


def at_least(least: int) -> Rule:
    """An integer from `least` on that every JSON reader holds."""
    return Rule(
        lambda value: bool(least <= value <= INTEGERS),
        f"of at least {least}",
        {"minimum": least, "maximum": INTEGERS},
    )


def matching(regex: str, words: str) -> Rule:
    """A text that a regular expression matches from end to end."""
    return Rule(lambda value: re.fullmatch(regex, value) is not None, words, {"pattern": f"^(?:{regex})$"})


def unique(name: str) -> Rule:
    """Objects that differ in one of their attributes."""
    return Rule(
        lambda value: len({getattr(each, name) for each in value}) == len(value), f"with a {name} for each alone", {}
    )


def _is_nested(values: list[Any]) -> bool:
    return all(_is_nested(each) if isinstance(each, list) else _is_integer(each) and each >= 0 for each in values)


ABOVE_0 = Rule(lambda value: value > 0, "above 0", {"exclusiveMinimum": 0})
IN_0_1 = Rule(lambda value: 0 <= value <= 1, "in 0..1", {"minimum": 0, "maximum": 1})
NOT_EMPTY = Rule(lambda value: len(value) > 0, "that is not empty", {"minLength": 1, "minItems": 1})
NESTED = Rule(_is_nested, "of integers, or of lists of them", {})
SHORT = Rule(lambda value: len(value) <= LONGEST, f"of at most {LONGEST:,} characters", {"maxLength": LONGEST})
SPARSE = "where there"

T = TypeVar("T")
WhereThere = Annotated[T, SPARSE]
Count = Annotated[int, at_least(0)]
Positive = Annotated[int, at_least(1)]
Fraction = Annotated[float, IN_0_1]
Text = Annotated[str, SHORT]
Name = Annotated[str, NOT_EMPTY, SHORT]
Shape = tuple[Count, ...]


def read(kind: Any, value: Any, path: str) -> Any:
    """Returns a JSON value as what the annotation `kind` says, lists as tuples where it says so.

    Args:
        kind: an annotation of the table above.
        value: what `json.loads` gave.
        path: how errors call it: a key, or one with indices.

    Raises:
        MalformedError: it does not fit.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *rules = _ruled(kind)
        found = read(inner, value, path)
        return found if all(rule.holds(found) for rule in rules) else _refuse(kind, value, path)
    if origin in (Union, UnionType):
        return _union(kind, value, path)
    if origin in (list, tuple):
        return _sequence(kind, value, path)
    if is_dataclass(kind) or is_typeddict(kind):
        return _object(kind, value, path)
    if origin is dict:
        return _table(kind, value, path)
    return value if _PLAIN.get(kind, _one_of(kind))(value) else _refuse(kind, value, path)


def fits(kind: Any, value: Any) -> bool:
    """Whether a JSON value is what the annotation says."""
    try:
        read(kind, value, "")
    except MalformedError:
        return False
    return True


def write(value: Any) -> Any:
    """The plain JSON types of what `read` gave: dataclasses as objects in the order of their fields."""
    if is_dataclass(value):
        return {each.name: write(getattr(value, each.name)) for each in fields(value) if _says(value, each)}
    if isinstance(value, Mapping):
        return {key: write(each) for key, each in value.items()}
    return [write(each) for each in value] if isinstance(value, (list, tuple)) else value


def keys_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The keys of a dataclass or `TypedDict`: the annotation of each, and whether it must be there."""
    hints = _hints(kind)
    if is_typeddict(kind):
        return {key: (hint, key in kind.__required_keys__) for key, hint in hints.items()}
    return {each.name: (hints[each.name], _is_required(each)) for each in fields(kind)}


def words(kind: Any) -> str:
    """What a value of an annotation is called in an error."""
    if get_origin(kind) is Annotated:
        inner, *rules = _ruled(kind)
        return " ".join([words(inner), *(rule.words for rule in rules)])
    if get_origin(kind) is Literal:
        return " or ".join(f'"{each}"' for each in get_args(kind))
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        return f"a list of {len(get_args(kind))}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(words, get_args(kind))))
    return _WORDS.get(get_origin(kind) or kind, "an object")


_WORDS = {
    str: "a text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    NoneType: "null",
    list: "a list",
    tuple: "a list",
}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_PLAIN: dict[Any, Callable[[Any], bool]] = {
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: _is_integer,
    float: lambda value: (_is_integer(value) or isinstance(value, float)) and abs(value) <= LARGEST,
    NoneType: lambda value: value is None,
    Any: lambda value: True,
}


def _one_of(kind: Any) -> Callable[[Any], bool]:
    # Not `in` alone: a list or an object has no hash.
    return lambda value: isinstance(value, str) and value in get_args(kind)


def _refuse(kind: Any, value: Any, path: str) -> Any:
    raise MalformedError(f"`{path}` is {str(value)[:60]!r}; it must be {words(kind)}")


def _sequence(kind: Any, value: Any, path: str) -> Any:
    parts = get_args(kind)
    whole = get_origin(kind) is list or Ellipsis in parts
    if not isinstance(value, list) or not (whole or len(value) == len(parts)):
        return _refuse(kind, value, path)
    each = parts[:1] * len(value) if whole else parts
    pairs = enumerate(zip(each, value, strict=True))
    found = [read(part, item, f"{path}[{_called(i, item)}]") for i, (part, item) in pairs]
    return found if get_origin(kind) is list else tuple(found)


def _called(i: int, item: Any) -> str:
    """An item's index, or its name where it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return repr(name[:40]) if isinstance(name, str) and name else str(i)


def _table(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(kind, value, path)
    keys, values = get_args(kind)
    return {
        read(keys, key, f"a name in {path}"): read(values, each, f"{path}.{key[:60]}") for key, each in value.items()
    }


def _object(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(kind, value, path)
    known = keys_of(kind)
    missing = [key for key, (_, must) in known.items() if must and key not in value]
    if missing:
        raise MalformedError(f"`{path}` has no {', '.join(missing)}")
    found = {key: read(hint, value[key], f"{path}.{key}") for key, (hint, _) in known.items() if key in value}
    return {**value, **found} if is_typeddict(kind) else kind(**found)


def _union(kind: Any, value: Any, path: str) -> Any:
    for each in get_args(kind):
        if _is_meant(each, value) if is_dataclass(each) else fits(each, value):
            return read(each, value, path)
    return _refuse(kind, value, path)


def _is_meant(kind: Any, value: Any) -> bool:
    """Whether the `Literal` fields of a dataclass, which tell it from others, have their values."""
    tags = {key: hint for key, (hint, _) in keys_of(kind).items() if get_origin(hint) is Literal}
    return isinstance(value, dict) and all(value.get(key) in get_args(hint) for key, hint in tags.items())


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _is_required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _ruled(kind: Any) -> tuple[Any, ...]:
    """An `Annotated`'s own annotation, and its rules."""
    inner, *more = get_args(kind)
    return inner, *(each for each in more if isinstance(each, Rule))


def _says(value: Any, each: Field[Any]) -> bool:
    """Whether a field says something, or is written in any case."""
    kind: Any = type(value)
    found = getattr(value, each.name)
    silent = found is None or (found == each.default if each.default is not MISSING else not found)
    return not silent or SPARSE not in get_args(_hints(kind)[each.name])
