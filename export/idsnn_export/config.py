"""What `idsnn-export` can be told: one frozen dataclass, which makes its flags and imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

from idsnn.networks.import_path import is_import_path
from idsnn_deploy.closest import known_are
from idsnn_deploy.errors import UsageError
from idsnn_deploy.flags import about, flag
from idsnn_deploy.manifest import Encoding, Holds, ProfileName

Format = Literal["nir", "onnx", "all", "c"]
Isa = Literal["portable", "avx2", "dsp"]
Pooling = Literal["avg", "sum"]
GRAPHS = ("onnx", "step", "probe")


@dataclass(frozen=True)
class ExportConfig:
    """One export."""

    # Optional on the command line alone, where `--diff` names two others.
    source: Path = field(
        metadata=about(
            "a run folder, a .nir file of any framework, or package.module:factory, which makes a torch network; for "
            "--format c a bundle, too",
            "SOURCE",
            nargs="?",
        )
    )
    out: Path | None = flag(None, "the bundle's folder (default: RUN/bundle, or NAME-bundle)", "BUNDLE", group="run")
    weights: Path | None = flag(
        None, "of package.module:factory: its state dict, .pt or .safetensors", "FILE", group="network"
    )
    input_shape: tuple[str, ...] | None = flag(None, "of package.module:factory: one sample at one step", "C,H,W")
    labels: tuple[str, ...] | None = flag(None, "the classes' names in the order of the outputs", "LIST")
    mean: tuple[str, ...] | None = flag(
        None, "of package.module:factory: its images are (pixel - mean) / std, pixels in 0..1", "LIST"
    )
    std: tuple[str, ...] | None = flag(None, "of package.module:factory: beside --mean", "LIST")
    format: Format = flag(
        "all", "model.nir, model.onnx, or both; c: a folder of C99 instead of a bundle", group="files"
    )
    with_c: bool = flag(False, "also the network in C99, in BUNDLE/c, for idsnn-deploy --variant c")
    isa: Isa = flag("portable", "of C: C99 alone, or its sums with AVX2's instructions, or those of Cortex-M4 and M7")
    graphs: tuple[str, ...] = flag(GRAPHS, "which ONNX graphs, of onnx, step and probe", "LIST")
    int8: bool = flag(False, "also 8-bit convolutions, gated by accuracy, and their probe")
    weights_int8: bool = flag(False, "also 8-bit weights, for size alone")
    int8_share: float = flag(
        0.7, "of what can be computed in 8 bits, counted from the output; the rest stays float32", "X"
    )
    calibrate: int = flag(256, "training images that set the 8-bit ranges", "N")
    batch: str = flag(
        "dynamic", "batch size of the ONNX graphs; a number for converters that want it fixed", "dynamic|N"
    )
    profile: ProfileName = flag(
        "default", "portable: ONNX for other runtimes than onnxruntime; no Greater, Where, bool or ReduceMean, batch 1"
    )
    timesteps: int | None = flag(
        None, "steps to unroll (default: as trained, or as the file says)", "T", group="network"
    )
    dt: float | None = flag(None, "seconds per step (default: 1e-4, or as the file says)", "S")
    pool: Pooling = flag("avg", "sum: spikes stay whole numbers, the next weights are divided")
    encoding: Encoding | None = flag(
        None, "one image for all steps, or a frame per step (default: frames for a foreign graph, static for a factory)"
    )
    dataset: str | None = flag(
        None,
        "of package.module:factory: the data set for gates, golden vectors, 8 bits and accuracy",
        "NAME",
        group="data",
    )
    data: Path | None = flag(None, "where the data set's files are now (default: as trained)", "DIR")
    force: bool = flag(False, "replace an existing bundle", group="run")

    def __post_init__(self) -> None:
        for name in ("source", "out", "weights", "data"):  # from Python they may be text
            value = getattr(self, name)
            object.__setattr__(self, name, value and Path(value))
        for name, value, known in (
            ("--format", self.format, get_args(Format)),
            ("--isa", self.isa, get_args(Isa)),
            ("--profile", self.profile, get_args(ProfileName)),
            ("--pool", self.pool, get_args(Pooling)),
            ("--encoding", self.encoding, (None, *get_args(Encoding))),
            *(("--graphs", graph, GRAPHS) for graph in self.graphs),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: {known_are(str(value), filter(None, known))}")
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
        ending = None if self.out is None else self.out.suffix
        if ending in (".nir", ".onnx") and self.format not in (ending[1:], "all"):
            made = {"c": "a folder of C", "nir": "model.nir", "onnx": "ONNX files"}[self.format]
            raise UsageError(
                f"--out {self.out}: --format {self.format} writes {made}; leave --format out, or name a folder"
            )
        if self.format == "c" and (self.int8 or self.weights_int8):
            raise UsageError("--format c is in whole numbers already; leave out --int8 and --weights-int8")
        if self.format != "c" and self.isa != "portable" and not self.with_c:
            raise UsageError(f"--isa {self.isa} is for --format c and --with-c; this export's is {self.format}")
        if self.with_c and (self.format != "all" or ending in (".nir", ".onnx")):
            raise UsageError(
                f"--with-c adds to a bundle, and this export writes none; leave out {self._instead(ending)}"
            )
        if self.format in ("c", "nir") and self.profile != "default":
            raise UsageError(f"--profile {self.profile} is for ONNX files; --format {self.format} writes none")
        if self.int8 and self.weights_int8:
            raise UsageError("--int8 and --weights-int8 both make model.int8.onnx; choose one")
        self._check_factory()

    def _instead(self, ending: str | None) -> str:
        return f"--format {self.format}" if self.format != "all" else f"the ending {ending}"

    def _check_factory(self) -> None:
        """What belongs to a network by its import path is all there, or not there at all."""
        needed = {"--weights": self.weights, "--input-shape": self.input_shape, "--timesteps": self.timesteps}
        if self.factory is not None:
            missing = [name for name, value in needed.items() if value is None]
            if missing:
                raise UsageError(f"{self.factory}: a network by its import path needs {' and '.join(missing)}, too")
            if (self.mean is None) != (self.std is None):
                raise UsageError("--mean and --std belong together")
            _ = self.shape, self.normalization
            return
        own: dict[str, object] = {name: needed[name] for name in ("--weights", "--input-shape")}
        own |= {"--dataset": self.dataset, "--labels": self.labels, "--mean": self.mean, "--std": self.std}
        for name in (name for name, value in own.items() if value is not None):
            raise UsageError(
                f"{name} is for a network by its import path, package.module:factory; {self.source} is none"
            )

    @property
    def factory(self) -> str | None:
        """The import path of a network, where the source is one; what lies on the disk is no import path."""
        name = str(self.source)
        return name if is_import_path(name) and not self.source.exists() else None

    def beside(self, what: str) -> Path:
        """RUN/what in a run folder, NAME-what beside the file NAME.nir, or here for package.module:NAME."""
        if self.source.is_dir():
            return self.source / what
        if self.factory is not None:
            return Path(f"{self.factory.rpartition(':')[2].replace('.', '-')}-{what}")
        return self.source.with_name(f"{self.source.stem}-{what}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample at one step.

        Raises:
            UsageError: anything but one to three sizes of at least 1.
        """
        given = self.input_shape or ()
        if not 1 <= len(given) <= 3 or not all(size.isdecimal() and int(size) >= 1 for size in given):
            raise UsageError(f"--input-shape {','.join(given)}: C,H,W, C,L or K, each at least 1")
        return tuple(map(int, given))

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and std, one value per channel or one for all; None where pixels are taken as they are.

        Raises:
            UsageError: anything but finite numbers, as many of one as of the other, and deviations above 0.
        """
        if self.mean is None or self.std is None:
            return None
        try:
            mean, std = (tuple(map(float, each)) for each in (self.mean, self.std))
        except ValueError as error:
            raise UsageError(f"--mean {','.join(self.mean)} --std {','.join(self.std)}: numbers ({error})") from None
        channels = self.shape[0]
        if len(self.shape) != 3 or {len(mean), len(std)} not in ({1}, {channels}):
            raise UsageError("--mean and --std have one number each, or one per channel of images (C, H, W)")
        if not all(map(isfinite, (*mean, *std))) or min(std) <= 0:
            raise UsageError("--mean and --std are finite numbers, and --std is above 0")
        return mean, std

    @property
    def fixed_batch(self) -> int | None:
        """The batch size of the ONNX graphs, None where it is dynamic; 1 in the portable profile, which has none."""
        if self.batch == "dynamic":
            return 1 if self.profile == "portable" else None
        return int(self.batch)

    def writes(self, holds: Holds) -> bool:
        """Whether a graph is asked for; the model always is, unless NIR alone is wanted."""
        return self.format != "nir" and (holds == "model" or holds in self.graphs)
