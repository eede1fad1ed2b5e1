"""Recordings that a network can learn from: a dot that goes to the right, or one that goes to the left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.events import DTYPE

SIZE, EVENTS = 12, 300


def sweep(label: int, seed: int) -> np.ndarray[Any, Any]:
    """A recording of 50 ms, `(300,)`: class 0 goes right, class 1 left; on in front, off behind."""
    rng = np.random.default_rng([label, seed])
    t = np.sort(rng.integers(0, 50_000, EVENTS))
    p = rng.integers(0, 2, EVENTS)
    x = t * SIZE // 50_001
    x = (x if label == 0 else SIZE - 1 - x) + (p * 2 - 1) * (1 - 2 * label)
    y = rng.integers(3, 9, EVENTS)
    return np.array(list(zip(x.clip(0, SIZE - 1), y, t, p, strict=True)), DTYPE)


def five_bytes(events: np.ndarray[Any, Any]) -> bytes:
    """N-MNIST's format: x, y, then polarity and time as one big-endian number of 24 bits."""
    return b"".join(bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in events.tolist())


def write_tree(root: Path, train: int = 12, test: int = 4, parts: tuple[str, str] = ("train", "test")) -> Path:
    """`root`/train/{left,right}/*.bin and test/: so many recordings of each class."""
    for part, (count, start) in zip(parts, ((train, 0), (test, 1000)), strict=True):
        for label, name in enumerate(("a-right", "b-left")):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                (root / part / name / f"{i:03}.bin").write_bytes(five_bytes(sweep(label, start + i)))
    return root
