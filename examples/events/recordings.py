"""Recordings of a bright disc that crosses a sensor of 16x16 pixels in one of eight directions.

    python recordings.py DIR

A pixel that the disc comes over sends an event "brighter" (p = 1), one that it leaves an event "darker" (p = 0), each
at its own moment; a tenth as many events are noise. Size, speed, place and noise are drawn, the same for each seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from idsnn_deploy.events import DTYPE

SIZE, MOMENT = 16, 500  # pixels, and µs between two looks at the disc
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")


def recording(direction: int, seed: int) -> np.ndarray:
    """Events `(N,)` of one crossing, 60 to 120 ms; direction i goes i times 45 degrees from right to down."""
    rng = np.random.default_rng([direction, seed])
    angle = direction * np.pi / 4
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    radius, aside, duration = rng.uniform(1.5, 3), rng.uniform(-4, 4), int(rng.integers(60_000, 120_000))
    y, x = np.mgrid[:SIZE, :SIZE]
    covered, events = np.zeros((SIZE, SIZE), bool), []
    for t in range(0, duration, MOMENT):
        place = (SIZE - 1) / 2 + aside * across + (t / duration - 0.5) * 1.2 * SIZE * along
        now = np.hypot(x - place[0], y - place[1]) < radius
        for row, column in np.argwhere(now != covered):
            events.append((column, row, t + rng.integers(MOMENT), now[row, column]))
        covered = now
    noise = rng.integers(0, (SIZE, SIZE, duration, 2), (len(events) // 10, 4))
    found = np.array([*events, *map(tuple, noise)], DTYPE)
    return found[np.argsort(found["t"], kind="stable")]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets train/DIRECTION/*.npy and test/DIRECTION/*.npy")
    parser.add_argument("--train", type=int, default=60, help="recordings of each direction (default 60)")
    parser.add_argument("--test", type=int, default=25, help="recordings of each direction (default 25)")
    given = parser.parse_args(argv)
    for split, seeds in (("train", range(given.train)), ("test", range(1_000_000, 1_000_000 + given.test))):
        for direction, name in enumerate(DIRECTIONS):
            folder = given.folder / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for i, seed in enumerate(seeds):
                np.save(folder / f"{i:03}.npy", recording(direction, seed))


if __name__ == "__main__":
    main()
