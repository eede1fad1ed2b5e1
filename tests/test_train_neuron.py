"""The neuron: its equation, its gradient, its agreement with snnTorch, and what it leaves behind."""

from __future__ import annotations

import gc
import shutil
import weakref
from typing import Any

import pytest
import snntorch
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from idsnn import LIF, SpikingResNet
from idsnn import kernel as kernels
from idsnn.kernel import EAGER, Kernel
from idsnn.neuron import lif_step, lif_steps, spike

PLAIN = Kernel(kernels._forward, kernels._backward)
T, SHAPE = 6, (6, 3, 5)


def stepping_snntorch(current: torch.Tensor, beta: torch.Tensor, theta: torch.Tensor, a: float) -> torch.Tensor:
    """Spikes by snnTorch's own layer, stepped with its state handed back."""
    layer = snntorch.Leaky(
        beta=0.5, threshold=1.0, spike_grad=lambda v: spike(v, a), reset_mechanism="zero", reset_delay=True
    )
    layer.beta, layer.threshold = beta, theta
    v, spikes = torch.zeros_like(current[0]), []
    for each in current:
        s, v = layer(each, v)
        spikes.append(s)
    snntorch.Leaky.instances.clear()
    return torch.stack(spikes)


def test_the_golden_trace_pins_the_equation() -> None:
    # By hand, beta 0.25, theta 0.5: 0.4; 0.1+0.5 spikes; after the reset 0.5 is not above theta, 0.125+0.375 is not,
    # 0.125+0.376 is; after that reset 0.2; 0.05+0.5 spikes.
    current = torch.tensor([0.4, 0.5, 0.5, 0.375, 0.376, 0.2, 0.5], dtype=torch.float64)[:, None]
    assert LIF().double()(current)[:, 0].tolist() == [0, 1, 0, 0, 1, 0, 1]
    v, membranes = torch.zeros(1, dtype=torch.float64), []
    for each in current:
        _, v = lif_step(each, v, 0.25, 0.5)
        membranes.append(v.item())
    assert membranes == pytest.approx([0.4, 0.6, 0.5, 0.5, 0.501, 0.2, 0.55], abs=1e-15)


def test_the_surrogate_is_a_rectangle_of_width_2a_and_area_1() -> None:
    for a in (0.5, 0.25, 1.0):
        x = torch.tensor([-a - 1e-6, -a + 1e-6, 0.0, a - 1e-6, a + 1e-6], dtype=torch.float64, requires_grad=True)
        spike(x, a).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0, 1 / (2 * a), 1 / (2 * a), 1 / (2 * a), 0]


def test_the_reset_carries_no_gradient() -> None:
    # The first step spikes inside the window; through the reset its gradient would reach the second step's membrane.
    current = torch.tensor([[0.6], [0.3]], dtype=torch.float64, requires_grad=True)
    LIF().double()(current)[1].sum().backward()
    assert current.grad is not None
    assert current.grad[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("beta", "theta", "a"), [(0.25, 0.5, 0.5), (0.9, 1.0, 0.3), (0.05, 0.1, 1.0)])
def test_all_steps_at_once_equal_stepping_snntorch(beta: float, theta: float, a: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(SHAPE, dtype=torch.float64)
    current = torch.randn(SHAPE, dtype=torch.float64)
    found = []
    for run in ("ours", "snnTorch"):
        x = current.clone().requires_grad_()
        b, t = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (beta, theta))
        if run == "ours":
            spikes = lif_steps(x.flatten(0, 1) * 1, b, t, T, a).view(SHAPE)
        else:
            spikes = stepping_snntorch(x, b, t, a)
        (spikes * weight).sum().backward()
        found.append((spikes.detach(), x.grad, b.grad, t.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@limits(max_examples=25)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 9), st.sampled_from([torch.float32, torch.float64]))
def test_the_kernels_give_the_numbers_of_the_equation(steps: int, batch: int, n: int, dtype: torch.dtype) -> None:
    torch.manual_seed(steps * 100 + batch * 10 + n)
    beta, theta, a = torch.rand((), dtype=dtype), torch.rand((), dtype=dtype) + 0.1, 0.4
    current, weight = torch.randn(2, steps, batch, n, dtype=dtype)
    x = current.clone().requires_grad_()
    v, expected = torch.zeros(batch, n, dtype=dtype), []
    for each in x:
        s, v = lif_step(each, v, beta, theta, a)
        expected.append(s)
    (torch.stack(expected) * weight).sum().backward()
    for kernel in (EAGER, PLAIN):
        y = current.clone().requires_grad_()
        spikes = lif_steps(y.flatten(0, 1) * 1, beta, theta, steps, a, kernel).view(current.shape)
        (spikes * weight).sum().backward()
        assert torch.equal(spikes, torch.stack(expected))
        torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # inductor's
def test_the_compiled_kernel_gives_the_numbers_of_the_eager_one() -> None:
    compiled = kernels.compiled(torch.device("cpu"))
    assert compiled is not EAGER
    for dtype, steps in ((torch.float32, 2), (torch.bfloat16, 4)):
        torch.manual_seed(steps)
        current, weight = torch.randn(2, steps, 3, 70).to(dtype)
        found = []
        for kernel in (EAGER, compiled):
            layer = LIF(beta=0.3)
            layer.kernel = kernel
            x = current.clone().requires_grad_()
            spikes = layer(x)
            (spikes * weight).sum().backward()
            found.append((spikes.detach(), x.grad))
        assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_compiler_that_fails_leaves_the_eager_neuron(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def call(*_: Any) -> None:
            raise RuntimeError("no toolchain\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    kernels.compiled.cache_clear()
    with pytest.warns(RuntimeWarning, match="uncompiled on cpu: no toolchain"):
        assert kernels.compiled(torch.device("cpu")) is EAGER
    kernels.compiled.cache_clear()


def test_the_layout_in_memory_does_not_matter() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 4, 5)
    layer = LIF()
    layer.timesteps = 4
    plain, last = layer(x), layer(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, last)
    assert torch.equal(plain, LIF()(x.unflatten(0, (4, 2))).flatten(0, 1))
    assert torch.equal(plain.transpose(1, 3), layer(x.transpose(1, 3)))


def test_the_input_is_left_alone_unless_asked() -> None:
    x = torch.randn(4, 2, 3)
    before = x.clone()
    LIF()(x)
    assert torch.equal(x, before)


def test_half_precision_keeps_the_membrane_in_32_bits() -> None:
    # 1/3 of 0.75 is not a bfloat16: with a rounded membrane the second step would not be above theta.
    current = torch.tensor([[0.498], [0.375]], dtype=torch.bfloat16)
    spikes = LIF(beta=0.2532, threshold=0.5)(current)
    wide = LIF(beta=0.2532, threshold=0.5)(current.float())
    assert torch.equal(spikes.float(), wide)


def test_a_layer_is_a_leaky_that_keeps_no_state() -> None:
    layer = LIF()
    assert isinstance(layer, snntorch.Leaky)
    assert (float(layer.beta), float(layer.threshold), layer.reset_mechanism) == (0.25, 0.5, "zero")
    x = torch.ones(4, 2, 3)
    assert torch.equal(layer(x), layer(x))
    layer(x[0], torch.zeros(2, 3))
    assert layer.mem.numel() == 0


def test_learned_beta_and_theta_start_as_given_and_stay_in_their_range() -> None:
    layer = LIF(0.25, 0.5, learn_beta=True, learn_threshold=True)
    assert float(layer.beta.detach()) == pytest.approx(0.25)
    assert float(layer.threshold.detach()) == pytest.approx(0.5)
    x = torch.rand(4, 2, 3)
    layer(x).sum().backward()
    assert all(each.grad is not None and each.grad.abs() > 0 for each in layer.parameters())
    for extreme in (-1e4, 1e4):
        torch.nn.init.constant_(layer.raw_beta, extreme)
        assert 0.01 - 1e-6 <= layer.beta.item() <= 0.99 + 1e-6
    torch.nn.init.constant_(layer.raw_threshold, -1e4)
    assert layer.threshold.item() == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [{"beta": 1.5}, {"threshold": 0.0}, {"beta": 0.0, "learn_beta": True}])
def test_impossible_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="LIF"):
        LIF(**bad)


def test_rows_that_do_not_divide_into_steps_are_refused() -> None:
    layer = LIF()
    layer.timesteps = 4
    with pytest.raises(ValueError, match="7 rows do not divide into 4 steps"):
        layer(torch.zeros(7, 2))


def test_fifty_models_leave_nothing_alive() -> None:
    gc.collect()
    before, dropped = len(snntorch.Leaky.instances), []  # other tests have layers of snnTorch's own
    for _ in range(50):
        model = SpikingResNet(18, 2, width=1, in_channels=1)
        dropped += [weakref.ref(model), *map(weakref.ref, model.neurons().values())]
        del model
    gc.collect()
    assert not [ref for ref in dropped if ref() is not None]
    assert len(snntorch.Leaky.instances) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_gpu_gives_the_numbers_of_the_cpu(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    current, weight = torch.randn(2, 4, 3, 1000).to(dtype)
    found = []
    for device in ("cpu", "cuda"):
        for kernel in (EAGER, kernels.compiled(torch.device(device))):
            layer = LIF().to(device)
            layer.kernel = kernel
            x = current.to(device).requires_grad_()
            spikes = layer(x)
            (spikes * weight.to(device)).sum().backward()
            assert x.grad is not None
            found.append((spikes.detach().cpu(), x.grad.cpu()))
    for spikes, grad in found[1:]:
        assert torch.equal(spikes, found[0][0])
        torch.testing.assert_close(grad, found[0][1], rtol=1e-3, atol=1e-3)
