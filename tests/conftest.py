"""What the tests share: two cores used fairly, one small trained run and the bundle exported from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One thread a test process: two processes share two cores, and sums have one order.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# A terminal of one kind, wherever the tests are started: what is printed depends on these, in child processes, too.
for variable in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(variable, None)
os.environ["TERM"] = "xterm"

# How long an example takes is the machine's affair: others may be at work on it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: teacher and student of width 4, trained for two epochs on 400 digits."""
    from idsnn.cli import main

    out = tmp_path_factory.mktemp("run") / "digits"
    flags = ["--width", "4", "--epochs", "2", "--limit-train", "400", "--seed", "0", "--out", str(out)]
    assert main(flags) == 0
    return out


@pytest.fixture(scope="session")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `run`, with every graph."""
    from idsnn_export.cli import main

    out = tmp_path_factory.mktemp("export") / "bundle"
    assert main([str(run), "--out", str(out)]) == 0
    return out
