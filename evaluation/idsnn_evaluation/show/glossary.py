"""The terms of the report, for readers who know no neuromorphic ones; docs/report.md has the same table."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """What a term means, and the section of the page that shows it ("" where none does)."""

    meaning: str
    section: str = ""


GLOSSARY: dict[str, Entry] = {
    "accumulate (AC)": Entry(
        "One addition: what a spike that arrives costs at each weight it meets. It needs no multiplication, because a "
        "spike is a 1.",
        "operations",
    ),
    "accuracy": Entry("The part of the samples that the network puts into the right class.", "answers"),
    "ANN": Entry(
        "An ordinary artificial neural network: every neuron computes one number per sample, zero or not. “The same "
        "network as an ANN” has the same layers and computes each of them once."
    ),
    "break-even point": Entry(
        "The firing rate below which published models of neuromorphic hardware give a spiking network less energy than "
        "an ANN.",
        "reading-c",
    ),
    "early exit": Entry(
        "Stopping at the first step where the two likeliest classes are a margin of probability apart.", "answers"
    ),
    "firing rate": Entry("The part of the neurons that spike in a step, on average.", "rates"),
    "fp32, int8": Entry("Numbers of 32 bits with a floating point, and integers of 8 bits."),
    "head": Entry("The last layer, which gives each class a score at every step."),
    "latency": Entry(
        "How long one sample takes on the machine that made this report, alone in its batch. A processor multiplies by "
        "zeros too, so spikes save nothing there.",
        "machine",
    ),
    "membrane": Entry(
        "A neuron's memory: it adds up what arrives, forgets a part of it at every step, and is emptied by a spike."
    ),
    "multiply-accumulate (MAC)": Entry(
        "One multiplication and one addition: what an ANN does for each weight. It costs about five times an "
        "accumulate in fp32.",
        "operations",
    ),
    "NeuroBench": Entry("A benchmark of the neuromorphic community, whose rules of counting are followed beside ours."),
    "neuromorphic hardware": Entry("Chips that work only where a spike arrives, and skip the rest.", "platforms"),
    "reading A": Entry(
        "Energy of the arithmetic alone: accumulates and multiply-accumulates times what one of them takes in 45 nm "
        "silicon. Memory is free in it.",
        "reading-a",
    ),
    "reading B": Entry(
        "Energy with memory traffic: reading A, and every weight, input and membrane fetched from memory, nothing "
        "reused.",
        "reading-b",
    ),
    "reading C": Entry(
        "Energy against an ANN whose activations have as many bits as T steps of spikes can say, with the published "
        "break-even points.",
        "reading-c",
    ),
    "spike": Entry("A 1 that a neuron sends where its membrane exceeds its threshold; else it sends a 0."),
    "spikes per synapse": Entry(
        "How often a weight is used per sample: accumulates over all steps, for each weight's use in one dense step.",
        "reading-c",
    ),
    "spiking network": Entry("A neural network whose neurons send only 0 or 1, at each of T time steps."),
    "stem": Entry("The first layer. It multiplies pixels, which are no spikes; events that are 0 or 1 it accumulates."),
    "T x firing rate": Entry(
        "How often a neuron spikes per sample, on average. It compares networks of different T: what a spiking network "
        "costs grows with it.",
        "rates",
    ),
    "T, time steps": Entry(
        "How many steps the network takes over a sample; its answer is the mean of what the head says at each."
    ),
    "teacher": Entry("The larger ANN that the network learned from."),
}


def anchor(term: str) -> str:
    """The id of a term on the page: "T x firing rate" → "term-t-x-firing-rate"."""
    letters = "".join(char if char.isalnum() else " " for char in term.lower())
    return f"term-{'-'.join(letters.split())}"
