"""Average pooling as sum pooling: the window's size moves into weights.

    W avg(x) = (W / k) sum(x),          avg(W x + b) = sum((W / k) x + b / k),          k window positions

On event hardware the sum of spikes stays a whole number; the average does not. A pass from network to network, with one
law: the function stays the same.
"""

from __future__ import annotations

from torch import Tensor, nn

from idsnn_deploy.errors import UnsupportedError

from .fold_batchnorm import rebuilt
from .network import INPUT, OUTPUT, Layer, Network

WEIGHTED = (nn.Linear, nn.Conv2d)


class SumPool2d(nn.AvgPool2d):
    """The sum over a window: k times the average, padding counted."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return super().forward(input) * positions(self)


def positions(pool: nn.AvgPool2d) -> int:
    """How many positions a pooling window has."""
    size = pool.kernel_size
    return size * size if isinstance(size, int) else size[0] * size[1]


def average_to_sum(network: Network) -> Network:
    """The network, folded before, with a `SumPool2d` for every `AvgPool2d`.

    Raises:
        UnsupportedError: a pooling with no weights next to it that could take the factor; named by its dotted path.
    """
    for pool in network.layers:
        if type(pool.module) is nn.AvgPool2d:
            neighbour, after = _weights_after(network, pool), True
            if neighbour is None:
                neighbour, after = _weights_before(network, pool), False
            if neighbour is None:
                raise UnsupportedError(f"{pool}: no weights beside it can take the window's size; use --pool avg")
            k = positions(pool.module)
            layer = neighbour.module
            divided = rebuilt(layer, layer.weight / k, layer.bias if after else layer.bias / k)
            summed = SumPool2d(pool.module.kernel_size, pool.module.stride, pool.module.padding)
            network = network.with_modules({neighbour.name: divided, pool.name: summed})
    return network


def _weights_after(network: Network, layer: Layer) -> Layer | None:
    users = network.users(layer.name)
    if len(users) != 1 or users[0] == OUTPUT or len(network[users[0]].sources) != 1 or network[users[0]].late:
        return None
    user = network[users[0]]
    if isinstance(user.module, nn.Flatten):
        return _weights_after(network, user)
    return user if isinstance(user.module, WEIGHTED) else None


def _weights_before(network: Network, layer: Layer) -> Layer | None:
    if len(layer.sources) != 1 or layer.sources[0] == INPUT:
        return None
    before = network[layer.sources[0]]
    return before if isinstance(before.module, WEIGHTED) and network.users(before.name) == [layer.name] else None
