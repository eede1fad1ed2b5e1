"""What the makers of random networks share: parts are drawn by a seed, and remembered."""

from __future__ import annotations

import numpy as np


class Maker:
    """Draws the parts of one network.

    Attributes:
        parts: what was drawn.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.parts: list[str] = []

    def one(self, *names: str) -> str:
        """One of `names`, each as likely as often it stands there."""
        chosen = str(self.rng.choice(names))
        self.parts.append(chosen)
        return chosen
