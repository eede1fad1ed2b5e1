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

HOOKS = ("_forward_pre_hooks", "_forward_hooks")
EVERYWHERE = ("_global_forward_pre_hooks", "_global_forward_hooks")
OURS = "idsnn."  # hooks of this package only look on

# The old ways of reparametrizing are hooks of these classes.
WAYS_OUT = {
    "WeightNorm": "a weight norm; take it off with torch.nn.utils.remove_weight_norm",
    "SpectralNorm": "a spectral norm; take it off with torch.nn.utils.remove_spectral_norm",
    "BasePruningMethod": "a pruning mask; make it permanent with torch.nn.utils.prune.remove",
}


def refuse_hooks(model: nn.Module) -> None:
    """Refuses a model around whose modules anything runs but their own forward.

    Raises:
        UnsupportedError: the module by its dotted path, what is attached to it, and how to take it off.
    """
    for name in EVERYWHERE:
        if _foreign(getattr(torch_module, name)):
            raise UnsupportedError("torch has forward hooks for all modules; remove them with their handles")
    for path, module in model.named_modules():
        for problem in _attached(module):
            raise UnsupportedError(f"{path or 'the model'} ({type(module).__name__}): has {problem} before exporting")


def _attached(module: nn.Module) -> Iterator[str]:
    if parametrize.is_parametrized(module):
        names = ", ".join(module.parametrizations)  # type: ignore[arg-type]
        yield f"a parametrization of {names}; call torch.nn.utils.parametrize.remove_parametrizations"
    for name in HOOKS:
        for hook in _foreign(getattr(module, name)):
            known = [WAYS_OUT[base.__name__] for base in type(hook).__mro__ if base.__name__ in WAYS_OUT]
            yield known[0] if known else "a forward hook, which has no NIR form; remove it with its handle"
    if "forward" in vars(module):
        yield "a forward of its own in place of its class's; put that into a class"


def _foreign(hooks: dict[int, Any]) -> list[Any]:
    return [hook for hook in hooks.values() if not str(getattr(hook, "__module__", "")).startswith(OURS)]
