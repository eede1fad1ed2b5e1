"""What `idsnn-evaluate` does once its flags are read: evaluate, write the report, show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict, get_args

from rich import progress

from idsnn_deploy.commands import say
from idsnn_deploy.errors import BundleError, UsageError
from idsnn_deploy.files import refuse_existing, replacing_folder, reserved, write_json
from idsnn_deploy.manifest import Bundle, Precision, bundle_of, model_file, read_bundle, write_manifest
from idsnn_deploy.printable import each_text, printable

from .config import EvaluateConfig
from .cost.measure import measure
from .cost.platforms import Platform, read_platforms
from .data import LabelledSplit, one_data_set, one_split, open_source, trained_on
from .document import Comparison, Document
from .evaluator import evaluate, evaluate_shard
from .one_pass import Progress, Share
from .report import Report
from .shards import file_name, merge
from .show.comparison import comparison, short_names
from .show.figures import write_figures, write_fronts
from .show.page import render_comparison, render_html
from .show.terminal import compared, show, terminal

JSON, HTML = "report.json", "report.html"


def run_each(config: EvaluateConfig) -> list[Document]:
    """Evaluates each bundle into its own report folder; returns what the report.json files hold."""
    config = replace(config, bundle=tuple(map(bundle_of, config.bundle)))
    variant: Precision = config.variant or "fp32"
    outs = [config.out or _beside(bundle, variant) for bundle in config.bundle]
    if len(set(outs)) < len(outs):
        raise UsageError("two of the bundles lie in one folder and would share a report; evaluate them one by one")
    for out in outs:
        refuse_existing(out, config.force)
    platforms = _platforms(config)
    pairs = [(read_bundle(folder), out) for folder, out in zip(config.bundle, outs, strict=True)]
    makes = [partial(_evaluated, bundle, variant, config, platforms) for bundle, _ in pairs]
    return [_written(bundle, out, config, make) for (bundle, out), make in zip(pairs, makes, strict=True)]


def run_shard(config: EvaluateConfig) -> None:
    """Counts a part of the split and writes it as a file."""
    share = Share(*(config.part or (1, 1)))
    folder = bundle_of(config.bundle[0])
    out = config.out or _beside(folder, "shards")
    refuse_existing(out / file_name(share), config.force)
    bundle, variant = read_bundle(folder), config.variant or "fp32"
    source = _source(bundle, config)
    shard = evaluate_shard(bundle, source.images, source.labels, share, variant=variant, **_words(source, config))
    path = shard.write(out)
    samples = f"{len(shard.arrays['labels']):,} of {shard.about.samples:,} samples"
    say(f"shard {share.number} of {share.of}, {samples}: {path}")


def run_merge(config: EvaluateConfig) -> list[Document]:
    """Makes the report of a split from its shards; returns what report.json holds."""
    folder = bundle_of(config.bundle[0])
    bundle = read_bundle(folder)
    report = merge(bundle, config.merge or folder, _platforms(config))
    variant = report.provenance["variant"]
    out = config.out or _beside(folder, variant)
    refuse_existing(out, config.force)
    return [_written(bundle, out, config, partial(_measured, report, bundle, variant, config))]


def _written(bundle: Bundle, out: Path, config: EvaluateConfig, make: Callable[[], Report]) -> Document:
    """Makes a report, writes its folder and shows it."""
    with replacing_folder(out, config.force) as beside:
        report = make()
        body = report.to_dict()
        shown = each_text(body)
        write_json(beside / JSON, body)
        (beside / HTML).write_text(render_html(report), encoding="utf-8")
        write_figures(shown, beside / "figures")
    if config.write:
        _write_margin(bundle, report)
    if not config.json:
        show(shown, terminal(), config.early_exit)
        say(f"report: {out / HTML}")
    return body


def run_compare(config: EvaluateConfig) -> list[Comparison]:
    """Evaluates every bundle, and every variant of it, into one report; returns one object that holds them all."""
    config = replace(config, bundle=tuple(map(bundle_of, config.bundle)))
    out = config.out or _beside(config.bundle[0], "comparison")
    platforms = _platforms(config)
    bundles = [read_bundle(folder) for folder in config.bundle]
    one_data_set(bundles, config.dataset)
    with replacing_folder(out, config.force) as beside:
        sources = [_source(bundle, config) for bundle in bundles]
        one_split(bundles, sources)
        found = [
            each
            for bundle, source in zip(bundles, sources, strict=True)
            for each in _variants(bundle, source, config, platforms)
        ]
        paths, reports = [path for path, _ in found], [report for _, report in found]
        rows = comparison(reports, short_names(paths, [report["provenance"]["variant"] for report in reports]))
        body: Comparison = {"format_version": reports[0]["format_version"], "comparison": rows, "reports": reports}
        write_json(beside / JSON, body)
        (beside / HTML).write_text(render_comparison(rows, reports), encoding="utf-8")
        write_fronts(each_text(rows), beside / "figures")
    if not config.json:
        compared(each_text(rows), terminal())
        say(f"report: {out / HTML}")
    return [body]


def _variants(
    bundle: Bundle, source: LabelledSplit, config: EvaluateConfig, platforms: tuple[Platform, ...]
) -> Iterator[tuple[str, Document]]:
    """Where a bundle lies and its report, for each network that is asked for."""
    there: list[Precision] = [each for each in get_args(Precision) if bundle.has(model_file("probe", each))] or ["fp32"]
    for variant in [config.variant] if config.variant else there:
        report = _evaluated(bundle, variant, config, platforms, source)
        yield printable(bundle.folder.resolve().as_posix()), report.to_dict()


def _evaluated(
    bundle: Bundle,
    variant: Precision,
    config: EvaluateConfig,
    platforms: tuple[Platform, ...],
    source: LabelledSplit | None = None,
) -> Report:
    source = source or _source(bundle, config)
    words = _words(source, config)
    report = evaluate(bundle, source.images, source.labels, variant=variant, platforms=platforms, **words)
    return _measured(report, bundle, variant, config)


def _measured(report: Report, bundle: Bundle, variant: Precision, config: EvaluateConfig) -> Report:
    return replace(report, measured=measure(bundle, variant, config.threads, config.measure_c))


def _source(bundle: Bundle, config: EvaluateConfig) -> LabelledSplit:
    data = config.data or (trained_on(bundle.folder) if config.dataset is None else None)
    return open_source(bundle.manifest, config.dataset, config.split, data, config.limit)


class _Words(TypedDict):
    batch_size: int
    threads: int | None
    split: str
    dataset: str
    progress: Progress


def _words(source: LabelledSplit, config: EvaluateConfig) -> _Words:
    """How a source is run, and what a report calls it."""
    return {
        "batch_size": config.batch_size,
        "threads": config.threads,
        "split": source.split if config.limit is None else f"{source.split} (limited)",
        "dataset": source.name,
        "progress": _progress,
    }


def _platforms(config: EvaluateConfig) -> tuple[Platform, ...]:
    return () if config.platform is None else read_platforms(config.platform)


def _beside(bundle: Path, variant: str) -> Path:
    names = {"fp32": "report", "int8": "report-int8"}
    return bundle.resolve().parent / names.get(variant, variant)


def _write_margin(bundle: Bundle, report: Report) -> None:
    """Puts the margin and how it was chosen into the manifest, atomically and with a new digest."""
    if report.early_exit is None:
        raise UsageError("--write: too few samples to choose a margin; evaluate more images")
    found = {key: value for key, value in report.early_exit.items() if key != "curve"}
    chosen_on = {key: report.provenance[key] for key in ("dataset", "split", "samples")}
    with reserved(bundle.folder, force=True):  # no export may come between reading and writing
        manifest = read_bundle(bundle.folder).manifest
        if manifest.files != bundle.manifest.files:
            raise BundleError(f"{bundle.folder}: replaced while it was evaluated; evaluate it again for its margin")
        write_manifest(bundle.folder, replace(manifest, early_exit={**found, **chosen_on}))


def _progress(starts: Iterable[int]) -> Iterable[int]:
    """Draws how many batches are done on standard error; nothing where that is no terminal."""
    console = terminal(stderr=True)
    parts = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn("counting spikes"), *parts)
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(list(starts))
