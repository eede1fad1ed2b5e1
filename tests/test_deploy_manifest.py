"""The manifest and the hashes: nothing that was changed, by accident or on purpose, is run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import DATA, STATIC, images, resigned

from idsnn_deploy import Session
from idsnn_deploy.check import check_bundle
from idsnn_deploy.errors import BundleError, UsageError
from idsnn_deploy.event_files import DTYPE
from idsnn_deploy.files import canonical_json, sha256
from idsnn_deploy.info import describe, info
from idsnn_deploy.layer_table import Neurons, Synapses
from idsnn_deploy.manifest import MANIFEST, Manifest, listing, parse_manifest, read_bundle, write_manifest
from idsnn_deploy.recordings import clip

FILES = sorted(file.name for file in STATIC.iterdir() if file.name != MANIFEST)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATIC, tmp_path / "bundle"))


def signed(body: dict[str, Any]) -> bytes:
    body = {key: value for key, value in body.items() if key != "digest"}
    return json.dumps({**body, "digest": sha256(canonical_json(body))}).encode()


def body_of(folder: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return body


CONV = {"name": "a", "kind": "conv2d", "sources": ["input"], "weight_shape": [2, 1, 3, 3]}
CONV |= {"in_shape": [1, 6, 5], "out_shape": [2, 6, 5]}


def test_a_manifest_reads_back_equal(copy: Path) -> None:
    manifest = read_bundle(copy).manifest
    assert write_manifest(copy, manifest) == manifest == read_bundle(copy).manifest
    assert body_of(copy) == manifest.to_dict()
    assert listing(copy) == manifest.files


def test_the_digest_does_not_depend_on_layout(copy: Path) -> None:
    body = body_of(copy)
    shuffled = json.dumps(dict(sorted(body.items(), reverse=True)), indent=7, ensure_ascii=True)
    assert parse_manifest(shuffled.encode()) == read_bundle(copy).manifest


def test_a_manifest_that_could_not_be_read_is_not_written(copy: Path) -> None:
    before = (copy / MANIFEST).read_bytes()
    with pytest.raises(BundleError, match="labels"):
        resigned(copy, labels=[])
    assert (copy / MANIFEST).read_bytes() == before


def test_unknown_keys_are_ignored_and_optional_ones_have_defaults(copy: Path) -> None:
    body = body_of(copy)
    del body["encoding"], body["teacher"]
    assert parse_manifest(signed({**body, "from_the_future": [1]})).encoding == "static"


@pytest.mark.parametrize(
    "key",
    sorted(
        set(Manifest.__dataclass_fields__)
        - {"encoding", "readout", "teacher", "events", "division", "profile", "c", "warnings", "digest"}
    ),
)
def test_a_missing_key_is_named(key: str, copy: Path) -> None:
    body = body_of(copy)
    del body[key]
    with pytest.raises(BundleError, match="format version None" if key == "format_version" else f"without {key}"):
        parse_manifest(signed(body))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timesteps", 0),
        ("timesteps", True),
        ("timesteps", 4.0),
        ("timesteps", 2**60),
        ("dt", 0),
        ("dt", 10**400),
        ("mean", [0.1, "x"]),
        ("mean", None),
        ("mean", [0.1, 0.2]),
        ("std", [0.0]),
        ("labels", []),
        ("labels", ["a", 3]),
        ("input_shape", []),
        ("input_shape", [1, 0, 5]),
        ("layers", {}),
        ("layers", [{}]),
        ("layers", [{"name": "a", "kind": "lif", "shape": [2]}] * 2),
        ("layers", [{"name": "a", "kind": "lif"}]),
        ("layers", [{"name": "a", "kind": "lif", "shape": [-1]}]),
        ("layers", [{"name": "a", "kind": "lif", "shape": [1], "beta": "fast"}]),
        ("layers", [{"name": "a", "kind": "conv2d", "weight_shape": [1]}]),
        ("layers", [{**CONV, "weight_shape": None}]),
        ("layers", [{**CONV, "groups": 0}]),
        ("layers", [{**CONV, "padding": [[1]]}]),
        ("layers", [{**CONV, "nonzero": [[1, "x"]]}]),
        ("layers", [{**CONV, "pools": [{"kind": "avg"}]}]),
        ("layers", [{"name": "", "kind": "lif", "shape": [1]}]),
        ("layers", [{"name": "a", "kind": ["lif"], "shape": [1]}]),
        ("layers", [{"name": "a", "kind": "lif", "shape": [1], "theta_range": [1]}]),
        ("encoding", "rate"),
        ("events", {"by": "space", "values": "counts", "window": None}),
        ("events", {"by": "time", "values": "counts", "window": 0}),
        ("division", {"test_fraction": 1.5, "split_seed": 0}),
        ("profile", "phone"),
        ("c", {"isa": "portable", "files": {"../main.c": {"bytes": 1, "sha256": "0" * 64}}}),
        ("c", {"files": {}}),
        ("files", {"../model.onnx": {"bytes": 1, "sha256": "0" * 64}}),
        ("files", {"a/b": {"bytes": 1, "sha256": "0" * 64}}),
        ("files", {"model.onnx": {"bytes": -1, "sha256": "0" * 64}}),
        ("files", {"model.onnx": {"bytes": 1, "sha256": "0" * 63}}),
        ("files", {"model.onnx": {"bytes": 1}}),
        ("test_accuracy", 1.5),
        ("early_exit", {"margin": "wide"}),
        ("early_exit", {"margin": 2}),
        ("versions", {"idsnn": 1}),
        ("teacher", {"dense_macs": "x"}),
        ("teacher", {"dense_macs": [1]}),
        ("teacher", {"dense_macs": 1e300}),
        ("teacher", {"dense_macs": -1}),
        ("teacher", {"dense_macs": True}),
        ("teacher", {"dense_macs": 10**400}),
        ("labels", ["0", "1", "2" * 4097]),
        ("dataset", "x" * 4097),
        ("files", {"x" * 256: {"bytes": 1, "sha256": "0" * 64}}),
        ("layers", [{**CONV, "name": "x" * 4097}]),
        ("layers", [{**CONV, "sources": ["x" * 4097]}]),
        ("warnings", ["x" * 4097]),
    ],
)
def test_a_malformed_key_is_named_even_under_a_valid_digest(key: str, value: Any, copy: Path) -> None:
    with pytest.raises(BundleError, match=f"{key}|401 digits") as caught:
        parse_manifest(signed({**body_of(copy), key: value}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_names_of_a_page_are_read(copy: Path) -> None:
    found = parse_manifest(signed({**body_of(copy), "labels": ["0", "1", "2" * 4096], "dataset": "x" * 4096}))
    assert (len(found.labels[2]), len(found.dataset or "")) == (4096, 4096)


def test_a_layer_that_is_refused_is_named_with_what_it_lacks(copy: Path) -> None:
    layers = [{key: value for key, value in CONV.items() if key != "in_shape"}]
    with pytest.raises(BundleError, match=r"`layers\['a'\]` has no in_shape"):
        parse_manifest(signed({**body_of(copy), "layers": layers}))


def test_a_layer_says_no_more_than_it_must_and_nothing_of_what_it_does_not_know(copy: Path) -> None:
    """What the first readers accepted is accepted, and parameters that have no number may be null."""
    neurons = {"name": "b", "kind": "adaptive", "shape": [2], "beta": None, "theta": None, "from_the_future": 1}
    conv, bare = parse_manifest(signed({**body_of(copy), "layers": [CONV, neurons]})).layers
    assert isinstance(conv, Synapses)
    assert (conv.stride, conv.groups, conv.zero_weights, conv.bias) == ((), 1, 0, False)
    assert bare == Neurons(name="b", kind="adaptive", shape=(2,))


@pytest.mark.parametrize("version", [3, 0, "1", None, 1.0, True])
def test_another_format_version_is_refused(version: Any, copy: Path) -> None:
    with pytest.raises(BundleError, match="format version"):
        parse_manifest(signed({**body_of(copy), "format_version": version}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b'{"format_version": 1, "digest": NaN}',
        b'{"format_version": 1, "dt": 1e999}',
        b'{"format_version": 1, "dataset": "\\ud800"}',
        b"[" * 100_000,
        b'{"format_version": 1, "teacher": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format_version": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        parse_manifest(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused(name: str, copy: Path) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match="changed since"):
        read_bundle(copy).verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_refused(name: str, copy: Path) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match="bytes where the manifest lists"):
        read_bundle(copy).read(name)
    (copy / name).unlink()
    with pytest.raises(BundleError, match="no such file"):
        read_bundle(copy).read(name)


@pytest.mark.parametrize("name", ["model.nir", "model.onnx", "golden.npz"])
def test_a_bundle_lists_what_every_bundle_has(name: str, copy: Path) -> None:
    (copy / name).unlink()
    resigned(copy)
    with pytest.raises(BundleError, match=f"lists no {name}"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("name", "flag"),
    [("model.step.onnx", "--graphs step"), ("model.probe.onnx", "--graphs probe"), ("model.int8.onnx", "--int8")],
)
def test_a_file_that_was_not_asked_for_names_its_export_flag(name: str, flag: str, copy: Path) -> None:
    (copy / name).unlink()
    resigned(copy)
    with pytest.raises(BundleError, match=flag):
        read_bundle(copy).read(name)


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        read_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"not a bundle, for it holds no manifest\.json; idsnn-export writes one"):
        read_bundle(tmp_path)


def test_what_lies_where_no_bundle_does_says_what_is_meant(copy: Path, tmp_path: Path) -> None:
    run, lone = tmp_path / "run", tmp_path / "lone.nir"
    run.mkdir()
    (run / "config.json").write_text("{}")
    lone.touch()
    for path, said in (
        (run, f"a run that was not exported; idsnn-export {run} puts its bundle into it"),
        (copy / "model.onnx", f"a file of a bundle; name the bundle: {copy}"),
        (lone, f"a file, not a bundle; idsnn-export {lone} makes one"),
    ):
        with pytest.raises(BundleError, match=re.escape(f"{path}: {said}")):
            read_bundle(path)
    shutil.copytree(copy, run / "bundle")
    with pytest.raises(BundleError, match=re.escape(f"{run}: a run, not a bundle; its bundle is {run / 'bundle'}")):
        read_bundle(run)


def use_all_of(folder: Path) -> np.ndarray[Any, Any]:
    """Everything that a device does with a bundle."""
    bundle = read_bundle(folder)
    describe(bundle.manifest)
    info(folder, False, True, lambda text: None)
    check_bundle(bundle)
    return Session(bundle)(images(2))


def mutated(data: bytes, seed: int) -> bytes:
    """Bit flips, overwritten bytes, cuts, repeats and insertions, by a seed."""
    rng = np.random.default_rng(seed)
    out, at = bytearray(data), int(rng.integers(0, len(data)))
    kind = seed % 5
    if kind == 0:
        out[at] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1:
        end = min(at + int(rng.integers(1, 9)), len(out))
        out[at:end] = rng.integers(0, 256, end - at, dtype=np.uint8).tobytes()
    elif kind == 2:
        del out[at:]
    elif kind == 3:
        out[at:at] = out[at : at + int(rng.integers(1, 65))]
    else:
        del out[at : at + int(rng.integers(1, 17))]
    return bytes(out)


@pytest.fixture(scope="module")
def answer_of_the_whole() -> np.ndarray[Any, Any]:
    return use_all_of(STATIC)


def outcome(folder: Path) -> np.ndarray[Any, Any] | None:
    """The answer of a bundle that runs; None for one that is refused in one line. Any other error passes through."""
    said = None
    try:
        return use_all_of(folder)
    except BundleError as error:
        said = str(error)
    assert "\n" not in said
    return None


def holds(folder: Path, expected: np.ndarray[Any, Any]) -> bool:
    """Whether the bundle still ran; if it did, it answered as the unchanged one."""
    got = outcome(folder)
    assert got is None or np.array_equal(got, expected)
    return got is not None


def test_500_mutated_manifests_are_refused_or_say_the_same(
    copy: Path, answer_of_the_whole: np.ndarray[Any, Any]
) -> None:
    whole = (copy / MANIFEST).read_bytes()
    for seed in range(500):
        (copy / MANIFEST).write_bytes(mutated(whole, seed))
        if holds(copy, answer_of_the_whole):  # white space between the keys, which the digest leaves out
            assert json.loads((copy / MANIFEST).read_bytes()) == json.loads(whole)


@pytest.mark.parametrize("name", FILES)
def test_50_mutations_of_every_other_file_are_refused(
    name: str, copy: Path, answer_of_the_whole: np.ndarray[Any, Any]
) -> None:
    whole = (copy / name).read_bytes()
    for seed in range(50):
        (copy / name).write_bytes(mutated(whole, seed))
        assert not holds(copy, answer_of_the_whole) or (copy / name).read_bytes() == whole


STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    7,
    2**53,
    10**30,
    1e-300,
    0.5,
    "",
    "x" * 500,
    [],
    [[]],
    {},
    {"name": 1},
    [None] * 3,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def test_strange_values_under_a_valid_digest_are_refused_or_run(copy: Path) -> None:
    """Someone who can sign can lie, but not crash the reader: 250 manifests with one odd value each."""
    whole = body_of(copy)
    every = [place for place in places(whole) if place and place[0] not in ("digest", "format_version")]
    rng = np.random.default_rng(0)
    for i in range(250):
        body = json.loads(json.dumps(whole))
        *path, last = every[int(rng.integers(0, len(every)))]
        inside = body
        for key in path:
            inside = inside[key]
        inside[last] = STRANGE[i % len(STRANGE)]
        (copy / MANIFEST).write_bytes(signed(body))
        outcome(copy)


@pytest.mark.parametrize("name", [name for name in FILES if name != "model.nir"])
def test_mutated_files_under_a_valid_hash_are_refused_or_run(name: str, copy: Path) -> None:
    """Also what onnxruntime and numpy make of a broken file ends in the one error."""
    whole = (copy / name).read_bytes()
    for seed in range(30):
        (copy / name).write_bytes(mutated(whole, seed))
        resigned(copy)
        outcome(copy)


def test_the_committed_bundles_are_what_onnx_makes_of_their_equations(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from tiny_bundle import write

    for name, static in (("tiny", True), ("tiny_frames", False)):
        made = write(tmp_path / name, static)
        for file in (DATA / name).glob("*.onnx"):
            assert (made / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("shape", [[30], [6, 5], [1, 1, 6, 5]])
def test_an_input_that_is_no_image_is_not_taken_for_one(shape: list[int]) -> None:
    manifest = replace(read_bundle(STATIC).manifest, input_shape=shape)
    with pytest.raises(UsageError, match=re.escape(f"takes inputs of shape {tuple(shape)}, not images; pass float")):
        manifest.image_shape  # noqa: B018  # it is what is asked for
    with pytest.raises(UsageError, match="not images"):
        clip(np.zeros(0, DTYPE), manifest)
