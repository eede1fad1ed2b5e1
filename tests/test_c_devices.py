"""Generated C on processors that are not here: Arm of 64 and 32 bits and Cortex-M, under qemu (`make devices`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cortex_m
import numpy as np
import pytest
from test_c import DIGITS, counts, network_of, wide

from idsnn_export import cli
from idsnn_export.c.quantize import integer_network
from idsnn_export.c.write import write_c
from idsnn_export.graph.metadata import read_metadata
from idsnn_export.nir_file.reader import read_nir

WARNINGS = "-O2 -Werror"
DEVICES = [
    pytest.param("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "", id="aarch64, NEON"),
    pytest.param("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "-DIDSNN_SCALAR", id="aarch64, scalar"),
    pytest.param("arm-linux-gnueabihf-gcc", "qemu-arm-static", "-mfpu=neon -O3", id="32-bit Arm, NEON"),
    pytest.param("arm-linux-gnueabihf-gcc", "qemu-arm-static", "-DIDSNN_SCALAR", id="32-bit Arm, scalar"),
    pytest.param("arm-linux-gnueabihf-gcc", "qemu-arm-static", "-DIDSNN_DSP", id="32-bit Arm, DSP"),
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


def isa_of(flags: str) -> str:
    return "dsp" if "DSP" in flags else "portable"


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "emulator", "flags"), DEVICES)
@pytest.mark.parametrize("timesteps", [4, 5])
def test_another_processor_answers_as_numpy_does(
    timesteps: int, compiler: str, emulator: str, flags: str, tmp_path: Path
) -> None:
    graph = wide(seed=timesteps)
    write_c(tmp_path, network_of(graph, timesteps), "wide", counts(graph)[:timesteps], ["a"], isa_of(flags))
    assert "3 of 3 golden vectors answered" in check(tmp_path, compiler, emulator, flags)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "emulator", "flags"), DEVICES)
def test_the_digits_network_answers_there_too(compiler: str, emulator: str, flags: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert cli.main([str(DIGITS), "--format", "c", "--isa", isa_of(flags), "--out", str(folder)]) == 0
    assert "8 of 8 golden vectors answered" in check(folder, compiler, emulator, flags)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["portable", "dsp"])
@pytest.mark.parametrize("device", cortex_m.MACHINES)
def test_a_bare_microcontroller_answers_as_numpy_does(device: str, isa: str) -> None:
    """Two digits over semihosting, at once; `measured` compares every logit."""
    for tool in cortex_m.TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here; `make devices` installs it")
    metadata = read_metadata(read_nir(DIGITS / "model.nir"))
    network = integer_network(read_nir(DIGITS / "model.nir"), 4, mean=metadata.mean, std=metadata.std)
    pixels = np.rint(np.load(DIGITS / "golden.npz")["images"][:2] * 255).astype(np.uint8)
    found = cortex_m.measured(network, pixels, device, isa)
    assert len(found.instructions) == 2
    assert found.ram < 4096
    assert found.stack < 4096
    assert 183_040 < found.flash < 256 * 1024  # all of its constants are in it
