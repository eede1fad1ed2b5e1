"""The report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from idsnn_deploy.printable import printable

from ..counts import Totals
from ..document import ComparisonRow, Document
from ..quantities import ann_of, count, energy, fixed, joules, percent, times
from .words import estimator, flow, in_c, subject, summary, too_few


def terminal(stderr: bool = False) -> Console:
    """Where a command writes. Names come from files: nothing in them is markup or an emoji's code."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _table(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _print(table: Table, console: Console) -> None:
    """A table in its whole width: what a pipe or a narrow terminal has no room for goes on in the next line, uncut."""
    screen = console.width
    console.width = 10_000
    console.width = max(screen, console.measure(table).maximum)
    console.print(table)
    console.width = screen


def show(report: Document, console: Console, early_exit: bool = False) -> None:
    """Prints the report: summary, layers, energy, and the early-exit curve where asked for."""
    console.print(f"\n{summary(report)}\n")
    for warning in report.get("warnings", ()):
        console.print(f"warning: {printable(warning)}", markup=False)
    _print(_layers(report), console)
    _print(_energy(report), console)
    console.print(f"\n{report['energy']['bit_matched']['verdict']}")
    _measured(report, console)
    if early_exit:
        _early_exit(report, console)
    console.print(f"\n{subject(report)}; {estimator(report)}", style="dim")


def compared(rows: Sequence[ComparisonRow], console: Console) -> None:
    """Prints several networks side by side, one column each."""
    table = _table("Side by side, per sample")
    table.add_column("")
    for row in rows:
        table.add_column(str(row["name"]), justify="right")
    for words, shown in COMPARED:
        table.add_row(words, *map(shown, rows))
    _print(table, console)


COMPARED: tuple[tuple[str, Callable[[ComparisonRow], str]], ...] = (
    ("data set", lambda row: str(row["dataset"])),
    ("samples", lambda row: f"{row['samples']:,}"),
    ("steps T", lambda row: str(row["timesteps"])),
    ("precision", lambda row: row["variant"]),
    ("accuracy", lambda row: percent(row["accuracy"], 2)),
    ("accuracy after 1 step", lambda row: percent(row["accuracy_first_step"], 2)),
    ("firing rate", lambda row: percent(row["firing_rate"])),
    ("T x firing rate", lambda row: fixed(row.get("spikes_per_neuron"))),
    ("accumulates, hidden layers", lambda row: count(row["conv_acs"])),
    ("accumulates, head", lambda row: count(row["head_acs"])),
    ("MACs of the stem", lambda row: count(row["stem_macs"])),
    ("MACs as an ANN", lambda row: count(row["ann_macs"])),
    ("spikes per synapse", lambda row: fixed(row["spikes_per_synapse"])),
    ("A: 45 nm arithmetic, fp32", lambda row: joules(row["arithmetic_fp32_pj"])),
    ("A: 45 nm arithmetic, int8", lambda row: joules(row["arithmetic_int8_pj"])),
    ("B: with 32 KiB SRAM, against the ANN", lambda row: times(row["memory_ratio"])),
    ("C: spike rate against break-even", lambda row: row["rate_is"]),
    ("average steps with early exit", lambda row: fixed(row["early_exit_steps"])),
    ("latency on this machine", lambda row: fixed(row["latency_ms"], " ms")),
    ("latency in C", lambda row: fixed(row.get("c_latency_ms"), " ms")),
)


def _layers(report: Document) -> Table:
    table = _table("Layers, per sample over all steps")
    table.add_column("layer", no_wrap=True)
    for name in ("rate", "spikes", "operations", "as an ANN", "rate x MAC"):
        table.add_column(name, justify="right")
    for entry in report["layers"]:
        table.add_row(
            entry["name"], *_figures(entry, entry["role"]), style="dim" if entry["role"] == "neurons" else None
        )
    table.add_section()
    table.add_row("total", *_figures(report["totals"]), style="bold")
    return table


def _figures(entry: Totals, role: str = "") -> list[str]:
    over = entry["rate_overcount_percent"]
    acs, macs = entry["conv_acs"] + entry["head_acs"], entry["stem_macs"]
    neurons = role == "neurons"
    return [
        percent(entry["firing_rate"]),
        count(entry["spikes"]) if entry["spikes"] or neurons else "",
        "" if neurons else f"{count(macs)} MAC" if macs and not acs else f"{count(acs)} AC",
        "" if neurons else f"{count(entry['ann_macs'])} MAC",
        "" if over is None else f"{over:+.1f} %",
    ]


def _energy(report: Document) -> Table:
    found = report["energy"]
    table = _table("Energy per sample: three readings")
    for name in ("reading", "network", "fp32", "int8"):
        table.add_column(name, justify="right" if name in ("fp32", "int8") else "left")
    for network in dict.fromkeys(row["network"] for row in found["arithmetic"]):
        pair = [row["pj"] for row in found["arithmetic"] if row["network"] == network]
        table.add_row("A  45 nm", network.replace("same network as an ANN", "as an ANN"), *map(energy, pair))
    for tier in dict.fromkeys(row["tier"] for row in found["memory"]):
        rows = [row for row in found["memory"] if row["tier"] == tier]
        table.add_row(f"B  {tier}", "spiking network", *(energy(row["spiking_pj"]) for row in rows))
        table.add_row("", "as an ANN", *(energy(row["ann_pj"]) for row in rows))
    matched = found["bit_matched"]
    table.add_row(f"C  {matched['bits']} bits", "spiking network", "", energy(matched["spiking_pj"]))
    table.add_row("", ann_of(matched["bits"]), "", energy(matched["ann_pj"]))
    return table


def _measured(report: Document, console: Console) -> None:
    found = report["measured"]
    if found is None:
        return
    cost = found["energy_note"] if found["energy_mj"] is None else f"{found['energy_mj']:.2f} mJ"
    text = flow(f"""
        On this machine ({found["machine"]["processor"]}): {found["latency_ms"]["p50"]:.2f} ms per sample,
        energy {cost}. {found["note"]} {in_c(found)}
    """)
    console.print(f"\n{text.strip()}")


def _early_exit(report: Document, console: Console) -> None:
    found = report["early_exit"]
    if found is None:
        console.print("\nEarly exit: too few samples to choose a margin on one part and judge it on another.")
        return
    rest = found["rest"]
    text = flow(f"""
        Early exit at a margin of {found["margin"]:.2f}, chosen on {found["validation"]["samples"]:,} samples:
        on the other {rest["samples"]:,} it takes {rest["average_steps"]:.2f} steps on average at
        {percent(rest["accuracy"])}, against {percent(rest["full_accuracy"])} with all
        {report["provenance"]["timesteps"]}.
    """)
    console.print(f"\n{text}")
    if not found.get("enough", True):
        console.print(f"warning: {too_few(found)}")
    table = _table()
    for name in ("margin", "average steps", "accuracy"):
        table.add_column(name, justify="right")
    curve = found["curve"]
    for point in curve[:: max(1, len(curve) // 12)]:
        table.add_row(f"{point['margin']:.2f}", f"{point['average_steps']:.2f}", percent(point["accuracy"]))
    _print(table, console)
