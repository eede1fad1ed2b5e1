"""A training stopped as by Ctrl-C after so many of its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from idsnn.cli import main as train
from idsnn.last_checkpoint import Checkpoint


def stop_after(saves: int, argv: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the command, which is stopped where it would write one checkpoint more."""
    written, save = 0, Checkpoint.save

    def stopping(state: Checkpoint, path: Path) -> None:
        nonlocal written
        if written == saves:
            raise KeyboardInterrupt
        save(state, path)
        written += 1

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", stopping)
        assert train(list(argv)) == 130
