"""The loop of an event camera: a recording played back at its own speed, an answer for every frame that is full.

    python event_loop.py BUNDLE RECORDING... [--window US] [--speed 1] [--chunk US] [--margin M]

The latency of an answer is the time from the moment its frame's last microsecond was over to the moment the answer was
there: waiting for the chunk that brings the next event, binning, and one step of the network. Needs the step graph.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from idsnn_deploy import Session
from idsnn_deploy.anytime import softmax
from idsnn_deploy.events import read


def chunks(events: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """The events of every `length` µs, as a camera's driver hands them over."""
    ends = np.arange(events["t"][0] + length, events["t"][-1] + length + 1, length)
    yield from np.split(events, np.searchsorted(events["t"], ends[:-1]))


def main(argv: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--window", type=int, help="µs (or events) that the T frames cover; default: the bundle's")
    parser.add_argument("--speed", type=float, default=1.0, help="of playback; 0: as fast as it goes (default 1)")
    parser.add_argument("--chunk", type=int, default=1000, help="µs of events handed over at once (default 1000)")
    parser.add_argument("--margin", type=float, help="stop when p1 - p2 reaches it")
    given = parser.parse_args(argv)
    session = Session(given.bundle, variant="step")
    latencies: list[float] = []
    for file in given.recordings:
        events, stream = read(file), session.stream(given.window, given.margin)
        start = time.perf_counter()
        for number, chunk in enumerate([*chunks(events, given.chunk), None], 1):
            if given.speed:  # a chunk is handed over once its time has passed
                time.sleep(max(0.0, start + number * given.chunk / 1e6 / given.speed - time.perf_counter()))
            began = time.perf_counter()
            for answer in stream.close() if chunk is None else stream.push(chunk):
                now = time.perf_counter()
                ended = start + answer.time / 1e6 / given.speed if given.speed else began
                latencies.append(1e3 * (now - min(ended, began)))  # a recording's end closes frames before theirs
                sure = softmax(answer.mean).max()
                print(
                    f"{file}  {answer.time:>8} µs  {session.labels[answer.label]:12} {sure:6.1%}  frame {answer.step}"
                    f"  {latencies[-1]:7.2f} ms{'  final' if answer.done else ''}",
                    flush=True,
                )
    print(f"latency from a frame's end to its answer: median {np.median(latencies):.2f} ms, most {max(latencies):.2f}")
    return latencies


if __name__ == "__main__":
    main()
