"""Whether two NIR graphs are the same; NIR's own `==` compares identities.

The same nodes of the same types with the same parameters, the same edges in the same order (it gives recurrent graphs
their meaning), the same metadata. How a value is held (a number, a tuple, an array of it) makes no difference: HDF5
does not keep that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import nir
import numpy as np

from .shapes import declared

NOT_PARAMETERS = ("input_type", "output_type", "metadata", "nodes", "edges")


def equal(a: nir.NIRGraph, b: nir.NIRGraph) -> bool:
    """Whether nothing differs."""
    return next(_differences(a, b, ""), None) is None


def differences(a: nir.NIRGraph, b: nir.NIRGraph) -> list[str]:
    """What differs, a line each, named by node and parameter."""
    return list(_differences(a, b, ""))


def _differences(a: nir.NIRNode, b: nir.NIRNode, where: str) -> Iterator[str]:
    name = where or "graph"
    if type(a) is not type(b):
        yield f"{name}: {type(a).__name__} and {type(b).__name__}"
        return
    for port in ("input_type", "output_type"):
        ours, theirs = _shapes(getattr(a, port)), _shapes(getattr(b, port))
        if ours != theirs and isinstance(a, (nir.Input, nir.Output)):
            yield f"{name}: shapes {ours} and {theirs}"
            break
    for field in fields(a):
        if field.name not in NOT_PARAMETERS:
            yield from _parameter(f"{name}.{field.name}", getattr(a, field.name), getattr(b, field.name))
    yield from _mapping(f"{name}.metadata", a.metadata, b.metadata)
    if isinstance(a, nir.NIRGraph):
        yield from _structure(a, b, where)


def _structure(a: nir.NIRGraph, b: nir.NIRGraph, where: str) -> Iterator[str]:
    prefix = f"{where}." if where else ""
    for name in sorted(a.nodes.keys() | b.nodes.keys()):
        if name in a.nodes and name in b.nodes:
            yield from _differences(a.nodes[name], b.nodes[name], prefix + name)
        else:
            yield f"{prefix}{name}: only in the {'first' if name in a.nodes else 'second'}"
    ours, theirs = ([(str(s), str(t)) for s, t in graph.edges] for graph in (a, b))
    for edge in sorted(set(ours) ^ set(theirs)):
        yield f"{prefix or 'graph'}: edge {edge} only in the {'first' if edge in ours else 'second'}"
    if set(ours) == set(theirs) and ours != theirs:
        yield f"{prefix or 'graph'}: the same edges in another order"


def _parameter(name: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        if _plain(a) != _plain(b):
            yield f"{name}: {a!r} and {b!r}"
        return
    ours, theirs = np.asarray(a), np.asarray(b)
    if ours.shape != theirs.shape:
        yield f"{name}: shapes {ours.shape} and {theirs.shape}"
    elif ours.dtype.kind == theirs.dtype.kind == "f" and ours.dtype != theirs.dtype:
        yield f"{name}: {ours.dtype} and {theirs.dtype}"
    elif not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == theirs.dtype.kind == "f"):
        yield f"{name}: {_how_far(ours, theirs)}"


def _how_far(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> str:
    if a.size == 1 or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return f"{a.ravel()[:4].tolist()} and {b.ravel()[:4].tolist()}"
    return f"{int((a != b).sum())} of {a.size} values differ, by up to {float(np.abs(a - b).max()):.3g}"


def _mapping(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        if key not in a or key not in b:
            yield f"{name}.{key}: only in the {'first' if key in a else 'second'}"
        elif isinstance(a[key], Mapping) and isinstance(b[key], Mapping):
            yield from _mapping(f"{name}.{key}", a[key], b[key])
        else:
            yield from _parameter(f"{name}.{key}", a[key], b[key])


def _shapes(ports: Mapping[str, Any] | None) -> list[Any]:
    return [declared(shape) for shape in (ports or {}).values()]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf8", "replace") if isinstance(value, bytes) else value
