"""What a person sees while it trains: a bar per phase, a line per epoch, a table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from idsnn_deploy.printable import printable


class Display:
    """Bars and lines on standard error, the last table on standard output; silent in all processes but one."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, emoji=False)
        self.quiet = quiet
        self._progress: Progress | None = None
        self._task = TaskID(0)

    @contextmanager
    def phase(self, name: str, total: int, done: int) -> Iterator[None]:
        """A bar of `total` steps while the block runs."""
        text = TextColumn("{task.fields[text]}")
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), text, TimeRemainingColumn())
        disable = not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=disable, transient=True) as bar:
            self._progress = bar
            self._task = bar.add_task(name, total=total, completed=done, text="")
            yield
        self._progress = None

    def step(self, done: int, loss: float, accuracy: float, rate: float | None, speed: float) -> None:
        """Moves the bar."""
        if self._progress is not None:
            fires = "" if rate is None else f"  firing {rate:.1%}"
            text = f"loss {loss:.3f}  accuracy {accuracy:.1%}{fires}  {speed:,.0f} images/s"
            self._progress.update(self._task, completed=done, text=text)

    def epoch(self, row: Mapping[str, Any], epochs: int) -> None:
        """One line about an epoch that is done."""
        parts = [f"{row['phase']:<7} {row['epoch']:>3}/{epochs}  loss {row['loss']:.3f}"]
        parts += [f"train {row['train_accuracy']:.2%}"]
        parts += [f"val {row['val_accuracy']:.2%}"] if row["val_accuracy"] is not None else []
        parts += [f"test {row['test_accuracy']:.2%}"]
        parts += [f"firing {row['firing_rate']:.2%}"] if row["firing_rate"] is not None else []
        parts += [f"spikes {row['spikes']:.3f}"] if row.get("spikes") else []
        parts += [f"{row['pixels']} px"] if row.get("pixels") else []
        parts += [f"T {row['timesteps']}"] if row.get("timesteps") else []
        parts += [f"lr {row['lr']:.4f}", f"{row['seconds']:.1f} s"]
        self.say("  ".join(parts))

    def say(self, message: str) -> None:
        """One line above the bar."""
        self.console.print(printable(message), soft_wrap=True)

    def table(self, title: str, rows: Mapping[str, Any]) -> None:
        """Names and values, on standard output."""
        table = Table(title=printable(title), title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(printable(name), printable(str(value)))
        Console(quiet=self.quiet, highlight=False, markup=False, emoji=False).print(table)
