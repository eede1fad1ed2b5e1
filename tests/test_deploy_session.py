"""Images in, logits out: against the equation, in every form that an input can take."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle as tiny
from PIL import Image
from tiny_bundle import FRAMES, STATIC, resigned

from idsnn_deploy import Session, load_image
from idsnn_deploy.anytime import exit_steps, separation
from idsnn_deploy.datasets import Split
from idsnn_deploy.errors import BundleError, ImageError, UsageError
from idsnn_deploy.manifest import VARIANTS, read_bundle
from idsnn_deploy.onnx_file import OPTIMIZATIONS
from idsnn_deploy.readout import running


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(STATIC)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATIC, tmp_path / "bundle"))


def picture(seed: int = 0, size: tuple[int, int] = (6, 5)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
def test_a_session_computes_the_equation(variant: str, optimization: str) -> None:
    session, x = Session(STATIC, variant, optimization=optimization), tiny.images(20)
    steps, _ = tiny.answer_static(x)
    np.testing.assert_allclose(session.step_logits(x), steps, atol=1e-6)
    np.testing.assert_allclose(session(x), steps.mean(axis=0), atol=1e-6)
    assert session(x).dtype == np.float32


@pytest.mark.parametrize("variant", ["fp32", "step"])
def test_a_session_computes_the_equation_over_frames(variant: str) -> None:
    session, x = Session(FRAMES, variant), tiny.clip(7)
    steps, _ = tiny.answer(x)
    np.testing.assert_allclose(session.step_logits(x), steps, atol=1e-6)
    np.testing.assert_allclose(session(x), steps.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 7, 32])
def test_the_size_of_batches_does_not_show(batch: int) -> None:
    x = tiny.images(10)
    np.testing.assert_allclose(Session(STATIC, batch=batch)(x), Session(STATIC, batch=10)(x), atol=1e-6)
    clip = tiny.clip(10)
    np.testing.assert_allclose(Session(FRAMES, batch=batch)(clip), Session(FRAMES, batch=10)(clip), atol=1e-6)
    np.testing.assert_allclose(Session(FRAMES, batch=batch).step_logits(clip), tiny.answer(clip)[0], atol=1e-6)
    np.testing.assert_array_equal(Session(FRAMES, batch=batch).prepare(clip), clip)


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
@pytest.mark.parametrize("variant", ["fp32", "step"])
@pytest.mark.parametrize("folder", [STATIC, FRAMES])
def test_the_fifth_run_answers_as_the_first(folder: Path, variant: str, optimization: str) -> None:
    # onnxruntime 1.17 and 1.18 plan their buffers after the first run, and plan them wrong.
    session = Session(folder, variant, optimization=optimization)
    x = tiny.images(20) if folder == STATIC else tiny.clip(20)
    first = session.step_logits(x)
    for _ in range(4):
        np.testing.assert_array_equal(session.step_logits(x), first)


def test_a_long_list_of_files_is_decoded_batch_by_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    session, alive = Session(STATIC, batch=4), []
    network = session._network.answer
    monkeypatch.setattr(session._network, "answer", lambda x: alive.append(len(x)) or network(x))
    session([tmp_path / "a.png"] * 10)
    assert alive == [4, 4, 2]


def test_every_form_of_one_image_gives_the_same_logits(session: Session, tmp_path: Path) -> None:
    pixels = picture()
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file)
    scaled = (pixels.astype(np.float32) / np.float32(255))[None]
    expected = session(scaled[None])
    forms: list[Any] = [scaled, scaled.astype(np.float64), pixels[..., None], pixels[None, ..., None], file, str(file)]
    forms += [file.read_bytes(), Image.fromarray(pixels), [file], (Image.fromarray(pixels),), [pixels[..., None]]]
    for form in forms:
        np.testing.assert_array_equal(session(form), expected)
    mixed = session([file, Image.fromarray(pixels), scaled])
    np.testing.assert_allclose(mixed, np.repeat(expected, 3, axis=0), atol=1e-6)


def test_images_are_scaled_as_in_training(session: Session) -> None:
    pixels = np.stack([picture(seed) for seed in range(3)])[..., None]
    split = Split(pixels, np.zeros(3, np.int64), ("a", "b", "c"))
    np.testing.assert_array_equal(session.prepare(pixels), split.pixels())


@pytest.mark.parametrize("form", ["array", "file"])
def test_images_of_another_size_are_resized_as_in_training(form: str, session: Session, tmp_path: Path) -> None:
    big = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(big).save(tmp_path / "a.png")
    read = load_image(tmp_path / "a.png", (1, 6, 5))  # what a folder of training images is read with
    split = Split(read[None], np.zeros(1, np.int64), ("a", "b", "c"))
    got = session.prepare(big[None] if form == "array" else tmp_path / "a.png")
    np.testing.assert_array_equal(got, split.pixels())


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((2, 6, 5, 1), np.float32), ValueError, r"\(N, 1, 6, 5\)"),
        (np.zeros((6, 5), np.float32), ValueError, r"\(N, 1, 6, 5\)"),
        (np.full((1, 1, 6, 5), 255.0, np.float32), ValueError, "0..1"),
        (np.full((1, 1, 6, 5), -0.1, np.float32), ValueError, "0..1"),
        (np.full((1, 1, 6, 5), np.nan, np.float32), ValueError, "0..1"),
        (np.zeros((1, 1, 6, 5), np.int64), TypeError, "uint8"),
        (np.zeros((2, 3, 6, 5), np.uint8), ValueError, r"\(N, H, W, C\)"),
        (np.zeros((0, 1, 6, 5), np.float32), ValueError, "no images"),
        ([], ValueError, "no images"),
        (7, TypeError, "an image is"),
        (None, TypeError, "an image is"),
        ("nowhere.png", ImageError, "no such file"),
        (["nowhere.png"], ImageError, "no such file"),
    ],
)
def test_what_is_no_image_is_said(images: Any, error: type[Exception], words: str, session: Session) -> None:
    with pytest.raises(error, match=words):
        session(images)


def test_frames_of_another_kind_are_said() -> None:
    session = Session(FRAMES)
    for wrong in (tiny.images(4), tiny.clip(2)[:3], tiny.clip(2)[:, :0], np.full_like(tiny.clip(2), np.inf)):
        with pytest.raises(ValueError, match=r"frames|samples"):
            session(wrong)
    with pytest.raises(UsageError, match="varies in time"):
        session("a.png")


# Anytime -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2, 0.5, 0.9, 1.0])
def test_stepping_stops_where_the_unrolled_network_says(margin: float, session: Session) -> None:
    x = tiny.images(30)
    mean = running(session.step_logits(x), "mean")
    expected = exit_steps(separation(mean), margin)
    for i, image in enumerate(x):
        decision = session.run_until(image, margin)
        assert decision.steps == expected[i]
        np.testing.assert_allclose(decision.logits, mean[expected[i] - 1, i], atol=1e-6)
        assert decision.label == decision.logits.argmax()
    if 0 < margin < 1:
        assert len(set(expected.tolist())) > 1  # the margins are such that some images stop early and some do not


def test_anytime_over_frames() -> None:
    session, x = Session(FRAMES), tiny.clip(6)
    expected = exit_steps(separation(running(session.step_logits(x), "mean")), 0.3)
    assert [session.run_until(x[:, i : i + 1], 0.3).steps for i in range(6)] == expected.tolist()


def test_a_margin_that_is_just_reached_stops(session: Session) -> None:
    grey = np.full((1, 6, 5), 0.25, dtype=np.float32)  # the mean: no current, no spike, and p1 - p2 is 0 throughout
    assert session.run_until(grey, 0.0).steps == 1
    assert exit_steps(separation(running(session.step_logits(grey), "mean")), 0.0) == 1
    assert session.run_until(grey, 1e-9).steps == 4


def test_the_margin_comes_from_the_manifest(session: Session, copy: Path) -> None:
    assert session.margin() == 0.5
    assert Session(resigned(copy, early_exit={"margin": 1})).margin() == 1
    image = tiny.images(1)
    assert session.run_until(image).steps == session.run_until(image, 0.5).steps
    with pytest.raises(UsageError, match="no margin was chosen"):
        Session(resigned(copy, early_exit={})).run_until(image)


def test_run_until_takes_one_image(session: Session) -> None:
    with pytest.raises(ValueError, match="takes one image, not 3"):
        session.run_until(tiny.images(3), 0.5)


# Streaming -----------------------------------------------------------------------------------------------------------


def test_streaming_gives_each_steps_logits() -> None:
    session, x = Session(FRAMES, "step"), tiny.clip(3)
    steps, _ = tiny.answer(x)
    for _ in range(2):
        np.testing.assert_allclose(np.stack([session.step(frame) for frame in x]), steps, atol=1e-6)
        session.reset()
    np.testing.assert_allclose(session.step(x[0, :1]), steps[0, :1], atol=1e-6)
    np.testing.assert_allclose(session.step(x[1, 0]), steps[1, :1], atol=1e-6)


def test_streaming_an_image_is_showing_it_at_every_step(session: Session) -> None:
    x = tiny.images(2)
    steps, _ = tiny.answer_static(x)
    session.reset()
    np.testing.assert_allclose(np.stack([session.step(x) for _ in range(tiny.T)]), steps, atol=1e-6)


def test_anytime_does_not_disturb_a_stream(session: Session) -> None:
    x = tiny.images(1)
    session.reset()
    first = session.step(x)
    session.run_until(x, 1.0)
    second = session.step(x)
    session.reset()
    np.testing.assert_array_equal([session.step(x), session.step(x)], [first, second])


def test_a_stream_keeps_its_number_of_samples(session: Session) -> None:
    session.reset()
    session.step(tiny.images(2))
    with pytest.raises(ValueError, match="reset"):
        session.step(tiny.images(3))
    session.reset()
    session.step(tiny.images(3))


def test_the_step_graph_is_no_int8_network() -> None:
    session = Session(STATIC, "int8")
    with pytest.raises(UsageError, match="float32"):
        session.run_until(tiny.images(1), 0.5)
    with pytest.raises(UsageError, match="float32"):
        session.step(tiny.images(1))


# Opening -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variant": "fp16"}, "unknown variant"),
        ({"threads": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"optimization": "most"}, "unknown optimization"),
        ({"providers": ["AbacusExecutionProvider"]}, "no AbacusExecutionProvider"),
    ],
)
def test_an_unknown_setting_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Session(STATIC, **options)


def test_threads_and_providers_are_passed_on() -> None:
    import onnxruntime as ort

    session = Session(STATIC, threads=1, providers=[("CPUExecutionProvider", {})])
    inner = session._network.graph.session
    assert inner.get_session_options().intra_op_num_threads == 1
    assert inner.get_providers() == ["CPUExecutionProvider"]
    assert inner.get_session_options().graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize("variant", ["int8", "step"])
def test_a_variant_that_the_bundle_lacks_names_its_flag(variant: str, copy: Path) -> None:
    (copy / VARIANTS[variant]).unlink()
    resigned(copy)
    with pytest.raises(BundleError, match="idsnn-export"):
        Session(copy, variant)


@pytest.mark.parametrize("variant", ["fp32", "step"])
@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["left", "right"]},
        {"input_shape": [1, 5, 6]},
        {"input_shape": [30]},
        {"encoding": "frames"},
    ],
)
def test_a_manifest_of_another_network_is_refused(variant: str, changes: dict[str, Any], copy: Path) -> None:
    with pytest.raises(BundleError, match=r"the manifest says|belong"):
        Session(resigned(copy, **changes), variant)


def test_another_number_of_steps_is_refused(copy: Path) -> None:
    with pytest.raises(BundleError, match="the manifest says"):
        Session(resigned(copy, timesteps=5))


def test_a_file_that_is_another_graph_is_refused(copy: Path) -> None:
    shutil.copy(copy / "model.onnx", copy / "model.step.onnx")
    shutil.copy(FRAMES / "model.onnx", copy / "model.onnx")
    resigned(copy)
    for variant in ("fp32", "step"):
        with pytest.raises(BundleError, match=r"model.*onnx: has the (inputs|outputs)"):
            Session(copy, variant)


def test_what_onnxruntime_cannot_load_is_one_line(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # A sum of a float and an integer: sizes agree, types do not.
    whole = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(whole.replace(b"\x10\x01B\x04beta", b"\x10\x06B\x04beta"))
    with pytest.raises(BundleError, match="onnxruntime cannot load it") as caught:
        Session(resigned(copy))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_logits_that_are_not_finite_are_an_error(copy: Path) -> None:
    whole = (copy / "model.onnx").read_bytes()
    weight = tiny.WEIGHT.T.tobytes()
    assert weight in whole
    (copy / "model.onnx").write_bytes(whole.replace(weight, np.full_like(tiny.WEIGHT, np.nan).tobytes()))
    with pytest.raises(BundleError, match="not finite"):
        Session(resigned(copy))(tiny.images(2))


def test_a_graph_of_fixed_batch_takes_any_number_of_images(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for name, axis in (("tiny", 0), ("tiny_frames", 1)):
        folder = Path(shutil.copytree(STATIC.parent / name, tmp_path / name))
        for file in ("model.onnx", "model.step.onnx"):
            model = onnx.load_model(folder / file)
            for value in (*model.graph.input, *model.graph.output):
                for size in value.type.tensor_type.shape.dim:
                    if size.dim_param == "N":
                        size.dim_value = 4
            onnx.save_model(model, folder / file)
        resigned(folder)
        x = tiny.clip(6) if axis else tiny.images(6)
        for variant in ("fp32", "step"):
            fixed = Session(folder, variant)
            np.testing.assert_allclose(fixed(x), Session(STATIC.parent / name)(x), atol=1e-6)
            assert fixed.run_until(x[:, :1] if axis else x[0], 1.0).steps == tiny.T


def test_a_session_opens_an_opened_bundle() -> None:
    bundle = read_bundle(STATIC)
    session = Session(bundle)
    assert (session.bundle, session.labels, session.timesteps) == (bundle, ["left", "right", "none"], 4)


def test_inputs_that_are_no_images_are_taken_as_floats_of_any_range(copy: Path) -> None:
    manifest = replace(read_bundle(copy).manifest, mean=None, std=None)
    session = Session(resigned(copy, mean=manifest.mean, std=manifest.std))
    x = 100 * tiny.images(2) - 50
    np.testing.assert_allclose(session.step_logits(x), tiny.answer_static(x)[0], atol=1e-4)
    with pytest.raises(ValueError, match="finite"):
        session(np.full_like(x, np.inf))
