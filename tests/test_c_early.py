"""When C stops: the margin rule in whole numbers is float64's, and C has numpy's, bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_c import CC, counts, make, needs_compiler, network_of

from idsnn_deploy.anytime import exit_steps, separation
from idsnn_deploy.readout import WHOLE, Readout, running
from idsnn_export.c.quantize import integer_network
from idsnn_export.c.write import write_c
from idsnn_export.reference import margin
from idsnn_export.reference.integer import run_integer, run_steps

ANSWERS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=12)


def of_unit(unit: float, over_time: Readout = "mean", timesteps: int = 32) -> Any:
    """A network of which the rule asks nothing but its unit."""
    network = network_of(graphs.CASES["conv2d"].build())
    return replace(network, logit_unit=unit, over_time=over_time, timesteps=timesteps)


NETWORK = of_unit(1.0)


@given(ANSWERS, st.floats(-30, 6), st.integers(1, 32), st.sampled_from([*WHOLE]))
def test_a_class_stands_out_as_far_as_in_float64(
    answer: list[int], size: float, steps: int, over_time: Readout
) -> None:
    """Near the largest, too, where a difference counts: the answers are drawn together until softmax sees them."""
    unit = 2.0**size
    near = max(answer) - np.array([int((max(answer) - each) / max(1.0, unit * 2**26)) for each in answer])
    octave, shift = margin.octaves(replace(NETWORK, logit_unit=unit, over_time=over_time))
    for each in (np.array(answer), near):
        found = margin.separation(each[None], int(octave[steps - 1]), shift)[0] / 2**16
        expected = separation(each * (unit / (steps if over_time == "mean" else 1)))
        assert found == pytest.approx(float(expected), abs=2e-5)


def test_a_class_that_stands_out_by_hand() -> None:
    # Two classes ln 3 apart have probabilities of 3/4 and 1/4, three equal ones none that stands out, one is alone.
    octave, shift = margin.octaves(of_unit(float(np.log(3)) / 1000, "sum"))
    for answer, expected in (([1000, 0], 1 / 2), ([5, 5, 5], 0), ([-7], 1), ([2**31 - 1, -(2**31)], 1)):
        assert margin.separation(np.array([answer]), int(octave[0]), shift)[0] / 2**16 == pytest.approx(
            expected, abs=2e-5
        )


@pytest.mark.parametrize(
    ("name", "over_time"), [("residual", "mean"), ("recurrent", "sum"), ("leaky_integrator", "max")]
)
def test_numpy_stops_at_the_step_and_with_the_answer_of_float64(name: str, over_time: Readout) -> None:
    graph = graphs.CASES[name].build()
    network = integer_network(graph, graphs.STEPS, static=False, dt=graphs.DT, readout=over_time)
    x = np.concatenate([counts(graph, seed) for seed in range(8)], axis=1)
    outputs = np.asarray(run_steps(network, x)[0] * network.logit_unit).reshape(graphs.STEPS, x.shape[1], -1)
    every, apart = margin.separations(network, x)[0], separation(running(outputs, over_time))
    middle = float(np.median(apart))
    for asked in (0.0, middle, middle / 2, 1.1):
        whole = round(asked * 2**16)
        steps, answers = margin.run_until(network, x, whole)
        clear = (np.abs(apart - asked) > 1e-4).all(0)
        np.testing.assert_array_equal(steps[clear], exit_steps(apart, asked)[clear])
        np.testing.assert_array_equal(answers, [every[t - 1, i] for i, t in enumerate(steps)])
    assert clear.sum() > 12  # of 24
    assert len(set(margin.run_until(network, x, round(middle * 2**16))[0])) > 1
    np.testing.assert_array_equal(margin.run_until(network, x, 2**16 + 1)[1], run_integer(network, x)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a skip connection, whose inputs stop at different steps."""
    out, graph = tmp_path_factory.mktemp("early"), graphs.CASES["residual"].build()
    write_c(out, network_of(graph), "early", counts(graph), ["a"])
    return out


@needs_compiler
def test_c_computes_how_far_a_class_stands_out_to_the_bit(folder: Path) -> None:
    strict = "-std=c99 -O1 -Wall -Wextra -Wconversion -Werror -fsanitize=undefined -fsanitize-undefined-trap-on-error"
    command = [str(CC), *strict.split(), "-shared", "-fPIC", "-o", "margin.so", "idsnn_margin.c"]
    subprocess.run(command, cwd=folder, check=True)
    apart = ctypes.CDLL(str(folder / "margin.so")).idsnn_apart
    apart.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_int32]
    rng = np.random.default_rng(0)
    for _ in range(2000):
        count, shift = int(rng.integers(1, 9)), int(rng.integers(0, 63))
        octave = int(rng.integers(0, 2**31) >> rng.integers(0, 31))
        answer = rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 32, count if rng.integers(2) else 1)
        given = answer.astype(np.int32)
        expected = margin.separation(answer[None], octave, shift)[0]
        assert apart(given.ctypes.data, count, octave, shift) == expected, (answer, octave, shift)


@needs_compiler
def test_the_self_test_holds_c_to_the_steps_it_takes(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "c"))
    text = (changed / "golden.h").read_text()
    before, _, rest = text.partition("idsnn_golden_steps[] = {\n")
    numbers, _, behind = rest.partition("}")
    steps = [int(each) for each in numbers.split(",") if each.strip()]
    assert len(set(steps)) > 1
    assert "3 of 3 golden" in make(changed, "check", flags="-O0 -Werror").stdout
    wrong = ",".join(map(str, [steps[0] % graphs.STEPS + 1, *steps[1:]]))
    (changed / "golden.h").write_text(f"{before}idsnn_golden_steps[] = {{\n{wrong}}}{behind}")
    done = make(changed, "check", flags="-O0 -Werror")
    assert done.returncode != 0
    assert f"sample 0 stops after {steps[0]} steps" in done.stdout
    assert "2 of 3 golden" in done.stdout


PROBE = """
#include <stdio.h>
#include <string.h>
#include "golden.h"
#include "idsnn_model.h"
static uint64_t arena[(IDSNN_STREAM_ARENA_BYTES + 7) / 8 + 1];
static int32_t answer[IDSNN_CLASSES] = {7}, steps = 9;
static int until(int32_t margin, void *at, size_t bytes) {
  return idsnn_run_until(idsnn_golden_pixels, margin, answer, &steps, at, bytes);
}
int main(void) {
  uint8_t *odd = (uint8_t *)arena + 1;
  printf("%d %d %d ", until(0, arena, IDSNN_STREAM_ARENA_BYTES - 1), until(0, NULL, IDSNN_STREAM_ARENA_BYTES),
         until(0, odd, IDSNN_STREAM_ARENA_BYTES));
  printf("%d %d %d\\n", (int)answer[0], (int)steps, (int)arena[0]);
  const int32_t margins[] = {INT32_MIN, -1, 0, IDSNN_MARGIN_ONE + 1, INT32_MAX};
  for (int i = 0; i < 5; i++) {
    memset(arena, 0x5a, sizeof arena);
    printf("%d ", until(margins[i], arena, IDSNN_STREAM_ARENA_BYTES));
    int kept = 1;
    for (size_t k = IDSNN_STREAM_ARENA_BYTES; k < sizeof arena; k++) kept &= ((const uint8_t *)arena)[k] == 0x5a;
    printf("%d %d ", (int)steps, kept);
  }
  const int32_t last = idsnn_separation(answer, IDSNN_TIMESTEPS);
  printf("\\n%d %d\\n", idsnn_separation(answer, INT32_MAX) == last,
         idsnn_separation(answer, INT32_MIN) == idsnn_separation(answer, 1));
  return 0;
}
"""


@needs_compiler
def test_any_margin_has_a_meaning_and_an_arena_too_small_is_an_error_code(folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "c"))
    (place / "main.c").write_text(PROBE)
    done = make(place, "idsnn", flags="-O0 -Werror -fsanitize=undefined -fno-sanitize-recover=all")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([place / "idsnn"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "-1 -1 -1 7 9 0"
    steps = graphs.STEPS
    assert said[1].split() == [*["0", "1", "1"] * 3, *["0", str(steps), "1"] * 2]
    assert said[2] == "1 1"
