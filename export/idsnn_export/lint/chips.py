"""What neuromorphic chips cannot run: the rules of Speck, Xylo, Loihi and SpiNNaker2."""

from __future__ import annotations

import nir
import numpy as np

from ..graph.shapes import conv_window
from ..graph.soft_reset import SoftReset
from .predicates import (
    AFFINE,
    NEURONS,
    biased,
    differs,
    grouped,
    late,
    merges,
    nodes,
    other_types,
    varied,
    without_weights,
)
from .rule import Rule

SINABS, ROCKPOOL = "sinabs 3.1.3, nir.py", "rockpool 3.1.0, nir.py"
LAVA = "NIR paper, nir_to_lava.py"
SPINNAKER = "py-spinnaker2, s2_nir.py"
RETRAIN = "train with one value per layer"

RULES: tuple[Rule, ...] = (
    Rule(
        ("speck", "xylo", "loihi", "spinnaker2"),
        "reset by subtraction, which NIR says as LI (or I), Threshold and Scale, is not imported",
        "train with reset to zero",
        "read",
        f"{SINABS}; {ROCKPOOL}; {LAVA}; {SPINNAKER}",
        nodes(SoftReset),
    ),
    # ---- Speck
    Rule(
        ("speck",),
        "has no counterpart",
        "use Affine, Conv2d, Flatten, SumPool2d and IF; export with --pool sum",
        "ran",
        SINABS,
        other_types(nir.Affine, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF),
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
        "the reset subtracts the threshold and a neuron may fire several times per step",
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
        nodes(that=merges),
    ),
    Rule(
        ("speck",),
        "a layer has one threshold",
        RETRAIN,
        "read",
        "Sinabs documentation, DynapCNN layer",
        nodes(nir.IF, nir.LIF, that=varied("v_threshold")),
    ),
    # ---- Xylo
    Rule(
        ("xylo",),
        "has no counterpart; the chip holds dense layers of current-based neurons",
        "use Affine or Linear with CubaLIF",
        "ran",
        ROCKPOOL,
        other_types(nir.Affine, nir.Linear, nir.LI, nir.CubaLIF),
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
        nodes(that=lambda step, facts: merges(step, facts) and not late(step, facts)),
    ),
    # ---- Loihi
    Rule(
        ("loihi",),
        "has no counterpart",
        "use Affine, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF; export with --pool sum",
        "read",
        LAVA,
        other_types(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("loihi",),
        "biases must be 0",
        "fold them into thresholds or train without",
        "read",
        LAVA,
        nodes(*AFFINE, that=biased),
    ),
    Rule(("loihi",), "branching is not supported", "use a plain chain", "read", LAVA, nodes(that=merges)),
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
        nodes(*NEURONS, that=varied("v_threshold", "r")),
    ),
    Rule(
        ("loihi",),
        "v_leak must be 0",
        "train with v_leak = 0",
        "read",
        LAVA,
        nodes(nir.LIF, nir.CubaLIF, that=differs("v_leak", 0)),
    ),
    # ---- SpiNNaker2
    Rule(
        ("spinnaker2",),
        "has no counterpart",
        "use Affine, Linear, Conv2d, Flatten, SumPool2d, IF, LIF and CubaLIF; export with --pool sum",
        "read",
        SPINNAKER,
        other_types(nir.Affine, nir.Linear, nir.Conv2d, nir.SumPool2d, nir.Flatten, nir.IF, nir.LIF, nir.CubaLIF),
    ),
    Rule(
        ("spinnaker2",),
        "spikes cannot enter a neuron without weights between",
        "put a 1x1 convolution with unit weights into the shortcut",
        "read",
        SPINNAKER,
        nodes(*NEURONS, that=without_weights),
    ),
    Rule(
        ("spinnaker2",),
        "groups and dilation of convolutions are ignored",
        "use groups=1 and dilation=1",
        "read",
        SPINNAKER,
        nodes(nir.Conv2d, that=lambda step, facts: grouped(step, facts) or set(conv_window(step.node).dilation) != {1}),
    ),
    Rule(
        ("spinnaker2",),
        "v_reset is 0",
        "train with v_reset = 0",
        "read",
        SPINNAKER,
        nodes(*NEURONS, that=differs("v_reset", 0)),
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
