"""What a target cannot run, said before deployment: one table of rules.

Each rule names its targets, what breaks, what to do, and where that is known from. `ran`: seen in this project by
running the importer (docs/nir_consumers.md has the outcomes). `read`: taken from the source or paper named, not run
here. A graph without findings is one that no rule objects to; the targets change, and only running one is proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import nir
import numpy as np

from idsnn_deploy.errors import UsageError

from .plan import SPIKING, Plan, Step
from .plan import plan as plan_of
from .shapes import conv_window, pool_window
from .timing import gain, leak, resolve_dt

TARGETS = {
    "snntorch": "snnTorch 1.0.0",
    "spikingjelly": "SpikingJelly 2.0.0",
    "norse": "Norse 1.1.0",
    "speck": "Speck through Sinabs 3.1.3",
    "xylo": "Xylo through Rockpool 3.1.0",
    "loihi": "Loihi through Lava",
    "spinnaker2": "SpiNNaker2 through py-spinnaker2",
}


@dataclass(frozen=True)
class Finding:
    """One node that a target cannot run.

    Attributes:
        target: a key of `TARGETS`.
        node: its name; `graph` where it is the graph as a whole.
        type: of the node.
        problem: what breaks.
        advice: what to do.
        evidence: `ran` or `read`.
        source: what was run or read.
    """

    target: str
    node: str
    type: str
    problem: str
    advice: str
    evidence: str
    source: str

    def __str__(self) -> str:
        return (
            f"{self.node} ({self.type}): {self.problem}; {self.advice} [{self.target}, {self.evidence}: {self.source}]"
        )

    def to_dict(self) -> dict[str, str]:
        """The attributes."""
        return asdict(self)


@dataclass(frozen=True)
class Facts:
    """What rules look at: the graph, its plan and the step in seconds."""

    graph: nir.NIRGraph
    plan: Plan
    dt: float


Find = Callable[[Facts], Iterator[str]]  # the names of the nodes that break


@dataclass(frozen=True)
class Rule:
    """One row of the table; the attributes are those of `Finding`."""

    targets: tuple[str, ...]
    problem: str
    advice: str
    evidence: str
    source: str
    find: Find


def lint(graph: nir.NIRGraph, target: str, *, dt: float | None = None) -> list[Finding]:
    """What `target` cannot run of a graph, in evaluation order; empty where no rule objects.

    Raises:
        UsageError: a target without rules.
        GraphError: a graph without a meaning.
    """
    if target not in TARGETS:
        raise UsageError(f"--lint {target}: known are {', '.join(TARGETS)}")
    facts = Facts(graph, plan_of(graph), resolve_dt(graph, dt))
    order = {step.name: i for i, step in enumerate(facts.plan.steps)}
    findings = []
    for rule in RULES:
        if target in rule.targets:
            for name in rule.find(facts):
                kind = type(facts.plan[name].node).__name__ if name in order else "NIRGraph"
                texts = (rule.problem, rule.advice, rule.evidence, rule.source)
                findings.append(Finding(target, name, kind, *texts))
    return sorted(findings, key=lambda finding: order.get(finding.node, -1))


def nodes(*kinds: type[nir.NIRNode], that: Callable[[Step, Facts], bool] = lambda step, facts: True) -> Find:
    """The nodes of these types, or of any type, for which `that` holds."""
    return lambda facts: (
        step.name for step in facts.plan.steps if (not kinds or isinstance(step.node, kinds)) and that(step, facts)
    )


def _others(*known: type[nir.NIRNode]) -> Find:
    """The nodes of types that are not listed; ports are always known."""
    return nodes(that=lambda step, facts: not isinstance(step.node, (nir.Input, nir.Output, *known)))


def _nested(facts: Facts) -> Iterator[str]:
    return (name for name, node in facts.graph.nodes.items() if isinstance(node, nir.NIRGraph))


def _other_dt(facts: Facts) -> Iterator[str]:
    return iter(["graph"] if not np.isclose(facts.dt, 1e-4) and facts.plan.neurons else [])


def _varied(*names: str) -> Callable[[Step, Facts], bool]:
    """Whether a parameter differs within the layer."""
    return lambda step, facts: any(np.unique(getattr(step.node, name, 0)).size > 1 for name in names)


def _not(name: str, value: float) -> Callable[[Step, Facts], bool]:
    return lambda step, facts: bool(np.any(getattr(step.node, name, value) != value))


def _merges(step: Step, facts: Facts) -> bool:
    return len(step.sources) > 1


def _late(step: Step, facts: Facts) -> bool:
    return any(source.delayed for source in step.sources)


def _grouped(step: Step, facts: Facts) -> bool:
    return int(step.node.groups) != 1


def _uneven(step: Step, facts: Facts) -> bool:
    return len(set(conv_window(step.node).kernel)) > 1


def _padded(step: Step, facts: Facts) -> bool:
    return any(map(any, pool_window(step.node).padding))


def _biased(step: Step, facts: Facts) -> bool:
    return bool(np.any(step.node.bias))


def _negative_into(step: Step, facts: Facts) -> bool:
    """Whether something other than spikes comes in, whose sign matters."""
    return any(not isinstance(facts.plan[source.name].node, SPIKING) for source in step.sources)


def _r_neither(step: Step, facts: Facts) -> bool:
    r, product = np.asarray(step.node.r, np.float64), np.asarray(step.node.r * leak(step.node.tau, facts.dt))
    return not (np.allclose(r, 1, rtol=1e-6) or np.allclose(product, 1, rtol=1e-6))


def _cuba_scaled(step: Step, facts: Facts) -> bool:
    node = step.node
    return not (
        np.allclose(node.r * leak(node.tau_mem, facts.dt), 1)
        and np.allclose(node.w_in * leak(node.tau_syn, facts.dt), 1)
    )


def _from_batch(step: Step, facts: Facts) -> bool:
    return int(step.node.start_dim) >= 0


def _without_weights(step: Step, facts: Facts) -> bool:
    weighted = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
    return any(not isinstance(facts.plan[source.name].node, weighted) for source in step.sources)


NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)
CONVS = (nir.Conv1d, nir.Conv2d)
AFFINE = (nir.Affine, nir.Conv1d, nir.Conv2d)
SIMULATORS = ("snntorch", "spikingjelly", "norse")
SNNTORCH, JELLY, NORSE = (
    "snntorch 1.0.0, import_nir.py",
    "spikingjelly 2.0.0, from_nir.py",
    "norse 1.1.0, import_nir.py",
)
SINABS, ROCKPOOL = "sinabs 3.1.3, nir.py", "rockpool 3.1.0, nir.py"
LAVA = "NIR paper, nir_to_lava.py"
SPINNAKER = "py-spinnaker2, s2_nir.py"
RETRAIN = "train with one value a layer"

RULES: tuple[Rule, ...] = (
    # ---- nir.read, which all simulators use
    Rule(
        (*SIMULATORS, "speck", "xylo"),
        "nir.read refuses grouped convolutions, whose type it infers wrongly",
        "read with type_check=False, or use groups=1",
        "ran",
        "nir 1.0.8",
        nodes(*CONVS, that=_grouped),
    ),
    Rule(
        (*SIMULATORS, "speck", "xylo"),
        "nir.read infers a wrong size for non-square kernels",
        "read with type_check=False, or use square kernels",
        "ran",
        "nir 1.0.8",
        nodes(nir.Conv2d, that=_uneven),
    ),
    # ---- snnTorch
    Rule(
        ("snntorch",),
        "has no counterpart",
        "use Affine, Linear, Conv, Flatten, AvgPool2d, LIF and CubaLIF",
        "ran",
        SNNTORCH,
        _others(*AFFINE, nir.Linear, nir.SumPool2d, nir.AvgPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("snntorch",),
        "becomes a leaky neuron with beta 0.9, without a warning",
        "use LIF with a long tau",
        "read",
        SNNTORCH,
        nodes(nir.IF),
    ),
    Rule(("snntorch",), "its dt is fixed at 1e-4", "export with --dt 1e-4", "ran", SNNTORCH, _other_dt),
    Rule(
        ("snntorch",),
        "v_leak must be 0",
        "train with v_leak = 0",
        "ran",
        SNNTORCH,
        nodes(*NEURONS, that=_not("v_leak", 0)),
    ),
    Rule(
        ("snntorch",),
        "v_reset is ignored and 0 is used",
        "train with v_reset = 0",
        "read",
        SNNTORCH,
        nodes(*NEURONS, that=_not("v_reset", 0)),
    ),
    Rule(
        ("snntorch",),
        "the threshold is scaled by the first tau only where tau varies, without a warning",
        RETRAIN,
        "ran",
        SNNTORCH,
        nodes(nir.LIF, nir.CubaLIF, that=_varied("tau", "tau_mem", "tau_syn", "r", "w_in")),
    ),
    Rule(
        ("snntorch",),
        "v_threshold must be the same for all neurons",
        RETRAIN,
        "ran",
        SNNTORCH,
        nodes(*NEURONS, that=_varied("v_threshold")),
    ),
    Rule(
        ("snntorch",),
        "start_dim counts the batch axis there",
        "count from the end: start_dim=-3",
        "ran",
        SNNTORCH,
        nodes(nir.Flatten, that=_from_batch),
    ),
    Rule(
        ("snntorch",),
        "r must be tau_mem/dt",
        "scale the weights instead",
        "read",
        SNNTORCH,
        nodes(nir.CubaLIF, that=lambda s, f: not np.allclose(s.node.r * leak(s.node.tau_mem, f.dt), 1)),
    ),
    # ---- SpikingJelly
    Rule(
        ("spikingjelly",),
        "has no counterpart",
        "use Affine, Linear, Conv, Flatten, AvgPool2d, IF, LIF and CubaLIF",
        "ran",
        JELLY,
        _others(*AFFINE, nir.Linear, nir.SumPool2d, nir.AvgPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("spikingjelly",),
        "runs in single-step mode only",
        "export with --pool avg for step_mode='m'",
        "ran",
        JELLY,
        nodes(nir.SumPool2d),
    ),
    Rule(
        ("spikingjelly",),
        "parameters must be the same for all neurons",
        RETRAIN,
        "ran",
        JELLY,
        nodes(*NEURONS, that=_varied("tau", "tau_mem", "tau_syn", "r", "w_in", "v_threshold", "v_reset", "v_leak")),
    ),
    Rule(
        ("spikingjelly",),
        "v_leak must equal v_reset",
        "train with both 0",
        "ran",
        JELLY,
        nodes(nir.LIF, that=lambda step, facts: bool(np.any(step.node.v_leak != step.node.v_reset))),
    ),
    Rule(
        ("spikingjelly",),
        "v_leak must be 0",
        "train with v_leak = 0",
        "read",
        JELLY,
        nodes(nir.CubaLIF, that=_not("v_leak", 0)),
    ),
    Rule(
        ("spikingjelly",),
        "tau must be longer than dt",
        "give the dt that the graph was made for",
        "read",
        JELLY,
        nodes(nir.LIF, that=lambda step, facts: bool(np.any(leak(step.node.tau, facts.dt) >= 1))),
    ),
    Rule(
        ("spikingjelly",),
        "r must be 1 or tau/dt",
        "scale the weights and v_threshold instead",
        "read",
        JELLY,
        nodes(nir.LIF, that=_r_neither),
    ),
    Rule(
        ("spikingjelly",),
        "r must be 1/dt",
        "scale v_threshold instead",
        "ran",
        JELLY,
        nodes(nir.IF, that=lambda step, facts: not np.allclose(gain(step.node.r, facts.dt), 1)),
    ),
    Rule(
        ("spikingjelly",),
        "r must be tau_mem/dt and w_in tau_syn/dt",
        "scale the weights instead",
        "ran",
        JELLY,
        nodes(nir.CubaLIF, that=_cuba_scaled),
    ),
    # ---- pooling and graphs in nirtorch, under snnTorch and SpikingJelly
    Rule(
        (*SIMULATORS, "speck"),
        "the padding of sum pooling is ignored, without a warning",
        "pool without padding",
        "ran",
        "nirtorch 2.6 and the importers on it",
        nodes(nir.SumPool2d, that=_padded),
    ),
    Rule(
        SIMULATORS,
        "sum pooling is done by a norm, which drops the sign of its inputs",
        "pool spikes only, or use AvgPool2d",
        "read",
        "nirtorch 2.6, LPPool2d of norm 1",
        nodes(nir.SumPool2d, that=_negative_into),
    ),
    Rule(
        SIMULATORS,
        "nested graphs fail or lose their order for some shapes",
        "flatten the graph",
        "ran",
        "nirtorch 2.6",
        _nested,
    ),
    Rule(
        ("snntorch", "spikingjelly"),
        "a sum at the output is not understood",
        "end in one layer",
        "ran",
        "nirtorch 2.6",
        nodes(nir.Output, that=_merges),
    ),
    # ---- Norse
    Rule(
        ("norse",),
        "has no counterpart and is dropped or fails",
        "use Affine, Linear, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF",
        "ran",
        NORSE,
        _others(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("norse",),
        "r is ignored",
        "scale the weights and v_threshold so that r = 1",
        "ran",
        NORSE,
        nodes(nir.IF, nir.LIF, that=_not("r", 1)),
    ),
    Rule(
        ("norse",),
        "v_reset is ignored and 0 is used",
        "train with v_reset = 0",
        "read",
        NORSE,
        nodes(*NEURONS, that=_not("v_reset", 0)),
    ),
    Rule(
        ("norse",),
        "branches are run in the wrong order in the release on the registry",
        "use Norse from git, which is exact",
        "ran",
        NORSE,
        nodes(that=lambda step, facts: _merges(step, facts) and not _late(step, facts)),
    ),
    Rule(
        ("norse",),
        "start_dim counts the batch axis there",
        "count from the end: start_dim=-3",
        "ran",
        NORSE,
        nodes(nir.Flatten, that=_from_batch),
    ),
    # ---- Speck
    Rule(
        ("speck",),
        "has no counterpart",
        "use Affine, Conv2d, Flatten, SumPool2d and IF; export with --pool sum",
        "ran",
        SINABS,
        _others(nir.Affine, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF),
    ),
    Rule(
        ("speck",),
        "layers of LIF neurons with channels cannot be imported; dense ones leak as exp(-dt/tau)",
        "the chip has no leak in steps; train with IF neurons",
        "ran",
        SINABS,
        nodes(nir.LIF),
    ),
    Rule(
        ("speck",),
        "the reset subtracts the threshold and a neuron may fire several times a step",
        "train with reset by subtraction, or set reset_fn and spike_fn after the import",
        "ran",
        SINABS,
        nodes(nir.IF, nir.LIF),
    ),
    Rule(
        ("speck",),
        "branches are not imported",
        "the chip takes them through its own layer graph only; use a plain chain",
        "ran",
        SINABS,
        nodes(that=_merges),
    ),
    Rule(
        ("speck",),
        "a layer has one threshold",
        RETRAIN,
        "read",
        "Sinabs documentation, DynapCNN layer",
        nodes(nir.IF, nir.LIF, that=_varied("v_threshold")),
    ),
    # ---- Xylo
    Rule(
        ("xylo",),
        "has no counterpart; the chip holds dense layers of current-based neurons",
        "use Affine or Linear with CubaLIF",
        "ran",
        ROCKPOOL,
        _others(nir.Affine, nir.Linear, nir.LI, nir.CubaLIF),
    ),
    Rule(
        ("xylo",),
        "dt is guessed as tau/(1+r)",
        "set r = tau_mem/dt - 1 and compare a trace",
        "ran",
        ROCKPOOL,
        nodes(nir.CubaLIF, nir.LI),
    ),
    Rule(
        ("xylo",),
        "branches are not imported",
        "use a plain chain; recurrence only within a layer",
        "read",
        ROCKPOOL,
        nodes(that=lambda step, facts: _merges(step, facts) and not _late(step, facts)),
    ),
    # ---- Loihi
    Rule(
        ("loihi",),
        "has no counterpart",
        "use Affine, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF; export with --pool sum",
        "read",
        LAVA,
        _others(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("loihi",),
        "biases must be 0",
        "fold them into thresholds or train without",
        "read",
        LAVA,
        nodes(*AFFINE, that=_biased),
    ),
    Rule(("loihi",), "branching is not supported", "use a plain chain", "read", LAVA, nodes(that=_merges)),
    Rule(
        ("loihi",),
        "LIF is imported one neuron at a time by Lava and not at all by lava-dl",
        "use CubaLIF, or IF with lava-dl",
        "read",
        LAVA,
        nodes(nir.LIF, that=lambda step, facts: int(np.prod(step.shape)) > 1),
    ),
    Rule(
        ("loihi",),
        "v_threshold and r must be the same for all neurons",
        RETRAIN,
        "read",
        LAVA,
        nodes(*NEURONS, that=_varied("v_threshold", "r")),
    ),
    Rule(
        ("loihi",),
        "v_leak must be 0",
        "train with v_leak = 0",
        "read",
        LAVA,
        nodes(nir.LIF, nir.CubaLIF, that=_not("v_leak", 0)),
    ),
    # ---- SpiNNaker2
    Rule(
        ("spinnaker2",),
        "has no counterpart",
        "use Affine, Linear, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF; export with --pool sum",
        "read",
        SPINNAKER,
        _others(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("spinnaker2",),
        "spikes cannot enter a neuron without weights between",
        "put a 1x1 convolution with unit weights into the shortcut",
        "read",
        SPINNAKER,
        nodes(*NEURONS, that=_without_weights),
    ),
    Rule(
        ("spinnaker2",),
        "groups and dilation of convolutions are ignored",
        "use groups=1 and dilation=1",
        "read",
        SPINNAKER,
        nodes(
            nir.Conv2d, that=lambda step, facts: _grouped(step, facts) or set(conv_window(step.node).dilation) != {1}
        ),
    ),
    Rule(
        ("spinnaker2",),
        "v_reset is 0",
        "train with v_reset = 0",
        "read",
        SPINNAKER,
        nodes(*NEURONS, that=_not("v_reset", 0)),
    ),
    Rule(
        ("spinnaker2",),
        "the output must be a layer of neurons; what comes after the last one is left out",
        "read the last layer's spikes and apply the head outside",
        "read",
        SPINNAKER,
        nodes(
            nir.Output,
            that=lambda step, facts: any(not isinstance(facts.plan[s.name].node, NEURONS) for s in step.sources),
        ),
    ),
    Rule(
        ("spinnaker2",),
        "weights are rounded to 8 bits",
        "scale them (scale_weights=True) and compare accuracy",
        "read",
        SPINNAKER,
        nodes(nir.Affine, nir.Linear, nir.Conv2d),
    ),
)


def table() -> list[dict[str, Any]]:
    """The rules as plain rows, for documentation."""
    return [{key: value for key, value in vars(rule).items() if key != "find"} for rule in RULES]
