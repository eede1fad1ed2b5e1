"""Small NIR graphs by hand: at least one a supported node type, and the topologies that break importers.

Weights are multiples of 1/64, inputs of 1/4 and tau = 2 dt, so that every sum below is exact in float32 and two
implementations of a graph must agree to the last bit. Parameters are off their defaults wherever a default would
hide a mistake.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

DT = 1e-4
STEPS = 5
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """A graph, and what it shows that no other case does."""

    build: Callable[[], nir.NIRGraph]
    shows: tuple[type[nir.NIRNode], ...]


CASES: dict[str, Case] = {}


def case(*shows: type[nir.NIRNode]) -> Callable[[Callable[[], nir.NIRGraph]], Callable[[], nir.NIRGraph]]:
    def register(build: Callable[[], nir.NIRGraph]) -> Callable[[], nir.NIRGraph]:
        name = build.__name__
        assert name not in CASES, name
        CASES[name] = Case(build, shows)
        return build

    return register


def inputs(graph: nir.NIRGraph, timesteps: int = STEPS, batch: int = 3, seed: int = 0) -> Array:
    """(T, N, ...) multiples of 1/4 in 0..2, a different one at every step."""
    (shape,) = graph.input_type.values()
    size = (timesteps, batch, *(int(n) for n in shape))
    return (np.random.default_rng(seed).integers(0, 9, size) / 4).astype(np.float32)


def weights(*shape: int, seed: int = 0, scale: int = 64) -> Array:
    """Multiples of 1/64 in -1..1."""
    return (np.random.default_rng(seed).integers(-scale, scale + 1, shape) / 64).astype(np.float32)


def full(shape: tuple[int, ...], value: float) -> Array:
    return np.full(shape, value, np.float32)


def lif(*shape: int, threshold: float = 0.5) -> nir.LIF:
    return nir.LIF(
        tau=full(shape, 2 * DT),
        r=full(shape, 2.0),
        v_leak=full(shape, 0.125),
        v_threshold=full(shape, threshold),
        v_reset=full(shape, -0.25),
    )


def conv(
    inputs: tuple[int, int, int],
    out: int,
    kernel: tuple[int, int] = (3, 3),
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 1,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    seed: int = 0,
) -> nir.Conv2d:
    return nir.Conv2d(
        input_shape=inputs[1:],
        weight=weights(out, inputs[0] // groups, *kernel, seed=seed),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=weights(out, seed=seed + 1),
    )


def affine(inputs: int, out: int, seed: int = 0) -> nir.Affine:
    return nir.Affine(weight=weights(out, inputs, seed=seed), bias=weights(out, seed=seed + 1))


def graph(
    nodes: dict[str, nir.NIRNode],
    edges: list[tuple[str, str]],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> nir.NIRGraph:
    return nir.NIRGraph(
        nodes={"input": nir.Input(np.array(inputs)), **nodes, "output": nir.Output(np.array(outputs))},
        edges=edges,
        type_check=False,
    )


def chain(inputs: tuple[int, ...], outputs: tuple[int, ...], *nodes: nir.NIRNode) -> nir.NIRGraph:
    """input → n0 → n1 → ... → output."""
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    names = ["input", *named, "output"]
    return graph(named, list(itertools.pairwise(names)), inputs, outputs)


# ---- one node type each ---------------------------------------------------------------------------------------------


@case(nir.Input, nir.Output, nir.Affine)
def affine_alone() -> nir.NIRGraph:
    return chain((6,), (4,), affine(6, 4))


@case(nir.Linear)
def linear_alone() -> nir.NIRGraph:
    return chain((6,), (4,), nir.Linear(weight=weights(4, 6)))


@case(nir.Scale)
def scale_alone() -> nir.NIRGraph:
    return chain((2, 3, 3), (2, 3, 3), nir.Scale(scale=weights(2, 3, 3)))


@case(nir.Threshold)
def threshold_alone() -> nir.NIRGraph:
    return chain((6,), (6,), nir.Threshold(threshold=full((6,), 0.75)))


@case(nir.Delay)
def delay_alone() -> nir.NIRGraph:
    return chain((4,), (4,), nir.Delay(delay=np.array([0, 1, 2, 7], np.float32) * np.float32(DT)))


@case(nir.Flatten)
def flatten_middle() -> nir.NIRGraph:
    return chain((2, 3, 4), (2, 12), nir.Flatten(np.array([2, 3, 4]), start_dim=1, end_dim=2))


@case(nir.Flatten)
def flatten_negative() -> nir.NIRGraph:
    return chain((2, 3, 4), (24,), nir.Flatten(np.array([2, 3, 4]), start_dim=-3, end_dim=-1))


@case(nir.Conv1d)
def conv1d() -> nir.NIRGraph:
    node = nir.Conv1d(
        input_shape=9, weight=weights(4, 3, 3), stride=2, padding=1, dilation=2, groups=1, bias=weights(4, seed=1)
    )
    return chain((3, 9), (4, 4), node)


@case(nir.Conv1d)
def conv1d_grouped_same() -> nir.NIRGraph:
    node = nir.Conv1d(
        input_shape=9, weight=weights(4, 2, 4), stride=1, padding="same", dilation=1, groups=2, bias=weights(4, seed=1)
    )
    return chain((4, 9), (4, 9), node)


@case(nir.Conv2d)
def conv2d() -> nir.NIRGraph:
    return chain((2, 5, 5), (3, 5, 5), conv((2, 5, 5), 3))


@case(nir.Conv2d)
def conv2d_strided_dilated() -> nir.NIRGraph:
    return chain((2, 9, 8), (3, 5, 6), conv((2, 9, 8), 3, stride=(2, 1), padding=(2, 1), dilation=(2, 2)))


@case(nir.Conv2d)
def conv2d_grouped() -> nir.NIRGraph:
    return chain((4, 5, 5), (6, 3, 3), conv((4, 5, 5), 6, stride=2, groups=2))


@case(nir.Conv2d)
def conv2d_depthwise() -> nir.NIRGraph:
    return chain((4, 5, 5), (4, 5, 5), conv((4, 5, 5), 4, groups=4))


@case(nir.Conv2d)
def conv2d_non_square() -> nir.NIRGraph:
    return chain((2, 6, 8), (3, 6, 4), conv((2, 6, 8), 3, kernel=(1, 5), padding=0))


@case(nir.Conv2d)
def conv2d_same() -> nir.NIRGraph:
    return chain((2, 5, 6), (3, 5, 6), conv((2, 5, 6), 3, kernel=(2, 4), padding="same", dilation=(1, 1)))


@case(nir.Conv2d)
def conv2d_valid() -> nir.NIRGraph:
    return chain((2, 5, 6), (3, 2, 2), conv((2, 5, 6), 3, stride=2, padding="valid"))


@case(nir.SumPool2d)
def sumpool2d() -> nir.NIRGraph:
    return chain((2, 6, 5), (2, 4, 3), nir.SumPool2d(np.array([2, 3]), np.array([2, 2]), np.array([1, 1])))


@case(nir.AvgPool2d)
def avgpool2d() -> nir.NIRGraph:
    return chain((2, 6, 4), (2, 3, 2), nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])))


@case(nir.AvgPool2d)
def avgpool2d_padded() -> nir.NIRGraph:
    return chain((2, 6, 5), (2, 4, 4), nir.AvgPool2d(np.array([2, 4]), np.array([2, 1]), np.array([1, 1])))


@case(nir.I)
def integrator() -> nir.NIRGraph:
    return chain((5,), (5,), nir.I(r=full((5,), 0.5 / DT)))


@case(nir.LI)
def leaky_integrator() -> nir.NIRGraph:
    return chain((5,), (5,), nir.LI(tau=full((5,), 2 * DT), r=full((5,), 2.0), v_leak=full((5,), 0.5)))


@case(nir.IF)
def integrate_and_fire() -> nir.NIRGraph:
    node = nir.IF(r=full((2, 3, 3), 0.5 / DT), v_threshold=full((2, 3, 3), 0.75), v_reset=full((2, 3, 3), -0.25))
    return chain((2, 3, 3), (2, 3, 3), node)


@case(nir.LIF)
def leaky_integrate_and_fire() -> nir.NIRGraph:
    return chain((2, 3, 3), (2, 3, 3), lif(2, 3, 3, threshold=1.25))


@case(nir.LIF)
def lif_per_channel() -> nir.NIRGraph:
    node = lif(2, 3, 3)
    node.v_threshold = np.broadcast_to(np.array([0.5, 1.5], np.float32)[:, None, None], (2, 3, 3)).copy()
    node.tau = np.broadcast_to(np.array([2 * DT, 4 * DT], np.float32)[:, None, None], (2, 3, 3)).copy()
    return chain((2, 3, 3), (2, 3, 3), node)


@case(nir.CubaLI)
def current_based_integrator() -> nir.NIRGraph:
    tau = full((5,), 2 * DT)
    node = nir.CubaLI(tau_syn=tau, tau_mem=tau, r=full((5,), 2.0), v_leak=full((5,), 0.25), w_in=full((5,), 1.5))
    return chain((5,), (5,), node)


@case(nir.CubaLIF)
def current_based_lif() -> nir.NIRGraph:
    return chain((5,), (5,), cubalif(5))


def cubalif(*shape: int) -> nir.CubaLIF:
    return nir.CubaLIF(
        tau_syn=full(shape, 2 * DT),
        tau_mem=full(shape, 4 * DT),
        r=full(shape, 2.0),
        v_leak=full(shape, 0.25),
        v_threshold=full(shape, 0.75),
        v_reset=full(shape, -0.5),
        w_in=full(shape, 1.5),
    )


# ---- topologies -----------------------------------------------------------------------------------------------------


@case()
def two_layers() -> nir.NIRGraph:
    return chain((6,), (3,), affine(6, 8), lif(8), affine(8, 3, seed=3))


@case()
def residual() -> nir.NIRGraph:
    """A spiking block: the convolution and the shortcut are two edges into one neuron."""
    nodes = {
        "conv1": conv((2, 4, 4), 3),
        "lif1": lif(3, 4, 4),
        "conv2": conv((3, 4, 4), 3, seed=2),
        "lif2": lif(3, 4, 4),
        "pool": nir.AvgPool2d(np.array([4, 4]), np.array([4, 4]), np.array([0, 0])),
        "flatten": nir.Flatten(np.array([3, 1, 1]), start_dim=-3, end_dim=-1),
        "fc": affine(3, 4, seed=5),
    }
    edges = [("input", "conv1"), ("conv1", "lif1"), ("lif1", "conv2"), ("conv2", "lif2"), ("lif1", "lif2")]
    edges += [("lif2", "pool"), ("pool", "flatten"), ("flatten", "fc"), ("fc", "output")]
    return graph(nodes, edges, (2, 4, 4), (4,))


@case()
def residual_projection() -> nir.NIRGraph:
    """A strided block with a convolution in its shortcut."""
    nodes = {
        "conv1": conv((2, 6, 6), 3, stride=2),
        "lif1": lif(3, 3, 3),
        "conv2": conv((3, 3, 3), 4, seed=2),
        "shortcut": conv((2, 6, 6), 4, kernel=(1, 1), stride=2, padding=0, seed=4),
        "lif2": lif(4, 3, 3),
    }
    edges = [("input", "conv1"), ("conv1", "lif1"), ("lif1", "conv2"), ("conv2", "lif2")]
    edges += [("input", "shortcut"), ("shortcut", "lif2"), ("lif2", "output")]
    return graph(nodes, edges, (2, 6, 6), (4, 3, 3))


@case()
def sew() -> nir.NIRGraph:
    """A SEW block: spikes are added, each summand with its own edge into the next convolution."""
    nodes = {
        "conv1": conv((2, 4, 4), 3),
        "lif1": lif(3, 4, 4),
        "conv2": conv((3, 4, 4), 3, seed=2),
        "lif2": lif(3, 4, 4),
        "conv3": conv((3, 4, 4), 2, seed=4),
        "lif3": lif(2, 4, 4),
    }
    edges = [("input", "conv1"), ("conv1", "lif1"), ("lif1", "conv2"), ("conv2", "lif2")]
    edges += [("lif2", "conv3"), ("lif1", "conv3"), ("conv3", "lif3"), ("lif3", "output")]
    return graph(nodes, edges, (2, 4, 4), (2, 4, 4))


@case()
def max_pool_of_spikes() -> nir.NIRGraph:
    """The maximum of a window's spikes: their sum, and whether it is above 1/2."""
    nodes = {
        "conv": conv((2, 5, 5), 3),
        "lif": lif(3, 5, 5, threshold=1.25),
        "sum": nir.SumPool2d(np.array([3, 3]), np.array([2, 2]), np.array([1, 1])),
        "max": nir.Threshold(full((3, 3, 3), 0.5)),
        "conv2": conv((3, 3, 3), 2, seed=2),
        "lif2": lif(2, 3, 3),
    }
    names = ["input", *nodes, "output"]
    return graph(nodes, list(itertools.pairwise(names)), (2, 5, 5), (2, 3, 3))


@case()
def skip_to_output() -> nir.NIRGraph:
    """Two edges into the output: a sum at the very end."""
    nodes = {"fc": affine(4, 4), "lif": lif(4)}
    return graph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output"), ("input", "output")], (4,), (4,))


@case()
def recurrent() -> nir.NIRGraph:
    """A layer that hears its own spikes of the step before."""
    nodes = {"fc": affine(4, 6), "lif": lif(6), "rec": affine(6, 6, seed=2), "out": affine(6, 3, seed=4)}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out"), ("out", "output")]
    return graph(nodes, edges, (4,), (3,))


@case()
def recurrent_self() -> nir.NIRGraph:
    """A neuron with an edge to itself."""
    return graph({"lif": lif(4)}, [("input", "lif"), ("lif", "lif"), ("lif", "output")], (4,), (4,))


@case()
def recurrent_order() -> nir.NIRGraph:
    """Two neurons in a ring, edges listed from the far end: which edge is late depends on the walk, not on the list."""
    nodes = {"b": cubalif(4), "a": lif(4), "fc": affine(4, 4)}
    edges = [("b", "a"), ("b", "output"), ("a", "b"), ("fc", "a"), ("input", "fc"), ("fc", "b")]
    return graph(nodes, edges, (4,), (4,))


def soft_reset(membrane: nir.NIRNode, threshold: float, scale: float, *shape: int) -> dict[str, nir.NIRNode]:
    """The nodes of neurons that reset by subtraction; the spikes are those of `lif`."""
    return {"membrane": membrane, "lif": nir.Threshold(full(shape, threshold)), "reset": nir.Scale(full(shape, scale))}


RESETS = [("membrane", "lif"), ("lif", "reset"), ("reset", "membrane")]


@case()
def reset_by_subtraction() -> nir.NIRGraph:
    membrane = nir.LI(tau=full((3, 4, 4), 2 * DT), r=full((3, 4, 4), 2.0), v_leak=full((3, 4, 4), 0.125))
    nodes = {"conv": conv((2, 4, 4), 3), **soft_reset(membrane, 0.5, -0.75, 3, 4, 4), "head": conv((3, 4, 4), 2)}
    edges = [("input", "conv"), ("conv", "membrane"), *RESETS, ("lif", "head"), ("head", "output")]
    return graph(nodes, edges, (2, 4, 4), (2, 4, 4))


@case()
def reset_by_subtraction_recurrent() -> nir.NIRGraph:
    """Neurons without a leak that hear each other's spikes of the step before; they are themselves the output."""
    nodes = {"fc": affine(4, 6), **soft_reset(nir.I(full((6,), 1 / DT)), 1.0, -1.0, 6)}
    nodes["rec"] = nir.Linear(weights(6, 6, seed=2))
    edges = [("input", "fc"), ("fc", "membrane"), *RESETS, ("lif", "rec"), ("rec", "membrane"), ("lif", "output")]
    return graph(nodes, edges, (4,), (6,))


@case(nir.NIRGraph)
def nested() -> nir.NIRGraph:
    inner = chain((4,), (6,), affine(4, 6), lif(6))
    return graph(
        {"block": inner, "fc": affine(6, 3, seed=3)},
        [("input", "block"), ("block", "fc"), ("fc", "output")],
        (4,),
        (3,),
    )


@case(nir.NIRGraph)
def nested_recurrent() -> nir.NIRGraph:
    """A recurrent layer as a graph of its own, as snnTorch and Spyx write them, two levels deep."""
    layer = graph(
        {"lif": lif(4), "w_rec": affine(4, 4)},
        [("input", "lif"), ("lif", "output"), ("w_rec", "lif"), ("lif", "w_rec")],
        (4,),
        (4,),
    )
    outer = chain((4,), (4,), layer)
    return graph({"rnn": outer, "fc": affine(4, 3)}, [("input", "rnn"), ("rnn", "fc"), ("fc", "output")], (4,), (3,))


@case(nir.NIRGraph)
def nested_skip() -> nir.NIRGraph:
    """An inner graph that also passes its input through, so that one source arrives twice after flattening."""
    inner = graph({"lif": lif(4)}, [("input", "lif"), ("lif", "output"), ("input", "output")], (4,), (4,))
    nodes = {"fc": affine(4, 4), "block": inner, "out": affine(4, 2, seed=3)}
    edges = [("input", "fc"), ("fc", "block"), ("block", "out"), ("fc", "out"), ("out", "output")]
    return graph(nodes, edges, (4,), (2,))


def reset_to_zero(graph: nir.NIRGraph, name: str) -> None:
    """A neuron whose reset by subtraction is read as one to zero."""
    membrane, theta = graph.nodes[f"{name}_membrane"], graph.nodes[name].threshold
    zeros = np.zeros_like(membrane.r)
    leaky = isinstance(membrane, nir.LI)
    parts = {f"{name}_membrane", f"{name}_reset", name}
    before = [a for a, b in graph.edges if b == f"{name}_membrane" and a not in parts]
    after = [b for a, b in graph.edges if a == name and b not in parts]
    graph.nodes[name] = (
        nir.LIF(membrane.tau, membrane.r, zeros, theta, zeros) if leaky else nir.IF(membrane.r, theta, zeros)
    )
    graph.edges = [edge for edge in graph.edges if not parts & {*edge}]
    graph.edges += [(a, name) for a in before] + [(name, b) for b in after]
    del graph.nodes[f"{name}_membrane"], graph.nodes[f"{name}_reset"]
