"""The variant c: a bundle's C is compiled once, from what its hashes cover, and answers as it says."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle as tiny
from tiny_bundle import FRAMES, STATIC

from idsnn_deploy import Session
from idsnn_deploy.cli import main
from idsnn_deploy.errors import BundleError, UsageError
from idsnn_deploy.golden import read_golden
from idsnn_deploy.manifest import CSources, listing, read_bundle, write_manifest

COMPILER = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
needs_compiler = pytest.mark.skipif(COMPILER is None or not hasattr(os, "getuid"), reason="no C compiler here")

# A network by hand: class k of 3 gets (t + 1)(k + 1) times the sum of what step t shows.
HEADER = """
#include <stddef.h>
#include <stdint.h>
#define IDSNN_TIMESTEPS 4
#define IDSNN_FRAMES {frames}
#define IDSNN_PIXELS ({frames} * 30)
#define IDSNN_CLASSES 3
#define IDSNN_LOGIT_UNIT {unit}
#define IDSNN_ARENA_BYTES 8
#define IDSNN_STREAM_ARENA_BYTES 16
"""
MODEL = """
#include "idsnn_model.h"
static void take(const uint8_t *pixels, int32_t t, int32_t *logits) {
  for (int32_t k = 0; k < 3; k++)
    for (int32_t i = 0; i < 30; i++) logits[k] += (t + 1) * (k + 1) * pixels[i];
}
int idsnn_run_in(const uint8_t *pixels, int32_t *logits, void *arena, size_t bytes) {
  if (arena == NULL || bytes < 8) return -1;
  for (int32_t k = 0; k < 3; k++) logits[k] = 0;
  for (int32_t t = 0; t < 4; t++) take(pixels + (IDSNN_FRAMES == 1 ? 0 : 30 * t), t, logits);
  return 0;
}
int idsnn_start(void *arena, size_t bytes) {
  *(int32_t *)arena = 0;
  return bytes < 16 ? -1 : 0;
}
int idsnn_step(const uint8_t *pixels, int32_t *logits, void *arena, size_t bytes) {
  for (int32_t k = 0; k < 3; k++) logits[k] = 0;
  take(pixels, (*(int32_t *)arena)++, logits);
  return bytes < 16 ? -1 : 0;
}
"""


def with_c(folder: Path, static: bool = True, **changed: str) -> Path:
    """A bundle that has the network by hand; a unit for each step is that of its pixels, or 1."""
    shutil.copytree(STATIC if static else FRAMES, folder)
    (folder / "c").mkdir()
    header = HEADER.replace("({frames} * 30)", str(30 if static else 120)).replace("{frames}", "1" if static else "4")
    files = {
        "idsnn_model.h": header.replace("{unit}", str(0.25 / 255 if static else 0.25)),
        "idsnn_model.c": MODEL,
        "main.c": "#error the self-test is no part of it\n",
        **{name.replace("_dot_", "."): text for name, text in changed.items()},
    }
    for name, text in files.items():
        (folder / "c" / name).write_text(text)
    return signed(folder)


def signed(folder: Path, isa: str = "portable") -> Path:
    manifest = read_bundle(folder).manifest
    write_manifest(folder, replace(manifest, c=CSources(isa, listing(folder / "c"))))
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")


def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)


def kept(bundle: Path) -> list[Path]:
    return sorted((bundle.parent / f".{bundle.name}.c").glob("*"))


@needs_compiler
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("static", [True, False])
def test_a_session_answers_what_the_c_answers(static: bool, tmp_path: Path) -> None:
    session = Session(with_c(tmp_path / "bundle", static), "c")
    x = np.rint(tiny.images(5) * 255).astype(np.float32) / 255 if static else np.rint(4 * tiny.clip(5))
    sums = np.repeat(x.sum((1, 2, 3))[None], 4, 0) if static else x.sum((2, 3, 4))
    steps = np.einsum("t,tn,k->tnk", np.arange(1, 5), sums, np.arange(1, 4))
    np.testing.assert_allclose(session.step_logits(x), steps, rtol=1e-6)
    np.testing.assert_allclose(session(x), steps.mean(0), rtol=1e-6)
    one = x[:1] if static else x[:, :1]
    assert session.run_until(one, 0.5)[:2] == (2, 1)  # the third class is far ahead at once
    assert session.run_until(one, 1.1)[:2] == (2, 4)
    for t in range(4):
        np.testing.assert_allclose(session.step(one if static else one[t]), steps[t, :1], rtol=1e-6)
    session.reset()
    np.testing.assert_allclose(session.step(one if static else one[0]), steps[0, :1], rtol=1e-6)


# Answers the margin that it was given, and the pixels' first, second and last; as if three steps had done.
UNTIL = """
int idsnn_run_until(const uint8_t *pixels, int32_t margin, int32_t *answer, int32_t *steps, void *arena, size_t bytes) {
  answer[0] = margin, answer[1] = pixels[0], answer[2] = pixels[IDSNN_PIXELS - 1];
  *steps = 3;
  return arena == NULL || bytes != 16 || margin == 65536 ? -1 : 0;
}
"""


@needs_compiler
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("static", [True, False])
def test_c_that_can_stop_is_asked_to_where_a_margin_is_given(static: bool, tmp_path: Path) -> None:
    session = Session(with_c(tmp_path / "bundle", static, idsnn_model_dot_c=MODEL + UNTIL), "c")
    x = np.rint(tiny.images(1) * 255).astype(np.float32) / 255 if static else np.rint(4 * tiny.clip(1))
    first, last = (np.rint(x.reshape(-1)[[0, -1]] * (255 if static else 1))).tolist()
    unit = 0.25 * 4 / 3 / (255 if static else 1)  # the mean of three steps
    for margin, whole in ((0.5, 32768), (0.9, 58982), (0.0, 0), (-3.0, 0), (1.5, 98304), (float("inf"), 131072)):
        label, steps, logits = session.run_until(x, margin)
        assert (label, steps) == (int(np.argmax([whole, first, last])), 3)
        np.testing.assert_allclose(logits, np.array([whole, first, last]) * unit, rtol=1e-6)
    with pytest.raises(BundleError, match="idsnn_run_until of the bundle's C returns -1"):
        session.run_until(x, 1.0)
    with pytest.raises(UsageError, match="margin nan"):
        session.run_until(x, float("nan"))


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_it_is_built_once_and_then_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, x = with_c(tmp_path / "bundle"), tiny.images(1)
    first = Session(bundle, "c")(x)
    (file,) = kept(bundle)
    stamp = file.stat().st_mtime_ns
    nowhere(monkeypatch, tmp_path)
    np.testing.assert_array_equal(Session(bundle, "c")(x), first)
    assert [(each, each.stat().st_mtime_ns) for each in kept(bundle)] == [(file, stamp)]


def test_a_machine_without_a_compiler_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, photo = with_c(tmp_path / "bundle"), tmp_path / "x.npy"
    np.save(photo, tiny.images(1))
    nowhere(monkeypatch, tmp_path)
    for command in (["run", str(bundle), str(photo), "--variant", "c"], ["bench", str(bundle), "--variant", "c"]):
        assert main(command) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert sum("error" in line for line in said) == 1
        assert "needs a compiler, and there is none here" in said[-1]
    monkeypatch.setenv("CC", "no-such-compiler -m32")
    with pytest.raises(UsageError, match="no-such-compiler is none"):
        Session(bundle, "c")
    assert kept(bundle) == []


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_compiler_that_fails_is_quoted_with_its_command(tmp_path: Path) -> None:
    bundle = with_c(tmp_path / "bundle", idsnn_model_dot_c="int first;\nint idsnn_run_in( {\nint more errors;\n")
    with pytest.raises(UsageError) as refused:
        Session(bundle, "c")
    said = str(refused.value)
    assert "\n" not in said
    assert "idsnn_model.c:2" in said
    assert "error" in said
    assert f"the command was: {COMPILER}" in said
    assert kept(bundle) == []


@needs_compiler
def test_half_a_library_never_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, broken = with_c(tmp_path / "bundle"), tmp_path / "cc"
    broken.write_text(
        '#!/bin/sh\nfor each; do last=$out; out=$each; test "$last" = -o && echo half > "$each"; done\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(UsageError, match="no message"):
        Session(bundle, "c")
    assert kept(bundle) == []


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_what_no_hash_covers_is_never_compiled(tmp_path: Path) -> None:
    bundle = with_c(tmp_path / "bundle")
    (bundle / "c" / "more.c").write_text("#error not listed\n")
    (bundle / "c" / "stdint.h").write_text("#error not listed\n")
    Session(bundle, "c")
    changed = with_c(tmp_path / "changed")
    (changed / "c" / "idsnn_model.c").write_text(MODEL.replace("(k + 1)", "(k + 2)"))
    with pytest.raises(BundleError, match=r"c/idsnn_model.c: changed since"):
        Session(changed, "c")
    assert kept(changed) == []
    with pytest.raises(BundleError, match=r"c/idsnn_model.c: changed since"):
        read_bundle(changed).verify()


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_folder_that_others_can_write_to_is_not_run_from(tmp_path: Path) -> None:
    bundle = with_c(tmp_path / "bundle")
    beside = tmp_path / ".bundle.c"
    beside.mkdir()
    beside.chmod(0o777)
    Session(bundle, "c")
    assert kept(bundle) == []


@needs_compiler
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("isa", ["dsp", "another"])
def test_sums_for_another_processor_are_left_to_the_portable_form(isa: str, tmp_path: Path) -> None:
    text = "#ifdef IDSNN_DSP\n#error not here\n#endif\n" + MODEL
    bundle = signed(with_c(tmp_path / "bundle", idsnn_model_dot_c=text), isa)
    assert Session(bundle, "c")(tiny.images(1)).shape == (1, 3)


@needs_compiler
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLASSES", "4"),
        ("FRAMES", "1e+-"),
        ("TIMESTEPS", "4.4.4"),
        ("ARENA_BYTES", "1e30"),
        ("STREAM_ARENA_BYTES", "1e999"),
        ("ARENA_BYTES", "eight"),
        ("LOGIT_UNIT", "1e999"),
    ],
)
def test_c_of_another_network_is_refused(name: str, value: str, tmp_path: Path) -> None:
    header = HEADER.replace("({frames} * 30)", "30").replace("{frames}", "1").replace("{unit}", "1.0")
    (line,) = (line for line in header.splitlines() if f"IDSNN_{name} " in line)
    model = "int idsnn_run_in, idsnn_start, idsnn_step;\n"
    changed = header.replace(line, f"#define IDSNN_{name} {value}")
    bundle = with_c(tmp_path / "bundle", idsnn_model_dot_h=changed, idsnn_model_dot_c=model)
    with pytest.raises(BundleError, match=rf"is not of this bundle's network \({name}\)") as caught:
        Session(bundle, "c")
    assert "\n" not in str(caught.value)


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_c_without_one_of_its_functions_is_refused(tmp_path: Path) -> None:
    bundle = with_c(tmp_path / "bundle", idsnn_model_dot_c="int idsnn_run_in, idsnn_start;\n")
    with pytest.raises(BundleError, match="its C has no function idsnn_step; export it again"):
        Session(bundle, "c")


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_inputs_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    session = Session(with_c(tmp_path / "bundle", static=False), "c")
    with pytest.raises(UsageError, match=r"C takes counts, whole numbers in 0\.\.255"):
        session(np.full((4, 1, 1, 6, 5), 0.5, np.float32))


def test_a_bundle_without_c_says_how_it_gets_one() -> None:
    with pytest.raises(BundleError, match=r"has no C; add it with: idsnn-export .* --format c"):
        Session(STATIC, "c")
    with pytest.raises(UsageError, match="known are fp32, int8, step, c"):
        Session(STATIC, "cobol")


def test_c_takes_no_providers_and_goes_with_no_other_variant(tmp_path: Path) -> None:
    bundle = str(with_c(tmp_path / "bundle"))
    with pytest.raises(UsageError, match="runs on the processor"):
        Session(bundle, "c", providers=["CPUExecutionProvider"])
    for more in (["--int8", "--variant", "c"], ["--anytime", "--variant", "int8"]):
        assert main(["run", bundle, "x.png", *more]) == 2


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_the_commands_run_it_when_they_are_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, sample = with_c(tmp_path / "bundle"), tmp_path / "x.npy"
    np.save(sample, tiny.images(1))
    assert main(["run", str(bundle), str(sample), "--variant", "c", "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (said["variant"], said["images"][0]["class"], said["images"][0]["steps"]) == ("c", "none", 4)
    assert main(["run", str(bundle), str(sample), "--variant", "c", "--anytime", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["steps"] == 1
    measured = ["bench", str(bundle), "--seconds", "0.01", "--warmup", "0"]
    assert main([*measured, "--variant", "c", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["variant"], row["optimization"]) == ("c", "-")
    assert main([*measured, "--variant", "c", "--variant", "step", "--optimization", "all", "--anytime", "--json"]) == 0
    session = Session(bundle, "step")
    steps = [session.run_until(x[None], 0.5).steps for x in read_golden(session.bundle).images]
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["variant"], row["margin"]) for row in rows] == [("c", 0.5), ("step", 0.5)]
    assert rows[0]["steps"] == 1  # the third class is far ahead at once
    assert rows[1]["steps"] == np.mean(steps) > 1
    assert main([*measured, "--variant", "fp32", "--optimization", "all"]) == 0
    assert "measure it with --variant c" in capsys.readouterr().out
    assert main(["info", str(bundle)]) == 0
    assert "c/idsnn_model.c" in capsys.readouterr().out
