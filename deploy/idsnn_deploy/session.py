"""Images in, logits out, with onnxruntime and numpy alone.

    logits = (1/T) sum over t of step_logits[t]        or their sum, last or largest, as the manifest says

`model.onnx` runs its T steps in one call; `model.step.onnx` runs one and hands its state back, which is what streaming
and anytime inference need.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from .anytime import Decision
from .arrays import Array
from .c_network import CNetwork
from .closest import known_are
from .errors import UsageError
from .event_stream import EventStream
from .execution import Stepper, StepState, Unrolled
from .inputs import Images, batches
from .manifest import VARIANTS, Bundle, C, Manifest, read_bundle
from .onnx_file import Options, Provider


class Session:
    """A bundle, ready to run.

    Args:
        bundle: its folder, or an opened one.
        variant: "fp32", "int8", "step" (only the one-step graph is loaded; the same answers, a step at a time), or "c":
            the bundle's C, compiled here and run as a program is, on one thread; of bundles that you trust.
        threads: threads within an operator; None takes every core.
        providers: onnxruntime's execution providers in order of preference; None is the CPU.
        optimization: onnxruntime's graph optimization: "all", "extended", "basic" or "disable".
        batch: the most images that are run at once.

    Raises:
        BundleError: a file is missing, changed, or is not what the manifest says.
        UsageError: an unknown variant or optimization, a provider that is not installed, or C without a compiler.

    Examples:
        >>> session = Session("runs/demo/bundle")                      # doctest: +SKIP
        >>> session(["a.png", "b.png"]).argmax(axis=1)                 # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle,
        variant: str = "fp32",
        threads: int | None = None,
        providers: Sequence[Provider] | None = None,
        optimization: str = "all",
        batch: int = 32,
    ) -> None:
        if variant not in (*VARIANTS, C):
            raise UsageError(f"unknown variant {variant!r}; {known_are(variant, (*VARIANTS, C))}")
        if batch < 1:
            raise UsageError(f"a batch of {batch} images; give at least 1")
        self.bundle = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
        self.variant = variant
        self._options = Options(threads, providers, optimization)
        self._stepper: Stepper | CNetwork | None = None
        self._state: StepState | None = None
        self._streams = 0
        self._network: Unrolled | Stepper | CNetwork
        if variant == C:
            if providers:
                raise UsageError("providers are onnxruntime's; the variant c runs on the processor, without any")
            self._network = self._stepper = CNetwork(self.bundle)
        elif variant == "step":
            self._network = self._stepper = Stepper(self.bundle, self._options)
        else:
            self._network = Unrolled(self.bundle, VARIANTS[variant], self._options)
        self._batch = self._network.fixed or batch

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def labels(self) -> list[str]:
        """The class of each logit."""
        return self.manifest.labels

    @property
    def timesteps(self) -> int:
        """T."""
        return self.manifest.timesteps

    def __call__(self, images: Images) -> Array:
        """Returns logits, float32 `(N, K)`: read out over the T steps.

        Args:
            images: float `(N, C, H, W)` in 0..1, uint8 `(N, H, W, C)`, a path, a Pillow image, or a list of these;
                float `(T, N, ...)` where the input varies in time.

        Raises:
            ImageError: an image that does not decode or is refused.
            ValueError, TypeError: an array of another shape, range or type.
        """
        return np.concatenate([self._network.logits(x) for x in batches(images, self.manifest, self._batch)])

    def prepare(self, images: Images) -> Array:
        """Returns what the network is fed for these images: float32 `(N, C, H, W)` in 0..1, resized as in training."""
        return np.concatenate(list(batches(images, self.manifest, self._batch)), axis=self.manifest.sample_axis)

    def step_logits(self, images: Images) -> Array:
        """Returns each step's own logits, float32 `(T, N, K)`; arguments as for a call."""
        found = [self._network.answer(x)[1] for x in batches(images, self.manifest, self._batch)]
        return np.concatenate(found, axis=1)

    def run_until(self, image: Images, margin: float | None = None) -> Decision:
        """Steps through one image until its class stands out; see `anytime` for the rule, which C has in whole numbers.

        Args:
            image: one image, or frames `(T, 1, ...)` where the input varies in time.
            margin: p1 - p2 at which to stop, in 0..1; None takes the manifest's.

        Raises:
            UsageError: no margin here nor in the manifest, or one that is no number; an int8 session (the step graph
                is float32).
            BundleError: the bundle has no step graph.
        """
        margin = self.margin() if margin is None else margin
        if math.isnan(margin):
            raise UsageError("margin nan: give the p1 - p2 at which to stop, in 0..1")
        stepper = self._steps()
        x, *more = batches(image, self.manifest, 1)
        if more:
            raise ValueError(f"run_until takes one image, not {len(more) + 1}")
        logits, steps = stepper.until(x, margin)
        return Decision(int(logits.argmax()), steps, logits)

    def margin(self) -> float:
        """The margin that the manifest recommends; `UsageError` where it has none."""
        return self.bundle.margin()

    def step(self, frame: Images) -> Array:
        """Runs one time step on from the last and returns its logits, float32 `(N, K)`.

        Args:
            frame: one step's input, `(N, *input_shape)` or one sample; N stays the same until `reset`.
        """
        stepper = self._steps()
        x = np.concatenate(list(batches(frame, stepper.one_step, self._batch)))
        if self._state is None:
            self._state, self._streams = stepper.start(len(x)), len(x)
        if len(x) != self._streams:
            raise ValueError(
                f"{len(x)} samples where the stream has {self._streams}; call reset() before another number"
            )
        logits, self._state = stepper(x, self._state)
        return logits

    def stream(self, window: int | None = None, margin: float | None = None) -> EventStream:
        """A camera's events in chunks, with an answer for every frame that is full; see `event_stream`.

        Args:
            window: what the T frames cover together, µs by time or events by count; None takes the bundle's.
            margin: p1 - p2 at which an answer is final before its window is over; None waits.

        Raises:
            UsageError: a bundle that takes no events, or no window here nor in the manifest.
            BundleError: the bundle has no step graph.
        """
        return EventStream(self._steps(), window, margin)

    def reset(self) -> None:
        """Forgets what `step` has seen: every membrane is 0 again."""
        self._state = None

    def _steps(self) -> Stepper | CNetwork:
        if self.variant == "int8":
            raise UsageError("the step graph is float32; open the session with variant='fp32' or 'step'")
        if self._stepper is None:
            self._stepper = Stepper(self.bundle, self._options)
        return self._stepper
