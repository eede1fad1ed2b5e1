"""The loop of a small machine: class, confidence, steps used and latency of every image that comes.

    python edge_loop.py BUNDLE photos/ [--watch]    the images of a folder; --watch: and those that appear in it later
    python edge_loop.py BUNDLE camera:0             a camera (pip install opencv-python-headless)

An image that is clear after one step takes no more. Needs the step graph: idsnn-export --graphs step.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from idsnn_deploy import ImageError, Session
from idsnn_deploy.anytime import softmax
from idsnn_deploy.datasets import IMAGE_SUFFIXES


def folder(path: Path, watch: bool) -> Iterator[tuple[str, object]]:
    seen: set[Path] = set()
    for _ in itertools.count() if watch else (0,):
        for file in sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f not in seen):
            seen.add(file)
            yield file.name, file
        time.sleep(0.1 * watch)


def camera(number: int) -> Iterator[tuple[str, object]]:
    import cv2

    device = cv2.VideoCapture(number)
    for count in itertools.takewhile(lambda _: device.grab(), itertools.count()):
        yield f"frame {count}", device.retrieve()[1][..., ::-1]  # blue, green, red → red, green, blue


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("source", help="a folder, or camera:0")
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--margin", type=float, default=0.9, help="stop when p1 - p2 reaches it (default 0.9)")
    given = parser.parse_args(argv)
    session = Session(given.bundle, variant="step")
    live = given.source.startswith("camera:")
    for name, image in camera(int(given.source[7:])) if live else folder(Path(given.source), given.watch):
        start = time.perf_counter()
        try:
            label, steps, logits = session.run_until(image, given.margin)
            sure, ms = softmax(logits).max(), 1e3 * (time.perf_counter() - start)
            print(f"{name:24} {session.labels[label]:16} {sure:6.1%} {steps} steps {ms:7.2f} ms", flush=True)
        except ImageError as error:
            print(error)


if __name__ == "__main__":
    main()
