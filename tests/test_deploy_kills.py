"""Killed before any file operation, or written by several processes at once: the old or the new, whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kill_points import CASES

from idsnn_deploy import workspace
from idsnn_deploy.errors import BundleError, UsageError
from idsnn_deploy.files import replacing, replacing_folder, reserved, write_bytes
from idsnn_deploy.manifest import read_bundle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks are POSIX")
SCRIPT = Path(__file__).with_name("kill_points.py")


@pytest.mark.parametrize("case", CASES)
def test_a_kill_a_neighbour_or_a_reader_finds_the_old_or_the_new(case: str) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), case], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    for force in (False, True):
        again = replacing_folder(tmp_path / "out", force)
        with reserved(tmp_path / "out", force), pytest.raises(UsageError, match=r"out: another process is writing"):
            again.__enter__()
    with replacing_folder(tmp_path / "out"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_where_files_cannot_be_locked_the_lock_file_is_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(workspace.fcntl, "flock", none)
    with replacing_folder(tmp_path / "out"):
        remove = tmp_path / ".out.tmp" / "lock"
        with pytest.raises(UsageError, match=f"remove {remove}"), reserved(tmp_path / "out", force=True):
            pass
        assert remove.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_where_no_folder_can_be_made_is_said_and_not_tried_for_ever(tmp_path: Path) -> None:
    (tmp_path / "drive").symlink_to(tmp_path / "unplugged")
    with pytest.raises(UsageError, match=r"drive/out: no folder can be made there; choose another --out"):
        replacing_folder(tmp_path / "drive" / "out").__enter__()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught, reserved(tmp_path / "file" / "out", force=False):
        pass
    assert caught.value.filename == str(tmp_path / "file" / "out")  # and no name of ours


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    (tmp_path / ".out.tmp").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="a link"), replacing_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "mine" / "thesis").exists()


def test_folders_made_for_nothing_go_again(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing_folder(tmp_path / "a" / "b" / "out"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_lies_aside_is_named_with_the_way_back(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp" / "old").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"get it back with: mv .*\.out\.tmp/old .*/out"):
        read_bundle(tmp_path / "out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_by_what_was_to_be_written(number: int, tmp_path: Path) -> None:
    full = OSError(number, os.strerror(number))
    for writing, path in ((replacing, tmp_path / "a.png"), (replacing_folder, tmp_path / "out")):
        with pytest.raises(OSError, match=os.strerror(number)) as caught, writing(path):  # type: ignore[operator]
            raise full
        assert caught.value.filename == str(path)
        full.filename = None
    write_bytes(tmp_path / "a.png", b"")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
