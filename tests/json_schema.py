"""JSON Schemas in docs/, from the types that the code is checked against; run me to renew them.

| annotation | JSON Schema (2020-12) |
|---|---|
| `str`, `bool`, `int`, `float`, `None`, `Any` | its type |
| `Literal` | `enum` |
| `list[X]`, `tuple[X, ...]`; `tuple[X, Y]` | `items`; `prefixItems` |
| `dict[K, X]` | `additionalProperties`, and `propertyNames` where K has rules |
| a dataclass, a `TypedDict` | `$defs/NAME`: `properties`, `required`, its docstring in `description`; other keys free |
| `X | Y` | `anyOf`, or a list of types |
| `Annotated[X, ...]` | X with each `Rule`'s keywords, and a text as `description` |
"""

from __future__ import annotations

import inspect
import json
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from idsnn_deploy.json_types import SPARSE, Rule, keys_of
from idsnn_deploy.manifest import OPTIONAL, Manifest
from idsnn_evaluation.document import Comparison, Document

DOCS = Path(__file__).parents[1] / "docs"
# file → what it describes, and its type
SCHEMAS: dict[str, tuple[str, Any]] = {
    "report.schema.json": ("report.json, of one bundle or of --compare", Document | Comparison),
    "manifest.schema.json": ("manifest.json, of a bundle of format version 1", Manifest),
}
# Keys that have a default in Python and that a reader does without; where a type is not named, those with a default.
ABSENT = {"Manifest": OPTIONAL}
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def schema(kind: Any, title: str) -> dict[str, Any]:
    """The whole schema of a type, definitions in the order in which they are met."""
    found: dict[str, Any] = {}
    body = _schema(kind, found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body, "$defs": found}


def text(file: str) -> str:
    """What the file in docs/ must hold."""
    title, kind = SCHEMAS[file]
    return json.dumps(schema(kind, title), indent=1, ensure_ascii=False) + "\n"


def _schema(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if origin is Annotated:
        return {**_schema(parts[0], found), **_said(parts[1:])}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, UnionType):
        return _union(parts, found)
    if origin is dict:
        names = _schema(parts[0], found)
        named = {} if names == {"type": "string"} else {"propertyNames": names}
        return {"type": "object", "additionalProperties": _schema(parts[1], found), **named}
    if origin is list or (origin is tuple and parts[-1] is ...):
        return {"type": "array", "items": _schema(parts[0], found)}
    if origin is tuple:
        each = [_schema(part, found) for part in parts]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
    assert is_dataclass(kind) or is_typeddict(kind), kind
    return _reference(kind, found)


def _said(words: tuple[Any, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for each in words:
        if isinstance(each, Rule):
            said |= each.schema
        elif each != SPARSE:
            said["description"] = each
    return said


def _union(parts: tuple[Any, ...], found: dict[str, Any]) -> dict[str, Any]:
    each = [_schema(part, found) for part in parts]
    if any(set(one) != {"type"} for one in each):
        return {"anyOf": each}
    names = [one["type"] for one in each]
    names = [name for name in names if name != "integer" or "number" not in names]
    return {"type": names if len(names) > 1 else names[0]}


def _reference(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in found:
        found[kind.__name__] = {}  # its place, should it hold itself
        keys = keys_of(kind)
        found[kind.__name__] = {
            "type": "object",
            "description": " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()),
            "properties": {key: _schema(hint, found) for key, (hint, _) in keys.items()},
            "required": [key for key, (_, must) in keys.items() if _required(kind, key, must)],
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _required(kind: Any, key: str, without_default: bool) -> bool:
    absent = ABSENT.get(kind.__name__)
    return without_default if absent is None else key not in absent


if __name__ == "__main__":
    for file in SCHEMAS:
        (DOCS / file).write_text(text(file), encoding="utf-8")
