"""What a NIR graph means, as a list of steps to take in order.

One time step of a graph is: every node, in the order of the plan, is given the sum of its sources. A graph with cycles
is read depth-first from its input, in the order of its edges: an edge to a node that is still on the path closes a
cycle and delivers its source's *previous* output, zeros at the first step. A cycle in which nothing keeps a state is
refused.

A nested graph is one node of the graph around it. Its nodes are taken over under joined names, and its ports after
that: they are where a walk enters and leaves, so they stay until every late edge is known.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

import nir
import numpy as np

from idsnn_deploy.errors import GraphError, UnsupportedError

from .shapes import Shape, declared, elementwise_fields, infer_shape

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF, nir.Threshold)  # give 0 or 1
STATEFUL = (nir.I, nir.LI, nir.IF, nir.LIF, nir.CubaLI, nir.CubaLIF, nir.Delay)  # remember the step before

Edge = tuple[str, str]
Nodes = dict[str, nir.NIRNode]


@dataclass(frozen=True)
class Incoming:
    """Where a part of a node's input comes from; `delayed`: the source's previous output."""

    name: str
    delayed: bool = False


@dataclass(frozen=True)
class Step:
    """One node in its place.

    Attributes:
        name: of the node; nested names are joined with `_`, those of inner ports with `/`.
        node: the NIR node; the parameters of neurons, Scale, Threshold and Delay have the full shape.
        sources: the node's input is their sum, in this order. A source may come twice (two paths through a nested
            graph), and none stands for the graph's own input.
        in_shape, shape: of input and output, per sample and time step.
    """

    name: str
    node: nir.NIRNode
    sources: tuple[Incoming, ...]
    in_shape: Shape
    shape: Shape


@dataclass(frozen=True)
class Plan:
    """The steps of a graph in evaluation order, `input` first.

    Attributes:
        steps: what to do in one time step.
        input, output: the names of the two ports.
        neurons: the names of the nodes that spike, in order; a max pool of spikes is none.
        graph: what it is the plan of.
    """

    steps: tuple[Step, ...]
    input: str
    output: str
    neurons: tuple[str, ...]
    graph: nir.NIRGraph = field(repr=False, compare=False)

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)


def plan(graph: nir.NIRGraph | Plan) -> Plan:
    """The plan of a graph; a plan is its own, so that what was planned once is not planned again.

    Raises:
        GraphError: dangling or duplicate edges, not exactly one input and one output, nodes that are off the way from
            the one to the other, a cycle without a state, shapes that do not meet.
        UnsupportedError: a node type without a rule.
    """
    if isinstance(graph, Plan):
        return graph
    source, sink = _port(graph.nodes, nir.Input, "input"), _port(graph.nodes, nir.Output, "output")
    steps = _without_ports(_with_ports(*_flatten(graph), source, sink), (source, sink))
    return Plan(steps, source, sink, _neurons(steps), graph)


def _neurons(steps: Sequence[Step]) -> tuple[str, ...]:
    """Who spikes, but for who passes spikes on: [sum of a window's spikes > theta], 0 <= theta < 1, is their OR.

    So NIR says a max pool of spikes. It holds no membrane, and one spike is all that it takes.
    """
    nodes = {step.name: step.node for step in steps}
    given = {step.name: [nodes[source.name] for source in step.sources] for step in steps}

    def passes(step: Step) -> bool:
        if not isinstance(step.node, nir.Threshold) or len(step.sources) != 1:
            return False
        pool, theta = step.sources[0].name, np.asarray(step.node.threshold)
        spikes = len(given[pool]) == 1 and isinstance(given[pool][0], SPIKING)
        return isinstance(nodes[pool], nir.SumPool2d) and spikes and bool(((theta >= 0) & (theta < 1)).all())

    return tuple(step.name for step in steps if isinstance(step.node, SPIKING) and not passes(step))


def fill_types(graph: nir.NIRGraph) -> None:
    """Writes the shapes of `plan` into the nodes' types, in place and at every level; NIR leaves some open and gets
    others wrong."""
    source, sink = _port(graph.nodes, nir.Input, "input"), _port(graph.nodes, nir.Output, "output")
    nodes, edges = _flatten(graph)
    for step in _with_ports(nodes, edges, source, sink):
        node = nodes[step.name]
        node.input_type, node.output_type = {"input": np.array(step.in_shape)}, {"output": np.array(step.shape)}
        if getattr(node, "input_shape", ...) is None:  # of a convolution
            node.input_shape = step.in_shape[1] if len(step.in_shape) == 2 else step.in_shape[1:]


def _with_ports(nodes: Nodes, edges: Sequence[Edge], source: str, sink: str) -> tuple[Step, ...]:
    """The steps of a flattened graph, with those of inner ports."""
    _refuse_detours(nodes, edges, source, sink)
    _refuse_loose_cycles(nodes, edges)
    delayed = _closing_edges(edges, source)
    return _shaped(nodes, edges, delayed, _order(edges, delayed, source))


def _without_ports(steps: Sequence[Step], outer: Sequence[str]) -> tuple[Step, ...]:
    """The steps with inner ports taken out: whoever reads a port is given what the port is given, late if either is.

    A port that adds several sources for several readers stays, as the sum that it is, or paths would multiply. One that
    is late on both sides, which is two steps, is such a port: a late source comes back from one reader of the port, a
    late reader is on the way from another source to it.
    """
    sources = {step.name: step.sources for step in steps}
    readers: dict[str, list[str]] = {name: [] for name in sources}
    for name, given in sources.items():
        for each in given:
            readers[each.name].append(name)
    for step in steps:
        if not isinstance(step.node, (nir.Input, nir.Output)) or step.name in outer:
            continue
        port, given, reading = step.name, sources[step.name], readers[step.name]
        if len(given) > 1 and len(reading) > 1:
            continue
        for reader in dict.fromkeys(reading):
            sources[reader] = tuple(each for read in sources[reader] for each in _through(read, port, given))
        for each in given:
            readers[each.name] = [reader for reader in readers[each.name] if reader != port] + reading
        del sources[port]
    return tuple(replace(step, sources=sources[step.name]) for step in steps if step.name in sources)


def _through(read: Incoming, port: str, given: Sequence[Incoming]) -> Sequence[Incoming]:
    """What a reader is given instead of a port's output."""
    return [Incoming(each.name, each.delayed or read.delayed) for each in given] if read.name == port else [read]


def _flatten(graph: nir.NIRGraph) -> tuple[Nodes, list[Edge]]:
    """All nodes under joined names, and the edges between them; those of a nested graph are edges of its ports."""
    edges = _checked_edges(graph)
    nodes: Nodes = {}
    enter: dict[str, str] = {}
    leave: dict[str, str] = {}
    within: list[Edge] = []
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            _add(nodes, name, node)
            continue
        ports = _port(node.nodes, nir.Input, f"{name}: input"), _port(node.nodes, nir.Output, f"{name}: output")
        inner_nodes, inner_edges = _flatten(node)
        joined = {inner: f"{name}/{inner}" if inner in ports else f"{name}_{inner}" for inner in inner_nodes}
        for inner, child in inner_nodes.items():
            _add(nodes, joined[inner], child)
        enter[name], leave[name] = (joined[port] for port in ports)
        within += [(joined[a], joined[b]) for a, b in inner_edges]
    return nodes, [(leave.get(a, a), enter.get(b, b)) for a, b in edges] + within


def _checked_edges(graph: nir.NIRGraph) -> list[Edge]:
    edges = [(str(a), str(b)) for a, b in graph.edges]
    for edge in edges:
        for end in edge:
            if end not in graph.nodes:
                raise GraphError(f"edge {edge}: there is no node {end!r}")
    if len(set(edges)) < len(edges):
        twice = next(edge for i, edge in enumerate(edges) if edge in edges[:i])
        raise GraphError(f"edge {twice} is there twice; a node's input is the sum of distinct edges")
    for a, b in edges:
        if isinstance(graph.nodes[a], nir.Output) or isinstance(graph.nodes[b], nir.Input):
            raise GraphError(f"edge {(a, b)} leaves an output or enters an input")
    return edges


def _add(nodes: Nodes, name: str, node: nir.NIRNode) -> None:
    if name in nodes:
        raise GraphError(f"two nodes are named {name!r} once nested graphs are flattened; rename one")
    nodes[name] = node


def _port(nodes: Nodes, kind: type[nir.NIRNode], what: str = "port") -> str:
    found = [name for name, node in nodes.items() if isinstance(node, kind)]
    if not found:
        raise GraphError(f"{what}: the graph has no {kind.__name__} node")
    if len(found) > 1:
        raise UnsupportedError(
            f"{what}: {len(found)} {kind.__name__} nodes ({', '.join(found)}); only one is supported"
        )
    return found[0]


def _refuse_detours(nodes: Nodes, edges: Sequence[Edge], source: str, sink: str) -> None:
    forward = _reached(source, edges)
    backward = _reached(sink, [(b, a) for a, b in edges])
    for name in nodes:
        if name not in forward:
            raise GraphError(f"{name}: no way leads from the input to this node")
        if name not in backward:
            raise GraphError(f"{name}: no way leads from this node to the output")


def _reached(start: str, edges: Iterable[Edge]) -> set[str]:
    onward = _adjacent(edges)
    seen, stack = {start}, [start]
    while stack:
        new = [name for name in onward.get(stack.pop(), ()) if name not in seen]
        seen.update(new)
        stack.extend(new)
    return seen


def _adjacent(edges: Iterable[Edge]) -> dict[str, list[str]]:
    onward: dict[str, list[str]] = {}
    for a, b in edges:
        onward.setdefault(a, []).append(b)
    return onward


def _refuse_loose_cycles(nodes: Nodes, edges: Sequence[Edge]) -> None:
    plain = {name for name, node in nodes.items() if not isinstance(node, STATEFUL)}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for a, b in edges:
        if a in plain and b in plain:
            sorter.add(b, a)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = " → ".join(error.args[1])
        raise GraphError(f"{cycle}: a cycle without a neuron; nothing in it remembers the step before") from None


def _walk(edges: Iterable[Edge], start: str) -> tuple[list[str], set[Edge]]:
    """Depth-first from `start`: the nodes in the order in which they are left, and the edges that close a cycle."""
    onward = _adjacent(edges)
    left: list[str] = []
    closing: set[Edge] = set()
    path = {start}
    seen = {start}
    stack = [(start, iter(onward.get(start, ())))]
    while stack:
        name, rest = stack[-1]
        for after in rest:
            if after in path:
                closing.add((name, after))
            elif after not in seen:
                seen.add(after)
                path.add(after)
                stack.append((after, iter(onward.get(after, ()))))
                break
        else:
            stack.pop()
            path.discard(name)
            left.append(name)
    return left, closing


def _closing_edges(edges: Sequence[Edge], source: str) -> set[Edge]:
    return _walk(edges, source)[1]


def _order(edges: Sequence[Edge], delayed: set[Edge], source: str) -> list[str]:
    """Every node after its sources; among branches the one whose edge comes first goes first."""
    return _walk([edge for edge in reversed(edges) if edge not in delayed], source)[0][::-1]


def _shaped(nodes: Nodes, edges: Sequence[Edge], delayed: set[Edge], order: Sequence[str]) -> tuple[Step, ...]:
    sources: dict[str, list[Incoming]] = {name: [] for name in order}
    for edge in edges:
        sources[edge[1]].append(Incoming(edge[0], edge in delayed))
    shapes: dict[str, Shape] = {}
    steps = []
    for name in order:
        node = nodes[name]
        now = [shapes[source.name] for source in sources[name] if not source.delayed]
        in_shape = now[0] if now else _input_shape(name, node)
        try:
            shapes[name] = infer_shape(node, in_shape)
        except UnsupportedError as error:
            raise UnsupportedError(f"{name} ({type(node).__name__}): {error}") from None
        except GraphError as error:
            raise GraphError(f"{name} ({type(node).__name__}): {error}") from None
        steps.append(Step(name, _full(node, in_shape), tuple(sources[name]), in_shape, shapes[name]))
    for step in steps:
        for source in step.sources:
            if shapes[source.name] != step.in_shape:
                raise GraphError(
                    f"{step.name}: its sources differ in shape, {step.in_shape} and {shapes[source.name]} "
                    f"from {source.name}"
                )
    return tuple(steps)


def _input_shape(name: str, node: nir.NIRNode) -> Shape:
    shape = declared((node.input_type or {}).get("input"))
    if not shape or min(shape) < 1:
        raise GraphError(f"{name} (Input): states no shape, or an empty one; got {shape}")
    return shape


def _full(node: nir.NIRNode, shape: Shape) -> nir.NIRNode:
    """The node with its elementwise parameters spread over the whole shape."""
    names = elementwise_fields(node)
    if not names:
        return node
    node = copy.copy(node)
    for name in names:
        values = np.asarray(getattr(node, name))
        setattr(node, name, np.broadcast_to(values.reshape(()) if values.size == 1 else values, shape))
    return node
