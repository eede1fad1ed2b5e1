"""What a training step costs against its floor: python benchmarks/train_step.py [--width 64 --batch 8] [--json FILE]

    floor           the same network with ReLU, at batch T*B: the same convolutions, no neuron
    ours            SpikingResNet, eager neuron
    ours compiled   the same with the compiled neuron, where there is a compiler
    spikingjelly    the same network with SpikingJelly's LIFNode, multi-step; on a GPU once for each backend that runs
    snntorch        the same network with snnTorch's Leaky, stepped
    per step        convolutions step by step as well, as in the authors' layout

Every round runs every one of them once (forward, cross entropy, backward, SGD), in turn; a ratio is the median over the
rounds of the time divided by the floor's in that round. On a machine that does other work take `--clock cpu`, which
counts this process's processor time; on a GPU the clock is the wall's, after a synchronization. `kept` is what the
forward pass keeps for the backward one, as a ratio to the floor's; on a GPU `peak` is the peak memory of a step.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import snntorch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from idsnn import LIF, ResNet, SpikingResNet
from idsnn.kernel import EAGER, compiled, compiler_for
from idsnn.neuron import spike

BETA, THETA, A = 0.25, 0.5, 0.5
DTYPES = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Stepped(nn.Module):
    """snnTorch's own layer, stepped over the time that is folded into the batch."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.layer = snntorch.Leaky(BETA, THETA, spike_grad=lambda v: spike(v, A), reset_mechanism="zero")

    def forward(self, x: Tensor) -> Tensor:
        """`(T*B, ...)` → the same shape."""
        v, spikes = torch.zeros_like(x[: len(x) // self.steps]), []
        for current in x.chunk(self.steps):
            s, v = self.layer(current, v)
            spikes.append(s)
        return torch.cat(spikes)


class PerStep(nn.Module):
    """A convolution applied to one step after the other."""

    def __init__(self, layer: nn.Module, steps: int) -> None:
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, x: Tensor) -> Tensor:
        """`(T*B, ...)` → the same shape."""
        return torch.cat([self.layer(each) for each in x.chunk(self.steps)])


class Jelly(nn.Module):
    """SpikingJelly's multi-step node over the time that is folded into the batch."""

    def __init__(self, steps: int, backend: str) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron, surrogate

        self.steps = steps
        self.node = neuron.LIFNode(
            tau=1 / (1 - BETA),
            decay_input=False,
            v_threshold=THETA,
            v_reset=0.0,
            surrogate_function=surrogate.Rect(alpha=1 / (2 * A)),
            detach_reset=True,
            step_mode="m",
        )
        self.node.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """`(T*B, ...)` → the same shape."""
        self.node.reset()
        return self.node(x.unflatten(0, (self.steps, -1))).flatten(0, 1)


def swap(network: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The network with every layer of one kind replaced."""
    for name, module in list(network.named_modules()):
        if isinstance(module, kind):
            network.set_submodule(name, make(module))
    return network


def contenders(arguments: argparse.Namespace, device: torch.device) -> dict[str, nn.Module]:
    steps = arguments.timesteps

    def student() -> SpikingResNet:
        torch.manual_seed(0)
        return SpikingResNet(18, 10, arguments.width, 3, steps)

    found: dict[str, nn.Module] = {"floor": ResNet(18, 10, arguments.width), "ours": student()}
    if compiler_for(device) is not None and compiled(device) is not EAGER:
        network = student()
        for layer in network.neurons().values():
            layer.kernel = compiled(device)
        found["ours compiled"] = network
    for backend in ("torch", "triton", "cupy", "inductor") if device.type == "cuda" else ("torch",):
        name = "spikingjelly" if backend == "torch" else f"spikingjelly {backend}"
        try:
            network = swap(student(), LIF, lambda _, backend=backend: Jelly(steps, backend))
            network.to(device)(torch.rand(2, 3, 32, 32, device=device)).sum().backward()
            found[name] = network
        except Exception as cause:
            print(f"{name}: left out ({str(cause).splitlines()[0] if str(cause) else type(cause).__name__})")
    found["snntorch"] = swap(student(), LIF, lambda _: Stepped(steps))
    per_step = swap(student(), LIF, lambda _: Stepped(steps))
    for stage in ("layer1", "layer2", "layer3", "layer4"):  # the stem sees a static image once in all of them
        swap(per_step.get_submodule(stage), nn.Conv2d, lambda layer: PerStep(layer, steps))
    found["per step"] = per_step
    return {name: network.to(device).to(memory_format=torch.channels_last) for name, network in found.items()}


class Step:
    """One training step of a network."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype | None) -> None:
        self.network, self.x, self.y, self.dtype = network, x, y, dtype
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def loss(self) -> Tensor:
        """The forward half."""
        with torch.autocast(self.x.device.type, self.dtype) if self.dtype else nullcontext():
            return cross_entropy(self.network(self.x), self.y)

    def __call__(self) -> None:
        """All of it."""
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def kept(self) -> int:
        """Bytes that the forward pass keeps for the backward one, parameters apart."""
        own = {each.untyped_storage().data_ptr() for each in self.network.parameters()}
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            kept = self.loss()
        del kept
        return sum(sizes.values())


def race(
    steps: dict[str, Step], rounds: int, clock: Callable[[], float], device: torch.device
) -> dict[str, list[float]]:
    """Seconds of every round, after two to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= 2:
                seconds[name].append(clock() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=DTYPES, default="32")
    parser.add_argument("--steps", type=int, default=10, help="rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.arange(arguments.batch, device=device) % 10
    dtype = DTYPES[arguments.precision]
    many = x.repeat(arguments.timesteps, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    steps = {
        name: Step(network, *((many, y.repeat(arguments.timesteps)) if name == "floor" else (x, y)), dtype)
        for name, network in contenders(arguments, device).items()
    }
    seconds = race(steps, arguments.steps, CLOCKS["wall" if device.type == "cuda" else arguments.clock], device)
    kept = {name: step.kept() for name, step in steps.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, times in seconds.items():
        ratios = [ours / floor for ours, floor in zip(times, seconds["floor"], strict=True)]
        rows[name] = {"ms": 1e3 * statistics.median(times), "ratio": statistics.median(ratios)}
        rows[name] |= {"images_per_second": arguments.batch / statistics.median(times)}
        rows[name]["kept"] = kept[name] / kept["floor"]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            steps[name]()
            rows[name]["peak_bytes"] = torch.cuda.max_memory_allocated()
    for name, row in rows.items():
        peak = f"  peak {row['peak_bytes'] / 2**20:,.0f} MiB" if "peak_bytes" in row else ""
        print(f"{name:<22}{row['ms']:>9.1f} ms  {row['ratio']:>6.3f} of the floor  kept {row['kept']:.3f}{peak}")
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        where = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
        report = {"settings": settings, "machine": where, "capability": torch.backends.cpu.get_cpu_capability()}
        arguments.json.write_text(json.dumps({**report, "torch": torch.__version__, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
