"""What `idsnn-export` can be told: one frozen dataclass, which makes its flags and imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from idsnn_deploy.errors import UsageError
from idsnn_deploy.flags import about, flag
from idsnn_deploy.manifest import Encoding, Holds

Format = Literal["nir", "onnx", "all", "c"]
Pooling = Literal["avg", "sum"]
GRAPHS = ("onnx", "step", "probe")


@dataclass(frozen=True)
class ExportConfig:
    """One export."""

    # Optional on the command line alone, where `--diff` names two others.
    source: Path = field(
        metadata=about(
            "a run folder, or a .nir file of any framework; for --format c a bundle, too", "RUN_OR_NIR", nargs="?"
        )
    )
    out: Path | None = flag(None, "the bundle's folder (default: RUN/bundle, or NAME-bundle)", "BUNDLE")
    format: Format = flag("all", "model.nir, model.onnx, or both; c: a folder of C99 instead of a bundle")
    graphs: tuple[str, ...] = flag(GRAPHS, "which ONNX graphs", "LIST")
    int8: bool = flag(False, "also 8-bit convolutions, gated by accuracy, and their probe")
    weights_int8: bool = flag(False, "also 8-bit weights, for size alone")
    int8_share: float = flag(
        0.7, "of what can be computed in 8 bits, counted from the output; the rest stays float32", "X"
    )
    calibrate: int = flag(256, "training images that set the 8-bit ranges", "N")
    batch: str = flag(
        "dynamic", "batch size of the ONNX graphs; a number for converters that want it fixed", "dynamic|N"
    )
    timesteps: int | None = flag(None, "steps to unroll (default: as trained, or as the file says)", "T")
    dt: float | None = flag(None, "seconds per step (default: 1e-4, or as the file says)", "S")
    pool: Pooling = flag("avg", "sum: spikes stay whole numbers, the next weights are divided")
    encoding: Encoding | None = flag(None, "of a foreign graph: one image, or one frame per step (default: frames)")
    data: Path | None = flag(None, "where the data set's files are now (default: as trained)", "DIR")
    force: bool = flag(False, "replace an existing bundle")

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--format", self.format, get_args(Format)),
            ("--pool", self.pool, get_args(Pooling)),
            ("--encoding", self.encoding, (None, *get_args(Encoding))),
            *(("--graphs", graph, GRAPHS) for graph in self.graphs),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: known are {', '.join(filter(None, known))}")
        if self.timesteps is not None and self.timesteps < 1:
            raise UsageError(f"--timesteps {self.timesteps}: a network runs at least 1 step")
        if self.dt is not None and not self.dt > 0:
            raise UsageError(f"--dt {self.dt}: seconds, more than 0")
        if self.batch != "dynamic" and not (self.batch.isdecimal() and int(self.batch) >= 1):
            raise UsageError(f"--batch {self.batch}: `dynamic`, or a number of at least 1")
        if not 0 < self.int8_share <= 1:
            raise UsageError(f"--int8-share {self.int8_share}: above 0, and at most 1")
        if self.calibrate < 1:
            raise UsageError(f"--calibrate {self.calibrate}: at least 1 training image")
        if self.format == "c" and (self.int8 or self.weights_int8):
            raise UsageError("--format c is in whole numbers already; leave out --int8 and --weights-int8")
        if self.int8 and self.weights_int8:
            raise UsageError("--int8 and --weights-int8 both make model.int8.onnx; choose one")

    @property
    def fixed_batch(self) -> int | None:
        """The batch size of the ONNX graphs, None where it is dynamic."""
        return None if self.batch == "dynamic" else int(self.batch)

    def writes(self, holds: Holds) -> bool:
        """Whether a graph is asked for; the model always is, unless NIR alone is wanted."""
        return self.format != "nir" and (holds == "model" or holds in self.graphs)
