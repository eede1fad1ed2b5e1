"""Firing rates: spikes per neuron and step, layer by layer."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn

from .networks.protocol import SpikingNetwork

DEAD, SATURATED = 0.001, 0.9


class FiringRates:
    """The firing rates of the forwards that run inside its `with` block; on the device, differentiable.

    Attributes:
        places: neurons x samples x steps that were seen, by layer.

    Examples:
        >>> with FiringRates(model) as rates:  # doctest: +SKIP
        ...     logits = model(images)
        >>> rates.by_layer()  # doctest: +SKIP
    """

    def __init__(self, network: SpikingNetwork) -> None:
        self._neurons = network.neurons()
        self._spikes: dict[str, Tensor] = {}
        self.places: dict[str, int] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> FiringRates:
        for name, layer in self._neurons.items():
            self._hooks.append(layer.register_forward_hook(self._count(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _count(self, name: str):  # type: ignore[no-untyped-def]  # a hook's type is torch's affair
        def hook(_layer: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            spikes = output[0] if isinstance(output, tuple) else output  # snnTorch's layers give their states as well
            count = spikes.sum(dtype=torch.float32)  # its gradient is a number, where that of a mean fills a map
            self._spikes[name] = self._spikes[name] + count if name in self._spikes else count
            self.places[name] = self.places.get(name, 0) + spikes.numel()

        return hook

    def stacked(self) -> Tensor:
        """One rate per layer, `(L,)`, without a host sync."""
        return torch.stack([self._spikes[name] / self.places[name] for name in self._spikes])

    def total(self) -> Tensor:
        """Spikes per neuron and step over all layers, a scalar without a host sync."""
        return torch.stack(list(self._spikes.values())).sum() / sum(self.places.values())

    def by_layer(self) -> dict[str, float]:
        """One rate per layer, by its dotted name."""
        return dict(zip(self._spikes, self.stacked().tolist(), strict=True))

    def pull(self, target: float) -> Tensor:
        """The regularizer: the mean over layers of (rate / target - 1)^2."""
        return (self.stacked() / target - 1).square().mean()


def odd_layers(rates: dict[str, float]) -> dict[str, str]:
    """What is wrong with each layer that hardly ever fires, or nearly always."""
    words = {name: "dead" if rate < DEAD else "saturated" for name, rate in rates.items()}
    return {name: words[name] for name, rate in rates.items() if rate < DEAD or rate > SATURATED}
