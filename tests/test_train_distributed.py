"""Two processes as torchrun starts them: the weights of one whose batch normalization sees the same half-batches."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from forked import exit_code, fork

from idsnn.checkpoint import load_run
from idsnn.cli import main
from idsnn.config import TrainConfig, read_config
from idsnn.data import Loader, load_data
from idsnn.distill import distillation_loss
from idsnn.networks.table import build_student
from idsnn.schedule import learning_rate

EPOCHS = 2
FLAGS = ["--arm", "baseline", "--width", "4", "--epochs", str(EPOCHS), "--limit-train", "96", "--limit-test", "30"]
FLAGS += ["--batch-size", "32", "--timesteps", "2", "--device", "cpu", "--lr", "0.05"]


def halves(folder: Path) -> torch.nn.Module:
    """One process: a copy of the network for each half of the batch, both moved by the mean of their gradients."""
    config: TrainConfig = read_config(folder / "config.json")
    resolved = json.loads((folder / "config.json").read_text())
    data = load_data(config)
    images = data.on(data.train, torch.device("cpu"))
    copies, loaders, optimizers = [], [], []
    for rank in (0, 1):
        torch.manual_seed(config.seed + 1)
        copies.append(build_student(resolved).train())
        loaders.append(Loader(images, config.batch_size, data.augment, config.seed, rank, 2))
        settings = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        optimizers.append(torch.optim.SGD(copies[-1].parameters(), **settings))
    for epoch in range(EPOCHS):
        batches = [loader.epoch("student", epoch) for loader in loaders]
        for step, pair in enumerate(zip(*batches, strict=True)):
            for copy, optimizer, (x, y, _) in zip(copies, optimizers, pair, strict=True):
                optimizer.zero_grad()
                steps = copy.step_logits(x.clone(memory_format=torch.contiguous_format))
                distillation_loss(steps, None, y).backward()
            for ours, theirs in zip(*(copy.parameters() for copy in copies), strict=True):
                assert ours.grad is not None
                assert theirs.grad is not None
                mean = (ours.grad + theirs.grad) / 2
                ours.grad, theirs.grad = mean, mean.clone()
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = learning_rate(config, epoch + step / len(loaders[0]), EPOCHS)
                optimizer.step()
        for ours, theirs in zip(*(copy.buffers() for copy in copies), strict=True):
            if ours.is_floating_point():
                ours.copy_((ours + theirs) / 2)
                theirs.copy_(ours)
    return copies[0]


def as_torchrun_starts_them(body: Callable[[], int], folder: Path) -> str:
    """Runs two processes, which find each other by what torchrun puts into the environment; what they print."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
    said = folder / "said.txt"
    children = [fork(body, said, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]
    codes = [exit_code(child) for child in children]
    assert codes == [0, 0], said.read_text()[-3000:]
    return said.read_text()


def test_two_processes_equal_one_that_sees_their_half_batches(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = as_torchrun_starts_them(lambda: main([*FLAGS, "--out", str(out)]), tmp_path)
    assert said.count("each process's own images") == 1  # one process speaks
    assert json.loads((out / "summary.json").read_text())["processes"] == 2
    expected, found = halves(out).state_dict(), load_run(out).student.state_dict()
    for name, tensor in expected.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
