"""report.json, key by key: the type of every section; docs/report.md has the meaning of the keys.

What makes a section and what shows it are checked against these types, so a key that is renamed is found by mypy.
Energies are picojoules per sample, as [least, most].
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

from idsnn_deploy.json_types import Count, Fraction, Positive, Rule
from idsnn_deploy.manifest import Precision

from .counts import Counts, Number, Totals

Network = Literal["spiking network", "spiking network with neurons", "same network as an ANN", "teacher"]
Standing = Literal["below", "within", "above", "unknown"]  # of a value, against a published range
Interval = Annotated[list[float], Rule(lambda value: len(value) == 2, "[least, most]", {"minItems": 2, "maxItems": 2})]
FORMAT_VERSION: Final = 1


class Subject(TypedDict):
    """What was run on what."""

    dataset: str | None
    split: str  # "test" or "train", with " (limited)" behind it where --limit left images out
    variant: Precision


class Provenance(Subject):
    """What a report is about, and what made it."""

    samples: Positive
    timesteps: Positive
    encoding: Literal["static", "frames"]
    classes: list[str]
    readout: str
    estimator: str
    version: str
    bundle: str
    bundle_digest: str
    versions: dict[str, str]
    exported_with: dict[str, str]


class ClassAccuracy(TypedDict):
    """How often samples of one class were right."""

    accuracy: Fraction
    samples: Positive


class Accuracy(TypedDict):
    """How often the network was right; fractions."""

    top1: Fraction
    correct: Count
    samples: Positive
    by_step: list[Fraction]
    per_class: dict[str, ClassAccuracy]
    torch: Fraction | None


class Spread(TypedDict):
    """How much single samples differ."""

    min: float
    p5: float
    median: float
    p95: float
    max: float
    std: float


class Spreads(TypedDict):
    """Accumulates and spikes of single samples."""

    acs: Spread
    spikes: Spread


class _Layer(Totals):
    name: str
    kind: str
    sources: list[str]
    shape: list[Count]
    split: Counts


class SynapticLayer(_Layer):
    """A convolution or linear layer; `firing_rate` is that of its input."""

    role: Literal["stem", "hidden", "head"]


class NeuronLayer(_Layer):
    """A layer of spiking neurons."""

    role: Literal["neurons"]
    firing_rate_by_step: list[Fraction]


Layer = SynapticLayer | NeuronLayer


class AnnTwin(TypedDict):
    """The same network as an ANN: every layer once, dense."""

    macs: Number
    outputs: Count


class Teacher(TypedDict, total=False):
    """The network that it was distilled from, as the manifest has it."""

    name: str
    accuracy: float | None
    dense_macs: int


class Baselines(TypedDict):
    """What the network is compared with."""

    ann: AnnTwin
    teacher: Teacher | None


class ArithmeticRow(TypedDict):
    """A row of reading A."""

    network: Network
    precision: Precision
    acs: Number
    macs: Number
    pj: Interval


class MemoryRow(TypedDict):
    """A row of reading B; `reference` marks the memory that the summaries quote."""

    tier: str
    reference: bool
    precision: Precision
    spiking_pj: Interval
    ann_pj: Interval
    ratio: float | None


class BitMatched(TypedDict):
    """Reading C."""

    bits: Positive
    ann_pj: Interval
    spiking_pj: Interval
    firing_rate: float | None
    break_even_rate: Interval
    rate_is: Standing
    spikes_per_synapse: float | None
    break_even_synapse: Interval
    synapse_is: Standing
    verdict: str


class _Published(TypedDict):
    node: str
    year: int
    includes: str
    source: str


class ConstantRow(_Published):
    """A constant that the readings rest on."""

    value: Interval
    unit: str


class PlatformRow(_Published):
    """What a platform's published figures give."""

    name: str
    counts: Literal["events", "dense"]
    synop_pj: Interval
    update_pj: Interval | None
    pj: Interval


class Energy(TypedDict):
    """Three readings, and platforms."""

    unit: str
    arithmetic: list[ArithmeticRow]
    memory: list[MemoryRow]
    bit_matched: BitMatched
    platforms: list[PlatformRow]
    no_figure: list[str]
    constants: dict[str, ConstantRow]


class ExitPoint(TypedDict):
    """Accuracy against average steps at one margin."""

    margin: Fraction
    accuracy: Fraction
    average_steps: float


class ExitPart(ExitPoint):
    """One part of the split at the margin chosen; `full_accuracy` with all steps."""

    samples: Positive
    full_accuracy: Fraction


class _Care(TypedDict, total=False):
    """Keys that earlier versions did not write."""

    noise: float
    enough: bool


class EarlyExit(_Care):
    """The margin, how it was chosen and what it gives."""

    margin: Fraction
    tolerance: float
    validation: ExitPart
    rest: ExitPart
    curve: list[ExitPoint]


class Latency(TypedDict):
    """Milliseconds per sample: median and nine tenths."""

    p50: float
    p90: float


class Machine(TypedDict):
    """Where it was measured."""

    processor: str
    cores: int | None
    threads: int | None
    system: str


class MeasuredC(TypedDict):
    """The bundle's C, compiled and run here on one thread; `note` says on what, or why there is no time."""

    runs: int
    latency_ms: Latency | None
    note: str


class _Beside(TypedDict, total=False):
    """Keys that earlier versions did not write; `c` is there where it was asked for."""

    one_step_ms: float | None
    c: MeasuredC


class Measured(_Beside):
    """What this machine needed for one image; `one_step_ms` for one of its steps, the median."""

    model: str
    batch: Positive
    runs: Positive
    latency_ms: Latency
    energy_mj: float | None
    energy_note: str
    note: str
    machine: Machine


class _Warned(TypedDict, total=False):
    """Keys that earlier versions did not write."""

    warnings: list[str]


class Document(_Warned):
    """report.json."""

    format_version: Literal[1]
    provenance: Provenance
    accuracy: Accuracy
    totals: Totals
    split: Counts
    spread: Spreads
    layers: list[Layer]
    baselines: Baselines
    energy: Energy
    early_exit: EarlyExit | None
    measured: Measured | None


class _Drawn(TypedDict, total=False):
    """Keys that earlier versions did not write."""

    spikes_per_neuron: float | None
    memory_pj: float
    c_latency_ms: float | None


class ComparisonRow(_Drawn):
    """One network beside others; counts per sample, energies the least of [least, most] in picojoules."""

    name: str
    dataset: str | None
    split: str
    samples: Positive
    timesteps: Positive
    variant: Precision
    accuracy: Fraction
    accuracy_first_step: Fraction
    firing_rate: float | None
    conv_acs: Number
    head_acs: Number
    stem_macs: Number
    ann_macs: Number
    effective_acs: Number
    effective_macs: Number
    spikes_per_synapse: float | None
    arithmetic_fp32_pj: float
    arithmetic_int8_pj: float
    memory_ratio: float | None
    rate_is: Standing
    early_exit_steps: float | None
    latency_ms: float | None


class Comparison(TypedDict):
    """report.json of --compare."""

    format_version: Literal[1]
    comparison: list[ComparisonRow]
    reports: list[Document]
