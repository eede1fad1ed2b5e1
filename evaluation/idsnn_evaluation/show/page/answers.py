"""The section on answers: accuracy by step and by class, and stopping early."""

from __future__ import annotations

from collections.abc import Sequence

from ...document import Document, EarlyExit
from ...quantities import fixed, percent
from ..words import flow, too_few
from . import charts, plots
from .plots import Line


def answers(body: Document) -> str:
    """The whole section."""
    by_step = body["accuracy"]["by_step"]
    said = spoken("accuracy after each step", steps(body), by_step)
    chart = plots.lines([Line("", steps(body), by_step)], "time step", said)
    rows = [[f"{t:g}", percent(each, 2)] for t, each in zip(steps(body), by_step, strict=True)]
    table = charts.details("The figures", charts.table(["step", "accuracy"], rows, says="accuracy after each step"))
    cards = [f'<div class="card"><h3>Accuracy after each step</h3>{chart}{table}</div>']
    if body["early_exit"] is not None and body["provenance"]["timesteps"] > 1:
        cards.append(_stopping(body["early_exit"]))
    classes = body["accuracy"]["per_class"].items()
    rows = [[name, percent(each["accuracy"]), f"{each['samples']:,}"] for name, each in classes]
    text = flow("""
        After each step the network's answer is the mean of what its head has said so far; the last step's is its
        accuracy.
    """)
    return f'<h2 id="answers">Answers</h2><p>{text}</p><div class="grid pairs">{"".join(cards)}</div>' + charts.details(
        "Accuracy by class", charts.table(["class", "accuracy", "samples"], rows)
    )


def steps(body: Document) -> list[float]:
    """1..T."""
    return [float(t) for t in range(1, body["provenance"]["timesteps"] + 1)]


def spoken(what: str, x: Sequence[float], y: Sequence[float]) -> str:
    """A curve in words: all of its points, or the first and the last of many."""
    pairs = [f"{percent(value)} at {at:.3g}" for at, value in zip(x, y, strict=True)]
    return f"{what}: {', '.join(pairs if len(pairs) <= 8 else [pairs[0], 'and so on to', pairs[-1]])}"


def _stopping(early: EarlyExit) -> str:
    points = sorted({(point["average_steps"], point["accuracy"]) for point in early["curve"]})
    rest = early["rest"]
    curve = Line("accuracy at every margin", [x for x, _ in points], [y for _, y in points])
    chosen = Line("the margin chosen", [rest["average_steps"]], [rest["accuracy"]], "ann")
    said = spoken("accuracy against average steps", curve.x, curve.y)
    chart = plots.lines([curve, chosen], "average steps", said, whole=False) + charts.legend([curve, chosen])
    head = ["margin", "average steps", "accuracy"]
    rows = [[fixed(p["margin"]), fixed(p["average_steps"]), percent(p["accuracy"], 2)] for p in early["curve"]]
    table = charts.details("The figures", charts.table(head, rows, says="accuracy and steps at every margin"))
    note = flow(f"""
        Stop as soon as the probabilities of the two likeliest classes are {early["margin"]:.2f} apart. This margin was
        chosen on {early["validation"]["samples"]:,} samples; the curve is the other {rest["samples"]:,}, which take
        {rest["average_steps"]:.2f} steps on average at {percent(rest["accuracy"])}, against
        {percent(rest["full_accuracy"])} with all steps. {"" if early.get("enough", True) else too_few(early)}
    """)
    return f'<div class="card"><h3>Stopping early</h3>{chart}<p class=note>{note}</p>{table}</div>'
