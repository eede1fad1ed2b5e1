"""How much of a graph is run, bounded before it is: a file says its number of steps, and any number is quickly said.

evaluations = T x nodes                what a run takes
values      = T x all nodes' outputs   what a run of one sample gives
"""

from __future__ import annotations

import math

from idsnn_deploy.errors import GraphError

from .plan import Plan

MAX_EVALUATIONS, MAX_VALUES = 2**20, 2**31
MAX_UNROLLED = 2**14  # runtimes take minutes to load more nodes than that


def check_run(plan: Plan, timesteps: int) -> None:
    """Raises `GraphError` where T steps of a graph are more than are run."""
    _bound(timesteps, len(plan.steps), "nodes", MAX_EVALUATIONS)
    _bound(timesteps, sum(math.prod(step.shape) for step in plan.steps), "values", MAX_VALUES)


def check_unrolled(plan: Plan, timesteps: int) -> None:
    """Raises `GraphError` where T steps are more than are unrolled: neurons, and whatever hears a step before."""
    check_run(plan, timesteps)
    late = sum(any(source.delayed for source in step.sources) for step in plan.steps)
    _bound(timesteps, max(1, len(plan.neurons), late), "neuron layers", MAX_UNROLLED)


def _bound(timesteps: int, count: int, what: str, most: int) -> None:
    if timesteps * count > most:
        raise GraphError(
            f"timesteps = {timesteps}: with {count:,} {what} per step that is {timesteps * count:,}; at most {most:,} "
            f"are run, so give at most {most // max(1, count):,} steps"
        )
