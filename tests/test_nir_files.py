"""NIR files: what is written is read back, what other readers see, and what hostile files come to."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from graphs import CASES, chain, graph, lif

from idsnn_deploy.errors import GraphError, UnsupportedError
from idsnn_export.graph.equality import differences, equal
from idsnn_export.graph.metadata import KEY, Metadata, read_metadata, write_metadata
from idsnn_export.graph.plan import fill_types
from idsnn_export.graph.shapes import SHAPES
from idsnn_export.lowering import to_onnx
from idsnn_export.nir_file.hdf5_heap import Heap
from idsnn_export.nir_file.reader import TYPES, _Scan, read_nir
from idsnn_export.nir_file.writer import nir_bytes, write_nir
from idsnn_export.reference.interpreter import interpret

OTHERS = os.environ.get("IDSNN_TEST_DATA")
MUTATIONS = 500


# ---- round trip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    built = CASES[name].build()
    write_metadata(built, Metadata(5, mean=(0.5, 0.25), std=(1.0, 2.0), labels=("a", "b")))
    write_nir(tmp_path / "a.nir", built)
    found = read_nir(tmp_path / "a.nir")
    assert differences(built, found) == []
    assert read_metadata(found) == read_metadata(built)
    write_nir(tmp_path / "b.nir", found)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_nir_itself_reads_our_files_and_we_read_its(name: str, tmp_path: Path) -> None:
    built = CASES[name].build()
    fill_types(built)
    write_nir(tmp_path / "ours.nir", built)
    nir.write(tmp_path / "theirs.nir", built)
    assert differences(nir.read(tmp_path / "ours.nir", type_check=False), built) == []
    assert differences(read_nir(tmp_path / "theirs.nir"), built) == []


def test_the_reader_knows_every_type_with_a_shape() -> None:
    assert set(TYPES.values()) == set(SHAPES) | {nir.NIRGraph}


def test_an_open_input_shape_is_filled_in(tmp_path: Path) -> None:
    built = CASES["conv2d_grouped"].build()
    built.nodes["n0"].input_shape = None
    write_nir(tmp_path / "a.nir", built)
    assert built.nodes["n0"].input_shape is None
    assert list(read_nir(tmp_path / "a.nir").nodes["n0"].input_shape) == [5, 5]


def test_a_graph_without_a_meaning_is_not_written(tmp_path: Path) -> None:
    built = CASES["residual"].build()
    built.edges.append(("lif1", "gone"))
    with pytest.raises(GraphError):
        write_nir(tmp_path / "a.nir", built)
    assert not list(tmp_path.iterdir())


def test_constant_arrays_take_next_to_no_space() -> None:
    shape = (64, 32, 32)
    assert len(nir_bytes(chain(shape, shape, lif(*shape)))) < 5 * 4 * 64 * 32 * 32 / 50


# ---- equality -------------------------------------------------------------------------------------------------------


CHANGES: dict[str, tuple[Callable[[nir.NIRGraph], Any], str]] = {
    "a weight": (lambda g: g.nodes["conv1"].weight.__setitem__((0, 0, 0, 0), 9.0), "conv1.weight: 1 of 54"),
    "a precision": (lambda g: setattr(g.nodes["lif1"], "tau", g.nodes["lif1"].tau.astype(np.float64)), "lif1.tau"),
    "a stride": (lambda g: setattr(g.nodes["conv1"], "stride", (2, 1)), "conv1.stride"),
    "a padding": (lambda g: setattr(g.nodes["conv1"], "padding", "same"), "conv1.padding"),
    "an edge": (lambda g: g.edges.pop(4), "edge ('lif1', 'lif2')"),
    "the order of edges": (lambda g: g.edges.reverse(), "another order"),
    "a node": (lambda g: g.nodes.pop("pool"), "pool: only in the first"),
    "a type": (lambda g: g.nodes.update(fc=nir.Linear(g.nodes["fc"].weight)), "fc: Affine and Linear"),
    "a port": (lambda g: g.nodes.update(input=nir.Input(np.array([2, 5, 5]))), "input: shapes"),
    "metadata": (lambda g: g.metadata.update(note="x"), "note"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_and_named(name: str) -> None:
    change, says = CHANGES[name]
    ours, theirs = CASES["residual"].build(), CASES["residual"].build()
    assert equal(ours, theirs)
    change(theirs)
    assert not equal(ours, theirs)
    assert any(says in line for line in differences(ours, theirs)), differences(ours, theirs)


# ---- metadata -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "{}",
        '{"timesteps": 0}',
        '{"timesteps": 4, "dt": -1}',
        '{"timesteps": 4, "dt": NaN}',
        '{"timesteps": 4, "encoding": "smoke"}',
        '{"timesteps": 4, "readout": "max"}',
        '{"timesteps": 4, "mean": [0.5]}',
        '{"timesteps": 4, "mean": [0.5], "std": [0]}',
        '{"timesteps": 4, "mean": [0.5], "std": [1%s]}' % ("0" * 400),
        '{"timesteps": 4, "labels": [1]}',
        '{"timesteps": 4, "format_version": 99}',
        '{"timesteps": true}',
    ],
)
def test_metadata_that_we_did_not_write_are_refused(text: str) -> None:
    built = CASES["residual"].build()
    built.metadata = {KEY: text}
    with pytest.raises(GraphError, match=KEY):
        read_metadata(built)


def test_an_integer_that_only_a_float_holds_is_a_number_of_metadata() -> None:
    built = CASES["residual"].build()
    built.metadata = {KEY: json.dumps({"timesteps": 4, "mean": [0], "std": [10**30]})}
    found = read_metadata(built)
    assert found is not None
    assert found.normalized(np.ones((1, 1, 2, 2))) == pytest.approx(np.full((1, 1, 2, 2), 1e-30))


def test_a_graph_of_another_framework_has_no_metadata_of_ours() -> None:
    assert read_metadata(CASES["residual"].build()) is None


# ---- hostile files --------------------------------------------------------------------------------------------------


def _external_link(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file["node/nodes/fc/weight"] = h5py.ExternalLink("other.nir", "/node/nodes/fc/weight")


def _soft_link(file: h5py.File, folder: Path) -> None:
    file["node/nodes/fc/metadata"] = h5py.SoftLink("/node")


def _external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(b"x" * 64)
    del file["node/nodes/fc/bias"]
    file.create_dataset("node/nodes/fc/bias", (4,), "f4", external=[(str(folder / "secret"), 0, 16)])


def _virtual(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/bias"]
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.nir", "/bias", (4,))
    file.create_virtual_dataset("node/nodes/fc/bias", layout)


def _huge(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file.create_dataset("node/nodes/fc/weight", (50_000, 50_000), "f4", fillvalue=1.0, chunks=(100, 100))


def _bomb(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    zeros = np.zeros((4, 1 << 20), np.float32)
    file.create_dataset("node/nodes/fc/weight", data=zeros, compression="gzip", compression_opts=9, chunks=(4, 1 << 18))


def _large_pieces(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/bias"]
    file.create_dataset("node/nodes/fc/bias", data=np.zeros(4, np.float32), maxshape=(None,), chunks=(1 << 26,))


def _many_strings(file: h5py.File, folder: Path) -> None:
    del file["node/edges"]
    file.create_dataset("node/edges", (1 << 20, 2), h5py.string_dtype())


def _long_strings(file: h5py.File, folder: Path) -> None:
    del file["node/edges"]
    edges = file.create_dataset("node/edges", (100, 2), h5py.string_dtype())
    edges[...] = "x" * (1 << 18)


def _replaced(name: str, value: Any, **options: Any) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return change


def _loop(file: h5py.File, folder: Path) -> None:
    file["node/nodes/fc/metadata"] = file["node"]


def _deep(file: h5py.File, folder: Path) -> None:
    file.create_group("node/metadata/" + "/".join("abcdefghijklmnopqrst"))


HOSTILE: dict[str, tuple[Callable[[h5py.File, Path], None], str]] = {
    "a link into another file": (_external_link, "ExternalLink"),
    "a soft link": (_soft_link, "SoftLink"),
    "data in another file": (_external_storage, "outside this file"),
    "virtual data": (_virtual, "outside this file"),
    "a huge empty shape": (_huge, "claims"),
    "a bomb": (_bomb, "reached by"),
    "pieces larger than the whole": (_large_pieces, "pieces"),
    "a million names": (_many_strings, "strings|claims"),
    "long names": (_long_strings, "characters"),
    "a loop of links": (_loop, "two links"),
    "deep groups": (_deep, "deep"),
    "an unknown type": (_replaced("node/nodes/fc/type", "Evil"), "not known"),
    "a type that is no text": (_replaced("node/nodes/fc/type", 3), "type"),
    "a missing field": (lambda file, folder: file.pop("node/nodes/fc/bias"), "lacks `bias`"),
    "a field too many": (_replaced("node/nodes/fc/type_check", 1), "has `type_check`"),
    "a field at the top too many": (_replaced("node/type_check", 1), "has `type_check`"),
    "text for numbers": (_replaced("node/nodes/fc/bias", "four"), "bias"),
    "complex numbers": (_replaced("node/nodes/fc/bias", np.ones(4, np.complex64)), "complex"),
    "infinite numbers": (_replaced("node/nodes/fc/bias", np.full(4, np.inf, np.float32)), "finite"),
    "missing numbers": (_replaced("node/nodes/lif1/tau", np.full((3, 4, 4), np.nan, np.float32)), "finite"),
    "another filter": (
        _replaced("node/nodes/fc/bias", np.ones(4, np.float32), compression="lzf", chunks=(4,)),
        "filter",
    ),
    "edges that are numbers": (_replaced("node/edges", np.zeros((3, 2))), "edges"),
    "edges that are triples": (_replaced("node/edges", [("a", "b", "c")]), "edges"),
    "a dangling edge": (_replaced("node/edges", [("input", "gone")]), "gone"),
    "no graph": (lambda file, folder: file.pop("node"), "no group"),
    "a graph that is a layer": (_replaced("node/type", "Affine"), "Affine"),
    "an input of astronomic size": (_replaced("node/nodes/input/shape", np.array([1 << 40, 4, 4])), "1099511627776"),
    "groups that are a list": (_replaced("node/nodes/conv1/groups", np.array([1])), "wrong `groups`"),
    "a bad padding": (_replaced("node/nodes/conv1/padding", "circular"), "padding"),
    "metadata of another version": (
        lambda file, folder: file.create_dataset("node/metadata/idsnn", data='{"timesteps": 4, "format_version": 7}'),
        "idsnn",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_typed_error(name: str, tmp_path: Path) -> None:
    change, says = HOSTILE[name]
    path = tmp_path / "a.nir"
    path.write_bytes(nir_bytes(CASES["residual"].build()))
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    with pytest.raises(GraphError, match=says) as caught:
        read_nir(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def their_bytes(built: nir.NIRGraph) -> bytes:
    """As NIR itself writes them: another version of HDF5's structures."""
    buffer = io.BytesIO()
    nir.write(buffer, built)
    return buffer.getvalue()


def reference(data: bytes, text: bytes) -> int:
    """Where the reference to a string of the file lies: its length, the collection's address and its index there."""
    at = data.index(text)
    heap = data.rindex(b"GCOL", 0, at)
    (index,) = struct.unpack_from("<H", data, at - 16)
    return data.index(struct.pack("<IQI", len(text), heap, index))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda at: (at, struct.pack("<I", 0xF0000000)), "claims 4,026,531,840 bytes and has"),
        (lambda at: (at + 4, struct.pack("<Q", 2**63)), "where no heap is"),
        (lambda at: (at + 4, struct.pack("<Q", 0)), "where no heap is"),
        (lambda at: (at + 12, struct.pack("<I", 60_000)), "has 0 in the heap"),
    ],
)
@pytest.mark.parametrize("write", [nir_bytes, their_bytes])
def test_a_string_is_no_longer_than_what_the_file_has_of_it(
    write: Callable[[nir.NIRGraph], bytes], change: Callable[[int], tuple[int, bytes]], says: str, tmp_path: Path
) -> None:
    """HDF5 would allocate what the reference claims, 3.9 GB for a file of 35 KB."""
    data = bytearray(write(CASES["residual"].build()))
    place, value = change(reference(bytes(data), b"AvgPool2d"))
    data[place : place + len(value)] = value
    (tmp_path / "a.nir").write_bytes(data)
    with pytest.raises(GraphError, match=says):
        read_nir(tmp_path / "a.nir")


def test_strings_are_what_h5py_reads(tmp_path: Path) -> None:
    texts = ["", "a", "é\u732b" * 1000, *map(str, range(3000))]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("texts", data=np.array(texts, object).reshape(-1, 3), dtype=h5py.string_dtype())
    with h5py.File(tmp_path / "a.h5") as file:
        item = file["texts"]
        found = Heap((tmp_path / "a.h5").read_bytes()).strings(item.id.get_offset(), item.size)
        assert found == [each.decode() for each in item[()].ravel()] == texts


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [(13, b"\x04", "04 08"), (14, b"\x04", "08 04"), (24, b"\x01", "first byte"), (8, b"\x09", "not a NIR file")],
)
def test_a_superblock_of_other_sizes_is_refused(place: int, value: bytes, says: str, tmp_path: Path) -> None:
    data = bytearray(their_bytes(CASES["residual"].build()))
    data[place : place + 1] = value
    (tmp_path / "a.nir").write_bytes(data)
    with pytest.raises(GraphError, match=says):
        read_nir(tmp_path / "a.nir")


def test_a_piece_that_inflates_beyond_its_size_is_refused(tmp_path: Path) -> None:
    """HDF5 inflates to the end of the stream, however long: here 128 MiB for a piece of 16 bytes."""
    path = tmp_path / "a.nir"
    path.write_bytes(nir_bytes(CASES["residual"].build()))
    bomb = zlib.compressobj(9)
    stream = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(128)) + bomb.flush()
    with h5py.File(path, "r+") as file:
        del file["node/nodes/fc/bias"]
        bias = file.create_dataset("node/nodes/fc/bias", (4,), "f4", chunks=(4,), compression="gzip")
        bias.id.write_direct_chunk((0,), stream)
    with pytest.raises(GraphError, match="inflates to more than 16"):
        read_nir(path)


@pytest.mark.parametrize("length", [255, 256])
def test_a_node_s_name_is_at_most_255_characters(length: int, tmp_path: Path) -> None:
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([3]))}
    other = "n" * length
    built = nir.NIRGraph({**ends, other: nir.Linear(np.ones((3, 2)))}, [("input", other), (other, "output")])
    (tmp_path / "a.nir").write_bytes(nir_bytes(built))
    if length == 255:
        assert other in read_nir(tmp_path / "a.nir").nodes
        return
    with pytest.raises(GraphError, match=r"a node's name of 256 characters; at most 255 are read"):
        read_nir(tmp_path / "a.nir")


@pytest.mark.parametrize("timesteps", [200_000, 10**9, 2**70])
def test_a_number_of_steps_that_nobody_can_run_is_said(timesteps: int, tmp_path: Path) -> None:
    built = CASES["residual"].build()
    built.metadata = {KEY: json.dumps({"timesteps": timesteps})}
    (tmp_path / "a.nir").write_bytes(nir_bytes(built))
    with pytest.raises(GraphError, match=rf"timesteps = {timesteps}: with 9 nodes .*at most 1,048,576 .*116,508 steps"):
        read_nir(tmp_path / "a.nir")
    with pytest.raises(GraphError, match="1,048,576"):
        interpret(built, np.zeros((1, 3, 4, 4), np.float32), timesteps)
    with pytest.raises(GraphError, match="1,048,576"):
        to_onnx(built, timesteps)


def test_more_steps_than_a_runtime_loads_are_not_unrolled(tmp_path: Path) -> None:
    built = CASES["residual"].build()
    with pytest.raises(GraphError, match=r"timesteps = 20000: with 2 neuron layers .*40,000; at most 16,384 .*8,192"):
        to_onnx(built, 20_000)
    to_onnx(built, 20_000, kind="step")


def test_many_steps_of_large_layers_are_bounded_by_their_values() -> None:
    large = chain((64, 256, 256), (64, 256, 256), lif(64, 256, 256))
    with pytest.raises(GraphError, match=r"12,582,912 values .*at most 2,147,483,648"):
        to_onnx(large, 1000)


def test_all_data_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = nir_bytes(CASES["residual"].build())
    (tmp_path / "a.nir").write_bytes(data)
    monkeypatch.setattr("idsnn_export.nir_file.reader.LIMIT", len(data))
    read_nir(tmp_path / "a.nir")
    total = _Scan(data)
    with h5py.File(tmp_path / "a.nir") as file:
        total.read(file)
    monkeypatch.setattr("idsnn_export.nir_file.reader.LIMIT", total.total - 1)
    with h5py.File(tmp_path / "a.nir") as file, pytest.raises(GraphError, match="bytes in all"):
        _Scan(data).read(file)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not HDF5 at all" * 100])
def test_a_file_that_is_not_hdf5_is_one_typed_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_bytes(content)
    with pytest.raises(GraphError, match="not a NIR file"):
        read_nir(tmp_path / "a.nir")


def test_a_missing_file_is_one_typed_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file"):
        read_nir(tmp_path / "a.nir")


def test_an_unsupported_node_keeps_its_class_of_error(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    path.write_bytes(nir_bytes(CASES["residual"].build()))
    with h5py.File(path, "r+") as file:
        _replaced("node/nodes/fc/type", "Identity")(file, tmp_path)
    with pytest.raises(UnsupportedError, match="Identity"):
        read_nir(path)


# ---- mutations ------------------------------------------------------------------------------------------------------


def mutations(count: int) -> list[bytes]:
    """Damaged copies of good files, the same ones every time."""
    names = ("residual", "nested_recurrent", "conv1d", "current_based_lif")
    good = [write(CASES[name].build()) for name in names for write in (nir_bytes, their_bytes)]
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        data = bytearray(good[seed % len(good)])
        match seed // len(good) % 5:
            case 0:  # one bit
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            case 1:  # some bytes
                for place in rng.integers(len(data), size=20):
                    data[place] = rng.integers(256)
            case 2:  # cut off
                del data[rng.integers(len(data)) :]
            case 3:  # a length or an address set high or to zero
                place = int(rng.integers(len(data) - 8))
                data[place : place + 8] = [0, 2**63 - 1, 2**40, 2**31, 2**64 - 1][rng.integers(5)].to_bytes(8, "little")
            case _:  # a part moved elsewhere
                a, b, n = (int(v) for v in (*rng.integers(len(data) - 256, size=2), rng.integers(1, 256)))
                data[a : a + n] = data[b : b + n]
        made.append(bytes(data))
    return made


def worker(folder: Path) -> None:
    """Reads every file of a folder under a memory limit and prints what came of it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (768 << 20),) * 2)
    outcomes = []
    for path in sorted(folder.glob("*.nir")):
        try:
            read_nir(path)
            outcomes.append("graph")
        except GraphError as error:
            outcomes.append("error" if "\n" not in str(error) else f"{path.name}: lines")
        except BaseException as error:
            outcomes.append(f"{path.name}: {type(error).__name__}: {error}")
    print(json.dumps(outcomes))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit needs /proc")
def test_damaged_files_end_in_a_typed_error_or_a_graph(tmp_path: Path) -> None:
    for i, data in enumerate(mutations(MUTATIONS)):
        (tmp_path / f"{i:03}.nir").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == MUTATIONS
    assert set(outcomes) == {"graph", "error"}, sorted(set(outcomes) - {"graph", "error"})[:5]


# ---- files of other frameworks --------------------------------------------------------------------------------------


@pytest.mark.skipif(not OTHERS, reason="IDSNN_TEST_DATA names no folder with nir/*.nir of other frameworks")
class TestFilesOfOtherFrameworks:
    def path(self, name: str) -> Path:
        return Path(str(OTHERS)) / "nir" / name

    @pytest.mark.parametrize("name", ["lif_norse.nir", "braille_recurrent.nir"])
    def test_it_is_read_as_nir_reads_it_and_survives_a_round_trip(self, name: str, tmp_path: Path) -> None:
        found = read_nir(self.path(name))
        assert differences(found, nir.read(self.path(name))) == []
        write_nir(tmp_path / "a.nir", found)
        assert differences(read_nir(tmp_path / "a.nir"), found) == []

    def test_the_recurrent_one_has_one_late_edge(self) -> None:
        from idsnn_export.graph.plan import plan

        steps = plan(read_nir(self.path("braille_recurrent.nir"))).steps
        assert [(s.name, step.name) for step in steps for s in step.sources if s.delayed] == [
            ("lif1.w_rec", "lif1.lif")
        ]

    def test_the_broken_one_is_refused_and_says_why(self) -> None:
        with pytest.raises(GraphError, match="there is no node 'lif'"):
            read_nir(self.path("broken_subgraph.nir"))


def test_a_graph_that_would_give_too_much_is_refused(tmp_path: Path) -> None:
    shape = (1 << 14, 1 << 14)
    built = graph({}, [("input", "output")], shape, shape)
    path = tmp_path / "a.nir"
    path.write_bytes(nir_bytes(built))
    with pytest.raises(GraphError, match="at each step"):
        read_nir(path)


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
