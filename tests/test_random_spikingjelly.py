"""The short form of `make random`: a dozen random networks of SpikingJelly's parts, and what the harness would see."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (the extra `bench` brings it)")

import random_spikingjelly as networks


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_are_exported_as_spikingjelly_runs_them(seed: int) -> None:
    networks.check(seed)


def test_the_parts_of_many_networks_are_all_parts() -> None:
    seen = {part for seed in range(60) for part in networks.case(seed).parts}
    assert seen >= {"IFNode", "LIFNode", "ParametricLIFNode", "to 0", "to a value", "subtracts", *networks.MODES}
    assert seen >= {"sew", "spiking residual", "max pool", "average pool", "standardized", "votes", "input whole"}


def test_the_harness_sees_a_network_that_is_another_when_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, said = networks.its_own_run, []

    def other(*args: Any) -> Any:
        logits, spikes = honest(*args)
        return logits, {name: ~fired for name, fired in spikes.items()}

    monkeypatch.setattr(networks, "its_own_run", other)
    assert networks.main(["--first", "3", "--count", "1"], said.append) == 1
    assert "seed 3: ParityError: SpikingJelly: first difference at" in said[0]
