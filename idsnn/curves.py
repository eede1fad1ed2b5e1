"""curves.png: accuracy of teacher and student, loss and learning rate against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idsnn_deploy.files import replacing

_FEW = 12  # epochs, up to which each is marked
_COLOURS = {"teacher": "#8a8f98", "student": "#1f6feb"}


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws metrics.csv's rows; no display and no global state of matplotlib is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: training begins before anything is drawn
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    accuracy, loss, rate = figure.subplots(1, 3)
    for phase, colour in _COLOURS.items():
        mine = [row for row in rows if row["phase"] == phase]
        if not mine:
            continue
        epochs = [row["epoch"] for row in mine]
        mark = "o" if len(mine) <= _FEW else ""  # one epoch has no line
        accuracy.plot(epochs, [row["test_accuracy"] for row in mine], color=colour, marker=mark, label=f"{phase}, test")
        if mine[0]["val_accuracy"] is not None:
            validation = [row["val_accuracy"] for row in mine]
            accuracy.plot(epochs, validation, color=colour, marker=mark, linestyle=":", label=f"{phase}, validation")
        loss.plot(epochs, [row["loss"] for row in mine], color=colour, marker=mark, label=phase)
        rate.plot(epochs, [row["lr"] for row in mine], color=colour, marker=mark, label=phase)
    for axes, title in ((accuracy, "accuracy"), (loss, "training loss"), (rate, "learning rate")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    FigureCanvasAgg(figure)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=120)
