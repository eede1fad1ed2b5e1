"""Runs as they lay on the disk before a setting existed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def unfinished_without(part: str, folder: Path, **settings: Any) -> Path:
    """A finished run made one that goes on with `settings`, from a checkpoint that has no `part`."""
    (folder / "summary.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    state = torch.load(folder / "last.ckpt", weights_only=True)
    del state[part]
    torch.save(state, folder / "last.ckpt")
    return folder
