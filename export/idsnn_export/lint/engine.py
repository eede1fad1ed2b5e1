"""What a target cannot run, said before deployment.

A graph without findings is one that no rule objects to; the targets change, and only running one is proof.
"""

from __future__ import annotations

from typing import Any

import nir

from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import UsageError

from ..graph.plan import plan as plan_of
from ..graph.soft_reset import fused
from ..graph.timing import resolve_dt
from . import chips, simulators
from .rule import Facts, Finding, Rule

TARGETS = {
    "snntorch": "snnTorch 1.0.0",
    "spikingjelly": "SpikingJelly 2.0.0",
    "norse": "Norse 1.1.0",
    "speck": "Speck through Sinabs 3.1.3",
    "xylo": "Xylo through Rockpool 3.1.0",
    "loihi": "Loihi through Lava",
    "spinnaker2": "SpiNNaker2 through py-spinnaker2",
}

RULES: tuple[Rule, ...] = (*simulators.RULES, *chips.RULES)


def lint(graph: nir.NIRGraph, target: str, *, dt: float | None = None) -> list[Finding]:
    """What `target` cannot run of a graph, in evaluation order; empty where no rule objects.

    Raises:
        UsageError: a target without rules.
        GraphError: a graph without a meaning.
    """
    if target not in TARGETS:
        raise UsageError(f"--lint {target}: {known_are(target, TARGETS)}")
    facts = Facts(graph, fused(plan_of(graph)), resolve_dt(graph, dt))
    order = {step.name: i for i, step in enumerate(facts.plan.steps)}
    findings = []
    for rule in RULES:
        if target in rule.targets:
            for name in rule.find(facts):
                kind = type(facts.plan[name].node).__name__ if name in order else "NIRGraph"
                texts = (rule.problem, rule.advice, rule.evidence, rule.source)
                findings.append(Finding(target, name, kind, *texts))
    return sorted(findings, key=lambda finding: order.get(finding.node, -1))


def table() -> list[dict[str, Any]]:
    """The rules as plain rows, for documentation."""
    return [{key: value for key, value in vars(rule).items() if key != "find"} for rule in RULES]
