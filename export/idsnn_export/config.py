"""What `idsnn-export` can be told: one frozen dataclass, and nothing imported for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idsnn_deploy.errors import UsageError

FORMATS = ("nir", "onnx", "all")
GRAPHS = ("onnx", "step", "probe")
POOLS = ("avg", "sum")
ENCODINGS = ("static", "frames")


@dataclass(frozen=True)
class ExportConfig:
    """One export; the fields are the command's flags."""

    source: Path  # a run folder, or a .nir file of any framework
    out: Path | None = None  # the bundle's folder; None: RUN/bundle, or NAME-bundle beside NAME.nir
    format: str = "all"  # nir: model.nir alone; onnx: model.onnx alone; all: both
    graphs: tuple[str, ...] = GRAPHS  # which ONNX graphs
    int8: bool = False  # 8-bit convolutions too, gated by accuracy
    weights_int8: bool = False  # 8-bit weights too, for size alone
    calibrate: int = 256  # training images that set the 8-bit currents' ranges
    batch: str = "dynamic"  # or a number, for converters that want it fixed
    timesteps: int | None = None  # T; None: as trained, or as the file's metadata says
    dt: float | None = None  # seconds; None: 1e-4, or as the file's metadata says
    pool: str = "avg"  # sum: SumPool2d with the next layer's weights divided
    encoding: str | None = (
        None  # the same image at every step, or a frame a step; None: as the metadata says, else frames
    )
    data: Path | None = None  # where the data set's files are now
    force: bool = False  # replace an existing bundle

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--format", self.format, FORMATS),
            ("--pool", self.pool, POOLS),
            ("--encoding", self.encoding or ENCODINGS[0], ENCODINGS),
            *(("--graphs", graph, GRAPHS) for graph in self.graphs),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: known are {', '.join(known)}")
        if self.timesteps is not None and self.timesteps < 1:
            raise UsageError(f"--timesteps {self.timesteps}: a network runs at least 1 step")
        if self.dt is not None and not self.dt > 0:
            raise UsageError(f"--dt {self.dt}: seconds, more than 0")
        if self.batch != "dynamic" and not (self.batch.isdecimal() and int(self.batch) >= 1):
            raise UsageError(f"--batch {self.batch}: `dynamic`, or a number of at least 1")
        if self.calibrate < 1:
            raise UsageError(f"--calibrate {self.calibrate}: at least 1 training image")
        if self.int8 and self.weights_int8:
            raise UsageError("--int8 and --weights-int8 both make model.int8.onnx; choose one")

    @property
    def fixed_batch(self) -> int | None:
        """The batch size of the ONNX graphs, None where it is dynamic."""
        return None if self.batch == "dynamic" else int(self.batch)

    def writes(self, graph: str) -> bool:
        """Whether one of `GRAPHS` is asked for; model.onnx always is, unless NIR alone is wanted."""
        return self.format != "nir" and (graph == "onnx" or graph in self.graphs)
