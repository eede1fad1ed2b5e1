"""The suite asks nothing of where it is started. `make test-bare` runs all of it so, this file what prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def test_tests_pass_without_a_terminal_a_home_a_cache_or_a_locale() -> None:
    bare = {"PATH": os.defpath, "TERM": "dumb", "COLUMNS": "20", "LC_ALL": "C", "XDG_CACHE_HOME": os.devnull}
    bare |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    files = [str(TESTS / name) for name in ("test_train_run.py", "test_deploy_cli.py", "test_eval_cli.py")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "bar or table or names_the or force_replaces",
        *files,
    ]
    done = subprocess.run(command, cwd="/", env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
