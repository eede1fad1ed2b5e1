"""What the runtime feeds a network is what training fed it; what it answers stepping is what it answers unrolled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import torch
from PIL import Image

from idsnn.config import TrainConfig
from idsnn.data import load_data
from idsnn_deploy import Session, load_split
from idsnn_deploy.anytime import exit_steps, separation
from idsnn_deploy.inputs import batches
from idsnn_deploy.readout import running

# Training imports lightning, snntorch and matplotlib, which warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def photos(root: Path) -> Path:
    """A folder data set whose images differ in size, colour, transparency and orientation."""
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i, (size, channels) in enumerate([((12, 12), 3), ((30, 21), 3), ((9, 14), 4), ((12, 12), 0)]):
                shape = size if channels == 0 else (*size, channels)
                image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
                image.save(folder / f"{i}.png", exif=turned if i == 1 else None)
    return root


@pytest.mark.parametrize("image_size", [None, 8])
def test_the_runtime_reads_images_as_training_does(image_size: int | None, tmp_path: Path) -> None:
    data = load_data(TrainConfig(dataset="folder", data=str(photos(tmp_path)), image_size=image_size))
    trained_on = data.on(data.test, torch.device("cpu")).batch(torch.arange(len(data.test))).numpy()
    shape = list(data.train.shape)
    assert shape == [3, image_size or 12, image_size or 13]  # the median where no size is given
    manifest = replace(tiny_bundle.manifest(static=True), input_shape=shape, mean=data.mean, std=data.std)
    (fed,) = batches(list(data.test.files), manifest, 32)
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (data.mean, data.std))
    # The graph normalizes: (image - mean) / std.
    np.testing.assert_allclose((fed - mean) / std, trained_on, rtol=0, atol=1e-6)


def test_digits_reach_the_runtime_as_training_saw_them() -> None:
    data = load_data(TrainConfig(dataset="digits", limit_train=50))
    trained_on = data.on(data.test, torch.device("cpu")).batch(torch.arange(20)).numpy()
    fed = load_split("digits", "test").pixels(slice(0, 20))
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (data.mean, data.std))
    np.testing.assert_allclose((fed - mean) / std, trained_on, rtol=0, atol=1e-6)


def test_a_trained_network_stops_early_where_its_unrolled_form_says(bundle: Path) -> None:
    images = load_split("digits", "test", limit=40).pixels()
    unrolled, stepped = Session(bundle), Session(bundle, "step")
    expected = exit_steps(separation(running(unrolled.step_logits(images), "mean")), 0.5)
    found = [stepped.run_until(image, 0.5) for image in images]
    same = np.mean([decision.steps == steps for decision, steps in zip(found, expected, strict=True)])
    assert same >= 0.95  # two graphs round differently, and a margin can be met by a hair
    np.testing.assert_allclose(stepped(images), unrolled(images), atol=1e-3)
