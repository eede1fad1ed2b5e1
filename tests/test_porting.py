"""docs/porting.md: each row's network is refused as it is, and exported as its framework runs it once it is changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from idsnn_deploy.errors import UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_graph, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (the extra `bench` brings it)")

from spikingjelly.activation_based import functional, layer, neuron

PAGE = Path(__file__).parents[1] / "docs" / "porting.md"
STEPS = 4
# snnTorch warns of one of the options that the exporter refuses.
pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")


class Row(NamedTuple):
    """A network before and after, what the refusal says, and what else `to_nir` is given then."""

    before: Callable[[], nn.Module]
    words: str
    after: Callable[[], nn.Module]
    nodes: Any = None


def lif(**options: Any) -> snn.Leaky:
    return snn.Leaky(**{"beta": 0.5, "threshold": 0.3, "init_hidden": True, **options})


def fc(*behind: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 6), *behind)


def conv(*behind: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *behind)


def hooked(off: bool) -> nn.Module:
    net = fc(lif())
    handle = net[1].register_forward_hook(lambda *_: None)
    if off:
        handle.remove()
    return net


def normed(off: bool) -> nn.Module:
    net = fc(lif())
    torch.nn.utils.parametrizations.weight_norm(net[1])
    if off:
        torch.nn.utils.parametrize.remove_parametrizations(net[1], "weight")
    return net


class Forward(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, run: Callable[[Any, Tensor], Any], make: Callable[[], nn.Module] = lif) -> None:
        super().__init__()
        self.flat, self.fc1, self.fc2 = nn.Flatten(), nn.Linear(72, 6), nn.Linear(72, 6)
        self.lif1, self.lif2, self.run = make(), make(), run

    def forward(self, x: Tensor) -> Any:
        return self.run(self, self.flat(x))


def looped(run: Callable[[Any, Tensor, int], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    return lambda net, x: torch.stack([run(net, x, step) for step in range(STEPS)]).mean(0)


def jelly(**options: Any) -> nn.Module:
    return neuron.LIFNode(**{"v_threshold": 0.2, **options})


def all_steps(*layers: nn.Module) -> nn.Module:
    net = nn.Sequential(layer.Flatten(), layer.Linear(72, 6), *layers)
    functional.set_step_mode(net, "m")
    return net


class Doubled(neuron.LIFNode):
    """A neuron of the user's own."""

    def __init__(self) -> None:
        super().__init__(tau=2.0, v_threshold=0.25)

    def single_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        return super().single_step_functional_forward((2 * inputs[0],), states, **kwargs)


def doubled(layer: Doubled, shape: tuple[int, ...]) -> nir.NIRNode:
    def full(value: float) -> np.ndarray:
        return np.full(shape, value, np.float32)

    below = float(np.nextafter(np.float32(0.25), np.float32(0)))  # SpikingJelly fires at v >= theta
    return nir.LIF(tau=full(2e-4), r=full(2), v_leak=full(0), v_threshold=full(below), v_reset=full(0))


ROWS = {
    "`nn.MaxPool2d` before the neuron": Row(
        lambda: conv(nn.MaxPool2d(2), lif()), "maximum of values that are no spikes",
        lambda: conv(lif(), nn.MaxPool2d(2)),
    ),
    "`nn.ReLU`": Row(lambda: fc(nn.ReLU()), "a spiking layer stands in its place", lambda: fc(lif())),
    "`nn.GroupNorm`, `nn.LayerNorm`, `nn.InstanceNorm2d`": Row(
        lambda: conv(nn.GroupNorm(2, 4), lif()), "use BatchNorm2d", lambda: conv(nn.BatchNorm2d(4), lif())
    ),
    "`Synaptic`, `RLeaky` with `reset_mechanism=\"zero\"`": Row(
        lambda: fc(snn.Synaptic(0.5, 0.5, 0.3, reset_mechanism="zero", init_hidden=True)), "use reset_delay=False or",
        lambda: fc(snn.Synaptic(0.5, 0.5, 0.3, reset_mechanism="zero", reset_delay=False, init_hidden=True)),
    ),
    "`Lapicque` with `reset_mechanism=\"zero\"`": Row(
        lambda: fc(snn.Lapicque(0.8, threshold=0.2, reset_mechanism="zero", init_hidden=True)), "'subtract'",
        lambda: fc(snn.Lapicque(0.8, threshold=0.2, init_hidden=True)),
    ),
    "`reset_mechanism=\"subtract\"` with `reset_delay=False`": Row(
        lambda: fc(lif(reset_delay=False)), "use reset_delay=True", lambda: fc(lif())
    ),
    "`inhibition=True`": Row(lambda: fc(lif(inhibition=True)), "inhibit by negative weights", lambda: fc(lif())),
    "`graded_spikes_factor`": Row(
        lambda: fc(lif(graded_spikes_factor=0.5), nn.Linear(6, 3)), "scale the next weights",
        lambda: fc(lif(), nn.Linear(6, 3)),
    ),
    "a forward hook": Row(lambda: hooked(False), "remove it with its handle", lambda: hooked(True)),
    "`weight_norm`, `spectral_norm`, pruning": Row(
        lambda: normed(False), "remove_parametrizations", lambda: normed(True)
    ),
    "a step that differs from the others": Row(
        lambda: Forward(looped(lambda n, x, t: n.lif1(n.fc1(x) if t < 2 else n.fc2(x)))), "is not step 1",
        lambda: Forward(looped(lambda n, x, t: n.lif1(n.fc1(x) + n.fc2(x)))),
    ),
    "two branches multiplied": Row(
        lambda: Forward(lambda n, x: n.lif1(n.fc1(x)) * n.lif2(n.fc2(x))), "`mul`",
        lambda: Forward(lambda n, x: n.lif1(n.fc1(x)) + n.lif2(n.fc2(x))),
    ),
    "`if x > 0`, `float(x)`": Row(
        lambda: Forward(lambda n, x: n.lif1(n.fc1(x)) if float(x) > 0 else n.lif1(n.fc2(x))), "looks at the numbers",
        lambda: Forward(lambda n, x: n.lif1(n.fc1(x))),
    ),
    "another neuron (`QIFNode`, `EIFNode`, `KLIFNode`, ...)": Row(
        lambda: fc(neuron.QIFNode()), "of SpikingJelly's neurons IFNode, LIFNode, ParametricLIFNode have one",
        lambda: fc(neuron.ParametricLIFNode(v_threshold=0.2)),
    ),
    "a neuron class with dynamics of its own": Row(
        lambda: fc(Doubled()), "nodes=", lambda: fc(Doubled()), {Doubled: doubled}
    ),
    "`set_reset_value`, another start than `v_reset`": Row(
        lambda: fc(_started()), "starts at 0.5 and resets to 0", lambda: fc(jelly())
    ),
    "`surrogate_function` with `spiking=False`": Row(
        lambda: fc(neuron.IFNode(surrogate_function=_soft())), "other values than 0 and 1",
        lambda: fc(neuron.IFNode(0.3)),
    ),
    "`TemporalEffectiveBatchNorm`, `BatchNormThroughTime`": Row(
        lambda: all_steps(layer.TemporalEffectiveBatchNorm1d(STEPS, 6), jelly()), "TemporalEffectiveBatchNorm1d",
        lambda: all_steps(layer.BatchNorm1d(6), jelly()),
    ),
    "neurons in step mode \"s\" that get all steps": Row(
        lambda: nn.Sequential(layer.MultiStepContainer(nn.Flatten(), nn.Linear(72, 6)), jelly()), "set_step_mode",
        lambda: nn.Sequential(layer.MultiStepContainer(nn.Flatten(), nn.Linear(72, 6)), jelly(step_mode="m")),
    ),
    "`functional.reset_net` within the loop": Row(
        lambda: Forward(looped(lambda n, x, t: (functional.reset_net(n), n.lif1(n.fc1(x)))[1]), jelly),
        "set to 0 again before step 1", lambda: Forward(looped(lambda n, x, t: n.lif1(n.fc1(x))), jelly),
    ),
    "`lif.v` read as the answer": Row(
        lambda: Forward(lambda n, x: (n.lif1(n.fc1(x)), n.lif1.v)[1], jelly), "reads a state that is no membrane",
        lambda: Forward(lambda n, x: n.lif1(n.fc1(x)), jelly),
    ),
}  # fmt: skip


def _started() -> nn.Module:
    made = jelly()
    made.set_reset_value("v", 0.5)
    return made


def _soft() -> Any:
    from spikingjelly.activation_based import surrogate

    return surrogate.Sigmoid(spiking=False)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_refused_as_it_is_and_exported_once_it_is_changed(name: str) -> None:
    row = ROWS[name]
    torch.manual_seed(0)
    with pytest.raises(UnsupportedError, match=re.escape(row.words)):
        to_nir(row.before().eval(), (2, 6, 6), timesteps=STEPS)
    model = row.after().eval()
    x = np.random.default_rng(0).normal(0.3, 1.5, (8, 2, 6, 6)).astype(np.float32)
    network = prepare(model, (2, 6, 6), timesteps=STEPS, nodes=row.nodes)
    reference = trace(to_graph(network, (2, 6, 6)), x, STEPS)
    assert all(each.any() for each in reference.spikes.values())
    exact_gate(reference, {"torch": run_prepared(network, x, STEPS)})
    float_gate(reference, "itself", *run_model(model, x, STEPS, nodes=row.nodes))


def test_the_page_has_these_rows_and_no_others() -> None:
    cells = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert [cell for cell in cells if cell != "written"] == list(ROWS)
