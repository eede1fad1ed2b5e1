"""Trainings that differ in one thing each, on held-out images: python benchmarks/compare.py LIST --data CIFAR10

LIST is one of compare_plan.LISTS: steps, spikes, switches. The images are a tree `train/CLASS/*`, `test/CLASS/*`. A
teacher and a student a seed are trained and shared; each entry is trained, assessed on the held-out part of the
training images, and appended to `benchmarks/results/compare/LIST.jsonl` as one JSON line; what has a line is not run
again. Test images are not looked at. compare_tables.py makes the tables and figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from compare_plan import COMMON, LISTS, SCALE, Entry
from idsnn import load_run
from idsnn.assess import assess
from idsnn.config import TrainConfig, read_config
from idsnn.data import load_data
from idsnn.devices import make_fabric
from idsnn.display import Display
from idsnn.networks.protocol import SpikingNetwork, spiking
from idsnn.networks.resnet import SpikingResNet
from idsnn.rates import FiringRates
from idsnn.spikes import Pull
from idsnn.trainer import train
from idsnn_deploy.errors import DivergedError, IdsnnError, RunError
from provenance import commit, processor
from reproduce_rows import read

RESULTS, RUNS = Path(__file__).parent / "results" / "compare", Path("runs/compare")


def fan_out(network: SpikingNetwork, image: Tensor) -> dict[str, float]:
    """Synapses downstream of a neuron, on average, for each layer of neurons that convolutions and heads read."""
    spikes: dict[int, tuple[str, Tensor]] = {}
    found = dict.fromkeys(network.neurons(), 0.0)

    def fired(name: str):  # type: ignore[no-untyped-def]  # a hook's type is torch's affair
        return lambda layer, inputs, output: spikes.update({id(output): (name, output)})

    def reads(layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        if id(inputs[0]) in spikes:
            name, source = spikes[id(inputs[0])]
            found[name] += output.numel() * layer.weight[0].numel() / source.numel()

    hooks = [layer.register_forward_hook(fired(name)) for name, layer in network.neurons().items()]
    assert isinstance(network, nn.Module)
    hooks += [each.register_forward_hook(reads) for each in network.modules() if isinstance(each, nn.Conv2d)]
    with torch.no_grad():
        network.step_logits(image)
    for hook in hooks:
        hook.remove()
    return found


class BySynapses(Pull):
    """The pull on spikes weighted by their fan-out, a weight found by the same rule."""

    weights: dict[str, float]

    def pulled(self, rates: FiringRates) -> Tensor:
        """Spikes per synapse and step."""
        layers = zip(self.weights.values(), rates.places.values(), rates.stacked(), strict=True)
        parts = [(weight * places, rate) for weight, places, rate in layers]
        return torch.stack([synapses * rate for synapses, rate in parts]).sum() / sum(each for each, _ in parts)


class Comparison:
    """One list's runs and rows."""

    def __init__(self, which: str, data: str, results: Path = RESULTS, runs: Path = RUNS) -> None:
        self.which, (self.base, self.entries) = which, LISTS[which]
        self.settings = {"dataset": "folder", "data": data, **SCALE}
        self.rows, self.runs, self.display = results / f"{which}.jsonl", runs, Display()
        self.commit = commit()

    @property
    def scale(self) -> dict[str, Any]:
        """The settings as rows have them, with no place on this machine."""
        return _plain({**self.settings, "data": Path(self.settings["data"]).name})

    def go(self, seeds: Sequence[int], names: Sequence[str], deadline: float) -> bool:
        """Does what has no row yet, seed after seed; returns whether all is done before the deadline.

        Raises:
            RunError: rows of another scale.
        """
        for seed in seeds:
            for name in names:
                done = read(self.rows) if self.rows.exists() else []
                self._check(done)
                if any((row["name"], row["seed"]) == (name, seed) for row in done):
                    continue
                if time.monotonic() > deadline:
                    return False
                self.display.say(f"{self.which}: {name}, seed {seed}")
                self._append(self._row(name, self.entries[name], seed))
        return True

    def _check(self, rows: Sequence[dict[str, Any]]) -> None:
        mine = (self.scale, _plain(COMMON))
        if any((row["scale"], row["common"]) != mine for row in rows):
            raise RunError(f"{self.rows}: has rows of another scale; move it away to begin anew")

    def _append(self, row: dict[str, Any]) -> None:
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        with self.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _common(self, seed: int) -> Path:
        """The seed's teacher and student."""
        folder = self.runs / f"common-s{seed}"
        if not (folder / "summary.json").exists():
            train(TrainConfig(**{**self.settings, **COMMON, "seed": seed}), folder, resume=True, display=self.display)
        return folder

    def _row(self, name: str, entry: Entry, seed: int) -> dict[str, Any]:
        common = self._common(seed)
        given = {**self.base, **entry.settings}
        shared: dict[str, Any] = {"seed": seed, "teacher": str(common)}
        shared |= {"start": str(common)} if self.which == "spikes" else {}
        config = TrainConfig(**{**self.settings, **given, **shared})
        folder = self.runs / self.which / f"{name.replace(' ', '')}-s{seed}"
        facts = {
            **{"list": self.which, "name": name, "seed": seed, "pull": entry.pull, "settings": _plain(given)},
            **{"scale": self.scale, "common": _plain(COMMON)},
            **{"commit": self.commit, "threads": torch.get_num_threads(), "processor": processor()},
        }
        try:
            with mock.patch("idsnn.fit.Pull", self._pull(entry, config)):
                summary = train(config, folder, resume=folder.exists(), display=self.display)
        except DivergedError as error:
            return {**facts, "diverged": str(error)}
        return {**facts, **held_out(folder), **{key: summary[key] for key in ("seconds", "device", "versions")}}

    def _pull(self, entry: Entry, config: TrainConfig) -> type[Pull]:
        if entry.pull == "spikes":
            return Pull
        network = SpikingResNet(18, 10, config.width, timesteps=1).eval()
        pixels = config.image_size or 32
        BySynapses.weights = fan_out(network, torch.zeros(1, 3, pixels, pixels))
        return BySynapses


def held_out(run: Path) -> dict[str, Any]:
    """What a student does on the held-out images: accuracy after each step, rates, spikes, spikes per synapse."""
    config = replace(read_config(run / "config.json"), device="cpu")
    data, student = load_data(config, run.parent), load_run(run).student
    assert data.validation is not None
    by_step, rates = assess(student, data.on(data.validation, torch.device("cpu")), make_fabric(config))
    assert rates is not None
    weights = fan_out(spiking(student), torch.zeros(1, *data.train.shape))
    by_layer = rates.by_layer()
    synapses = sum(weights[name] * rates.places[name] for name in by_layer)
    active = sum(weights[name] * rates.places[name] * by_layer[name] for name in by_layer)
    rate = float(rates.total())
    return {
        **{"val_by_step": by_step, "firing_rate": rate, "spikes": config.timesteps * rate},
        **{"synapse_events": config.timesteps * active / synapses, "rate_by_layer": by_layer},
        **{"timesteps": config.timesteps, "train_images": len(data.train), "val_images": len(data.validation)},
    }


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", choices=LISTS)
    parser.add_argument("--data", metavar="DIR", required=True, help="train/CLASS/* and test/CLASS/*")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="entries of the list (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after so many")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    names = given.names or list(LISTS[given.list][1])
    if unknown := sorted(set(names) - set(LISTS[given.list][1])):
        parser.error(f"--names: {given.list} has no {', '.join(unknown)}")
    comparison = Comparison(given.list, given.data)
    try:
        whole = comparison.go(given.seeds, names, time.monotonic() + 60 * given.minutes)
    except IdsnnError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    print(f"{'done' if whole else 'out of time; the same command goes on'}: {comparison.rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
