"""Figures on paper: no text covers another or leaves the picture, and epochs and steps are whole numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_bundles import tape_bundle, tape_images
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_eval_report import NET, N

from idsnn.curves import draw_curves
from idsnn_evaluation import evaluate
from idsnn_evaluation.document import Document
from idsnn_evaluation.show.comparison import comparison
from idsnn_evaluation.show.figures import write_figures, write_fronts


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written as PNG, and are not: that takes most of the time."""
    found: list[Figure] = []

    def keep(figure: Figure, path: Any, **how: Any) -> None:
        Path(path).touch()
        if str(path).endswith(".png"):
            figure.draw_without_rendering()
            found.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def texts(figure: Figure) -> list[Text]:
    """What is to be read: of the ticks those within the axes."""
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    for axes in figure.axes:
        for side, limits, labels in (
            (0, axes.get_xlim(), [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]),
            (1, axes.get_ylim(), [*axes.get_yticklabels(), *axes.get_yticklabels(minor=True)]),
        ):
            beyond = {id(each) for each in labels if not min(limits) <= each.get_position()[side] <= max(limits)}
            hidden = beyond | ({id(each) for each in labels} if not axes.axison else set())
            shown = [text for text in shown if id(text) not in hidden]
    return shown


def complaints(figure: Figure) -> list[str]:
    picture, found = figure.bbox, []
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for i, (words, box) in enumerate(boxes):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > picture.x1 + 1 or box.y1 > picture.y1 + 1:
            found.append(f"{words!r} leaves the picture")
        for other, beside in boxes[i + 1 :]:
            wide = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            tall = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            if wide > 1 and tall > 2:
                found.append(f"{words!r} and {other!r} cover each other")
    return found


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tape_bundle(tmp_path_factory.mktemp("figures") / "bundle", NET.layers, NET.tables)
    report = evaluate(folder, tape_images(N), NET.labels).to_dict()
    return report


def of_many(report: Document, steps: int, blocks: int) -> Document:
    """The report of a deep network of many steps."""
    layers = [
        {**each, "name": f"layer{i}_{each['name']}_downsample"} for i in range(blocks) for each in report["layers"]
    ]
    for layer in layers:
        if "firing_rate_by_step" in layer:
            layer["firing_rate_by_step"] = np.linspace(0, 1, steps).tolist()
    accuracy = {**report["accuracy"], "by_step": np.linspace(0.1, 1, steps).tolist()}
    return {**report, "layers": layers, "accuracy": accuracy}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("steps", "blocks"), [(3, 1), (64, 9)])
def test_a_report_s_figures_can_be_read(
    body: Document, drawn: list[Figure], tmp_path: Path, steps: int, blocks: int
) -> None:
    write_figures(of_many(body, steps, blocks), tmp_path)
    assert len(drawn) == 4
    assert [complaint for figure in drawn for complaint in complaints(figure)] == []


def test_the_fronts_can_be_read(body: Document, drawn: list[Figure], tmp_path: Path) -> None:
    rows = comparison([body] * 9, [f"runs/number {i}" for i in range(9)])
    for i, row in enumerate(rows):
        row["accuracy"] -= 0.001 * (i // 2)
        row["spikes_per_neuron"] = 1 + 0.2 * (i % 4)
    write_fronts(rows, tmp_path)
    assert [complaint for figure in drawn for complaint in complaints(figure)] == []


@pytest.mark.parametrize(("factor", "scale"), [(1.5, "linear"), (3.5, "log"), (40.0, "log")])
def test_costs_more_than_ten_times_apart_are_on_a_logarithmic_axis_that_can_be_read(
    body: Document, drawn: list[Figure], tmp_path: Path, factor: float, scale: str
) -> None:
    rows = comparison([body] * 4, [f"runs/number {i}" for i in range(4)])
    for i, row in enumerate(rows):
        row["accuracy"] -= 0.01 * i
        row["arithmetic_fp32_pj"] = 2e6 * factor**i
    write_fronts(rows, tmp_path)
    (figure,) = drawn
    axes = next(each for each in figure.axes if "reading A" in each.get_title())
    assert axes.get_xscale() == scale
    first, last = axes.get_xlim()
    at = [float(label.get_text()) for label in axes.get_xticklabels() if first <= label.get_position()[0] <= last]
    assert len(at) >= 2
    numbers = {text.get_text(): text.xy[0] for text in axes.texts}  # type: ignore[attr-defined]
    assert numbers == pytest.approx({"1": 2, "2": 2 * factor, "3": 2 * factor**2, "4": 2 * factor**3})
    assert complaints(figure) == []


def row(phase: str, epoch: int) -> dict[str, Any]:
    return {"phase": phase, "epoch": epoch, "test_accuracy": 0.5, "val_accuracy": 0.4, "loss": 1.0, "lr": 0.1}


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_a_training_s_epochs_are_whole_numbers(tmp_path: Path, epochs: int) -> None:
    rows = [row(phase, epoch) for phase in ("teacher", "student") for epoch in range(1, epochs + 1)]
    draw_curves(rows, tmp_path / "curves.svg")
    drawing = (tmp_path / "curves.svg").read_text()
    axis = re.search(r'id="matplotlib.axis_1".*?id="matplotlib.axis_2"', drawing, re.DOTALL)
    assert axis is not None
    ticks = re.findall(r"<!-- ([\d.\-−]+) -->", axis[0])
    assert ticks
    assert all(tick.isdigit() for tick in ticks)
    assert epochs > 3 or set(ticks) == {str(epoch) for epoch in range(1, epochs + 1)}
