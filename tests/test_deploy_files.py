"""Files appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from idsnn_deploy import files
from idsnn_deploy.errors import BundleError, ImageError, UsageError
from idsnn_deploy.files import (
    canonical_json,
    read_bytes,
    replacing,
    replacing_folder,
    sha256,
    write_bytes,
    write_json,
)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_file_is_replaced_only_when_the_block_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail() -> None:
        with replacing(file) as beside:
            beside.write_text("half")
            assert file.read_text() == "old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (file.read_text(), names(tmp_path)) == ("old", {"a.txt"})
    with replacing(file) as beside:
        assert beside.suffix == ".txt"
        beside.write_text("new")
    assert (file.read_text(), names(tmp_path)) == ("new", {"a.txt"})


def test_a_file_that_was_never_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert ((tmp_path / "a").read_bytes(), names(tmp_path)) == (b"old", {"a"})


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "b" / "c" / "d.bin", b"1")
    assert (tmp_path / "b" / "c" / "d.bin").read_bytes() == b"1"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing_folder(tmp_path / "out") as beside:
            (beside / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == set()
    with replacing_folder(tmp_path / "out") as beside:
        (beside / "manifest.json").touch()
        assert not (tmp_path / "out").exists()
    assert names(tmp_path / "out") == {"manifest.json"}
    assert names(tmp_path) == {"out"}


def test_a_folder_has_the_rights_that_the_user_gives_new_folders(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with replacing_folder(tmp_path / "out"):
        pass
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def earlier_output(folder: Path) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text("old")
    return folder


def test_an_existing_folder_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = earlier_output(tmp_path / "out")
    with pytest.raises(UsageError, match="--force"), replacing_folder(out):
        pass
    assert (out / "manifest.json").read_text() == "old"
    with replacing_folder(out, force=True) as beside:
        (beside / "new").touch()
        assert (out / "manifest.json").read_text() == "old"
    assert (names(out), names(tmp_path)) == ({"new"}, {"out"})


def test_force_replaces_no_folder_that_is_not_earlier_output(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").touch()
    with pytest.raises(UsageError, match="nothing that idsnn wrote"), replacing_folder(home, force=True):
        pass
    assert names(home) == {"thesis.tex"}
    with pytest.raises(UsageError, match="not a folder"), replacing_folder(home / "thesis.tex", force=True):
        pass


def test_a_replacement_that_fails_at_the_last_moment_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = earlier_output(tmp_path / "out"), os.replace

    def full(source: os.PathLike[str], target: os.PathLike[str]) -> None:
        if Path(target) == out and (Path(source) / "new").exists():
            raise OSError("no space")
        rename(source, target)

    def replace() -> None:
        with replacing_folder(out, force=True) as beside:
            (beside / "new").touch()
            monkeypatch.setattr(files, "exchange", lambda new, old: False)  # as on a system that has none
            monkeypatch.setattr(os, "replace", full)

    with pytest.raises(OSError, match="no space"):
        replace()
    assert ((out / "manifest.json").read_text(), names(tmp_path)) == ("old", {"out"})


def test_reading_is_capped_and_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_bytes(file, 5) == b"12345"
    with pytest.raises(BundleError, match="larger than 4 bytes"):
        read_bytes(file, 4)
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(tmp_path / "b", 4, ImageError)
    with pytest.raises(BundleError, match="not a file"):
        read_bytes(tmp_path, 4)
    os.mkfifo(tmp_path / "pipe")  # opening one would wait for ever
    with pytest.raises(BundleError, match="not a file"):
        read_bytes(tmp_path / "pipe", 4)
    with pytest.raises(BundleError, match=r"cannot be read|no such file"):
        read_bytes(tmp_path / ("x" * 300), 4)
    with pytest.raises(BundleError, match=r"cannot be read|no such file"):
        read_bytes(tmp_path / "a\0b", 4)


def test_canonical_json_has_one_form() -> None:
    value = {"b": [1, 0.1, None, True], "a": "ü"}
    assert canonical_json(value) == '{"a":"ü","b":[1,0.1,null,true]}'.encode()
    assert canonical_json(json.loads(json.dumps(value, indent=3))) == canonical_json(value)
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # ECMA-262, Number::toString; RFC 8785, appendix B.
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e-4, "0.0001"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (123.0, "123"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e23, "1e+23"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (333333333.3333333, "333333333.3333333"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
    ],
)
def test_canonical_numbers_are_written_as_in_javascript(value: float, text: str) -> None:
    assert canonical_json(value).decode() == text
    assert float(text) == value


def test_json_files_hold_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("inf")})
    assert names(tmp_path) == set()


def test_a_name_that_json_cannot_hold_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'a\.json: would hold "data": "K\\udce4se", which is no UTF-8; rename'):
        write_json(tmp_path / "a.json", {"seed": 0, "data": os.fsdecode(b"K\xe4se"), "out": None})
    assert names(tmp_path) == set()


def test_the_hash_is_sha256() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
