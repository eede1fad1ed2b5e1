"""Generated C on processors that are not here: 64-bit and 32-bit Arm under qemu, bit for bit (`make devices`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from test_c import DIGITS, counts, network_of, wide

from idsnn_export import cli
from idsnn_export.c.write import write_c

WARNINGS = "-O2 -Werror"
DEVICES = [
    pytest.param("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "", id="aarch64, NEON"),
    pytest.param("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "-DIDSNN_SCALAR", id="aarch64, scalar"),
    pytest.param("arm-linux-gnueabihf-gcc", "qemu-arm-static", "-mfpu=neon -O3", id="32-bit Arm, NEON"),
    pytest.param("arm-linux-gnueabihf-gcc", "qemu-arm-static", "-DIDSNN_SCALAR", id="32-bit Arm, scalar"),
]


def check(folder: Path, compiler: str, emulator: str, flags: str) -> str:
    """What `make check` prints; every golden vector is computed in numpy, on this processor."""
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here; `make devices` installs it")
    words = [f"CC={compiler}", f"CFLAGS={WARNINGS} {flags}", "LDFLAGS=-static", f"RUN={emulator}"]
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "check", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "emulator", "flags"), DEVICES)
@pytest.mark.parametrize("timesteps", [4, 5])
def test_another_processor_answers_as_numpy_does(
    timesteps: int, compiler: str, emulator: str, flags: str, tmp_path: Path
) -> None:
    graph = wide(seed=timesteps)
    write_c(tmp_path, network_of(graph, timesteps), "wide", counts(graph)[:timesteps], ["a"])
    assert "3 of 3 golden vectors answered" in check(tmp_path, compiler, emulator, flags)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "emulator", "flags"), DEVICES)
def test_the_digits_network_answers_there_too(compiler: str, emulator: str, flags: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert cli.main([str(DIGITS), "--format", "c", "--out", str(folder)]) == 0
    assert "8 of 8 golden vectors answered" in check(folder, compiler, emulator, flags)
