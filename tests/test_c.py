"""A network in whole numbers: numpy and C answer the same, bit for bit, and close to the graph in float64."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idsnn_deploy.errors import ParityError, UnsupportedError, UsageError
from idsnn_deploy.readout import WHOLE, Readout
from idsnn_evaluation.counting.operations import fan_out
from idsnn_export import cli
from idsnn_export.c.bounds import membrane, of_input, proved
from idsnn_export.c.quantize import integer_network, pixel_table
from idsnn_export.c.write import channels_last, write_c
from idsnn_export.c_folder import judged, whole_input
from idsnn_export.graph.layers import layer_table
from idsnn_export.nir_file.reader import read_nir
from idsnn_export.nir_file.writer import write_nir
from idsnn_export.reference.integer import Layer, decayed, run_integer
from idsnn_export.reference.integer import Path as Way
from idsnn_export.reference.interpreter import interpret, trace

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "bundle"
CC = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler here")
STRICT = "-O1 -Werror -fsanitize=undefined -fno-sanitize-recover=all"

# What whole numbers have no form for, and the node that the refusal names.
REFUSED = {
    "scale_alone": "n0 (Scale)",
    "delay_alone": "n0 (Delay)",
    "flatten_middle": "output",
    "flatten_negative": "output",
    "nested_skip": "fc",
}


def counts(graph: nir.NIRGraph, seed: int = 0) -> Any:
    """(T, 3, ...) whole numbers 0..8."""
    return (graphs.inputs(graph, seed=seed) * 4).astype(np.uint8)


def network_of(graph: nir.NIRGraph, timesteps: int = graphs.STEPS) -> Any:
    return integer_network(graph, timesteps, static=False, dt=graphs.DT)


def make(folder: Path, *arguments: str, flags: str = STRICT) -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", "-C", str(folder), *arguments, f"CC={CC}", f"CFLAGS={flags}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def runs_avx2() -> bool:
    """Whether this processor has AVX2, as the system tells."""
    cpus = Path("/proc/cpuinfo")
    return cpus.exists() and " avx2 " in cpus.read_text()


needs_avx2 = pytest.mark.skipif(not runs_avx2(), reason="no AVX2 here")
FORMS = [
    pytest.param("portable", "", id="portable"),
    pytest.param("portable", " -DIDSNN_SCALAR", id="scalar"),
    pytest.param("avx2", "", id="avx2", marks=needs_avx2),
]


# A pattern of four steps and one of more go different ways with AVX2 alone.
FORMS_AT = [(FORMS[0], 4), (FORMS[1], 4), (FORMS[2], 4), (FORMS[2], 5)]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled kernels, which are the same for every network of equal sizes of types."""
    return tmp_path_factory.mktemp("kernels")


def check(folder: Path, objects: Path, flags: str) -> subprocess.CompletedProcess[str]:
    """`make check` with kernels that were compiled once for each idsnn_bits.h and way of compiling."""
    key = hashlib.sha256((folder / "idsnn_bits.h").read_bytes() + (folder / "Makefile").read_bytes() + flags.encode())
    kept = objects / f"{key.hexdigest()}.o"
    if kept.exists():
        shutil.copyfile(kept, folder / "idsnn_kernels.o")  # newer than its sources, so make leaves it alone
    done = make(folder, "check", flags=flags)
    if done.returncode == 0 and not kept.exists():
        shutil.copyfile(folder / "idsnn_kernels.o", kept)
    return done


@needs_compiler
@pytest.mark.parametrize("name", [name for name in graphs.CASES if name not in REFUSED])
def test_c_answers_as_numpy_does_at_once_and_as_a_stream(name: str, tmp_path: Path, objects: Path) -> None:
    graph = graphs.CASES[name].build()
    write_c(tmp_path, network_of(graph), name, counts(graph), ["a"])
    done = check(tmp_path, objects, STRICT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 golden vectors answered" in done.stdout


def wide(seed: int) -> nir.NIRGraph:
    """Layers of every number of lanes, whose sums fit into 16 bits at once, by rows, by pixels and not at all.

    Weights of one size, 127 in 8 bits: a sum is 127 times its inputs, and 2^15 is 258 times. So 3 * 3 * 4 inputs (at
    once), a row of 3 * 56 (by rows), a row of 5 * 56 no more but a pixel of it (by pixels), and 300 (not at all).
    """
    rng = np.random.default_rng(seed)

    def block(inputs: int, out: int, kernel: int, groups: int = 1, **window: Any) -> list[nir.NIRNode]:
        window = {"stride": 1, "padding": kernel // 2, "dilation": 1, **window}
        weight = rng.choice([-0.25, 0.25], (out, inputs // groups, kernel, kernel)).astype(np.float32)
        bias = rng.choice([-0.125, 0.125], out).astype(np.float32)
        size = (7, 6)
        return [
            nir.Conv2d(input_shape=size, weight=weight, bias=bias, groups=groups, **window),
            graphs.lif(out, *size),
        ]

    layers = [
        *block(2, 4, 3),
        *block(4, 56, 3),
        *block(56, 40, 3, dilation=2, padding=2),
        *block(40, 56, 3, groups=8),
        *block(56, 24, 5),
        *block(24, 300, 1),
        *block(300, 9, 1),
    ]
    return graphs.chain((2, 7, 6), (9, 7, 6), *layers)


@needs_compiler
@pytest.mark.parametrize(
    ("isa", "flags", "timesteps"),
    [pytest.param(*form.values, steps, id=f"{form.id}, T {steps}", marks=form.marks) for form, steps in FORMS_AT],
)
def test_every_form_of_the_sums_answers_as_numpy_does(
    isa: str, flags: str, timesteps: int, tmp_path: Path, objects: Path
) -> None:
    graph = wide(seed=timesteps)
    write_c(tmp_path, network_of(graph, timesteps), "wide", counts(graph)[:timesteps], ["a"], isa)
    model = (tmp_path / "idsnn_model.c").read_text()
    assert all(f"IDSNN_{exact}" in model for exact in ("AT_ONCE", "BY_ROW", "BY_TAP", "WIDE"))
    done = check(tmp_path, objects, STRICT + flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 golden vectors answered" in done.stdout


def subtracting(seed: int) -> nir.NIRGraph:
    """Three layers whose spikes are subtracted, with and without a leak, of constants of every kind."""
    rng = np.random.default_rng(seed)
    height, width, first, second = (int(n) for n in rng.integers((1, 1, 1, 15), (6, 6, 20, 40)))
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []

    def constants(shape: tuple[int, ...], low: float, high: float) -> Any:
        each = rng.uniform(low, high, (shape, shape[:1], ())[rng.integers(3)])
        return np.broadcast_to(each.reshape(*each.shape, *(1,) * (len(shape) - each.ndim)), shape).astype(np.float32)

    def layer(name: str, before: str, weights: nir.NIRNode, *shape: int) -> str:
        leak = {"tau": graphs.DT / constants(shape, 0.05, 1), "v_leak": constants(shape, -0.2, 0.2)}
        r = constants(shape, 0.5, 2)
        membrane = nir.LI(r=r, **leak) if rng.integers(2) else nir.I(r / graphs.DT)
        neuron = {
            "membrane": membrane,
            "lif": nir.Threshold(constants(shape, 0.1, 2)),
            "reset": nir.Scale(-constants(shape, 0.1, 2)),
        }
        nodes[f"{name}_w"] = weights
        nodes.update({f"{name}_{part}": node for part, node in neuron.items()})
        edges.extend([(before, f"{name}_w"), (f"{name}_w", f"{name}_membrane")])
        edges.extend((f"{name}_{a}", f"{name}_{b}") for a, b in graphs.RESETS)
        return f"{name}_lif"

    def conv(inputs: int, out: int) -> nir.Conv2d:
        weight, bias = rng.normal(size=(out, inputs, 3, 3)) / 3, rng.normal(size=out) / 9
        window = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
        return nir.Conv2d(input_shape=(height, width), weight=weight, bias=bias, **window)

    last = layer("a", "input", conv(2, first), first, height, width)
    last = layer("b", last, conv(first, second), second, height, width)
    nodes["flat"] = nir.Flatten(np.array((second, height, width)), start_dim=0, end_dim=-1)
    edges.append((last, "flat"))
    last = layer("c", "flat", nir.Linear(rng.normal(size=(7, second * height * width)) / 9), 7)
    return graphs.graph(nodes, [*edges, (last, "output")], (2, height, width), (7,))


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_spikes_that_are_subtracted_are_in_c_what_they_are_in_numpy(seed: int, tmp_path: Path, objects: Path) -> None:
    graph, readout = subtracting(seed), (*WHOLE,)[seed % 4]
    network = integer_network(graph, graphs.STEPS, static=False, dt=graphs.DT, readout=readout)
    assert [layer.name for layer in network.layers if layer.rho is not None] == ["a_lif", "b_lif", "c_lif"]
    x = counts(graph, seed)
    _, spikes = run_integer(network, x)
    assert all(0 < fired.mean() < 1 for fired in spikes.values())
    found = trace(graph, x.astype(float), graphs.STEPS, dt=graphs.DT)
    assert (spikes["a_lif"] == found.spikes["a_lif"]).mean() >= 0.999
    assert all((spikes[name] == fired).mean() >= 0.95 for name, fired in found.spikes.items())  # 105 of the last
    write_c(tmp_path, network, "subtracting", x, ["a"])
    done = check(tmp_path, objects, STRICT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 golden vectors answered" in done.stdout


@needs_compiler
@pytest.mark.parametrize("readout", WHOLE)
@pytest.mark.parametrize("name", ["leaky_integrator", "recurrent"])
def test_c_reads_its_steps_out_as_the_graph_says(name: str, readout: Readout, tmp_path: Path, objects: Path) -> None:
    graph = graphs.CASES[name].build()
    network = integer_network(graph, graphs.STEPS, static=False, dt=graphs.DT, readout=readout)
    x = counts(graph)
    logits, _ = run_integer(network, x)
    expected = WHOLE[readout](trace(graph, x.astype(float), graphs.STEPS, dt=graphs.DT).outputs)
    near = 2e-3 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(logits * network.answer_unit, expected, rtol=0, atol=near)
    write_c(tmp_path, network, name, x, ["a"])
    done = check(tmp_path, objects, STRICT)
    assert "3 of 3 golden vectors answered" in done.stdout, done.stdout + done.stderr


ENDLESS = """
#include <stdio.h>
#include "idsnn_model.h"
int main(void) {
  static uint64_t arena[(IDSNN_STREAM_ARENA_BYTES + 7) / 8];
  const uint8_t all = 255, none = 0;
  int32_t logits[IDSNN_CLASSES] = {0}, spikes = 0;
  if (idsnn_start(arena, sizeof arena) != IDSNN_OK) return 1;
  for (int t = 0; t < 2000; t++) {
    if (idsnn_step(t < 1000 ? &all : &none, logits, arena, sizeof arena) != IDSNN_OK) return 1;
    spikes += logits[0] > 0;
  }
  printf("%d\\n", (int)spikes);
  return 0;
}
"""


@needs_compiler
def test_a_stream_that_goes_on_for_ever_stays_within_32_bits(tmp_path: Path) -> None:
    """Neurons that are given more than their spikes take off: their membranes stop at 2^30, and go on from there."""
    nodes = {"fc": nir.Linear(weight=np.full((1, 1), 100, np.float32))}
    nodes |= graphs.soft_reset(nir.I(np.full(1, 1 / graphs.DT)), 0.5, -0.25, 1)
    edges = [("input", "fc"), ("fc", "membrane"), *graphs.RESETS, ("lif", "output")]
    graph = graphs.graph(nodes, edges, (1,), (1,))
    write_c(tmp_path, network_of(graph, 4), "endless", counts(graph)[:4], ["a"])
    (tmp_path / "main.c").write_text(ENDLESS)
    done = make(tmp_path, "idsnn")
    assert done.returncode == 0, done.stderr
    answer = subprocess.run([tmp_path / "idsnn"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "2000\n"), answer.stderr


@pytest.mark.parametrize(("name", "node"), REFUSED.items())
def test_what_has_no_form_in_whole_numbers_is_refused_by_its_node_s_name(name: str, node: str, tmp_path: Path) -> None:
    graph = graphs.CASES[name].build()
    with pytest.raises(UnsupportedError) as refused:
        write_c(tmp_path, network_of(graph), name, counts(graph), ["a"])
    assert str(refused.value).startswith(node)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in graphs.CASES if name not in REFUSED])
def test_whole_numbers_spike_as_float64_does(name: str) -> None:
    graph = graphs.CASES[name].build()
    x, network = counts(graph), network_of(graph)
    logits, spikes = run_integer(network, x)
    found = trace(graph, x.astype(float), graphs.STEPS, dt=graphs.DT)
    for layer, fired in found.spikes.items():
        assert (spikes[layer] == fired).mean() >= 0.99, layer
    if all((spikes[layer] == fired).all() for layer, fired in found.spikes.items()):
        near = 2e-3 * max(1.0, float(np.abs(found.logits).max()))
        assert np.abs(logits * network.logit_unit / graphs.STEPS - found.logits).max() <= near


def test_a_leak_rounds_to_the_nearest_whole_number_and_halves_upwards() -> None:
    half = 2**14  # k of 1/2
    assert [int(decayed(np.int64(m), np.int64(half))) for m in (3, 2, 1, 0, -1, -2, -3)] == [2, 1, 1, 0, 0, -1, -1]


def test_a_neuron_by_hand() -> None:
    # beta 1/2, theta 1, one weight of 0.75: v = 0.75, 1.125 (spike), 0.75, 1.125 (spike).
    lif = nir.LIF(
        tau=np.array([2e-4]), r=np.array([2.0]), v_leak=np.zeros(1), v_threshold=np.array([1.0]), v_reset=np.zeros(1)
    )
    graph = graphs.chain((1,), (1,), nir.Linear(weight=np.array([[0.75]])), lif)
    _, spikes = run_integer(network_of(graph, 4), np.ones((4, 1, 1), np.uint8))
    assert spikes["n1"][:, 0, 0].tolist() == [False, True, False, True]


def test_a_neuron_that_spikes_are_taken_off_by_hand() -> None:
    # beta 1/2, theta 0.4, rho 1/4, 1.75 comes in once: v = 1.75 (spike), 0.625 (spike), 0.0625. A reset to zero would
    # leave nothing after the first, none at all 0.4375 at last.
    nodes = {"fc": nir.Linear(weight=np.array([[1.75]], np.float32))}
    nodes |= graphs.soft_reset(nir.LI(tau=np.full(1, 2e-4), r=np.full(1, 2.0), v_leak=np.zeros(1)), 0.4, -0.25, 1)
    edges = [("input", "fc"), ("fc", "membrane"), *graphs.RESETS, ("lif", "output")]
    network = network_of(graphs.graph(nodes, edges, (1,), (1,)), 3)
    _, spikes = run_integer(network, np.array([1, 0, 0], np.uint8).reshape(3, 1, 1))
    assert spikes["lif"][:, 0, 0].tolist() == [True, True, False]


def test_a_pixel_becomes_what_normalization_makes_of_it_and_padding_stays_zero() -> None:
    table, unit = pixel_table(2, (0.5, 0.25), (0.25, 0.5), static=True)
    assert table.shape == (2, 256)
    for pixel in (0, 100, 255):
        assert table[0, pixel] * unit == pytest.approx((pixel / 255 - 0.5) / 0.25, abs=1e-3)
        assert table[1, pixel] * unit == pytest.approx((pixel / 255 - 0.25) / 0.5, abs=1e-3)
    assert pixel_table(1, None, None, static=False)[0][0].tolist() == list(range(256))


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1e-9, 1.0, 1e6]), st.sampled_from([0.0, 1e-6, 1.0, 1e3]))
def test_no_sum_of_any_network_leaves_the_bounds_that_were_proved(seed: int, size: float, bias: float) -> None:
    rng = np.random.default_rng(seed)
    conv = graphs.conv((2, 5, 5), 3, seed=seed % 1000)
    conv.weight = (rng.normal(size=conv.weight.shape) * size).astype(np.float32)
    conv.weight[0] *= rng.choice([0, 1e-6, 1])
    conv.bias = (rng.normal(size=3) * bias).astype(np.float32)
    graph = graphs.chain((2, 5, 5), (3, 5, 5), conv, graphs.lif(3, 5, 5))
    network = network_of(graph)
    (layer,) = network.layers
    x = rng.choice(np.array([0, 1, 255], np.uint8), (graphs.STEPS, 2, 2, 5, 5))
    most = membrane(layer, {network.input: np.full((2, 5, 5), 255.0)}, graphs.STEPS)
    seen = largest_membrane(network, x)
    assert seen <= most.max() < 2**31
    # The bias is never lost: what fires in float64 far from the threshold fires in whole numbers.
    _, spikes = run_integer(network, x)
    found = trace(graph, x.astype(float), graphs.STEPS, dt=graphs.DT)
    distance = np.abs(found.membranes["n1"] - 0.5)
    # Half a unit of each weight, doubled: what cancels in a sum does not cancel in its rounding.
    units = np.broadcast_to(np.abs(conv.weight).max((1, 2, 3), keepdims=True), conv.weight.shape)
    around = graphs.conv((2, 5, 5), 3)
    around.weight, around.bias = units / 127, np.zeros(3)
    rounding = interpret(graphs.chain((2, 5, 5), (3, 5, 5), around), x[:1].astype(float), 1)[0]
    clear = distance[0] > rounding[0] + 0.02 * np.abs(found.membranes["n1"][0]) + 1e-3
    assert (spikes["n1"][0] == found.spikes["n1"][0])[clear].all()


def layer_of(**given: Any) -> Layer:
    """Two neurons that hear a, weighted by -1, 2 and 3, -4, times -5 << 1; a fires ones."""
    weight = nir.Linear(np.array([[-1.0, 2.0], [3.0, -4.0]]))
    numbers = {"offset": -3, "late": 2, "decay": 0, "membrane_offset": 0, "reset": 0, "synapse": None, "theta": None}
    whole = {
        name: value if value is None else np.array([value]) for name, value in {**numbers, "rho": None, **given}.items()
    }
    return Layer("b", (2,), (Way("a", False, (weight,), np.array([-5]), np.array([1])),), unit=np.ones(2), **whole)


HALF, ALL = 2**14, 2**15  # of what a membrane keeps, in 2^-15


@pytest.mark.parametrize(
    ("given", "timesteps", "most"),
    [
        ({}, 4, [36, 76]),  # x = 3 + 2 + 3 (7) * 5 * 2 = 35 (75), and 1 for rounding
        ({"decay": HALF}, 4, [72, 152]),  # x + 1 + (x + 1) / 2 + ...
        ({"decay": ALL}, 4, [140, 300]),  # T x
        ({"decay": ALL}, 1, [70, 150]),  # a stream that stops at 2^30 takes one more
        ({"theta": -100}, 4, [135, 175]),  # a membrane that stayed just below theta, and x
        ({"theta": 1, "reset": -100}, 4, [135, 175]),
        ({"theta": 1, "decay": HALF}, 4, [72, 152]),
        ({"synapse": HALF, "membrane_offset": -9}, 4, [82, 162]),  # the current reaches 72 (152), then 9, and 1
        ({"rho": -10}, 4, [46, 86]),  # taken off beside x
        ({"rho": 10, "decay": ALL}, 4, [180, 340]),
    ],
)
def test_what_a_layer_can_reach_by_hand(given: dict[str, int], timesteps: int, most: list[int]) -> None:
    assert membrane(layer_of(**given), {"a": np.ones(2)}, timesteps).tolist() == most


@pytest.mark.parametrize(
    ("offset", "room", "fits"),
    [(2**31 - 74, [], True), (2**31 - 73, [], False), (2**30 - 74, [2], True), (2**30 - 73, [2], False)],
)
def test_a_layer_fits_into_32_bits_or_is_one_too_large(offset: int, room: list[int], fits: bool) -> None:
    """The second neuron has 2 + 70 on top of its offset, and 1 for rounding."""
    assert proved(layer_of(offset=offset), {"a": np.ones(2)}, 4, *room) == fits


def test_an_input_reaches_what_its_table_says_of_each_channel() -> None:
    assert of_input(np.array([[-5, 3], [1, -9]]), (2, 1, 2)).tolist() == [[[5, 5]], [[9, 9]]]


def largest_membrane(network: Any, x: Any) -> float:
    """The largest |x| and |v| on the way, by the equations once more."""
    (layer,) = network.layers
    m = np.zeros((x.shape[1], *layer.shape), np.int64)
    largest = 0
    for frame in x:
        arriving = layer.offset + sum(path(frame.astype(np.int64)) for path in layer.paths)
        v = np.floor((m * layer.decay + 2**14) / 2**15).astype(np.int64) + arriving
        largest = max(largest, int(np.abs(v).max()), int(np.abs(arriving).max()))
        m = np.where(v > layer.theta, layer.reset, v)
    return largest


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        graph = graphs.CASES["residual"].build()
        write_c(tmp_path / folder, network_of(graph), "net", counts(graph), ["x"])
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == [
        *("Makefile", "README.md", "golden.h", "idsnn_bits.h", "idsnn_kernels.c", "idsnn_kernels.h"),
        *("idsnn_margin.c", "idsnn_model.c", "idsnn_model.h", "idsnn_weights.c", "idsnn_weights.h", "main.c"),
    ]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "c"
    assert cli.main([str(DIGITS), "--format", "c", "--out", str(folder)]) == 0
    return folder


@needs_compiler
def test_a_changed_golden_value_fails_the_check(digits: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(digits, tmp_path / "c")
    assert make(folder, "check", flags="-O1").returncode == 0
    text = (folder / "golden.h").read_text()
    before, _, numbers = text.partition("idsnn_golden_logits[] = {\n")
    first, _, rest = numbers.partition(",")
    (folder / "golden.h").write_text(f"{before}idsnn_golden_logits[] = {{\n{int(first) + 1},{rest}")
    done = make(folder, "check", flags="-O1")
    assert done.returncode != 0
    assert "7 of 8 golden vectors" in done.stdout


PROBE = """
#include <stdio.h>
#include <string.h>
#include "golden.h"
#include "idsnn_model.h"
#include "idsnn_kernels.h"
int main(void) {
  static uint64_t arena[(IDSNN_STREAM_ARENA_BYTES + 7) / 8 + 1];
  int32_t logits[IDSNN_CLASSES] = {7};
  uint8_t *odd = (uint8_t *)arena + 1;
  printf("%d %d %d %d\\n", idsnn_run_in(idsnn_golden_pixels, logits, arena, IDSNN_ARENA_BYTES - 1),
         idsnn_run_in(idsnn_golden_pixels, logits, NULL, IDSNN_ARENA_BYTES),
         idsnn_run_in(idsnn_golden_pixels, logits, odd, IDSNN_ARENA_BYTES),
         idsnn_start(arena, IDSNN_STREAM_ARENA_BYTES - 1));
  printf("%d %d\\n", (int)logits[0], (int)arena[0]);
  memset(arena, 0x5a, sizeof arena);
  printf("%d\\n", idsnn_run_in(idsnn_golden_pixels, logits, arena, IDSNN_ARENA_BYTES));
  const uint8_t *behind = (const uint8_t *)arena + IDSNN_ARENA_BYTES;
  int kept = 1;
  for (size_t i = 0; i < sizeof arena - IDSNN_ARENA_BYTES; i++) kept &= behind[i] == 0x5a;
  printf("%d %lld\\n", kept, (long long)idsnn_additions);
  memset(arena, 0x5a, sizeof arena);
  kept = idsnn_start(arena, IDSNN_STREAM_ARENA_BYTES) == 0;
  for (int t = 0; t < IDSNN_TIMESTEPS; t++)
    kept &= idsnn_step(idsnn_golden_pixels, logits, arena, IDSNN_STREAM_ARENA_BYTES) == 0;
  for (size_t i = IDSNN_STREAM_ARENA_BYTES; i < sizeof arena; i++) kept &= ((const uint8_t *)arena)[i] == 0x5a;
  printf("%d\\n", kept);
  return 0;
}
"""


@needs_compiler
def test_an_arena_too_small_is_an_error_code_and_nothing_is_written_beyond_one_that_is_not(
    digits: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(digits, tmp_path / "c")
    (folder / "main.c").write_text(PROBE)
    assert make(folder, "idsnn", flags="-O1 -DIDSNN_COUNT").returncode == 0
    done = subprocess.run([folder / "idsnn"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert done[:3] == ["-1 -1 -1 -1", "7 0", "0"]
    kept, additions = map(int, done[3].split())
    assert (kept, done[4]) == (1, "1")
    assert additions == expected_additions()


HEAP = """
#include <stdlib.h>
#include "golden.h"
#include "idsnn_model.h"
int main(void) {
  void *arena = malloc(IDSNN_ARENA_BYTES), *stream = malloc(IDSNN_STREAM_ARENA_BYTES);
  int32_t logits[IDSNN_CLASSES], answer[IDSNN_CLASSES];
  const size_t bytes = IDSNN_STREAM_ARENA_BYTES;
  int32_t steps;
  int differ = idsnn_run_until(idsnn_golden_pixels, IDSNN_GOLDEN_MARGIN, answer, &steps, stream, bytes) != IDSNN_OK;
  differ += steps != idsnn_golden_steps[0];
  for (int i = 0; i < IDSNN_CLASSES; i++) differ += answer[i] != idsnn_golden_early[i];
  free(stream);
  stream = malloc(IDSNN_STREAM_ARENA_BYTES);
  differ += idsnn_run_in(idsnn_golden_pixels, logits, arena, IDSNN_ARENA_BYTES) != IDSNN_OK;
  differ += idsnn_start(stream, IDSNN_STREAM_ARENA_BYTES) != IDSNN_OK;
  for (int t = 0; t < IDSNN_TIMESTEPS; t++) {
    const size_t frame = IDSNN_FRAMES == 1 ? 0 : (size_t)t * (IDSNN_PIXELS / IDSNN_FRAMES);
    int32_t now[IDSNN_CLASSES];
    differ += idsnn_step(idsnn_golden_pixels + frame, now, stream, IDSNN_STREAM_ARENA_BYTES) != IDSNN_OK;
    idsnn_read_out(now, t, answer);
  }
  for (int i = 0; i < IDSNN_CLASSES; i++) differ += logits[i] != idsnn_golden_logits[i] || answer[i] != logits[i];
  free(arena);
  free(stream);
  return differ != 0;
}
"""


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind here")
@pytest.mark.parametrize("isa", ["portable", pytest.param("avx2", marks=needs_avx2)])
@pytest.mark.parametrize(
    "name", ["wide", "residual", "recurrent", "reset_by_subtraction_recurrent", "leaky_integrator"]
)
def test_no_byte_of_the_arena_is_read_before_it_is_written_nor_one_beside_it(
    name: str, isa: str, tmp_path: Path
) -> None:
    graph = wide(seed=4) if name == "wide" else graphs.CASES[name].build()
    write_c(tmp_path, network_of(graph), name, counts(graph), ["a"], isa)
    (tmp_path / "main.c").write_text(HEAP)
    done = make(tmp_path, "idsnn", flags="-O1 -g")
    assert done.returncode == 0, done.stderr
    watched = ["valgrind", "-q", "--error-exitcode=9", tmp_path / "idsnn"]
    answer = subprocess.run(watched, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def expected_additions() -> int:
    """Of the first golden image, by the evaluator's fan-out, which knows nothing of C: every spike's weights, once."""
    graph = read_nir(DIGITS / "model.nir")
    pixels = np.rint(np.load(DIGITS / "golden.npz")["images"][:1] * 255).astype(np.uint8)
    network = integer_network(graph, 4, mean=_metadata(graph).mean, std=_metadata(graph).std)
    _, spikes = run_integer(network, pixels)
    shown = network.table[np.arange(1)[:, None, None], pixels[0].astype(int)]
    total = 0
    for layer in layer_table(graph):
        if not hasattr(layer, "weight_shape"):
            continue
        dense = type(layer)(**{**vars(layer), "zero_weights": 0})
        for source in layer.sources:
            events = (shown != 0) if source == "input" else spikes[source][:, 0].sum(0)
            fan = fan_out(dense)
            total += int((events.reshape(-1, *fan.shape[-2:]) * fan).sum()) if fan.ndim else int(events.sum() * fan)
    return total


def _metadata(graph: nir.NIRGraph) -> Any:
    from idsnn_export.graph.metadata import read_metadata

    return read_metadata(graph)


@needs_compiler
def test_cplusplus_includes_the_header(digits: Path) -> None:
    code = '#include "idsnn_model.h"\nint f(const uint8_t *p, int32_t *l) { return idsnn_run(p, l); }\n'
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    command = [compiler, "-x", "c++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", f"-I{digits}", "-"]
    subprocess.run(command, input=code, text=True, check=True)


def test_digits_in_whole_numbers_are_as_accurate_as_in_float64() -> None:
    from idsnn_deploy import load_split

    graph, split = read_nir(DIGITS / "model.nir"), load_split("digits", "test")
    metadata = _metadata(graph)
    pixels = np.rint(split.pixels() * 255).astype(np.uint8)
    network = integer_network(graph, 4, mean=metadata.mean, std=metadata.std)
    logits, _ = run_integer(network, pixels)
    found = trace(graph, metadata.normalized(split.pixels()), 4)
    right = [(each.argmax(1) == split.labels).mean() for each in (logits, found.logits)]
    assert right[0] >= right[1] - 0.01
    assert (logits.argmax(1) != found.logits.argmax(1)).mean() <= 0.03


def test_the_command_refuses_what_c_cannot_say_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nir(tmp_path / "delay.nir", graphs.CASES["delay_alone"].build())
    out = tmp_path / "out"
    asked = [str(tmp_path / "delay.nir"), "--format", "c", "--timesteps", "3", "--out", str(out)]
    assert cli.main(asked) == 2
    assert "n0 (Delay)" in capsys.readouterr().err
    assert cli.main([str(DIGITS), "--format", "c", "--int8", "--out", str(out)]) == 2
    assert not out.exists()


def test_accuracy_that_is_lost_beyond_doubt_is_refused_and_what_few_images_cannot_tell_is_said() -> None:
    labels = np.arange(400) % 10
    wrong = np.where(np.arange(400) < 40, (labels + 1) % 10, labels)  # a tenth lost
    with pytest.raises(
        ParityError, match=r"90\.00% instead of 100\.00% of 400 images are right, .* 0\.5 points may be lost"
    ):
        judged(labels, wrong, labels)
    one = np.where(np.arange(400) < 1, (labels + 1) % 10, labels)
    found = judged(labels, one, labels)
    assert (found["accuracy_float64"], found["accuracy_c"], found["outcome"]) == (1.0, 0.9975, "undecided")


def test_inputs_that_are_no_bytes_are_refused() -> None:
    assert whole_input(np.array([0, 0.5, 1]), images=True).tolist() == [0, 128, 255]
    for values, images in ((np.array([0.5]), False), (np.array([256.0]), False), (np.array([1.1]), True)):
        with pytest.raises(UsageError, match="C takes"):
            whole_input(values, images)


def test_a_hostile_name_stays_inside_its_comment(tmp_path: Path) -> None:
    graph = graphs.chain((2,), (2,), graphs.affine(2, 2), graphs.lif(2))
    name = '*/ int evil; /* "'
    nodes = {(name if key == "n1" else key): node for key, node in graph.nodes.items()}
    edges = [(name if a == "n1" else a, name if b == "n1" else b) for a, b in graph.edges]
    hostile = nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)
    write_c(tmp_path, network_of(hostile), name, counts(hostile), ["a"])
    text = "".join((tmp_path / each).read_text() for each in ("idsnn_model.c", "idsnn_weights.c", "idsnn_model.h"))
    assert "int evil;" not in text
    if CC is not None:
        assert make(tmp_path, "check", flags="-O0").returncode == 0


def test_inputs_lie_channels_last_frame_after_frame() -> None:
    graph = graphs.CASES["conv2d"].build()
    network, x = network_of(graph), counts(graph)
    flat = channels_last(network, x)
    steps, samples, channels, height, width = x.shape
    assert flat.shape == (samples, steps * channels * height * width)
    at = ((2 * height + 1) * width + 3) * channels + 1  # frame 2, row 1, column 3, channel 1
    assert flat[2, at] == x[2, 2, 1, 1, 3]
