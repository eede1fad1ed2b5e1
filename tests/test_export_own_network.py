"""A user's own network by its import path and a file of weights: a bundle behind the same gates, or one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import own_nets
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from idsnn_deploy import Session
from idsnn_deploy.datasets import load_split
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import read_bundle
from idsnn_evaluation.cli import main as evaluate
from idsnn_export.cli import main as export
from idsnn_export.from_torch.own_network import own_network

STEPS, SHAPE = 3, (1, 8, 8)
BASE = ["--input-shape", "1,8,8", "--timesteps", str(STEPS)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """`own_nets.hidden` after it has seen digits, and its weights in both kinds of file."""
    torch.manual_seed(0)
    net = own_nets.hidden(10, SHAPE, STEPS)
    images = load_split("digits", "train")
    pixels, labels = torch.as_tensor(images.pixels(slice(256))), torch.as_tensor(images.labels[:256])
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(8):
        net.lif.reset_mem()
        optimizer.zero_grad()
        nn.functional.cross_entropy(sum(net(pixels) for _ in range(STEPS)) / STEPS, labels).backward()
        optimizer.step()
        net.lif.mem = net.lif.mem.detach()
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"state_dict": net.state_dict(), "epoch": 8}, folder / "w.pt")
    save_file(net.state_dict(), folder / "w.safetensors")
    return net.eval(), folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, which is where a bundle goes that is not told where."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def stepped(net: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The user's own loop, from snnTorch's own reset: the mean output."""
    net.lif.reset_mem()
    with torch.no_grad():
        return (sum(net(torch.as_tensor(pixels)) for _ in range(STEPS)) / STEPS).numpy()


def test_weights_and_a_factory_become_a_bundle_that_answers_as_the_module(
    trained: tuple[nn.Module, Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, folder = trained
    data = ["--dataset", "digits"]
    assert export(["own_nets:hidden", "--weights", str(folder / "w.pt"), *BASE, *data]) == 0
    bundle = read_bundle(here / "hidden-bundle")
    test = load_split("digits", "test")
    expected = stepped(net, test.pixels())
    assert bundle.manifest.dataset == "digits"
    assert bundle.manifest.labels == [str(digit) for digit in range(10)]
    assert bundle.manifest.test_accuracy == (expected.argmax(1) == test.labels).mean() > 0.5
    assert set(bundle.manifest.parity) == {"exact, float64", "torch, float32", "onnx, float32"}
    assert any(np.array_equal(read_golden(bundle).images[0], image) for image in test.pixels())
    np.testing.assert_allclose(Session(here / "hidden-bundle")(test.pixels()), expected, atol=1e-5)
    assert evaluate([str(here / "hidden-bundle"), "--limit", "40", "--out", str(here / "report")]) == 0
    assert json.loads((here / "report" / "report.json").read_text())["accuracy"]["samples"] == 40
    assert "random inputs" not in capsys.readouterr().out


def test_8_bits_are_calibrated_and_judged_on_the_named_data_set(trained: tuple[nn.Module, Path], here: Path) -> None:
    flags = ["--weights", str(trained[1] / "w.safetensors"), *BASE, "--dataset", "digits", "--int8"]
    assert export(["own_nets:hidden", *flags]) == 0
    figures = read_bundle(here / "hidden-bundle").manifest.parity["int8"]
    assert figures["samples"] == 360
    assert figures["calibrated_on"] == 256


def test_without_data_the_gates_see_random_inputs_the_same_ones_every_time_and_say_so(
    trained: tuple[nn.Module, Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--weights", str(trained[1] / "w.pt"), *BASE, "--labels", "abcdefghij"[0] + ",b,c,d,e,f,g,h,i,j"]
    for out in ("first", "second"):
        assert export(["own_nets:hidden", *flags, "--out", out]) == 0
    first, second = read_bundle(here / "first"), read_bundle(here / "second")
    assert first.manifest.digest == second.manifest.digest
    assert first.manifest.labels == list("abcdefghij")
    assert first.manifest.dataset is None
    assert first.manifest.test_accuracy is None
    assert "random inputs, uniform in 0..1" in first.manifest.warnings[0]
    assert "warning: the gates saw random inputs" in capsys.readouterr().out


def test_frames_c_and_the_linter_take_it_too(
    trained: tuple[nn.Module, Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["own_nets:Small", "--weights", str(here / "w.pt"), *BASE]
    torch.save(own_nets.Small().state_dict(), here / "w.pt")
    assert export([*flags, "--encoding", "frames"]) == 0
    bundle = read_bundle(here / "Small-bundle")
    assert read_golden(bundle).images.shape == (STEPS, 8, *SHAPE)
    assert bundle.manifest.encoding == "frames"
    assert export([*flags, "--encoding", "frames", "--format", "c"]) == 0
    assert (here / "Small-c" / "idsnn_model.h").is_file()
    assert export([*flags, "--lint", "speck"]) == 1
    assert "speck" in capsys.readouterr().out


def test_normalization_is_inside_the_network(trained: tuple[nn.Module, Path], here: Path) -> None:
    net, folder = trained
    flags = ["own_nets:hidden", "--weights", str(folder / "w.pt"), *BASE, "--dataset", "digits"]
    assert export([*flags, "--mean", "0.25", "--std", "0.5"]) == 0
    pixels = load_split("digits", "test").pixels(slice(20))
    expected = stepped(net, (pixels - 0.25) / np.float32(0.5))
    np.testing.assert_allclose(Session(here / "hidden-bundle")(pixels), expected, atol=1e-5)


def by_name(input_shape: tuple[int, ...], timesteps: int = 1, num_classes: int = 4) -> nn.Module:
    net = nn.Linear(input_shape[0], num_classes)
    net.timesteps = timesteps
    return net


READY = nn.Linear(5, 4)


@pytest.mark.parametrize("name", ["by_name", "READY"])
def test_a_factory_gets_what_it_has_a_name_for_and_a_module_needs_no_factory(name: str, here: Path) -> None:
    torch.save(READY.state_dict(), here / "w.pt")
    made = own_network(f"{__name__}:{name}", here / "w.pt", None, (5,), 7)
    assert torch.equal(made.weight, READY.weight)
    assert (made is READY) if name == "READY" else (made.timesteps == 7)


BAD = {
    "no such module": (["no_nets:hidden", *BASE], "no_nets: no such module"),
    "no such factory": (["own_nets:hiden", *BASE], "own_nets has no hiden"),
    "a factory that raises": (["own_nets:raising", *BASE, "--dataset", "digits"], "ZeroDivisionError: of the user's"),
    "a factory that makes nothing": (["own_nets:nothing", *BASE, "--dataset", "digits"], "makes a NoneType"),
    "a factory with other arguments": (["own_nets:nn.Linear", *BASE], "nn.Linear(): TypeError: "),
    "classes that nobody names": (["own_nets:hidden", *BASE], "asks for num_classes"),
    "weights of another network": (["own_nets:synaptic", *BASE, "--dataset", "digits"], "w.pt: has no 1.weight"),
    "another shape": (
        ["own_nets:hidden", "--input-shape", "1,10,8", "--timesteps", "3", "--dataset", "digits"],
        "--input-shape says (1, 10, 8)",
    ),
    "weights of another shape": (
        ["own_nets:hidden", "--input-shape", "1,10,8", "--timesteps", "3", "--labels", "a,b,c,d,e,f,g,h,i,j"],
        "w.pt: fc.weight has shape [10, 144], the network's [10, 192]",
    ),
    "no shape": (["own_nets:hidden", "--timesteps", "3"], "needs --input-shape, too"),
    "no steps": (["own_nets:hidden", "--input-shape", "1,8,8"], "needs --timesteps, too"),
    "a shape in words": (
        ["own_nets:hidden", "--input-shape", "1x8x8", "--timesteps", "3"],
        "--input-shape 1x8x8: C,H,W",
    ),
    "half a normalization": (["own_nets:hidden", *BASE, "--mean", "0.5"], "--mean and --std belong together"),
    "no deviation": (["own_nets:hidden", *BASE, "--mean", "0.5", "--std", "0"], "--std is above 0"),
    "no number": (["own_nets:hidden", *BASE, "--mean", "0.5", "--std", "x"], "numbers"),
    "other classes": (["own_nets:hidden", *BASE, "--labels", "a,b"], "w.pt: fc.weight has shape"),
    "an unknown data set": (["own_nets:hidden", *BASE, "--dataset", "digit"], "unknown data set 'digit'"),
    "images for frames": (["own_nets:hidden", *BASE, "--dataset", "digits", "--encoding", "frames"], "takes frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    name: str, trained: tuple[nn.Module, Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, words = BAD[name]
    assert export([*flags, "--weights", str(trained[1] / "w.pt")]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if ": error: " in each)
    assert words in line
    assert list(here.iterdir()) == []


def test_what_is_no_source_says_what_is_meant(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run/config.json", "run/student.safetensors", "bundle/manifest.json", "empty/x"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    for source, words in (
        ("nothing", "nothing: no such run folder or .nir file, and no package.module:factory"),
        ("empty", "empty: not a run folder, for it holds no config.json; idsnn-train writes one"),
        ("bundle", "bundle: a bundle already; --format c makes C of it, bundle/model.nir or its run folder another"),
        ("run/student.safetensors", "run/student.safetensors: a file of a run; name the run folder: run"),
    ):
        assert export([source]) == 2
        assert words in capsys.readouterr().err


def test_weights_are_named_and_read_as_tensors_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(nn.Linear(2, 2), here / "whole.pt")  # a pickled module, whose loading would run code
    for flags, words in (
        ([], "needs --weights, too"),
        (["--weights", "none.pt"], "none.pt: no such file"),
        (["--weights", "whole.pt"], "whole.pt: holds no weights that can be read safely"),
    ):
        assert export(["own_nets:Small", *BASE, *flags]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--weights", "w.pt"], ["--input-shape", "1,8,8"], ["--dataset", "digits"]])
def test_flags_of_a_factory_are_refused_for_anything_else(
    flag: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(["x.nir", *flag]) == 2
    assert f"{flag[0]} is for a network by its import path" in capsys.readouterr().err


def test_a_network_of_spikingjelly_becomes_a_bundle_that_says_its_version(here: Path) -> None:
    spikingjelly = pytest.importorskip("spikingjelly", reason="the extra `bench` brings it")
    made = own_nets.jelly(timesteps=STEPS)
    torch.save(made.state_dict(), here / "w.pt")
    assert export(["own_nets:jelly", "--weights", "w.pt", *BASE, "--graphs", "onnx"]) == 0
    bundle = read_bundle(here / "jelly-bundle")
    assert bundle.manifest.versions["spikingjelly"]
    assert spikingjelly
    images = np.random.default_rng(0).random((20, *SHAPE), dtype=np.float32)
    with torch.no_grad():
        expected = made.eval()(torch.as_tensor(images)).numpy()
    np.testing.assert_allclose(Session(here / "jelly-bundle")(images), expected, atol=1e-6)
    assert expected.std(0).max() > 0
