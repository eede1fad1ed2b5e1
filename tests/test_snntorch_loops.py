"""Networks whose forward runs over all time steps, as snnTorch's tutorials write them: one step is shown and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from test_snntorch_neurons import free
from torch import Tensor, nn

from idsnn_deploy.errors import ParityError, UnsupportedError
from idsnn_export.from_torch.convert import prepare, to_nir
from idsnn_export.from_torch.stepping import run_model, run_prepared
from idsnn_export.gates.parity import exact_gate, float_gate
from idsnn_export.reference.interpreter import trace

STEPS = 6


class Net(nn.Module):
    """Layers for every forward below."""

    def __init__(self, forward: Callable[..., Any], init_hidden: bool = False) -> None:
        super().__init__()
        self.num_steps, self.run = STEPS, forward
        self.fc1, self.fc2, self.back = nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(8, 8, bias=False)
        self.fc3 = nn.Linear(4, 4)
        self.lif1 = free(snn.Leaky(0.7, 0.6, init_hidden=init_hidden))
        self.lif2 = free(snn.Leaky(0.9, 0.5, init_hidden=init_hidden))
        self.syn = free(snn.Synaptic(0.6, 0.8, 0.5))
        self.rec = free(snn.RLeaky(0.7, linear_features=8, threshold=0.6))

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def loop(read: Callable[[Any, list[Tensor], list[Tensor]], Any]) -> Callable[[Any, Tensor], Any]:
    """The tutorials' loop, and what becomes of its lists."""

    def forward(net: Any, x: Tensor) -> Any:
        mem1, mem2 = net.lif1.init_leaky(), net.lif2.init_leaky()
        spk_rec, mem_rec = [], []
        for _ in range(net.num_steps):
            spk1, mem1 = net.lif1(net.fc1(x), mem1)
            spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)
        return read(net, spk_rec, mem_rec)

    return forward


def over_frames(net: Any, x: Tensor) -> Any:
    spk1, mem1 = net.rec.init_rleaky()
    syn2, mem2 = net.syn.init_synaptic()
    out = []
    for step in range(x.size(0)):
        spk1, mem1 = net.rec(net.fc1(x[step]), spk1, mem1)
        spk2, syn2, mem2 = net.syn(net.fc2(spk1), syn2, mem2)
        out.append(spk2)
    return torch.stack(out, dim=0)


def batch_first(net: Any, x: Tensor) -> Any:
    x = x.transpose(0, 1)
    mem1 = mem2 = None
    out = []
    for step in range(x.shape[1]):
        spk1, mem1 = net.lif1(net.fc1(x[:, step]), mem1)
        spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
        out.append(spk2)
    return torch.stack(out, dim=1).mean(1)


def hidden(net: Any, x: Tensor) -> Any:
    utils.reset(net)
    net.lif1.reset_mem()
    return torch.stack([net.lif2(net.fc2(net.lif1(net.fc1(x)))) for _ in range(net.num_steps)])


def fed_back(net: Any, x: Tensor) -> Any:
    """Recurrence by hand."""
    mem1, mem2 = net.lif1.reset_mem(), net.lif2.reset_mem()
    spk1 = torch.zeros(x.size(0), 8)
    total = 0
    for _ in range(net.num_steps):
        spk1, mem1 = net.lif1(net.fc1(x) + net.back(spk1), mem1)
        spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
        total = total + spk2
    return total / net.num_steps


def folded(net: Any, x: Tensor) -> Any:
    """Layers without a state are called once for all steps."""
    steps, batch = x.shape[:2]
    currents = net.fc1(x.reshape(steps * batch, -1)).view(steps, batch, -1)
    mem1 = None
    out = []
    for current in currents:
        spk1, mem1 = net.lif1(current, mem1)
        out.append(spk1)
    return net.fc2(torch.stack(out)).sum(0)


def outside(net: Any, x: Tensor) -> Any:
    """What does not vary is computed before the loop."""
    current, mem1, mem2 = net.fc1(x), None, None
    for _ in range(net.num_steps):
        spk1, mem1 = net.lif1(current, mem1)
        spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
    return spk2


def accumulated(net: Any, x: Tensor) -> Any:
    mem1, total = net.lif1.reset_mem(), torch.zeros(x.size(0), 8)
    for _ in range(net.num_steps):
        spk1, mem1 = net.lif1(net.fc1(x), mem1)
        total += spk1
    return total


def beside(net: Any, x: Tensor) -> Any:
    """What does not vary is part of every step's output."""
    mem1, total, current = None, 0, net.fc1(x)
    for _ in range(net.num_steps):
        spk1, mem1 = net.lif1(current, mem1)
        total = total + spk1 + current
    return total


def membrane_of_the_layer(net: Any, x: Tensor) -> Any:
    utils.reset(net)
    out = []
    for _ in range(net.num_steps):
        net.lif2(net.fc2(net.lif1(net.fc1(x))))
        out.append(net.lif2.mem)
    return torch.stack(out)


def written_by_step(net: Any, x: Tensor) -> Any:
    mem1, mem2 = net.lif1.reset_mem(), net.lif2.reset_mem()
    spikes, membranes = torch.zeros(net.num_steps, x.size(0), 4), torch.empty(x.size(0), net.num_steps, 4)
    for t in range(net.num_steps):
        spk1, mem1 = net.lif1(net.fc1(x), mem1)
        spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
        spikes[t] = spk2
        membranes[:, t] = mem2
    return spikes, membranes


def written_behind_the_batch(net: Any, x: Tensor) -> Any:
    return written_by_step(net, x)[1].max(1)[0]


def written_and_weighed(net: Any, x: Tensor) -> Any:
    """A tensor of every step goes on as one that was stacked."""
    return net.fc3(written_by_step(net, x)[0].mean(dim=0))


LOOPS: dict[str, tuple[Callable[..., Any], bool, str, bool]] = {  # forward, init_hidden, readout, frames
    "return torch.stack(spk_rec), torch.stack(mem_rec)": (
        loop(lambda net, spk, mem: (torch.stack(spk, dim=0), torch.stack(mem, dim=0))),
        False,
        "mean",
        False,
    ),
    "return spk_rec, the list itself": (loop(lambda net, spk, mem: spk), False, "mean", False),
    "torch.stack(spk).mean(0)": (loop(lambda net, spk, mem: torch.stack(spk).mean(0)), False, "mean", False),
    "torch.stack(spk).sum(dim=0)": (loop(lambda net, spk, mem: torch.stack(spk).sum(dim=0)), False, "sum", False),
    "0.5 * torch.stack(spk).sum(0)": (loop(lambda net, spk, mem: 0.5 * torch.stack(spk).sum(0)), False, "sum", False),
    "torch.stack(spk)[-1]": (loop(lambda net, spk, mem: torch.stack(spk)[-1]), False, "last", False),
    "mem_rec[-1]": (loop(lambda net, spk, mem: mem[-1]), False, "last", False),
    "torch.stack(mem)": (loop(lambda net, spk, mem: torch.stack(mem)), False, "mean", False),
    "torch.mean(torch.stack(mem), dim=0)": (
        loop(lambda net, spk, mem: torch.mean(torch.stack(mem), dim=0)),
        False,
        "mean",
        False,
    ),
    "torch.stack(mem).max(0)[0]": (loop(lambda net, spk, mem: torch.stack(mem).max(0)[0]), False, "max", False),
    "torch.max(torch.stack(mem), dim=0).values": (
        loop(lambda net, spk, mem: torch.max(torch.stack(mem), dim=0).values),
        False,
        "max",
        False,
    ),
    "self.fc(torch.stack(spk).mean(0))": (
        loop(lambda net, spk, mem: net.fc3(torch.stack(spk).mean(0))),
        False,
        "mean",
        False,
    ),
    "for step in range(x.size(0)): ... x[step]; RLeaky, Synaptic": (over_frames, False, "mean", True),
    "x = x.transpose(0, 1); x[:, step]; torch.stack(spk, dim=1).mean(1)": (batch_first, False, "mean", True),
    "init_hidden=True; utils.reset(self), lif.reset_mem()": (hidden, True, "mean", False),
    "recurrence by hand: self.back(spk) of the step before; total / T": (fed_back, False, "mean", False),
    "x.reshape(T * N, -1) through a layer, .view(T, N, -1), for current in currents": (folded, False, "sum", True),
    "a layer called before the loop; the last step's spikes": (outside, False, "last", False),
    "total = total + spk + current, a layer of the image": (beside, False, "sum", False),
    "total = torch.zeros(N, K); total += spk": (accumulated, False, "sum", False),
    "torch.stack(spk).view(T, N, K, P).sum(-1)": (
        loop(lambda net, spk, mem: torch.stack(spk).view(STEPS, -1, 2, 2).sum(-1)),
        False,
        "mean",
        False,
    ),
    "torch.stack(spk).sum(0).view(N, K, P).mean(2)": (
        loop(lambda net, spk, mem: torch.stack(spk).sum(0).view(-1, 2, 2).mean(2)),
        False,
        "sum",
        False,
    ),
    "init_hidden=True; self.lif2.mem after each call": (membrane_of_the_layer, True, "mean", False),
    "out = torch.zeros(T, N, K); out[t] = spk": (written_by_step, False, "mean", False),
    "out = torch.empty(N, T, K); out[:, t] = mem; out.max(1)[0]": (written_behind_the_batch, False, "max", False),
    "self.fc(out.mean(dim=0)) of such a tensor": (written_and_weighed, False, "mean", False),
}


def built(forward: Callable[..., Any], init_hidden: bool = False, frames: bool = False) -> tuple[nn.Module, np.ndarray]:
    torch.manual_seed(3)
    shape = (STEPS, 5, 6) if frames else (5, 6)
    return Net(forward, init_hidden).eval(), np.random.default_rng(0).normal(0.4, 1.5, shape).astype(np.float32)


def agree(model: nn.Module, x: np.ndarray, frames: bool) -> tuple[Any, Any]:
    """The gates, with snnTorch's own run of the whole forward; returns the network and the model's own answer."""
    network = prepare(model, x.shape[1 + frames :], timesteps=STEPS)
    graph = to_nir(model, x.shape[1 + frames :], timesteps=STEPS)
    reference = trace(graph, x, STEPS)
    exact_gate(reference, {"torch": run_prepared(network, x, STEPS, frames=frames)})
    logits, spikes = run_model(model, x, STEPS, frames=frames)
    float_gate(reference, "snnTorch", logits, spikes)
    assert sum(each.sum() for each in reference.spikes.values()) > 0
    return network, logits


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_its_step_and_its_readout(name: str) -> None:
    forward, init_hidden, readout, frames = LOOPS[name]
    model, x = built(forward, init_hidden, frames)
    network, logits = agree(model, x, frames)
    assert (network.readout, network.timesteps, network.frames) == (readout, STEPS, frames)
    for neuron in (model.lif1, model.lif2):
        neuron.reset_mem()
    with torch.no_grad():
        own = model(torch.as_tensor(x))
    own = own[0] if isinstance(own, tuple) else own
    if network.time_axis is not None:
        own = (torch.stack(own) if isinstance(own, list) else own).mean(network.time_axis)
    np.testing.assert_allclose(logits, own.numpy(), atol=1e-6)


def stepping(step: Callable[[Any, Tensor, int, Any, Any], tuple[Any, Any, Any]]) -> Callable[[Any, Tensor], Any]:
    """A loop around one step: (net, x, t, mem1, mem2) → (output, mem1, mem2)."""

    def forward(net: Any, x: Tensor) -> Any:
        mem1, mem2, out = net.lif1.reset_mem(), net.lif2.reset_mem(), []
        for t in range(net.num_steps):
            spikes, mem1, mem2 = step(net, x, t, mem1, mem2)
            out.append(spikes)
        return torch.stack(out)

    return forward


def layers(net: Any, current: Tensor, mem1: Any, mem2: Any) -> tuple[Tensor, Any, Any]:
    spk1, mem1 = net.lif1(current, mem1)
    spk2, mem2 = net.lif2(net.fc2(spk1), mem2)
    return spk2, mem1, mem2


def two_before(net: Any, x: Tensor) -> Any:
    mem1, before, older, out = None, torch.zeros(x.size(0), 8), torch.zeros(x.size(0), 8), []
    for _ in range(net.num_steps):
        spikes, mem1 = net.lif1(net.fc1(x) + net.back(older), mem1)
        before, older = spikes, before
        out.append(spikes)
    return torch.stack(out)


def twice(net: Any, x: Tensor) -> Any:
    mem1 = None
    for _ in range(net.num_steps):
        spikes, mem1 = net.lif1(net.fc1(x), mem1)
        spikes, mem1 = net.lif1(spikes, mem1)
    return spikes


def half_written(net: Any, x: Tensor) -> Any:
    record = torch.zeros(net.num_steps, x.size(0), 4)
    for t in range(net.num_steps):
        record[t // 2] = net.lif2(net.fc2(net.lif1(net.fc1(x))[0]))[0]
    return record


def written_in_part(net: Any, x: Tensor) -> Any:
    record = torch.zeros(net.num_steps, x.size(0), 5)
    for t in range(net.num_steps):
        record[t, :, 1:] = net.lif2(net.fc2(net.lif1(net.fc1(x))[0]))[0]
    return record


def written_by_a_view(net: Any, x: Tensor) -> Any:
    """What the view writes is in the tensor, and no constant."""
    record = torch.zeros(net.num_steps * x.size(0), 4)
    view = record.view(net.num_steps, x.size(0), 4)
    for t in range(net.num_steps):
        view[t] = net.lif2(net.fc2(net.lif1(net.fc1(x))[0]))[0]
    return net.fc2(net.lif1(net.fc1(x))[0]) + record[: x.size(0)]


LINE = r" at test_snntorch_loops\.py:\d+"
REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "another third step": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x) if t < 2 else net.fc1(2 * x), m1, m2)),
        rf"^lif1 \(Leaky\){LINE}: step 2 is not step 1: it hears 2 x the input, and before the input",
    ),
    "another layer at the first step": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x) + net.back(net.fc1(x)) * (t == 0), m1, m2)),
        rf"^lif1 \(Leaky\){LINE}: step 1 is not step 0: it hears fc1 \(Linear\){LINE}, "
        rf"and before fc1 .* \+ back \(Linear\){LINE}",
    ),
    "a factor that changes": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x) * 0.9**t, m1, m2)),
        r"step 1 is not step 0.*0\.9 x fc1",
    ),
    "a state set anew": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x), net.lif1.reset_mem() if t == 3 else m1, m2)),
        rf"^lif1 \(Leaky\){LINE}: its state is set to 0 again before step 3",
    ),
    "a state that is never handed on": (
        stepping(lambda net, x, t, m1, m2: (*layers(net, net.fc1(x), m1, m2)[:1], torch.zeros(1), m2)),
        rf"^lif1 \(Leaky\){LINE}: its state is set to 0 again before step 1",
    ),
    "another's state": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x), m2, m2)),
        rf"^lif1 \(Leaky\){LINE}: its state mem is not its own",
    ),
    "a state that starts elsewhere": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x), torch.ones(1) if t == 0 else m1, m2)),
        rf"^lif1 \(Leaky\){LINE}: its state starts from other values than 0",
    ),
    "spikes of two steps before": (
        two_before,
        rf"^lif1 \(Leaky\){LINE}: hears back .* of 2 steps before|step 2 is not",
    ),
    "a neuron twice a step": (twice, rf"^lif1 \(Leaky\){LINE}: is called twice"),
    "a tensor of which half the steps are written": (
        half_written,
        rf"Net{LINE}: reads .* 3 of 6 steps are written; wr",
    ),
    "a tensor written into through a view": (written_by_a_view, rf"`add`{LINE}: adds a constant"),
    "groups as the answer": (
        loop(lambda net, spk, mem: torch.stack(spk).view(STEPS, -1, 2, 2)),
        rf"the answer{LINE}: is joined of several layers, or in groups",
    ),
    "a tensor written into in part": (written_in_part, rf"`setitem`{LINE}: writes something else than a step at its"),
    "the last steps alone": (loop(lambda net, spk, mem: torch.stack(spk[2:])), rf"the answer{LINE}: has 4 of 6 steps"),
    "a sum of the last steps": (
        loop(lambda net, spk, mem: torch.stack(spk[2:]).sum(0)),
        rf"the answer{LINE}: is a sum over steps 2",
    ),
    "steps backwards": (
        loop(lambda net, spk, mem: torch.stack(spk[::-1])),
        rf"the answer{LINE}: entry 0 is not of step 0, but of 5",
    ),
    "weights for the steps": (
        loop(lambda net, spk, mem: sum(s * 0.5**i for i, s in enumerate(spk))),
        rf"the answer{LINE}: step 1 is not step 0",
    ),
    "the fourth step": (loop(lambda net, spk, mem: spk[3]), rf"the answer{LINE}: is a sum over steps 3"),
    "a branch on spikes": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x) if net.fc1(x).sum(1) > 0 else x, m1, m2)),
        r"test_snntorch_loops\.py:\d+",
    ),
    "an activation": (
        stepping(lambda net, x, t, m1, m2: layers(net, torch.relu(net.fc1(x)), m1, m2)),
        rf"^`relu`{LINE}: has no NIR form; .*a spiking layer stands in its place",
    ),
    "noise": (
        stepping(lambda net, x, t, m1, m2: layers(net, net.fc1(x) + torch.randn(8), m1, m2)),
        rf"^`add`{LINE}: adds a constant",
    ),
    "probabilities": (
        loop(lambda net, spk, mem: torch.softmax(torch.stack(spk).sum(0), 1)),
        "`softmax`.*into the loss",
    ),
    "the class": (loop(lambda net, spk, mem: torch.stack(spk).sum(0).argmax(1)), "`argmax`.*take it outside"),
    "an accident of dropout": (
        stepping(lambda net, x, t, m1, m2: layers(net, nn.functional.dropout(net.fc1(x)), m1, m2)),
        "training=self.training",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_forward_that_does_not_repeat_one_step_is_refused_where_it_does_not(name: str) -> None:
    forward, says = REFUSED[name]
    model, x = built(forward)
    with pytest.raises(UnsupportedError, match=says) as caught:
        to_nir(model, x.shape[1:])
    assert "\n" not in str(caught.value)


def test_a_loop_of_another_length_than_asked_for_is_refused() -> None:
    model, x = built(LOOPS["torch.stack(spk).mean(0)"][0])
    with pytest.raises(UnsupportedError, match=rf"the forward{LINE} runs 6 steps itself, and 4 are asked for"):
        to_nir(model, x.shape[1:], timesteps=4)


class Asked(nn.Module):
    """T is an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 4), free(snn.Leaky(0.8, 0.6))

    def forward(self, x: Tensor, num_steps: int) -> Tensor:
        mem, out = None, []
        for _ in range(num_steps):
            spikes, mem = self.lif(self.fc(x), mem)
            out.append(spikes)
        return torch.stack(out).sum(0)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_the_number_of_steps_may_be_an_argument(steps: int) -> None:
    torch.manual_seed(0)
    model, x = Asked().eval(), np.random.default_rng(0).normal(0, 2, (3, 6)).astype(np.float32)
    reference = trace(to_nir(model, (6,), timesteps=steps), x, steps)
    float_gate(reference, "snnTorch", *run_model(model, x, steps))
    np.testing.assert_allclose(reference.logits, model(torch.as_tensor(x), steps).detach().numpy(), atol=1e-6)
    with pytest.raises(UnsupportedError, match="num_steps; give timesteps=T"):
        to_nir(model, (6,))


def test_a_model_is_left_as_it_was_when_its_forward_is_recorded() -> None:
    model, x = built(LOOPS["torch.stack(mem)"][0])
    model.lif1.mem = kept = torch.ones(2)
    original = nn.Module.__call__
    to_nir(model, x.shape[1:])
    assert model.lif1.mem is kept
    assert nn.Module.__call__ is original
    assert set(vars(model)) == set(vars(Net(model.run)))


def test_one_frame_is_a_sequence_of_one() -> None:
    model, x = built(LOOPS["for step in range(x.size(0)): ... x[step]; RLeaky, Synaptic"][0], frames=True)
    model.run = lambda net, x: net.lif1(net.fc1(x[0]))[0]  # nothing is set, and nothing stacked
    reference = trace(to_nir(model, (6,), timesteps=1), x[:1], 1)
    float_gate(reference, "snnTorch", *run_model(model, x[:1], 1, frames=True))


class Keeps(nn.Module):
    """Writes into a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), free(snn.Leaky(0.7, 0.6))
        self.register_buffer("record", torch.zeros(STEPS, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.record, mem = torch.zeros(STEPS, x.size(0), 3), None
        for step in range(STEPS):
            self.record[step], mem = self.lif(self.fc(x), mem)
        return self.record.sum(0)


def test_tensors_and_attributes_are_afterwards_what_they_were() -> None:
    model = Keeps().eval()
    graph = to_nir(model, (6,))
    assert type(model.record) is Tensor
    model.record[0] = 1
    assert float(model.record.sum()) == 3 * model.record.shape[1]
    assert type(model.lif.mem) is Tensor
    x = np.random.default_rng(0).normal(0.4, 1.5, (5, 6)).astype(np.float32)
    float_gate(trace(graph, x, STEPS), "snnTorch", *run_model(model, x, STEPS))


def test_spikes_in_place_of_the_membrane_that_is_read_fail_the_gate() -> None:
    model, x = built(membrane_of_the_layer, True)
    spikes = to_nir(built(hidden, True)[0], x.shape[1:], timesteps=STEPS)
    with pytest.raises(ParityError, match="outputs differ"):
        float_gate(trace(spikes, x, STEPS), "snnTorch", *run_model(model, x, STEPS))
