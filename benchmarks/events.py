"""A million events into ten frames: `idsnn_deploy.events` against tonic, one thread, alternating.

    python benchmarks/events.py [--events 1000000] [--size 128] [--timesteps 10] [--rounds 7] [--json]

Milliseconds of processor time, the median of the rounds; `by` and `values` as in `idsnn_deploy.events`. Tonic's
borders are other ones (it leaves out what does not fill a bin), so the two are not compared in what they give.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from idsnn_deploy.events import BY, DTYPE, VALUES, to_frames


def recording(count: int, size: int) -> np.ndarray:
    """`count` events at random places and ever later times."""
    rng = np.random.default_rng(0)
    events = np.empty(count, DTYPE)
    events["x"], events["y"] = rng.integers(0, size, (2, count))
    events["t"], events["p"] = np.sort(rng.integers(0, 1_000_000, count)), rng.integers(0, 2, count)
    return events


def forms(events: np.ndarray, size: int, timesteps: int) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {
        f"idsnn, by {by}, {values}": lambda by=by, values=values: to_frames(
            events, (2, size, size), timesteps, by, values
        )
        for by in BY
        for values in VALUES
    }
    if importlib.util.find_spec("tonic"):
        from tonic.functional import to_frame_numpy

        found["tonic, by time, counts"] = lambda: to_frame_numpy(events, (size, size, 2), n_time_bins=timesteps)
    return found


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    run = forms(recording(given.events, given.size), given.size, given.timesteps)
    taken: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(given.rounds):
        for name, form in run.items():
            start = time.process_time()
            form()
            taken[name].append(1e3 * (time.process_time() - start))
    rows = {name: round(median(each), 2) for name, each in taken.items()}
    print(json.dumps(rows) if given.json else "\n".join(f"{name:28} {ms:8.2f} ms" for name, ms in rows.items()))
    return rows


if __name__ == "__main__":
    main()
