"""`idsnn-deploy run`: images, recordings or arrays to classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .anytime import softmax
from .arrays import Array
from .errors import EXIT_OK, UsageError
from .progress import track
from .readout import read_out
from .sample_file import is_sample_file, read_samples
from .session import Session
from .text_table import format_table


@dataclass(frozen=True)
class Answer:
    """What the network says of one image.

    Attributes:
        image: the file.
        logits: float32 `(K,)`.
        steps: how many time steps were run.
        seconds: the network's time, without reading the file.
        step_logits: float32 `(T, K)`, where they were asked for.
    """

    image: str
    logits: Array
    steps: int
    seconds: float
    step_logits: Array | None = None

    def top(self, count: int) -> list[tuple[int, float]]:
        """The most likely classes, at most `count`: (index, probability)."""
        p = softmax(self.logits)
        return [(int(i), float(p[i])) for i in np.argsort(-p, kind="stable")[:count]]


def answer(session: Session, image: str, steps: bool = False, margin: float | None = None, given: Any = None) -> Answer:
    """Classifies one image file, or what is `given` under its name; with a `margin`, by anytime inference."""
    pixels = session.prepare(image if given is None else given)
    start = time.perf_counter()
    if margin is not None:
        decision = session.run_until(pixels, margin)
        return Answer(image, decision.logits, decision.steps, time.perf_counter() - start)
    each = session.step_logits(pixels)[:, 0] if steps else None
    logits = session(pixels)[0] if each is None else read_out(each, session.manifest.readout)
    return Answer(image, logits, session.timesteps, time.perf_counter() - start, each)


def samples(session: Session, file: str) -> Iterator[tuple[str, Any]]:
    """The samples of a file with their names: `FILE`, or `FILE[i]` where an array holds several; None: read the file.

    Raises:
        DataError: an array that is broken or of another shape.
    """
    manifest = session.manifest
    if manifest.events is not None or not is_sample_file(file):
        yield file, None
        return
    held = read_samples(file, manifest)
    count = held.shape[manifest.sample_axis]
    for i in range(count):
        yield file if count == 1 else f"{file}[{i}]", np.take(held, [i], manifest.sample_axis)


def run(
    session: Session,
    images: Sequence[str],
    top: int,
    steps: bool,
    margin: float | None,
    as_json: bool,
    say: Callable[[Any], None],
) -> int:
    """Runs the command: every image is classified before anything is printed."""
    in_time = session.manifest.sample_axis and session.manifest.events is None
    if in_time and not all(map(is_sample_file, images)):
        raise UsageError(
            f"{session.bundle.folder}: its input varies in time, image files do not; give .npy or .npz files of frames"
        )
    answers = [
        answer(session, name, steps, margin, given)
        for image in track(images, "classifying")
        for name, given in samples(session, image)
    ]
    if as_json:
        say(
            {"bundle": str(session.bundle.folder), "variant": session.variant, "margin": margin}
            | {"images": [_record(a, session.labels, top) for a in answers]}
        )
        return EXIT_OK
    rows = []
    for a in answers:
        for rank, (index, p) in enumerate(a.top(top)):
            first = (a.image, a.steps, f"{1e3 * a.seconds:.2f}") if rank == 0 else ("", "", "")
            rows.append((first[0], session.labels[index], f"{p:.1%}", *first[1:]))
    say(format_table(("image", "class", "confidence", "steps", "ms"), rows))
    for a in answers:
        if a.step_logits is not None:
            table = [(f"step {t}", *(f"{value:.3f}" for value in row)) for t, row in enumerate(a.step_logits, 1)]
            say(
                f"\n{a.image}\n"
                + format_table(
                    ("logits", *session.labels), [*table, (session.manifest.readout, *(f"{v:.3f}" for v in a.logits))]
                )
            )
    return EXIT_OK


def _record(a: Answer, labels: list[str], top: int) -> dict[str, Any]:
    (index, p), *_ = ranked = a.top(top)
    return {
        "image": a.image,
        "class": labels[index],
        "index": index,
        "confidence": p,
        "top": [{"class": labels[i], "index": i, "confidence": q} for i, q in ranked],
        "steps": a.steps,
        "ms": 1e3 * a.seconds,
        "logits": a.logits.tolist(),
        **({} if a.step_logits is None else {"step_logits": a.step_logits.tolist()}),
    }
