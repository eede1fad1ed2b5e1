"""The section on answers: accuracy by step and by class, and stopping early."""

from __future__ import annotations

from ...document import Document, EarlyExit
from ...quantities import percent
from ..words import flow, too_few
from . import charts
from .charts import Line


def answers(body: Document) -> str:
    """The whole section."""
    chart = charts.lines([Line("", steps(body), body["accuracy"]["by_step"])], "time step", "accuracy after each step")
    cards = [f'<div class="card"><h3>Accuracy after each step</h3>{chart}</div>']
    if body["early_exit"] is not None and body["provenance"]["timesteps"] > 1:
        cards.append(_stopping(body["early_exit"]))
    classes = body["accuracy"]["per_class"].items()
    rows = [[name, percent(each["accuracy"]), f"{each['samples']:,}"] for name, each in classes]
    text = flow("""
        After each step the network's answer is the mean of what its head has said so far; the last step's is its
        accuracy.
    """)
    return (
        f'<h2>Answers</h2><p>{text}</p><div class="grid">{"".join(cards)}</div>'
        f"<details><summary>Accuracy by class</summary>{charts.table(['class', 'accuracy', 'samples'], rows)}</details>"
    )


def steps(body: Document) -> list[float]:
    """1..T."""
    return [float(t) for t in range(1, body["provenance"]["timesteps"] + 1)]


def _stopping(early: EarlyExit) -> str:
    points = sorted({(point["average_steps"], point["accuracy"]) for point in early["curve"]})
    rest = early["rest"]
    curve = Line("", [x for x, _ in points], [y for _, y in points])
    chosen = Line("chosen", [rest["average_steps"]], [rest["accuracy"]], "ann")
    chart = charts.lines([curve, chosen], "average steps", "accuracy against average steps", whole=False)
    note = flow(f"""
        Stop as soon as the probabilities of the two likeliest classes are {early["margin"]:.2f} apart. This margin was
        chosen on {early["validation"]["samples"]:,} samples; the curve is the other {rest["samples"]:,}, which take
        {rest["average_steps"]:.2f} steps on average at {percent(rest["accuracy"])}, against
        {percent(rest["full_accuracy"])} with all steps. {"" if early.get("enough", True) else too_few(early)}
    """)
    return f'<div class="card"><h3>Stopping early</h3>{chart}<p class=note>{note}</p></div>'
