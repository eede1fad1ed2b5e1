"""How fast NIR files are made, written and read: ours against `nir.write` and `nir.read`, on one network.

    python benchmarks/nir_speed.py [--width 64] [--repeats 5] [--json FILE]

Times are medians of alternating calls; the parity gates are not counted. Goals for ResNet-18 at width 64 on 2 cores:
written (traced, folded and on disk) in under 3.5 s, read in under 1.5 s, no larger than the weights in float32.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import torch

import idsnn
from idsnn_deploy.files import write_json
from idsnn_export.from_torch.convert import to_nir
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir

SHAPE = (3, 32, 32)


def main() -> int:
    arguments = _parser().parse_args()
    torch.manual_seed(0)
    model = idsnn.SpikingResNet(18, 10, width=arguments.width).eval()
    graph = to_nir(model, SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.nir", Path(folder) / "theirs.nir"
        calls: dict[str, Callable[[], Any]] = {
            "to_nir": lambda: to_nir(model, SHAPE),
            "write_nir": lambda: write_nir(ours, graph),
            "nir.write": lambda: nir.write(theirs, graph),
            "read_nir": lambda: read_nir(ours),
            "nir.read": lambda: nir.read(ours),
            "nir.read of nir.write": lambda: nir.read(theirs),
        }
        seconds = {name: statistics.median(times) for name, times in _alternating(calls, arguments.repeats).items()}
        sizes = {"ours": ours.stat().st_size, "nir.write": theirs.stat().st_size}
    weights = sum(node.weight.nbytes + node.bias.nbytes for node in graph.nodes.values() if hasattr(node, "weight"))
    found = {
        "width": arguments.width,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "written": seconds["to_nir"] + seconds["write_nir"],
        "read": seconds["read_nir"],
        "bytes": {**sizes, "weights": weights},
    }
    print(f"ResNet-18, width {arguments.width}, {torch.get_num_threads()} threads, median of {arguments.repeats}")
    for name, value in seconds.items():
        print(f"  {name:<24}{value:8.3f} s")
    print(f"  {'to_nir + write_nir':<24}{found['written']:8.3f} s   goal 3.5")
    print(f"  {'read_nir':<24}{found['read']:8.3f} s   goal 1.5")
    for name, size in found["bytes"].items():
        print(f"  {name:<24}{size:12,} bytes   {size / weights:.3f} of the weights")
    if arguments.json:
        write_json(arguments.json, found)
    return 0


def _alternating(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--repeats", type=int, default=5, help="calls of each (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="the figures as JSON, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
