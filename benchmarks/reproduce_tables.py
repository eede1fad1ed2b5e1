"""Tables and figures of the rows that reproduce.py wrote: python benchmarks/reproduce_tables.py

Reads every `benchmarks/results/SCALE-DATASET.jsonl` and writes `benchmarks/results/README.md` with the tables and
`benchmarks/results/SCALE-DATASET-NAME.svg` with the figures, the same bytes for the same rows. An accuracy is mean ±
sample standard deviation over seeds, in percent of the test images, at the epoch with the best accuracy on held-out
images; a difference is taken seed by seed before its mean.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]
ARMS = {"baseline": "#8a8f98", "init": "#c98a1b", "kd": "#7a5cc0", "idsnn": "#0b7a75"}
METHODS = {
    "baseline": "neither",
    "init": "initialized",
    "kd": "distilled",
    "idsnn": "initialized and distilled",
}


def read(path: Path) -> list[Row]:
    """The rows of one file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def of(rows: Iterable[Row], **values: Any) -> list[Row]:
    """The rows with these values, by seed."""
    return sorted((r for r in rows if all(r[key] == value for key, value in values.items())), key=lambda r: r["seed"])


def present(rows: Iterable[Row], name: str) -> list[Any]:
    """The values of a column, ascending; the arms in their own order."""
    found = {row[name] for row in rows}
    return [arm for arm in ARMS if arm in found] if name == "arm" else sorted(found)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample standard deviation."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def percent(rows: Sequence[Row], name: str) -> str:
    """Mean ± std of a fraction, in percent."""
    return spread([100 * row[name] for row in rows])


def gain(rows: Sequence[Row], others: Sequence[Row], name: str) -> str:
    """Mean ± std of the difference in percentage points, seed by seed; the seeds that both have."""
    theirs = {row["seed"]: row for row in others}
    differences = [100 * (row[name] - theirs[row["seed"]][name]) for row in rows if row["seed"] in theirs]
    if not differences:
        return ""
    sign = "+" if statistics.fmean(differences) >= 0 else ""
    return sign + spread(differences)


def reached(row: Row, goal: float) -> int | None:
    """The first epoch whose accuracy on held-out images is at least `goal`."""
    return next((epoch for epoch, value in enumerate(row["val_accuracy"], 1) if value >= goal), None)


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    body = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in body)


def _cost(rows: Sequence[Row]) -> list[str]:
    return [
        percent(rows, "firing_rate"),
        spread([row["effective_acs"] / 1e6 for row in rows], 2),
        spread([row["arithmetic_pj"]["snn"][0] / row["arithmetic_pj"]["ann"][0] for row in rows], 2),
        spread([row["memory_pj"]["snn"][0] / row["memory_pj"]["ann"][0] for row in rows], 2),
    ]


COST = ["firing rate, %", "ACs an image, M", "energy / ANN, A", "energy / ANN, B"]


def ablation(rows: list[Row]) -> str:
    """Table 3: what initialization and distillation bring."""
    base = of(rows, arm="baseline")
    lines = []
    for arm in present(rows, "arm"):
        mine = of(rows, arm=arm)
        accuracy = [percent(mine, "best_val_test_accuracy"), percent(mine, "student_accuracy")]
        difference = "" if arm == "baseline" else gain(mine, base, "best_val_test_accuracy")
        lines.append(
            [METHODS[arm], arm, len(mine), percent(mine, "best_val_accuracy"), *accuracy, difference, *_cost(mine)]
        )
    header = ["method", "arm", "seeds", "held-out, %", "test, %", "test, last epoch, %", "gain", *COST]
    return table(header, lines)


def convergence(rows: list[Row]) -> str:
    """Table 2 and Fig. 5: accuracy at each interval, and how soon the baseline's best is reached."""
    lines = []
    for interval in present(rows, "interval"):
        base = {row["seed"]: row for row in of(rows, interval=interval, arm="baseline")}
        for arm in present(rows, "arm"):
            mine = of(rows, interval=interval, arm=arm)
            pairs = [(row, base[row["seed"]]) for row in mine if row["seed"] in base]
            epochs = [reached(row, other["best_val_accuracy"]) for row, other in pairs]
            which = [str(epoch) if epoch else "never" for epoch in epochs]
            tested = percent(mine, "best_val_test_accuracy")
            seconds = spread([row["seconds"] for row in mine], 0)
            lines.append([interval, mine[0]["epochs"], arm, len(mine), tested, ", ".join(which), seconds])
    header = ["interval", "epochs", "arm", "seeds", "test, %", "epoch that reaches the baseline's best", "seconds"]
    return table(header, lines)


def timesteps(rows: list[Row]) -> str:
    """Table 1: accuracy and cost at each T."""
    lines = []
    for t in present(rows, "timesteps"):
        base = of(rows, timesteps=t, arm="baseline")
        for arm in present(of(rows, timesteps=t), "arm"):
            mine = of(rows, timesteps=t, arm=arm)
            difference = "" if arm == "baseline" else gain(mine, base, "best_val_test_accuracy")
            lines.append([t, arm, len(mine), percent(mine, "best_val_test_accuracy"), difference, *_cost(mine)])
    return table(["T", "arm", "seeds", "test, %", "gain", *COST], lines)


def beyond(rows: list[Row]) -> str:
    """What the paper has not, against the paper's method; chosen by the held-out column."""
    base = of(rows, recipe="paper")
    lines = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        mine = of(rows, recipe=recipe)
        gains = ["", ""]
        if recipe != "paper":
            gains = [gain(mine, base, "best_val_accuracy"), gain(mine, base, "best_val_test_accuracy")]
        values = [percent(mine, "best_val_accuracy"), gains[0], percent(mine, "best_val_test_accuracy"), gains[1]]
        lines.append([recipe, len(mine), *values, *_cost(mine)])
    return table(["recipe", "seeds", "held-out, %", "gain", "test, %", "gain", *COST], lines)


TABLES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "ablation": ("Four arms", ablation),
    "convergence": ("Intervals", convergence),
    "timesteps": ("Time steps", timesteps),
    "beyond": ("Beyond the paper", beyond),
}


def draw_ablation(rows: list[Row], figure: Figure) -> None:
    """Bars with error bars, and each seed as a dot."""
    axes = figure.subplots()
    for place, arm in enumerate(present(rows, "arm")):
        values = [100 * row["best_val_test_accuracy"] for row in of(rows, arm=arm)]
        error = statistics.stdev(values) if len(values) > 1 else None
        axes.bar(place, statistics.fmean(values), yerr=error, color=ARMS[arm], width=0.6, capsize=5)
        axes.plot([place] * len(values), values, "o", color="#1c2430", markersize=3)
    axes.set_xticks(range(len(present(rows, "arm"))), [f"{arm}\n{METHODS[arm]}" for arm in present(rows, "arm")])
    lowest = min(100 * row["best_val_test_accuracy"] for row in rows)
    axes.set(ylabel="test accuracy, %", ylim=(max(0, lowest - 10), None), title=f"Four arms, {_seeds(rows)}")


def draw_convergence(rows: list[Row], figure: Figure) -> None:
    """Accuracy against epoch, one panel an interval: mean over seeds, and from the lowest to the highest."""
    intervals = present(rows, "interval")
    panels = figure.subplots(1, len(intervals), sharey=True, squeeze=False)[0]
    for axes, interval in zip(panels, intervals, strict=True):
        for arm in present(rows, "arm"):
            curves = [[100 * value for value in row["test_accuracy"]] for row in of(rows, interval=interval, arm=arm)]
            if not curves:
                continue
            epochs = range(1, len(curves[0]) + 1)
            steps = list(zip(*curves, strict=True))
            axes.plot(epochs, [statistics.fmean(step) for step in steps], color=ARMS[arm], label=arm)
            axes.fill_between(epochs, list(map(min, steps)), list(map(max, steps)), color=ARMS[arm], alpha=0.18, lw=0)
        for fall in (interval, 2 * interval, 3 * interval):
            axes.axvline(fall + 0.5, color="#c9ced6", lw=0.8, zorder=0)
        axes.set(xlabel="epoch", title=f"interval {interval}, {_seeds(of(rows, interval=interval))}")
    panels[0].set(ylabel="test accuracy, %")
    panels[-1].legend(frameon=False, loc="lower right")


def draw_timesteps(rows: list[Row], figure: Figure) -> None:
    """Accuracy against T."""
    axes = figure.subplots()
    for arm in present(rows, "arm"):
        _points(axes, rows, arm, lambda mine: float(mine[0]["timesteps"]))
    axes.set_xticks(present(rows, "timesteps"))
    axes.set(xlabel="time steps T", ylabel="test accuracy, %", title=f"Accuracy against T, {_seeds(rows)}")
    axes.legend(frameon=False, loc="lower right")


def draw_energy(rows: list[Row], figure: Figure) -> None:
    """Accuracy against energy: arithmetic alone, and with the memory that it reads and writes."""
    readings = {"arithmetic_pj": "A: arithmetic", "memory_pj": f"B: with {rows[0]['memory_pj']['tier']}"}
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (reading, title) in zip(panels, readings.items(), strict=True):
        for arm in present(rows, "arm"):
            _points(axes, rows, arm, lambda mine, name=reading: _mean(mine, name) / 1e6, marked=True)
        ann = statistics.fmean(row[reading]["ann"][0] for row in rows) / 1e6
        axes.axvline(ann, color="#b4651a", ls="--", lw=1, label="the same network as an ANN")
        axes.set(xscale="log", xlabel="µJ an image, fp32", title=title)
    panels[0].set(ylabel="test accuracy, %")
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")


def _mean(rows: list[Row], reading: str) -> float:
    return statistics.fmean(row[reading]["snn"][0] for row in rows)


def _points(axes: Any, rows: list[Row], arm: str, place: Callable[[list[Row]], float], marked: bool = False) -> None:
    groups = [of(rows, arm=arm, timesteps=t) for t in present(of(rows, arm=arm), "timesteps")]
    values = [[100 * row["best_val_test_accuracy"] for row in group] for group in groups]
    xs, ys = [place(group) for group in groups], [statistics.fmean(each) for each in values]
    errors = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
    axes.errorbar(xs, ys, yerr=errors, fmt="o-", color=ARMS[arm], label=arm, capsize=3, markersize=4)
    for x, y, group in zip(xs, ys, groups, strict=True) if marked else ():
        axes.annotate(f"T {group[0]['timesteps']}", (x, y), (4, 5), textcoords="offset points", fontsize=7)


def _seeds(rows: list[Row]) -> str:
    count = len(present(rows, "seed"))
    return f"{count} seed{'s' if count > 1 else ''}"


FIGURES: dict[str, tuple[str, tuple[float, float], Callable[[list[Row], Figure], None]]] = {
    "ablation": ("ablation", (6.4, 3.6), draw_ablation),
    "convergence": ("convergence", (9.6, 3.4), draw_convergence),
    "timesteps": ("timesteps", (5.2, 3.6), draw_timesteps),
    "energy": ("timesteps", (8.4, 3.6), draw_energy),
}
ALT = {
    "ablation": "test accuracy of the four arms",
    "convergence": "test accuracy against the epoch at each interval",
    "timesteps": "test accuracy against T",
    "energy": "test accuracy against energy an image",
}


def provenance(rows: list[Row]) -> str:
    """What the rows of one file share."""
    one = rows[0]
    commits, devices = (sorted({str(row[name]) for row in rows}) for name in ("commit", "device"))
    versions = ", ".join(f"{name} {one['versions'][name]}" for name in ("python", "torch", "snntorch"))
    images = f"{one['train_images']:,} images to train, {one['val_images']:,} held out, {one['test_images']:,} to test"
    teachers = {row["seed"]: row["teacher_accuracy"] for row in rows if row["teacher_accuracy"] is not None}
    teacher = spread([100 * each for each in teachers.values()]) if teachers else "none"
    return (
        f"{one['dataset']}, width {one['width']}: {images}. Teacher (ResNet-34, {one['teacher_epochs']} epochs): "
        f"{teacher} % of the test images over {len(teachers)} seeds. {'; '.join(devices)}. {versions}. "
        f"Commit {', '.join(commits)}."
    )


def write(folder: Path = RESULTS) -> Path:
    """Draws every file of rows in `folder` and returns the page."""
    parts = ["# Rows, tables and figures of the reproduction", "", INTRODUCTION]
    for path in sorted(folder.glob("*.jsonl")):
        rows = read(path)
        parts += ["", f"## {path.stem}", "", provenance(rows)]
        for experiment, (title, make) in TABLES.items():
            mine = [row for row in rows if row["experiment"] == experiment]
            if not mine:
                continue
            parts += ["", f"### {title}", "", make(mine)]
            for name, (source, size, draw) in FIGURES.items():
                if source == experiment:
                    file = folder / f"{path.stem}-{name}.svg"
                    _save(mine, file, size, draw)
                    parts += ["", f"![{ALT[name]}]({file.name})"]
    page = folder / "README.md"
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return page


INTRODUCTION = """\
Generated by `python benchmarks/reproduce_tables.py` from the rows beside it, which `benchmarks/reproduce.py` appended;
the reading is in [docs/results.md](../../docs/results.md). Accuracies are mean ± sample standard deviation over seeds
at the epoch that held-out training images chose; gains are percentage points over the baseline, or over the paper's
method, seed by seed. Energy is a ratio to the same network as an ANN, in fp32: A arithmetic alone, B with the memory
of 32 KiB SRAM ([docs/report.md](../../docs/report.md) has the model)."""


def _save(rows: list[Row], path: Path, size: tuple[float, float], draw: Callable[[list[Row], Figure], None]) -> None:
    style = {"svg.hashsalt": "idsnn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(rows, figure)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the rows (default: benchmarks/results)"
    )
    print(write(parser.parse_args().results))


if __name__ == "__main__":
    main()
