"""`idsnn-deploy bench`: how long one answer takes on this machine, and in how much memory.

Each row is measured in a process of its own: its peak memory is its own and nothing is warm from another.

    latency     one call of one batch, after a warm-up; the 50th, 90th and 99th percentile
    steps       of anytime inference, whose calls take the golden images one by one: their mean over all of these
    throughput  images a second over all timed calls
    memory      the process's largest resident set, interpreter and libraries included
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import EXIT_OK, IdsnnError, UsageError
from .manifest import VARIANTS, Bundle, C, read_bundle
from .progress import track
from .text_table import format_table

if TYPE_CHECKING:
    from .session import Session

MIN_CALLS = 10
NONE = "-"  # the optimization of C, which onnxruntime does not run


@dataclass(frozen=True)
class Settings:
    """What one row measures.

    Attributes:
        variant: "fp32", "int8", "step" (all T steps, one at a time), or "c" (compiled once, on one thread).
        optimization: onnxruntime's graph optimization level.
        batch: images a call.
        threads: threads within an operator; None takes every core.
        provider: the execution provider; None is the CPU.
        seconds: how long calls are timed, at least `MIN_CALLS` of them.
        warmup: calls before the first that is timed.
        margin: p1 - p2 at which an image is stopped at (anytime inference, one image per call); None takes all steps.
    """

    variant: str = "fp32"
    optimization: str = "all"
    batch: int = 1
    threads: int | None = None
    provider: str | None = None
    seconds: float = 2.0
    warmup: int = 5
    margin: float | None = None


def measure(folder: str | os.PathLike[str], settings: Settings) -> dict[str, Any]:
    """Times one variant in this process; returns the settings and the figures (ms, images/s, MiB).

    Raises:
        BundleError, UsageError: as `Session` does.
    """
    import numpy as np

    from .session import Session

    start = time.perf_counter()
    providers = None if settings.provider is None else [settings.provider]
    session = Session(
        folder, settings.variant, settings.threads, providers, settings.optimization, batch=settings.batch
    )
    loaded = time.perf_counter() - start
    call, steps = _call(session, settings)
    for i in range(settings.warmup):
        call(i)
    taken: list[float] = []
    while len(taken) < MIN_CALLS or sum(taken) < settings.seconds:
        start = time.perf_counter()
        call(len(taken))
        taken.append(time.perf_counter() - start)
    p50, p90, p99 = (1e3 * float(np.percentile(taken, q)) for q in (50, 90, 99))
    return {
        **asdict(settings),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "images_per_second": settings.batch * len(taken) / sum(taken),
        "steps": steps,
        "calls": len(taken),
        "load_ms": 1e3 * loaded,
        "peak_memory_mib": _peak_memory(),
    }


def _call(session: Session, settings: Settings) -> tuple[Callable[[int], object], float]:
    """What the i-th call is, and how many steps the golden images take in the mean."""
    import numpy as np

    from .golden import read_golden

    golden, axis, margin = read_golden(session.bundle).images, session.manifest.sample_axis, settings.margin
    count = golden.shape[axis]
    if margin is None:
        images = golden.take(np.arange(settings.batch) % count, axis)
        return lambda i: session(images), float(session.timesteps)
    each = [golden.take([i], axis) for i in range(count)]
    steps = [session.run_until(image, margin).steps for image in each]
    return lambda i: session.run_until(each[i % count], margin), float(np.mean(steps))


def bench(bundle: Bundle, rows: Sequence[Settings]) -> list[dict[str, Any]]:
    """Measures each row in a fresh process.

    Raises:
        IdsnnError: what the row's process said.
    """
    return [_apart(bundle, settings) for settings in track(rows, "measuring")]


def _apart(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    # The package is found where this one was, installed or not.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "idsnn_deploy.bench", str(bundle.folder), json.dumps(asdict(settings))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise IdsnnError((done.stderr.strip().splitlines() or [f"measuring {settings.variant} failed"])[-1])
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def machine() -> dict[str, Any]:
    """The processor, its cores and the system."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "system": platform.platform(terse=True)}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n")  # Arm boards
    except OSError:
        return platform.processor() or platform.machine()


def _peak_memory() -> float | None:
    """The largest resident set of this process in MiB; None on a system that does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def bench_command(
    folder: str | os.PathLike[str],
    variants: Sequence[str] | None,
    optimizations: Sequence[str],
    settings: Settings,
    anytime: bool,
    as_json: bool,
    say: Callable[[Any], None],
) -> int:
    """Runs the command: every variant that the bundle has, at every level asked for; `anytime` stops at a margin."""
    if settings.batch < 1 or settings.seconds <= 0 or settings.warmup < 0:
        raise UsageError("--batch takes at least 1, --seconds more than 0, --warmup at least 0")
    bundle = read_bundle(folder)
    there = [variant for variant, file in VARIANTS.items() if bundle.has(file)]
    if anytime:
        settings = replace(settings, margin=bundle.margin() if settings.margin is None else settings.margin)
        there = ["step"]
    chosen = variants or there
    base = asdict(settings)
    rows = [
        Settings(**{**base, "variant": v, "optimization": o})
        for v in chosen
        for o in (optimizations if v != C else (NONE,))
    ]
    found = bench(bundle, rows)
    if as_json:
        say({"bundle": str(folder), "machine": machine(), "rows": found})
        return EXIT_OK
    here = machine()
    say(f"{here['cpu']}, {here['cores']} cores, {settings.threads or 'all'} threads, batch {settings.batch}, "
        f"T {bundle.manifest.timesteps}")  # fmt: skip
    header = ("variant", "optimization", "steps", "p50 ms", "p90 ms", "p99 ms", "images/s", "peak MiB", "load ms")
    say(format_table(header, [_row(row) for row in found]))
    if C not in chosen and bundle.manifest.c is not None:
        say(
            "the bundle's C was left out, because it is compiled and run as any program is; measure it with --variant c"
        )
    return EXIT_OK


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    peak = "-" if row["peak_memory_mib"] is None else f"{row['peak_memory_mib']:.0f}"
    times = (f"{row[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
    begin = row["variant"], row["optimization"], f"{row['steps']:.2f}"
    return *begin, *times, f"{row['images_per_second']:.1f}", peak, f"{row['load_ms']:.0f}"


def _measure_alone(folder: str, settings: str) -> int:
    try:
        print(json.dumps(measure(folder, Settings(**json.loads(settings)))))
    except IdsnnError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(_measure_alone(sys.argv[1], sys.argv[2]))
