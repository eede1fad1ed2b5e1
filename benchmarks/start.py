"""What a start does to the neurons: python benchmarks/start.py RUN [--data DIR]

For students that start from the teacher of a run, before any training, on its held-out images (or its training images):

    rate        share of neurons that spike in a step
    window      share of membranes with |v - theta| < a, where the surrogate passes a gradient

    fresh       random weights, BN scales at theta
    copied      the teacher's weights as they are: the paper's start
    scaled      BN weights and biases multiplied by theta: --init-scaled

One line a start: the mean over layers, then each layer in order.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor, nn

from idsnn import SpikingResNet, initialize_from, load_run
from idsnn.config import TrainConfig, read_config
from idsnn.data import load_data
from idsnn.networks.table import build_student
from idsnn.neuron import LIF, lif_step


def neurons(network: SpikingResNet, images: Tensor) -> dict[str, list[float]]:
    """Rate and window of each layer, with batch statistics as in training."""
    found: dict[str, list[float]] = {"rate": [], "window": []}

    def watch(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, LIF)
        currents = inputs[0].clone().unflatten(0, (layer.timesteps, -1))
        v, spikes, near = torch.zeros_like(currents[0]), [], []
        for current in currents:
            s, v = lif_step(current, v, layer.beta, layer.threshold)
            spikes.append(s.mean())
            near.append(((v - layer.threshold).abs() < layer.half_width).float().mean())
        found["rate"].append(float(torch.stack(spikes).mean()))
        found["window"].append(float(torch.stack(near).mean()))

    hooks = [layer.register_forward_pre_hook(watch) for layer in network.neurons().values()]
    with torch.no_grad():
        network.train()(images)
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder with a teacher")
    parser.add_argument("--data", help="where its images are now")
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    run = load_run(given.run)
    if run.teacher is None:
        parser.error(f"{given.run} has no teacher")
    settings = vars(read_config(f"{given.run}/config.json"))
    data = load_data(TrainConfig(**{**settings, "data": given.data or settings["data"]}))
    part = data.on(data.validation or data.train, torch.device("cpu"))
    images = part.batch(torch.arange(min(given.images, len(part))))
    for name, scale in {"fresh": None, "copied": 1.0, "scaled": run.config["threshold"]}.items():
        torch.manual_seed(settings["seed"] + 1)
        student = build_student(run.config)
        if scale is not None:
            initialize_from(run.teacher, student, settings["match"], settings["init_shortcuts"], scale)
        for what, shares in neurons(student, images).items():
            mean = sum(shares) / len(shares)
            print(f"{name:<8}{what:<8}{mean:6.1%}   {json.dumps([round(100 * share) for share in shares])}")


if __name__ == "__main__":
    main()
