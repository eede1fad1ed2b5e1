"""What `idsnn-evaluate` can be told: one frozen dataclass, which makes its flags and imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
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
    measure_c: bool = flag(
        False, "time the bundle's C on this machine, too: compiles it and runs it as a program; of bundles you trust"
    )
    platform: Path | None = flag(None, "more hardware to estimate for: .toml or .json", "FILE")
    shard: str | None = flag(
        None, "count a part of the split, for --merge: its K-th of N", "K/N", group="many machines"
    )
    merge: Path | None = flag(None, "make the report from the shards in a folder", "DIR")
    batch_size: int = flag(16, "images at a time", "N", group="run")
    threads: int | None = flag(None, "threads of onnxruntime (default: all cores)", "N")
    out: Path | None = flag(
        None, "the report's folder (default: report beside the bundle; of --shard: shards beside it)", "REPORT"
    )
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
        self._check_shards()

    @property
    def part(self) -> tuple[int, int] | None:
        """K and N of `--shard K/N`.

        Raises:
            UsageError: it is no such pair.
        """
        if self.shard is None:
            return None
        pair = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", self.shard)
        number, of = map(int, pair.groups()) if pair else (0, 0)
        if not 1 <= number <= of:
            raise UsageError(f"--shard {self.shard}: give K/N with K from 1 to N, such as 3/8")
        return number, of

    def _check_shards(self) -> None:
        """`--shard` makes no report, `--merge` counts nothing: what belongs to the other is refused, not ignored."""
        others = {"shard": _REPORT, "merge": _COUNTING} if self.part is None else {"shard": (*_REPORT, "merge")}
        for name, refused in others.items():
            if getattr(self, name) is None:
                continue
            if len(self.bundle) > 1:
                raise UsageError(f"--{name} is for one bundle; there are {len(self.bundle)}")
            given = [each for each in refused if getattr(self, each) != _DEFAULTS[each]]
            if given:
                words = f"--{given[0].replace('_', '-')}"
                why = "writes tallies, not a report" if name == "shard" else "takes the data and counts from the shards"
                raise UsageError(f"--{name} {why}; leave out {words}")


_REPORT = ("compare", "early_exit", "write", "measure_c", "platform", "json")
_COUNTING = ("dataset", "data", "split", "limit", "variant", "compare", "batch_size")
_DEFAULTS = {each.name: each.default for each in fields(EvaluateConfig)}
