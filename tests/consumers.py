"""Simulators that we did not write, each as one function: a NIR file and frames in, outputs and spikes out."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]
Spikes = dict[str, Array]


@dataclass(frozen=True)
class Consumer:
    """One simulator.

    Attributes:
        package: what has to be installed.
        dtype: the most exact numbers that it runs in.
        load: a NIR file and the batch size → a module.
        neurons: the module types that give spikes.
        layout: what the module takes: `step`: a frame and the state that the last call gave, which it gives back;
            `sequence`: (N, T, ...); `folded`: (N * T, ...).
    """

    package: str
    dtype: torch.dtype
    load: Callable[[Path, int], nn.Module]
    neurons: tuple[str, ...]
    layout: str = "step"

    @property
    def version(self) -> str | None:
        """None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def run(self, path: Path, frames: Array) -> tuple[Array, Spikes]:
        """Outputs (T, N, ...) and {node: spikes (T, N, ...)} for frames (T, N, ...)."""
        x = torch.as_tensor(np.ascontiguousarray(frames), dtype=self.dtype)
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            module = self.load(path, x.shape[1])
            seen: dict[str, list[torch.Tensor]] = {}
            for name, child in module.named_modules():
                if type(child).__name__ in self.neurons:
                    child.register_forward_hook(_keep(seen.setdefault(name, [])))
            outputs = LAYOUTS[self.layout](module, x)
        spikes = {name: _steps(each, x.shape[:2], self.layout) > 0 for name, each in seen.items()}
        return _steps(outputs, x.shape[:2], self.layout), spikes


def _stepped(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    outputs, state = [], None
    for frame in x:
        y, state = module(frame, state)
        outputs.append(_first(y))
    return outputs


LAYOUTS: dict[str, Callable[[nn.Module, torch.Tensor], list[torch.Tensor]]] = {
    "step": _stepped,
    "sequence": lambda module, x: [_first(module(x.swapaxes(0, 1)))],
    "folded": lambda module, x: [_first(module(x.swapaxes(0, 1).flatten(0, 1)))],
}


def _steps(given: list[torch.Tensor], size: tuple[int, ...], layout: str) -> Array:
    """What a module or a hook gave, as (T, N, ...)."""
    if layout == "step":
        return np.stack([each.numpy() for each in given])
    (whole,) = given
    return whole.reshape(size[1], size[0], *whole.shape[2 if layout == "sequence" else 1 :]).swapaxes(0, 1).numpy()


def _keep(into: list[torch.Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        into.append(_first(output).clone())

    return hook


def _first(value: Any) -> torch.Tensor:
    return value[0] if isinstance(value, tuple) else value


def _snntorch(path: Path, batch: int) -> nn.Module:
    return importlib.import_module("snntorch.import_nir").import_from_nir(nir.read(path))


def _spikingjelly(path: Path, batch: int) -> nn.Module:
    load = importlib.import_module("spikingjelly.activation_based.nir_exchange").import_from_nir
    return load(path, dtype=torch.float64)


def _norse(path: Path, batch: int) -> nn.Module:
    return importlib.import_module("norse.torch").from_nir(nir.read(path), dt=1e-4)


def _sinabs(path: Path, batch: int) -> nn.Module:
    return importlib.import_module("sinabs.nir").from_nir(nir.read(path), batch_size=batch)


def _rockpool(path: Path, batch: int) -> nn.Module:
    return importlib.import_module("rockpool.nn.modules.torch.nir").from_nir(nir.read(path))


F32, F64 = torch.float32, torch.float64
CONSUMERS: dict[str, Consumer] = {
    "snnTorch": Consumer("snntorch", F32, _snntorch, ("Leaky", "Synaptic", "RLeaky")),  # spikes are cast to float32
    "SpikingJelly": Consumer("spikingjelly", F64, _spikingjelly, ("_NIRStatefulModule",)),
    "Norse": Consumer("norse", F32, _norse, ("LIFBoxCell", "IAFCell")),
    "Sinabs": Consumer("sinabs", F32, _sinabs, ("LIFSqueeze", "IAFSqueeze"), "folded"),
    "Rockpool": Consumer("rockpool", F32, _rockpool, ("LIFTorch",), "sequence"),
}
