"""Random networks out of all parts of snnTorch pass the gates; `make random` runs 300."""

from __future__ import annotations

import pytest
import random_snntorch


@pytest.mark.parametrize("first", [1000, 1010])
def test_random_networks_are_exact(first: int) -> None:
    parts: set[str] = set()
    for seed in range(first, first + 10):
        parts |= set(random_snntorch.outcome(seed)[1].parts)
    assert len(parts) > 15
