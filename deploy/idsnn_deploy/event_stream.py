"""Events as they come, a step of the network for every frame that is full: the answer grows while the window lasts.

    frame k closes with the first event at or behind ceil((k + 1) W / T) of the window's first event, as in `events`
    m[k] = (1/k) sum of logits[1..k], the answer so far (or their sum, last or largest: `readout`)

A window ends after T frames, or as soon as its class stands out by a margin; then membranes start from rest, and the
next event begins another window. In whatever chunks the events come, the logits are those of the whole recording.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .anytime import separation, stands_out
from .arrays import Array
from .c_network import CNetwork
from .errors import DataError, UsageError
from .event_files import Events, checked
from .events import borders, histogram, inside
from .execution import Stepper
from .manifest import Manifest
from .reading import Binning
from .readout import running


class StreamStep(NamedTuple):
    """What the network says once a frame is closed.

    Attributes:
        step: frames seen of this window, 1..T.
        logits: float32 `(K,)`, of this step.
        mean: float32 `(K,)`, of the steps so far, or what the network reads out instead.
        label: the class of `mean`, an index into the manifest's labels.
        done: whether the answer is final: the class stands out, or the window is over.
        time: where the frame ended: µs by time, events by count, from the window's first event on.
    """

    step: int
    logits: Array
    mean: Array
    label: int
    done: bool
    time: int


class EventStream:
    """One camera's events, in chunks.

    >>> stream = session.stream()                                      # doctest: +SKIP
    >>> for chunk in camera:                                           # doctest: +SKIP
    ...     for answer in stream.push(chunk):
    ...         print(session.labels[answer.label], answer.step, answer.done)

    Args:
        stepper: the one-step graph, or the network in C.
        window: what T frames cover, µs by time and events by count; None takes the bundle's.
        margin: p1 - p2 at which an answer is final before its window is over; None waits for the window's end.

    Raises:
        UsageError: a bundle that takes no events, or no window here nor in the manifest.
    """

    def __init__(self, stepper: Stepper | CNetwork, window: int | None = None, margin: float | None = None) -> None:
        self._stepper, self._margin = stepper, margin
        self._binning, self._shape = _binning(stepper.manifest, window), stepper.manifest.image_shape
        self._sensor = self._binning.sensor or self._shape[1:]
        self._edges = borders(self._binning, 0, stepper.manifest.timesteps)
        self._last = -(2**62)
        self._rest()

    def push(self, events: Events) -> list[StreamStep]:
        """Takes a chunk in, and returns what the network says to every frame that it closes, in order.

        Raises:
            DataError: events outside the sensor, or time that runs backwards, within the chunk or from the last one.
        """
        if not len(events):
            return []
        inside(checked(events, "stream"), self._sensor, "stream")
        if events["t"][0] < self._last:
            raise DataError(f"stream: time runs backwards between chunks (from {self._last} to {events['t'][0]} µs)")
        self._last = int(events["t"][-1])
        answers: list[StreamStep] = []
        while len(events):
            within = self._within(events)
            frame, shape = np.zeros(within, np.int64), self._counts.shape
            self._counts += histogram(events[:within], frame, shape, "counts", self._sensor)
            self._seen += within
            events = events[within:]
            if len(events):  # the rest lies behind this frame
                answers += self._close()
        return answers

    def close(self) -> list[StreamStep]:
        """Ends the window now: the frames that are left hold what has come, and nothing."""
        answers: list[StreamStep] = []
        while self._origin is not None:
            answers += self._close()
        return answers

    def _rest(self) -> None:
        """Before a window's first event."""
        self._origin: int | None = None
        self._state = self._stepper.start(1)
        self._frame, self._seen, self._final = 0, 0, False
        self._counts = np.zeros((1, *self._shape), np.float32)
        self._logits: list[Array] = []

    def _within(self, events: Events) -> int:
        """How many of the events lie in the frame that is open."""
        if self._origin is None:
            self._origin = int(events["t"][0])
        end = int(self._edges[self._frame + 1])
        if self._binning.by == "count":
            return min(len(events), end - self._seen)
        return int(np.searchsorted(events["t"], self._origin + end))

    def _close(self) -> list[StreamStep]:
        """The frame through the network, and the next one opened."""
        answers = [] if self._final else [self._answer()]
        self._frame, self._counts = self._frame + 1, np.zeros_like(self._counts)
        if self._frame == self._stepper.manifest.timesteps:
            self._rest()
        return answers

    def _answer(self) -> StreamStep:
        frame = np.minimum(self._counts, 1) if self._binning.values == "binary" else self._counts
        logits, self._state = self._stepper(frame, self._state)
        self._logits.append(logits[0])
        step = self._frame + 1
        mean = running(np.stack(self._logits), self._stepper.manifest.readout)[-1]
        clear = self._margin is not None and bool(stands_out(separation(mean), self._margin))
        self._final = clear or step == self._stepper.manifest.timesteps
        return StreamStep(step, logits[0], mean, int(mean.argmax()), self._final, int(self._edges[step]))


def _binning(manifest: Manifest, window: int | None) -> Binning:
    if manifest.events is None:
        raise UsageError("the network was not trained on events; frames go to Session.step")
    binning = manifest.events if window is None else replace(manifest.events, window=window)
    if binning.window is None:
        raise UsageError(
            "the network was trained on whole recordings, and a stream has no end: say what its T frames cover "
            "together (window, in µs by time and in events by count), or train with --events-window"
        )
    return binning
