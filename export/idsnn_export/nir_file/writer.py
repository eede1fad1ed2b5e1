"""NIR files written: what `nir.read` reads, in a third of the time.

The layout is that of `nir.write` (a group a node, a data set a field). Arrays are compressed where it pays: the five
full-size arrays of a neuron layer are constants and shrink 500-fold, while the bytes of large weights are close to
random and only cost time.
"""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from idsnn_deploy.errors import GraphError
from idsnn_deploy.files import write_bytes

from ..graph.plan import fill_types

COMPRESS_BELOW = 4 << 20  # bytes of weights
CHUNK = 1 << 20  # bytes


def write_nir(path: str | Path, graph: nir.NIRGraph) -> None:
    """Writes a graph to `path`, whole or not at all, with the same bytes for the same graph.

    Raises:
        GraphError: the graph has no meaning; such files are not written.
    """
    write_bytes(Path(path), nir_bytes(graph))


def nir_bytes(graph: nir.NIRGraph) -> bytes:
    """The file that `write_nir` writes."""
    graph = _copied(graph)
    fill_types(graph)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:  # compact indexes; read by HDF5 1.10 and later
        file.create_dataset("version", data=nir.version, dtype=h5py.string_dtype(), track_times=False)
        _write(file.create_group("node"), graph.to_dict())
    return buffer.getvalue()


def _copied(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with nodes of its own at every level; their arrays are shared."""
    nodes = {
        name: _copied(node) if isinstance(node, nir.NIRGraph) else copy.copy(node) for name, node in graph.nodes.items()
    }
    return nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False)


def _write(group: h5py.Group, fields: dict[str, Any]) -> None:
    for name, value in sorted(fields.items()):
        if isinstance(value, dict):
            if value or name != "metadata":
                _write(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype(), track_times=False)
        elif value is None:
            raise GraphError(f"{group.name}: `{name}` is open; nir.read needs it")
        else:
            group.create_dataset(name, data=value, track_times=False, **_storage(np.asarray(value)))


def _storage(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    constant = values.size > 1 and values.dtype.kind == "f" and bool((values == values.flat[0]).all())
    if values.nbytes < 512 or values.dtype.kind not in "fiu" or (values.nbytes >= COMPRESS_BELOW and not constant):
        return {}
    rows = max(1, min(len(values), CHUNK // (values.nbytes // len(values))))
    return {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": (rows, *values.shape[1:])}
