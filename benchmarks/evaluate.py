"""What counting costs: `evaluate` against plain inference with model.onnx and against NeuroBench's hooks, as ratios.

    python benchmarks/evaluate.py [--width 64] [--images 64] [--batch 16] [--rounds 5] [--threads 2]
                                  [--clock wall|cpu] [--json FILE]

One Spiking ResNet-18 with random weights, 3x32x32 images; every round runs all of them in turn and the medians are
compared. Loading the graph is part of the first two, the metric's own passes of the others.
On a machine that is shared, `--clock cpu --threads 1` is steadier.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from eval_bundles import torch_bundle  # noqa: E402 - the tests' least bundle
from neurobench.metrics.workload import SynapticOperations  # noqa: E402
from neurobench.models import TorchModel  # noqa: E402

import idsnn  # noqa: E402
from idsnn_deploy.files import write_json  # noqa: E402
from idsnn_deploy.manifest import read_bundle  # noqa: E402
from idsnn_deploy.onnx_file import Graph, Options  # noqa: E402
from idsnn_evaluation import evaluate  # noqa: E402

SHAPE, CLASSES = (3, 32, 32), 10
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PLAIN, HOOKS = "plain inference, model.onnx", "NeuroBench's hooks"
ONE_BY_ONE = "NeuroBench's hooks, batch 1"  # the only batch at which its rule looks at single samples


def main() -> int:
    given = _parser().parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    model = network(given.width, given.timesteps)
    images = np.random.default_rng(0).random((given.images, *SHAPE), dtype=np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        folder = torch_bundle(model, Path(scratch) / "bundle", SHAPE, given.timesteps, CLASSES)
        runs: dict[str, Callable[[], object]] = {
            PLAIN: lambda: plain(folder, images, given.batch, given.threads),
            "evaluate": lambda: counted(folder, images, given.batch, given.threads),
            HOOKS: lambda: hooked(model, images, given.batch),
            ONE_BY_ONE: lambda: hooked(model, images, 1),
        }
        seconds = alternating(runs, given.rounds, CLOCKS[given.clock])
    base = seconds[PLAIN]
    rows = [{"what": what, "seconds": value, "ratio": value / base} for what, value in seconds.items()]
    print(
        f"width {given.width}, T {given.timesteps}, {given.images} images, batch {given.batch}, {given.threads} threads"
    )
    for row in rows:
        print(f"{row['what']:<30}{row['seconds']:>9.2f} s{row['ratio']:>8.2f}")
    for hooks in (HOOKS, ONE_BY_ONE):
        print(f"{hooks} / evaluate: {seconds[hooks] / seconds['evaluate']:.1f}")
    if given.json:
        write_json(given.json, {"settings": {**vars(given), "json": None}, "rows": rows})
    return 0


def network(width: int, timesteps: int) -> torch.nn.Module:
    """A network whose layers spike at rates like a trained one's."""
    model = idsnn.SpikingResNet(18, CLASSES, width=width, timesteps=timesteps)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, *SHAPE))
    return model.eval()


def plain(folder: Path, images: np.ndarray, batch: int, threads: int) -> None:
    graph = Graph(read_bundle(folder), "model.onnx", Options(threads=threads))
    for start in range(0, len(images), batch):
        graph.run(["logits"], {"image": images[start : start + batch]})


def counted(folder: Path, images: np.ndarray, batch: int, threads: int) -> None:
    labels = np.zeros(len(images), dtype=np.int64)
    evaluate(folder, images, labels, batch_size=batch, threads=threads)


def hooked(model: torch.nn.Module, images: np.ndarray, batch: int) -> None:
    wrapped, metric = TorchModel(model), SynapticOperations()
    wrapped.register_hooks()
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch])
        with torch.no_grad():
            metric(wrapped, wrapped(x), (x, None))
        wrapped.reset_hooks()
    wrapped.cleanup_hooks()


def alternating(runs: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of each, after one round that is not counted."""
    laps: dict[str, list[float]] = {what: [] for what in runs}
    for each in range(rounds + 1):
        for what, run in runs.items():
            start = clock()
            run()
            if each:
                laps[what].append(clock() - start)
    return {what: statistics.median(times) for what, times in laps.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in (
        ("width", 64),
        ("timesteps", 4),
        ("images", 64),
        ("batch", 16),
        ("rounds", 5),
        ("threads", 2),
    ):
        parser.add_argument(f"--{flag}", type=int, default=default)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
