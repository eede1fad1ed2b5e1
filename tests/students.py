"""What trainings left: the weights of a run's student, and whether those of two are the same, bit for bit."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of a run folder's student."""
    return load_file(run / "student.safetensors")


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    """Name for name."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def same(ours: Path, theirs: Path) -> bool:
    """Of two run folders."""
    return equal(weights(ours), weights(theirs))
