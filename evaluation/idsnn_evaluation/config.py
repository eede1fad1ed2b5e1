"""What `idsnn-evaluate` can be told: one frozen dataclass, which makes its flags and imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from idsnn_deploy.commands import DEBUG_HELP
from idsnn_deploy.errors import UsageError
from idsnn_deploy.flags import about, flag
from idsnn_deploy.manifest import Precision


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation, of a bundle or of several."""

    bundle: tuple[Path, ...] = field(metadata=about("a bundle's folder, or the run that it lies in", "BUNDLE"))
    dataset: str | None = flag(
        None, "data set to evaluate on, or npz (default: the one it was trained on)", "NAME", group="data"
    )
    data: Path | None = flag(
        None, "where the data set's files are (default: where the run has them from that the bundle lies in)", "DIR"
    )
    split: Literal["test", "train"] = flag("test", "which part of it")
    limit: int | None = flag(None, "at most N images, classes in turn", "N")
    variant: Precision | None = flag(
        None, "which network (default: fp32; with --compare all there are)", group="report"
    )
    compare: bool = flag(False, "put the bundles side by side in one report")
    early_exit: bool = flag(False, "show accuracy against average steps, and the margin to stop at")
    write: bool = flag(False, "with --early-exit: write the margin into the bundle's manifest")
    platform: Path | None = flag(None, "more hardware to estimate for: .toml or .json", "FILE")
    batch_size: int = flag(16, "images at a time", "N", group="run")
    threads: int | None = flag(None, "threads of onnxruntime (default: all cores)", "N")
    out: Path | None = flag(None, "the report's folder (default: report beside the bundle)", "REPORT")
    json: bool = flag(False, "print the report as JSON instead of tables")
    force: bool = flag(False, "replace an existing report")
    debug: bool = flag(False, DEBUG_HELP)

    def __post_init__(self) -> None:
        if len(self.bundle) > 1 and self.out is not None and not self.compare:
            raise UsageError("--out names one folder, but there are several bundles; leave it out, or pass --compare")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: give at least 1")
        if self.write and not self.early_exit:
            raise UsageError("--write puts the margin of --early-exit into the manifest; pass both")
        if self.write and self.compare:
            raise UsageError("--write belongs to evaluating a bundle, not to --compare")
