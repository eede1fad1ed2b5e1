"""What torch runs around a module's forward, and a graph cannot say: hooks, parametrizations, replaced forwards.

A module is traced as the layers that its code calls. What is attached to it beside its code (a hook that doubles its
output, a weight that is computed anew for every call) would be lost without a word, so it is refused with the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from idsnn_deploy.errors import UnsupportedError

from .origin import definition

HOOKS = ("_forward_pre_hooks", "_forward_hooks")
EVERYWHERE = ("_global_forward_pre_hooks", "_global_forward_hooks")
OURS = "idsnn."  # hooks of this package only look on

# The old ways of reparametrizing are hooks of these classes.
WAYS_OUT = {
    "WeightNorm": "a weight norm; take it off with torch.nn.utils.remove_weight_norm",
    "SpectralNorm": "a spectral norm; take it off with torch.nn.utils.remove_spectral_norm",
    "BasePruningMethod": "a pruning mask; make it permanent with torch.nn.utils.prune.remove",
}


def refuse_hooks(model: nn.Module, origin: str = "") -> None:
    """Refuses a model around whose modules anything runs but their own forward.

    Args:
        model: what is to be exported.
        origin: the line that it comes from, named where what is attached has none of the user's.

    Raises:
        UnsupportedError: the module by its dotted path, what is attached to it and where that is written, and how to
            take it off.
    """
    for name in EVERYWHERE:
        for hook in _foreign(getattr(torch_module, name)):
            at = definition(hook) or origin
            raise UnsupportedError(
                f"torch has forward hooks for all modules{at and f' ({at})'}; remove them with their handles"
            )
    for path, module in model.named_modules():
        for problem, culprit in _attached(module):
            at = definition(culprit) or origin
            layer = f"{path or 'the model'} ({type(module).__name__}){at and f' at {at}'}"
            raise UnsupportedError(f"{layer}: has {problem} before exporting")


def _attached(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What is attached, with the way to take it off, and the function or the class that does it."""
    if parametrize.is_parametrized(module):
        names = ", ".join(module.parametrizations)  # type: ignore[arg-type]
        first = next(iter(module.parametrizations.values()))[0]  # type: ignore[operator]
        yield f"a parametrization of {names}; call torch.nn.utils.parametrize.remove_parametrizations", type(first)
    for name in HOOKS:
        for hook in _foreign(getattr(module, name)):
            known = [WAYS_OUT[base.__name__] for base in type(hook).__mro__ if base.__name__ in WAYS_OUT]
            yield known[0] if known else "a forward hook, which has no NIR form; remove it with its handle", hook
    if "forward" in vars(module):
        yield "a forward of its own in place of its class's; put that into a class", vars(module)["forward"]


def _foreign(hooks: dict[int, Any]) -> list[Any]:
    return [hook for hook in hooks.values() if not str(getattr(hook, "__module__", "")).startswith(OURS)]
