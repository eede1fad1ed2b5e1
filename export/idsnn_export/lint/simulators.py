"""What simulators cannot run: the rules of snnTorch, SpikingJelly and Norse, and of what they read NIR with."""

from __future__ import annotations

import nir
import numpy as np

from ..graph.soft_reset import SoftReset
from ..graph.timing import gain, leak
from .predicates import (
    AFFINE,
    CONVS,
    NEURONS,
    cuba_scaled,
    differs,
    from_batch,
    grouped,
    late,
    merges,
    negative_into,
    nested_graphs,
    nodes,
    other_dt,
    other_types,
    padded,
    r_neither,
    uneven,
    varied,
)
from .rule import Rule

SIMULATORS = ("snntorch", "spikingjelly", "norse")
SNNTORCH, JELLY, NORSE = (
    "snntorch 1.0.0, import_nir.py",
    "spikingjelly 2.0.0, from_nir.py",
    "norse 1.1.0, import_nir.py",
)
RETRAIN = "train with one value per layer"
SOFT_RESET = "reset by subtraction, which NIR says as LI (or I), Threshold and Scale, has no counterpart"
TO_ZERO = "train with reset to zero"

RULES: tuple[Rule, ...] = (
    # ---- nir.read, which all simulators use
    Rule(
        (*SIMULATORS, "speck", "xylo"),
        "nir.read refuses grouped convolutions, whose type it infers wrongly",
        "read with type_check=False, or use groups=1",
        "ran",
        "nir 1.0.8",
        nodes(*CONVS, that=grouped),
    ),
    Rule(
        (*SIMULATORS, "speck", "xylo"),
        "nir.read infers a wrong size for non-square kernels",
        "read with type_check=False, or use square kernels",
        "ran",
        "nir 1.0.8",
        nodes(nir.Conv2d, that=uneven),
    ),
    Rule(("snntorch", "spikingjelly"), SOFT_RESET, TO_ZERO, "ran", f"{SNNTORCH}; {JELLY}", nodes(SoftReset)),
    Rule(("norse",), SOFT_RESET, TO_ZERO, "read", NORSE, nodes(SoftReset)),
    # ---- snnTorch
    Rule(
        ("snntorch",),
        "has no counterpart",
        "use Affine, Linear, Conv, Flatten, AvgPool2d, LIF and CubaLIF",
        "ran",
        SNNTORCH,
        other_types(*AFFINE, nir.Linear, nir.SumPool2d, nir.AvgPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("snntorch",),
        "becomes a leaky neuron with beta 0.9, without a warning",
        "use LIF with a long tau",
        "read",
        SNNTORCH,
        nodes(nir.IF),
    ),
    Rule(
        ("snntorch",),
        "recurrent edges of a flat graph fail on import",
        "nest the neuron and its recurrent weights in a graph of their own, or run it in SpikingJelly",
        "ran",
        SNNTORCH,
        nodes(that=late),
    ),
    Rule(("snntorch",), "its dt is fixed at 1e-4", "export with --dt 1e-4", "ran", SNNTORCH, other_dt),
    Rule(
        ("snntorch",),
        "v_leak must be 0",
        "train with v_leak = 0",
        "ran",
        SNNTORCH,
        nodes(*NEURONS, that=differs("v_leak", 0)),
    ),
    Rule(
        ("snntorch",),
        "v_reset is ignored and 0 is used",
        "train with v_reset = 0",
        "read",
        SNNTORCH,
        nodes(*NEURONS, that=differs("v_reset", 0)),
    ),
    Rule(
        ("snntorch",),
        "the threshold is scaled by the first tau only where tau varies, without a warning",
        RETRAIN,
        "ran",
        SNNTORCH,
        nodes(nir.LIF, nir.CubaLIF, that=varied("tau", "tau_mem", "tau_syn", "r", "w_in")),
    ),
    Rule(
        ("snntorch",),
        "v_threshold must be the same for all neurons",
        RETRAIN,
        "ran",
        SNNTORCH,
        nodes(*NEURONS, that=varied("v_threshold")),
    ),
    Rule(
        ("snntorch",),
        "start_dim counts the batch axis there",
        "count from the end: start_dim=-3",
        "ran",
        SNNTORCH,
        nodes(nir.Flatten, that=from_batch),
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
        other_types(*AFFINE, nir.Linear, nir.SumPool2d, nir.AvgPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
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
        nodes(*NEURONS, that=varied("tau", "tau_mem", "tau_syn", "r", "w_in", "v_threshold", "v_reset", "v_leak")),
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
        nodes(nir.CubaLIF, that=differs("v_leak", 0)),
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
        nodes(nir.LIF, that=r_neither),
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
        nodes(nir.CubaLIF, that=cuba_scaled),
    ),
    # ---- pooling and graphs in nirtorch, under snnTorch and SpikingJelly
    Rule(
        (*SIMULATORS, "speck"),
        "the padding of sum pooling is ignored, without a warning",
        "pool without padding",
        "ran",
        "nirtorch 2.6 and the importers on it",
        nodes(nir.SumPool2d, that=padded),
    ),
    Rule(
        SIMULATORS,
        "sum pooling is done by a norm, which drops the sign of its inputs",
        "pool spikes only, or use AvgPool2d",
        "read",
        "nirtorch 2.6, LPPool2d of norm 1",
        nodes(nir.SumPool2d, that=negative_into),
    ),
    Rule(
        SIMULATORS,
        "nested graphs fail or lose their order for some shapes",
        "flatten the graph",
        "ran",
        "nirtorch 2.6",
        nested_graphs,
    ),
    Rule(
        ("snntorch", "spikingjelly"),
        "a sum at the output is not understood",
        "end in one layer",
        "ran",
        "nirtorch 2.6",
        nodes(nir.Output, that=merges),
    ),
    # ---- Norse
    Rule(
        ("norse",),
        "has no counterpart and is dropped or fails",
        "use Affine, Linear, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF",
        "ran",
        NORSE,
        other_types(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("norse",),
        "r is ignored",
        "scale the weights and v_threshold so that r = 1",
        "ran",
        NORSE,
        nodes(nir.IF, nir.LIF, that=differs("r", 1)),
    ),
    Rule(
        ("norse",),
        "v_reset is ignored and 0 is used",
        "train with v_reset = 0",
        "read",
        NORSE,
        nodes(*NEURONS, that=differs("v_reset", 0)),
    ),
    Rule(
        ("norse",),
        "branches are run in the wrong order in the release on the registry",
        "use Norse from git, which is exact",
        "ran",
        NORSE,
        nodes(that=lambda step, facts: merges(step, facts) and not late(step, facts)),
    ),
    Rule(
        ("norse",),
        "start_dim counts the batch axis there",
        "count from the end: start_dim=-3",
        "ran",
        NORSE,
        nodes(nir.Flatten, that=from_batch),
    ),
)
