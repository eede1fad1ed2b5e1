"""The tables of docs/networks.md: every row of the tests of torch networks run, and what came of it; renews them.

A row's outcome is "exact" (no spike differs from the framework's own run, in float64 nor in float32), "float32 excused"
(in float32 some first flip lies on its threshold), or the refusal, word for word.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import test_nir_from_torch as layers
import test_nir_hooks as hooks
import test_snntorch_layers as between
import test_snntorch_loops as loops
import test_snntorch_neurons as neurons
import test_snntorch_tutorials as tutorials
import test_spikingjelly as jelly
from torch import nn

from idsnn_deploy.errors import GraphError, UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
BEGIN, END = "<!-- rows: python tests/networks_table.py -->", "<!-- end of rows -->"


class Subject(NamedTuple):
    """A network and what it is run with."""

    model: nn.Module
    shape: tuple[int, ...]
    x: np.ndarray
    timesteps: int
    frames: bool = False


class Row(NamedTuple):
    """What is written, and the network that has it."""

    construct: str
    subject: Callable[[], Subject]


def outcome(subject: Subject) -> str:
    """What comes of a network: both gates, or the refusal."""
    model, shape, x, timesteps, frames = subject
    try:
        network = prepare(model, shape, timesteps=timesteps)
        reference = trace(to_nir(model, shape, timesteps=timesteps), x, timesteps)
    except (UnsupportedError, GraphError) as error:
        return "refused: " + re.sub(r"\w+\.py:\d+", "net.py:12", str(error)).replace("|", "\\|")
    exact_gate(reference, {"torch": run_prepared(network, x, timesteps, frames=frames)})
    logits, spikes = run_model(model, x, timesteps, frames=frames)
    flipped = float_gate(reference, "the framework's own run", logits, spikes)["flipped_samples"]
    return "exact" if not flipped else "float32 excused"


def sections() -> dict[str, list[Row]]:
    """All rows, by heading."""
    return {
        "snnTorch: neurons": [*_neurons()],
        "snnTorch: loops over time, states and readouts": [*_loops()],
        "snnTorch: between the neurons": [*_between()],
        "snnTorch: networks of its tutorials": [*_tutorials()],
        "SpikingJelly: neurons": [*_spikingjelly_neurons()],
        "SpikingJelly: layers, and what has no form": [*_spikingjelly_layers()],
        "SpikingJelly: networks of its tutorials and model zoo": [*_spikingjelly_networks()],
        "torch: layers": [*_layers()],
        "torch: what is attached to modules": [*_hooks()],
    }


def _neurons() -> Iterator[Row]:
    def built(make: Any) -> Subject:
        model, x = neurons.built(make)
        return Subject(model, x.shape[2:], x, len(x), True)

    def refused(make: Any) -> Subject:
        return Subject(neurons.Net(make).eval(), (neurons.FEATURES,), np.zeros(0), 1)

    for name, make in neurons.NEURONS.items():
        yield Row(f"{_kind(make)}: {name}", lambda make=make: built(make))
    for name, (make, _) in neurons.REFUSED.items():
        yield Row(f"{_kind(make)}: {name}", lambda make=make: refused(make))


def _kind(make: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snnTorch warns of one of the options that are refused
        return type(neurons.free(make())).__name__


def _loops() -> Iterator[Row]:
    def built(forward: Any, init_hidden: bool, frames: bool) -> Subject:
        model, x = loops.built(forward, init_hidden, frames)
        return Subject(model, x.shape[1 + frames :], x, loops.STEPS, frames)

    for name, (forward, init_hidden, _, frames) in loops.LOOPS.items():
        yield Row(
            name, lambda forward=forward, init_hidden=init_hidden, frames=frames: built(forward, init_hidden, frames)
        )
    for name, (forward, _) in loops.REFUSED.items():
        yield Row(name, lambda forward=forward: built(forward, False, False))


def _between() -> Iterator[Row]:
    for name in between.ROWS:
        yield Row(name, lambda name=name: Subject(*_in(between.built(name)), between.STEPS))
    for name, (do, _) in between.REFUSED.items():
        yield Row(
            name, lambda do=do: Subject(between.Net(do, 256).eval(), between.SHAPE, np.zeros((1, *between.SHAPE)), 1)
        )


def _in(built: tuple[nn.Module, np.ndarray]) -> tuple[nn.Module, tuple[int, ...], np.ndarray]:
    return built[0], built[1].shape[1:], built[1]


def _tutorials() -> Iterator[Row]:
    for name, (make, shape, frames, readout) in tutorials.NETWORKS.items():
        first = (make.__doc__ or "").strip().rstrip(".")
        yield Row(
            f"{name}: {first} (readout {readout})",
            lambda name=name, shape=shape, frames=frames: Subject(
                tutorials.network(name, 10), shape, tutorials.inputs(name, 10), 10, frames
            ),
        )


def _spikingjelly_neurons() -> Iterator[Row]:
    def built(make: Any, reset: Any) -> Subject:
        model, x = jelly.of(make, v_threshold=0.75, v_reset=reset)
        return Subject(model, x.shape[2:], x, len(x), True)

    for name, make in jelly.NEURONS.items():
        for how, reset in jelly.RESETS.items():
            yield Row(f"{name}, reset {how}", lambda make=make, reset=reset: built(make, reset))


def _spikingjelly_layers() -> Iterator[Row]:
    def built(make: Any) -> Subject:
        jelly.torch.manual_seed(0)
        model = jelly._learned(nn.Sequential(*make()))
        jelly.functional.set_step_mode(model, "m")
        x = np.random.default_rng(0).normal(0, 1, (4, 8, 2, 6, 6)).astype(np.float32)
        return Subject(model, (2, 6, 6), x, 4, True)

    def refused(make: Any) -> Subject:
        model = nn.Sequential(jelly.layer.Linear(6, 6), make()).eval()
        jelly.functional.set_step_mode(model, "m")
        return Subject(model, (6,), np.zeros(0), 4, True)

    for name, make in jelly.LAYERS.items():
        yield Row(name, lambda make=make: built(make))
    for name, (make, _) in jelly.REFUSED.items():
        yield Row(name, lambda make=make: refused(make))


def _spikingjelly_networks() -> Iterator[Row]:
    def built(name: str) -> Subject:
        model, (_, shape, mode) = jelly.net(name), jelly.NETWORKS[name]
        if mode == "whole":
            model.T = 4
        return Subject(model, shape, jelly.inputs(name, 4), 4, mode != "whole")

    for name, (_, _, mode) in jelly.NETWORKS.items():
        yield Row(f"{name} (step mode {'s' if mode == 's' else 'm'})", lambda name=name: built(name))


def _layers() -> Iterator[Row]:
    def built(make: Any, shape: tuple[int, ...]) -> Subject:
        layers.torch.manual_seed(1)
        x = np.random.default_rng(0).normal(0, 2, (4, *shape)).astype(np.float32)
        return Subject(layers.lived_in(make()), shape, x, 5)

    for name, (make, shape) in layers.OTHERS.items():
        yield Row(name, lambda make=make, shape=shape: built(make, shape))
    for name, (make, _) in layers.UNSAYABLE.items():
        yield Row(name, lambda make=make: Subject(make().eval(), (3, 8, 8), np.zeros(0), 1))


def _hooks() -> Iterator[Row]:
    def built(attach: Any) -> Subject:
        model = hooks.network()
        attach(model)
        return Subject(model, (4,), np.zeros((1, 4)), 1)

    for name, (attach, _) in hooks.ATTACHED.items():
        if "everything" not in name:
            yield Row(name, lambda attach=attach: built(attach))


def lines() -> Iterator[str]:
    """The tables, row by row."""
    for heading, rows in sections().items():
        yield from (f"## {heading}", "", "| written | outcome |", "|---|---|")
        for row in rows:
            yield f"| {row.construct.replace('|', chr(92) + '|')} | {outcome(row.subject())} |"
        yield ""


def main() -> None:
    """Renews the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = "\n".join(lines())
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
