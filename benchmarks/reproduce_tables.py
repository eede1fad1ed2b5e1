"""Tables and figures of the rows that reproduce.py wrote: python benchmarks/reproduce_tables.py

Reads every `benchmarks/results/SCALE-DATASET.jsonl` and writes `benchmarks/results/README.md` with the tables and
`benchmarks/results/SCALE-DATASET-NAME.svg` with the figures, the same bytes for the same rows. An accuracy is mean ±
sample standard deviation over seeds, in percent of the test images, at the epoch with the best accuracy on held-out
images; a difference is taken seed by seed before its mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reproduce_figures import ALT, FIGURES, draw
from reproduce_plan import RECIPES
from reproduce_rows import METHODS, Row, gain, of, percent, present, read, spread

RESULTS = Path(__file__).parent / "results"


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
    """Fig. 5: accuracy at each interval, and how soon the baseline's best is reached."""
    lines = []
    for interval in present(rows, "interval"):
        base = {row["seed"]: row for row in of(rows, interval=interval, arm="baseline")}
        for arm in present(of(rows, interval=interval), "arm"):
            mine = of(rows, interval=interval, arm=arm)
            pairs = [(row, base[row["seed"]]) for row in mine if row["seed"] in base]
            epochs = [reached(row, other["best_val_accuracy"]) for row, other in pairs]
            which = [str(epoch) if epoch else "never" for epoch in epochs]
            tested = percent(mine, "best_val_test_accuracy")
            lines.append([interval, mine[0]["epochs"], arm, len(mine), tested, ", ".join(which)])
    header = ["interval", "epochs", "arm", "seeds", "test, %", "epoch that reaches the baseline's best, by seed"]
    return table(header, lines)


def timesteps(rows: list[Row]) -> str:
    """Accuracy and cost at each T."""
    lines = []
    for t in present(rows, "timesteps"):
        base = of(rows, timesteps=t, arm="baseline")
        for arm in present(of(rows, timesteps=t), "arm"):
            mine = of(rows, timesteps=t, arm=arm)
            difference = "" if arm == "baseline" else gain(mine, base, "best_val_test_accuracy")
            lines.append([t, arm, len(mine), percent(mine, "best_val_test_accuracy"), difference, *_cost(mine)])
    return table(["T", "arm", "seeds", "test, %", "gain", *COST], lines)


def beyond(rows: list[Row]) -> str:
    """What the paper has not, against the same arm as in the paper; chosen by the held-out column."""
    lines = []
    for arm, recipe in sorted({(row["arm"], row["recipe"]) for row in rows}, key=_order):
        mine, base = of(rows, arm=arm, recipe=recipe), of(rows, arm=arm, recipe="paper")
        names = ("best_val_accuracy", "best_val_test_accuracy")
        gains = ["" if recipe == "paper" else gain(mine, base, name) for name in names]
        values = [percent(mine, names[0]), gains[0], percent(mine, names[1]), gains[1]]
        lines.append([arm, recipe, len(mine), *values, *_cost(mine)])
    return table(["arm", "recipe", "seeds", "held-out, %", "gain", "test, %", "gain", *COST], lines)


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    return list(METHODS).index(pair[0]), list(RECIPES).index(pair[1])


TABLES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "ablation": ("Four arms", ablation),
    "convergence": ("Intervals", convergence),
    "timesteps": ("Time steps", timesteps),
    "beyond": ("Beyond the paper", beyond),
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
            for name, (source, _, _) in FIGURES.items():
                if source == experiment:
                    file = folder / f"{path.stem}-{name}.svg"
                    draw(name, mine, file)
                    parts += ["", f"![{ALT[name]}]({file.name})"]
    page = folder / "README.md"
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return page


INTRODUCTION = """\
Generated by `python benchmarks/reproduce_tables.py` from the rows beside it, which `benchmarks/reproduce.py` appended;
the reading is in [docs/results.md](../../docs/results.md). Accuracies are mean ± sample standard deviation over seeds
at the epoch that held-out training images chose; gains are percentage points over the baseline, or over the paper's
method, seed by seed. Firing rates, accumulates (ACs) and energy are of the last epoch's network, the one that is
exported. Energy is a ratio to the same network as an ANN, in fp32: A arithmetic alone, B with the memory of 32 KiB SRAM
([docs/report.md](../../docs/report.md) has the model)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the rows (default: benchmarks/results)"
    )
    print(write(parser.parse_args().results))


if __name__ == "__main__":
    main()
