"""What a forward is given beside its input, and which of the things that it returns is its answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from idsnn_deploy.errors import UnsupportedError

STEPS = ("num_steps", "timesteps", "time_steps", "n_steps", "nb_steps", "num_timesteps", "steps", "time_step", "T")


def arguments(forward: Callable[..., Any], timesteps: int | None, state: Any) -> dict[str, Any]:
    """What a forward is given beside its input: T where it asks for steps by name or as an int, states elsewhere."""
    given: dict[str, Any] = {}
    for parameter in list(inspect.signature(forward).parameters.values())[1:]:
        asked = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if parameter.name in STEPS or (asked and parameter.annotation in (int, "int")):
            if timesteps is not None:
                given[parameter.name] = timesteps
            elif asked:
                raise UnsupportedError(f"the forward asks for {parameter.name}; give timesteps=T (--timesteps T)")
        elif asked:
            given[parameter.name] = state
    return given


def answer(returned: Any) -> Any:
    """The first of what a forward returns, where it returns states or recordings, too."""
    if isinstance(returned, dict):
        returned = tuple(returned.values())
    return returned[0] if isinstance(returned, tuple) and returned else returned
