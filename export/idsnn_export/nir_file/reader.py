"""NIR files of unknown origin, opened safely.

HDF5 is a file system in a file: links lead out of it, a data set can be stored in any other file, claim any size or be
built of others, and `nir.read` follows and allocates all of that. Here nothing is read before it has been looked at:

    links       hard ones only, each object once, groups at most 16 deep
    data sets   stored in this file, as they are or with gzip and shuffle; numbers of at most 8 bytes, or strings
    sizes       each at most 1,100 times the bytes that it takes in the file (constants shrink 500-fold), in pieces no
                larger than the whole, 1 GiB in all; as much for the file, and for what one node gives at a step
    nodes       known types with exactly their fields; finite numbers
    strings     read by hand (`hdf5_heap`), each no longer than what the file has of it
    chunks      inflated once on the side where they are large: HDF5 would inflate them to any size
    structure   whatever `plan` accepts: no dangling edges, one input, one output, shapes that meet

Everything else is one `GraphError` that names the file and the place in it.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from h5py import h5z

from idsnn_deploy.errors import GraphError, UnsupportedError, first_line
from idsnn_deploy.files import read_bytes

from ..graph.bounds import check_run
from ..graph.metadata import read_metadata
from ..graph.plan import fill_types, plan
from ..graph.shapes import SHAPES
from .hdf5_heap import Heap

LIMIT = 1 << 30  # bytes of a file, of all its data sets and of what one node gives
RATIO = 1100  # bytes of a data set to bytes in the file
SMALL = 1 << 16  # bytes below which the ratio does not matter
SCALARS = frozenset({"groups", "start_dim", "end_dim"})  # fields that are one integer
INFLATED = 1 << 16  # bytes of a compressed chunk above which it is inflated by hand first
DEPTH, NODES, EDGES = 16, 10_000, 100_000
LONGEST = 255  # characters of a node's name
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}


def read_nir(path: str | Path) -> nir.NIRGraph:
    """The graph of a `.nir` file, its types filled in.

    Raises:
        GraphError: no such file, or one that is broken, unsafe or means nothing.
        UnsupportedError: a node type that is not known.
    """
    return read_nir_bytes(read_bytes(path, LIMIT, error=GraphError), str(path))


def read_nir_bytes(data: bytes, path: str) -> nir.NIRGraph:
    """The graph that the bytes of a `.nir` file hold; `path` is where they are from.

    Raises:
        GraphError, UnsupportedError: as `read_nir`.
    """
    try:
        graph = _graph(data)
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from None
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None
    except Exception as error:  # HDF5 fails in more ways than it documents
        said = f"{type(error).__name__}: {first_line(error, '')}"
        raise GraphError(f"{path}: not a NIR file that can be read ({said})") from error
    return graph


def _graph(data: bytes) -> nir.NIRGraph:
    scan = _Scan(data)
    with h5py.File(io.BytesIO(data), "r") as file:
        content = scan.read(file)
    if not isinstance(content.get("node"), dict):
        raise GraphError("has no group `node`; a NIR file keeps its graph there")
    graph = _node(content["node"], "node")
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError(f"node: a {type(graph).__name__}; a NIR file holds a NIRGraph")
    steps = plan(graph)
    for step in steps.steps:
        if 8 * int(np.prod(step.shape, dtype=object)) > LIMIT:
            raise GraphError(f"{step.name}: gives {step.shape}, more than {LIMIT:,} bytes at each step")
    said = read_metadata(graph)
    if said is not None:
        check_run(steps, said.timesteps)
    fill_types(graph)
    return graph


class _Scan:
    """Reads an HDF5 file into dicts, and looks at every object before it does."""

    def __init__(self, data: bytes) -> None:
        self.data, self.heap = memoryview(data), Heap(data)
        self.seen: set[int] = set()  # addresses in the file
        self.total = 0

    def read(self, group: h5py.Group, where: str = "", depth: int = 0) -> dict[str, Any]:
        if depth > DEPTH:
            raise GraphError(f"{where}: groups more than {DEPTH} deep")
        self._once(group, where)
        content: dict[str, Any] = {}
        for name in group:
            place = f"{where}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise GraphError(f"{place}: a {type(link).__name__}; only hard links are followed")
            item = group[name]
            if isinstance(item, h5py.Group):
                content[name] = self.read(item, place, depth + 1)
            elif isinstance(item, h5py.Dataset):
                content[name] = self._dataset(item, place)
            else:
                raise GraphError(f"{place}: a {type(item).__name__} has no place in a NIR file")
        return content

    def _once(self, item: h5py.HLObject, where: str) -> None:
        info = h5py.h5o.get_info(item.id)
        if info.addr in self.seen:
            raise GraphError(f"{where}: reached by two links")
        self.seen.add(info.addr)
        if len(self.seen) > 20 * NODES:
            raise GraphError(f"more than {20 * NODES:,} objects")

    def _dataset(self, item: h5py.Dataset, where: str) -> Any:
        self._once(item, where)
        if item.external is not None or item.is_virtual:
            raise GraphError(f"{where}: stored outside this file")
        used = item.id.get_create_plist()
        filters = [used.get_filter(i)[0] for i in range(used.get_nfilters())]
        if not set(filters) <= FILTERS or len(set(filters)) < len(filters):
            raise GraphError(f"{where}: HDF5 filters {filters}; only gzip and shuffle are read, each once")
        text = h5py.check_string_dtype(item.dtype)
        if text is None and (item.dtype.kind not in "fiu" or item.dtype.itemsize > 8):
            raise GraphError(f"{where}: values of type {item.dtype}; numbers of at most 8 bytes and strings are read")
        if item.shape is None:
            raise GraphError(f"{where}: holds nothing")
        size = int(np.prod(item.shape, dtype=object)) * item.dtype.itemsize
        stored = int(item.id.get_storage_size())
        if size > SMALL and size > RATIO * stored:
            raise GraphError(f"{where}: {item.shape} claims {size:,} bytes and has {stored:,} in the file")
        if item.chunks and int(np.prod(item.chunks, dtype=object)) * item.dtype.itemsize > max(SMALL, size):
            raise GraphError(f"{where}: {item.shape} in pieces of {item.chunks}, which are larger than the whole")
        self._count(size, where)
        self._chunks(item, where)
        if text is not None and text.length is None:
            return self._strings(item, where)
        values = item[()]
        return _decoded(values) if text is not None else _finite(values, where)

    def _strings(self, item: h5py.Dataset, where: str) -> Any:
        """Strings of variable length."""
        if item.size > 2 * EDGES:
            raise GraphError(f"{where}: {item.size:,} strings; at most {2 * EDGES:,} are read")
        place = item.id.get_offset()
        if place is None:
            raise GraphError(f"{where}: strings in pieces, or none; they are read where they lie in one")
        try:
            values = self.heap.strings(place, item.size)
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from None
        return np.array(values, object).reshape(item.shape) if item.shape else values[0]

    def _chunks(self, item: h5py.Dataset, where: str) -> None:
        """Inflates what is compressed beyond `INFLATED` bytes, to no more than the chunk's size."""
        if item.compression is None or not item.chunks:
            return
        most = int(np.prod(item.chunks)) * item.dtype.itemsize
        chunks: list[Any] = []
        item.id.chunk_iter(chunks.append)
        for chunk in chunks:
            if chunk.size > INFLATED:
                stream = zlib.decompressobj()
                stored = self.data[chunk.byte_offset : chunk.byte_offset + chunk.size]
                if len(stream.decompress(stored, most + 1)) > most:
                    raise GraphError(f"{where}: a piece of {chunk.size:,} bytes inflates to more than {most:,}")

    def _count(self, size: int, where: str) -> None:
        self.total += size
        if self.total > LIMIT:
            raise GraphError(f"{where}: more than {LIMIT:,} bytes in all")


def _finite(values: Any, where: str) -> Any:
    if np.asarray(values).dtype.kind == "f" and not np.isfinite(values).all():
        raise GraphError(f"{where}: not all numbers are finite")
    return values


def _decoded(values: Any) -> Any:
    if isinstance(values, bytes):
        return values.decode("utf8")
    if isinstance(values, np.ndarray):
        return np.array([each.decode("utf8") for each in values.ravel()], object).reshape(values.shape)
    return values


def _node(content: dict[str, Any], where: str) -> nir.NIRNode:
    kind = content.get("type")
    make = TYPES.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise UnsupportedError(f"{where}: node type {kind!r} is not known; known are {', '.join(TYPES)}")
    required, optional = _fields(make)
    wrong = [f"lacks `{name}`" for name in sorted(required - content.keys())]
    wrong += [f"has `{name}`" for name in sorted(content.keys() - required - optional)]
    wrong += [f"has a wrong `{name}`" for name in sorted(content) if not _fitting(name, content[name])]
    if wrong:
        raise GraphError(f"{where} ({kind}): {', '.join(wrong)}")
    if make is nir.NIRGraph:
        return _subgraph(content, where)
    try:
        return nir.dict2NIRNode(content)
    except Exception as error:  # assertions and index errors, for whatever does not fit together
        reason = first_line(error, "its fields do not fit together")
        raise GraphError(f"{where} ({kind}): {reason}") from error


def _subgraph(content: dict[str, Any], where: str) -> nir.NIRGraph:
    nodes, edges = content["nodes"], np.asarray(content["edges"])
    if edges.size and (edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind != "O"):
        raise GraphError(f"{where}: edges must be pairs of names, got {edges.dtype} of shape {edges.shape}")
    if len(nodes) > NODES or edges.size > 2 * EDGES:
        raise GraphError(f"{where}: {len(nodes):,} nodes, {edges.size // 2:,} edges; at most {NODES:,} and {EDGES:,}")
    for name, node in nodes.items():
        if len(name) > LONGEST:
            raise GraphError(f"{where}: a node's name of {len(name):,} characters; at most {LONGEST} are read")
        if not isinstance(node, dict):
            raise GraphError(f"{where}/{name}: not a node")
    return nir.NIRGraph(
        nodes={name: _node(node, f"{where}/{name}") for name, node in nodes.items()},
        edges=[(a, b) for a, b in edges.reshape(-1, 2)],
        metadata=content.get("metadata", {}),
        type_check=False,  # NIR's own check is wrong for grouped and for non-square convolutions; `plan` is ours
    )


def _fitting(name: str, value: Any) -> bool:
    if name in ("nodes", "metadata"):
        return isinstance(value, dict)
    if name == "type" or (name == "padding" and isinstance(value, str)):
        return isinstance(value, str)
    if name in SCALARS:
        return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iu"
    return name == "edges" or (not isinstance(value, (dict, str)) and np.asarray(value).dtype.kind in "fiu")


def _fields(kind: type[nir.NIRNode]) -> tuple[set[str], set[str]]:
    """What a node of this type must and may have in a file."""
    if kind in (nir.Input, nir.Output):
        return {"type", "shape"}, {"metadata"}
    own = [field for field in fields(kind) if field.name not in ("input_type", "output_type", "metadata")]
    optional = {field.name for field in own if field.default is not MISSING}
    typed = {"input_type"} if kind is nir.Flatten else set()
    return {"type"} | {field.name for field in own} - optional, {"metadata"} | optional | typed


TYPES: dict[str, type[nir.NIRNode]] = {kind.__name__: kind for kind in (*SHAPES, nir.NIRGraph)}
