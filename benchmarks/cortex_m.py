"""C on bare microcontrollers under qemu: python benchmarks/cortex_m.py [BUNDLE ...] [--width 16] [--gain 1 1.3]

    spiking     the folder of `--format c`, its whole run of T steps; every logit is compared with numpy's
    dense       the same layers once as an ANN in 8 bits, a plain loop over all weights (cortex_m/dense.c)

Per machine: bytes of flash (program, weights) and RAM (arena, input, answer) and the deepest stack of `--isa dsp`, and
instructions per inference. qemu counts instructions (`-icount shift=0`: one per nanosecond of its clock, read from
SysTick in steps of 40), not cycles: what memory and pipeline add is not in them. Needs arm-none-eabi-gcc and
qemu-system-arm (`make devices`).
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idsnn_deploy.c_library import ISAS
from idsnn_export.c.quantize import integer_network
from idsnn_export.c.tables import rows
from idsnn_export.c.write import channels_last, write_c
from idsnn_export.reference.integer import IntegerNetwork, run_integer

SOURCES = Path(__file__).with_name("cortex_m")
MACHINES = {"Cortex-M4": ("cortex-m4", "mps2-an386"), "Cortex-M7": ("cortex-m7", "mps2-an500")}
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
FLAGS = ("-mthumb", "-O3", "-std=c99", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections")
NANOSECONDS = 40  # of a tick: both machines run at 25 MHz


@dataclass(frozen=True)
class Outcome:
    """What one image said.

    Attributes:
        instructions: per input.
        logits: (N, K) int64.
        stack: bytes at the deepest.
        flash, ram: bytes, RAM without the stack.
    """

    instructions: list[int]
    logits: Any
    stack: int
    flash: int
    ram: int


def firmware(folder: Path, network: IntegerNetwork, cpu: str, isa: str = "portable", dense: bool = False) -> Path:
    """Writes and compiles an image in an empty folder."""
    folder.mkdir()
    classes = [str(k) for k in range(int(np.prod(network.readout.shape)))]
    shape = (1, *network.input_shape) if network.static else (network.timesteps, 1, *network.input_shape)
    write_c(folder, network, "network", np.zeros(shape, np.uint8), classes, isa)
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    units = ["firmware.c", "idsnn_weights.c", "idsnn_kernels.c", "idsnn_margin.c", "spiking.c", "idsnn_model.c"]
    if dense:
        (folder / "dense_weights.h").write_text(dense_weights(network))
        units = ["firmware.c", "idsnn_weights.c", "idsnn_kernels.c", "idsnn_margin.c", "dense.c"]
    more = ("-nostartfiles", "-Wl,--gc-sections", "-T", "mps2.ld", "-o", "image.elf")
    subprocess.run([TOOLS[0], f"-mcpu={cpu}", *ISAS[isa].split(), *FLAGS, *more, *units], cwd=folder, check=True)
    return folder / "image.elf"


def dense_weights(network: IntegerNetwork) -> str:
    """Weights with a window's inputs side by side, outputs filled up to four."""
    layers, arrays, table = [*network.layers, network.readout], [], []
    for i, layer in enumerate(layers):
        named = []
        for j, row in enumerate(rows(network, layer)):
            if row.groups != 1 or max(row.pool_after.kernel) > 1 or row.delayed:
                raise SystemExit(f"{layer.name}: the dense loop has no groups, delays or pooling behind weights")
            if row.weights is None:
                named.append("NULL")
                continue
            outputs = np.moveaxis(np.clip(row.weights, -127, 127), -1, 0)
            arrays.append(f"static const int8_t d{i}_{j}[] = {{{','.join(map(str, outputs.reshape(-1)))}}};")
            named.append(f"d{i}_{j}")
        table.append(f"{{{', '.join(named)}}}")
    size = sum(int(np.prod(layer.shape)) for layer in layers) + 4
    body = ",\n".join(table)
    return (
        "\n".join(arrays) + f"\nstatic const int8_t *const dense_weights[][IDSNN_PATHS] = {{\n{body}}};\n"
        f"#define DENSE_BYTES {size}\n"
    )


def emulated(image: Path, machine: str, inputs: Any) -> Outcome:
    """Runs an image on inputs, uint8 (N, bytes)."""
    (image.parent / "inputs.bin").write_bytes(inputs.tobytes())
    command = [TOOLS[1], "-M", machine, "-nographic", "-icount", "shift=0", "-kernel", image.name]
    command += ["-semihosting-config", "enable=on,target=native", "-monitor", "none", "-serial", "none"]
    done = subprocess.run(command, cwd=image.parent, capture_output=True, text=True, check=False, timeout=500)
    *lines, last = [line for line in (done.stdout + done.stderr).splitlines() if re.match(r"stack \d|\d", line)] or [""]
    if len(lines) != len(inputs) or not last.startswith("stack "):
        raise SystemExit(f"{machine}: {(done.stdout + done.stderr)[-500:]!r}")
    table = np.array([line.split() for line in lines], np.int64)
    sizes = subprocess.run(
        [TOOLS[0].replace("gcc", "size"), image], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1]
    text, data, bss = map(int, sizes.split()[:3])
    return Outcome(
        [NANOSECONDS * int(n) for n in table[:, 0]], table[:, 1:], int(last.split()[1]), text + data, data + bss
    )


def measured(network: IntegerNetwork, pixels: Any, device: str, isa: str, dense: bool = False) -> Outcome:
    """What one image said; the spiking ones' logits are numpy's."""
    cpu, machine = MACHINES[device]
    inputs = channels_last(network, pixels)[: 1 if dense else None]
    with tempfile.TemporaryDirectory() as place:
        found = emulated(firmware(Path(place, "image"), network, cpu, isa, dense), machine, inputs)
    if not dense and not np.array_equal(found.logits, run_integer(network, pixels)[0].reshape(len(inputs), -1)):
        raise SystemExit(f"{device}, {isa}: answers other logits than numpy")
    return found


def rates(network: IntegerNetwork, pixels: Any) -> list[float]:
    """Spikes per neuron and step of each input."""
    spikes = run_integer(network, pixels)[1].values()
    neurons = sum(each[:, 0].size for each in spikes)
    counted = sum(each.reshape(*each.shape[:2], -1).sum((0, 2)) for each in spikes)
    return [float(n / neurons) for n in np.asarray(counted)]


def line(name: str, device: str, network: IntegerNetwork, pixels: Any) -> str:
    """A row of the table."""
    dense = measured(network, pixels, device, "portable", dense=True).instructions[0]
    found = {isa: measured(network, pixels, device, isa) for isa in ("portable", "dsp")}
    mean = {isa: statistics.mean(each.instructions) for isa, each in found.items()}
    of_dense = [f"{each / 1e6:.2f} M ({each / dense:.2f})" for each in mean.values()]
    ours = found["dsp"]
    memory = [f"{size:,}" for size in (ours.flash, ours.ram, ours.stack)]
    rate = f"{statistics.mean(rates(network, pixels)):.1%}"
    return f"| {' | '.join([name, device, rate, *memory, *of_dense, f'{dense / 1e6:.2f} M'])} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--width", nargs="*", type=int, default=[])
    parser.add_argument("--gain", nargs="*", type=float, default=[1.0, 1.3, 1.6, 2.2])
    parser.add_argument("--inputs", type=int, default=4)
    parser.add_argument("--machine", nargs="*", choices=MACHINES, default=list(MACHINES))
    given = parser.parse_args(arguments)
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"cortex_m: no {missing[0]} here; `make devices` installs it")
    from engine import networks

    print("| network | machine | rate | flash | RAM | stack | portable | `--isa dsp` | dense int8 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, graph, settings, images in networks(given.bundles, given.width, given.gain):
        network = integer_network(graph, settings["timesteps"], mean=settings["mean"], std=settings["std"])
        pixels = np.rint(images[: given.inputs] * 255).astype(np.uint8)
        for device in given.machine:
            print(line(name, device, network, pixels), flush=True)


if __name__ == "__main__":
    main()
