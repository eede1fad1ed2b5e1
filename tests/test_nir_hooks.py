"""What torch runs around a module's own code is refused with the way out, and taking it off lets the module through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from snntorch import Leaky
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from idsnn_deploy.errors import UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_nir


def network() -> nn.Sequential:
    layer = Leaky(0.5, threshold=0.5, reset_mechanism="zero", init_hidden=True)
    Leaky.instances.remove(layer)
    return nn.Sequential(nn.Sequential(nn.Linear(4, 6), layer), nn.Linear(6, 3)).eval()


def double(module: nn.Module, inputs: Any, output: Any = None) -> Any:
    return None if output is None else 2 * output


class Doubled(nn.Module):
    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return 2 * w


# What is attached, and what takes it off again.
Attach = Callable[[nn.Sequential], Callable[[], object]]
ATTACHED: dict[str, tuple[Attach, str]] = {
    "hook of a layer": (lambda m: m[0][1].register_forward_hook(double).remove, "0.1 .* remove it with its handle"),
    "pre-hook of a layer": (lambda m: m[1].register_forward_pre_hook(double).remove, "1 .* remove it with its handle"),
    "hook of a container": (lambda m: m[0].register_forward_hook(double).remove, "0 .* remove it with its handle"),
    "hook of the model": (lambda m: m.register_forward_hook(double).remove, "the model .* remove it"),
    "hook of everything": (
        lambda m: nn.modules.module.register_module_forward_hook(double).remove,
        r"all modules \(test_nir_hooks\.py:\d+\); remove them",
    ),
    "pre-hook of everything": (
        lambda m: nn.modules.module.register_module_forward_pre_hook(double).remove,
        r"all modules \(test_nir_hooks\.py:\d+\); remove them",
    ),
    "parametrization": (
        lambda m: _with(
            parametrize.register_parametrization(m[1], "weight", Doubled()),
            lambda: parametrize.remove_parametrizations(m[1], "weight"),
        ),
        "1 .*parametrization of weight; call torch.nn.utils.parametrize.remove_parametrizations",
    ),
    "weight norm": (
        lambda m: _with(
            parametrizations.weight_norm(m[1]), lambda: parametrize.remove_parametrizations(m[1], "weight")
        ),
        "remove_parametrizations",
    ),
    "old weight norm": (
        lambda m: _with(nn.utils.weight_norm(m[1]), lambda: nn.utils.remove_weight_norm(m[1])),
        "1 .*remove_weight_norm",
    ),
    "old spectral norm": (
        lambda m: _with(nn.utils.spectral_norm(m[1]), lambda: nn.utils.remove_spectral_norm(m[1])),
        "1 .*remove_spectral_norm",
    ),
    "pruning": (
        lambda m: _with(prune.l1_unstructured(m[1], "weight", 3), lambda: prune.remove(m[1], "weight")),
        "1 .*prune.remove",
    ),
    "another forward": (
        lambda m: _with(setattr(m[1], "forward", lambda x: 2 * x), lambda: delattr(m[1], "forward")),
        "1 .*forward of its own",
    ),
}


def _with(_: object, undo: Callable[[], object]) -> Callable[[], object]:
    return undo


@pytest.fixture(autouse=True)
def no_global_hooks() -> Iterator[None]:
    yield
    nn.modules.module._global_forward_hooks.clear()
    nn.modules.module._global_forward_pre_hooks.clear()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ATTACHED)
def test_what_runs_around_a_module_is_refused_until_it_is_taken_off(name: str) -> None:
    attach, says = ATTACHED[name]
    model = network()
    undo = attach(model)
    with pytest.raises(UnsupportedError, match=says) as caught:
        to_nir(model, (4,))
    assert "\n" not in str(caught.value)
    undo()
    assert len(to_nir(model.eval(), (4,)).nodes) == 5


def line_of(words: str) -> int:
    """Where this file says it, from 1."""
    return next(n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.startswith(words))


def test_the_line_is_where_what_is_attached_is_written() -> None:
    for attach, where in (
        (ATTACHED["hook of a layer"][0], line_of("def double")),
        (ATTACHED["hook of everything"][0], line_of("def double")),
        (ATTACHED["parametrization"][0], line_of("class Doubled")),
    ):
        model = network()
        undo = attach(model)
        with pytest.raises(UnsupportedError, match=rf"test_nir_hooks\.py:{where}\b"):
            to_nir(model, (4,))
        undo()


def test_what_no_line_of_the_model_calls_has_the_line_that_hands_it_over() -> None:
    model = nn.Sequential(network(), nn.ReLU()).eval()
    with pytest.raises(UnsupportedError, match=r"1 \(ReLU\) at test_nir_hooks\.py:") as caught:
        to_nir(model, (4,))  # this line
    here = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# this line" in text)
    assert f"test_nir_hooks.py:{here}: " in str(caught.value)
    with pytest.raises(UnsupportedError, match=rf"at test_nir_hooks\.py:{line_of('def network')}: "):
        prepare(model, (4,), made_by=network)
