"""Devices, processes and precision, and the neuron's kernel that suits them."""

from __future__ import annotations

import os
import platform
from inspect import signature
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from idsnn_deploy.errors import UsageError

from .config import TrainConfig
from .kernel import EAGER, Kernel, compiled, compiler_for

# Statistics are averaged once per epoch, so buffers need not be sent at every step; torch renamed the switch.
_NAMES = ("forward_sync_buffers", "broadcast_buffers")
_SENDS = next(name for name in _NAMES if name in signature(DistributedDataParallel).parameters)
_BUFFERS_STAY: dict[str, Any] = {_SENDS: False}


def make_fabric(config: TrainConfig) -> Fabric:
    """Devices and processes: this process alone, or as torchrun or SLURM says.

    Raises:
        UsageError: a device or precision that this machine does not have.
    """
    _check_device(config)
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or 1)
    world = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
    torch.set_float32_matmul_precision("high")
    strategy: Any = DDPStrategy(**_BUFFERS_STAY) if world > 1 else "auto"
    fabric = Fabric(
        accelerator="auto" if config.device == "auto" else config.device,
        devices=local,
        num_nodes=max(1, world // local),
        strategy=strategy,
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def _check_device(config: TrainConfig) -> None:
    if config.device not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"--device {config.device}: one of auto, cpu, cuda, mps")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(config.device, True):
        raise UsageError(f"--device {config.device}: torch finds none on this machine")
    on_gpu = config.device in available or (config.device == "auto" and any(available.values()))
    if config.precision == "16-mixed" and not on_gpu:
        raise UsageError("--precision 16-mixed needs a GPU; take bf16-mixed or 32-true")


def kernel_for(config: TrainConfig, device: torch.device) -> Kernel:
    """The neuron's kernel that `--compile` asks for.

    Raises:
        UsageError: it must be compiled and cannot be.
    """
    compiler = compiler_for(device)
    if config.compile == "on" and compiler is None:
        raise UsageError(f"--compile on: no compiler for {device} (a C++ compiler for the CPU, Triton for a GPU)")
    # On a CPU the eager kernel is as fast (benchmarks/train_step.py) and starts at once.
    wanted = config.compile == "on" or (config.compile == "auto" and device.type == "cuda")
    return compiled(device) if wanted and compiler is not None else EAGER


def device_name(device: torch.device) -> str:
    """What a summary says of the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} ({platform.machine()}, {threads} thread{'' if threads == 1 else 's'})"
