"""last.ckpt: where a training is, kept after every epoch, and checked before it is gone on from."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idsnn_deploy.errors import RunError, first_line
from idsnn_deploy.files import read_bytes, write_bytes

from .checkpoint import load_pickle

_LIMIT = 1 << 34  # bytes of last.ckpt
_ROW = frozenset({"phase", "epoch", "loss", "train_accuracy", "val_accuracy", "test_accuracy", "firing_rate", "lr"})


@dataclass
class Checkpoint:
    """What last.ckpt holds: where the run is, and everything that the next epoch depends on."""

    phase: str = "teacher"
    epoch: int = 0
    model: dict[str, Any] | None = None
    average: dict[str, Any] | None = None  # of the weights, with --ema
    optimizer: dict[str, Any] | None = None
    pull: dict[str, Any] | None = None  # on the firing rate, with --spikes
    side: dict[str, Any] | None = None  # heads beside the network's own, with --side-heads
    scaler: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Writes it beside `path` and renames; a full disk leaves the last one whole."""
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads it; a run that was stopped before its first epoch was done has none and starts anew.

        Raises:
            RunError: the file is no checkpoint, or says what no training comes to.
        """
        if not path.exists():
            return cls()
        try:
            found = cls(**load_pickle(read_bytes(path, _LIMIT, RunError)))
            found.check()
        except RunError:
            raise
        except Exception as cause:  # the loader raises a dozen kinds over a file that is none of ours
            reason = first_line(cause)
            raise RunError(f"{path}: cannot be resumed from ({reason}); start again with --force") from cause
        return found

    def check(self) -> None:
        """Raises `ValueError` where the state is none that training comes to."""
        rows = self.rows if isinstance(self.rows, list) else [None]
        kept = self.model is not None and self.optimizer is not None
        wrong = [
            name
            for name, right in (
                ("phase", self.phase in ("teacher", "student")),
                ("epoch", type(self.epoch) is int and self.epoch >= 0),
                ("model", self.model is None or _is_state(self.model)),
                ("average", self.average is None or _is_state(self.average)),
                ("pull", self.pull is None or _is_state(self.pull)),
                ("side", self.side is None or _is_state(self.side)),
                ("optimizer", self.optimizer is None or isinstance(self.optimizer, dict)),
                ("model and optimizer", kept == (self.epoch != 0)),
                ("scaler", isinstance(self.scaler, dict)),
                ("rows", all(isinstance(row, dict) and row.keys() >= _ROW for row in rows)),
                ("seconds", isinstance(self.seconds, (int, float)) and 0 <= self.seconds < float("inf")),
            )
            if not right
        ]
        if not wrong and sum(row["phase"] == self.phase for row in rows if row) != self.epoch:
            wrong = ["rows"]
        if wrong:
            raise ValueError(f"its {', '.join(wrong)} cannot be")


def _is_state(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(name, str) and isinstance(each, Tensor) for name, each in values.items()
    )
