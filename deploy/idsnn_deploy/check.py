"""`idsnn-deploy check`: does this machine answer what the exporting machine answered?

float32    logits and step logits within 1e-4 of the golden ones, the same classes; the probe's spikes equal
int8       the class that 8 bits gave on the exporting machine, for 3 of 4 golden images: the float32 stem may round
           otherwise here, and then a spike flips (its accuracy was gated when it was exported)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array
from .errors import EXIT_FAILED, EXIT_OK, BundleError
from .execution import Stepper, Unrolled
from .golden import Golden, read_golden
from .inputs import batches
from .json_types import Count, fits
from .manifest import MANIFEST, MODEL_FILES, Bundle, Holds, ModelFile, listed, read_bundle
from .onnx_file import Options
from .text_table import format_table
from .versions import versions

LOGIT_TOLERANCE = 1e-4
INT8_AGREEMENT = 0.75
PACKAGES = ("idsnn", "python", "numpy", "onnxruntime", "PIL")


@dataclass(frozen=True)
class Replay:
    """What the replay of one file gave.

    Attributes:
        file: the file.
        passed: whether it answers as it must.
        agree: the fraction of golden images with the golden class.
        logit_difference: the largest difference to the golden logits and step logits.
        spikes: whether every spike count equals the golden one; None for a file that does not say.
    """

    file: str
    passed: bool
    agree: float
    logit_difference: float
    spikes: bool | None = None


def check_bundle(bundle: Bundle, options: Options = Options()) -> list[Replay]:  # noqa: B008  (frozen)
    """Verifies every hash, then replays the golden vectors through every ONNX file of the bundle.

    Raises:
        BundleError: a file is missing, changed, does not load or does not run.
    """
    bundle.verify()
    golden = read_golden(bundle)
    there = [file for file in MODEL_FILES if bundle.has(file.name)]
    return [_REPLAYS[file.holds](bundle, file, golden, options) for file in there]


def _replay_model(bundle: Bundle, file: ModelFile, golden: Golden, options: Options) -> Replay:
    return _compare(bundle, file, *_answers(bundle, Unrolled(bundle, file.name, options), golden), golden)


def _replay_step(bundle: Bundle, file: ModelFile, golden: Golden, options: Options) -> Replay:
    return _compare(bundle, file, *_answers(bundle, Stepper(bundle, options), golden), golden)


def _replay_probe(bundle: Bundle, file: ModelFile, golden: Golden, options: Options) -> Replay:
    names = [f"spikes.{layer.name}" for layer in bundle.manifest.neurons]
    probe = Unrolled(bundle, file.name, options, dict.fromkeys(names, (None, bundle.manifest.timesteps)))
    counted = []
    for x in batches(golden.images, bundle.manifest, probe.fixed or len(golden.logits)):
        found = np.zeros((len(names), x.shape[probe.axis]))
        for row, spikes in zip(found, probe.run(x, names) if names else [], strict=True):
            row[:] = spikes.sum(axis=1)[: len(row)]
        counted.append(found.T)
    equal = bool(np.array_equal(np.concatenate(counted), golden.spikes))
    return _compare(bundle, file, *_answers(bundle, probe, golden), golden, equal)


# How a file is asked for the golden vectors, by what it holds.
_REPLAYS: dict[Holds, Callable[[Bundle, ModelFile, Golden, Options], Replay]] = {
    "model": _replay_model,
    "step": _replay_step,
    "probe": _replay_probe,
}


def _answers(bundle: Bundle, network: Unrolled | Stepper, golden: Golden) -> tuple[Array, Array]:
    parts = list(batches(golden.images, bundle.manifest, network.fixed or len(golden.logits)))
    for x in parts:
        network.answer(x)  # a runtime's second run is the one that its memory planning shows in
    found = [network.answer(x) for x in parts]
    return np.concatenate([logits for logits, _ in found]), np.concatenate([steps for _, steps in found], axis=1)


def _compare(
    bundle: Bundle, file: ModelFile, logits: Array, steps: Array, golden: Golden, spikes: bool | None = None
) -> Replay:
    agree = float(np.mean(logits.argmax(axis=1) == _classes(bundle, file, golden)))
    apart = max(float(np.abs(logits - golden.logits).max()), float(np.abs(steps - golden.step_logits).max()))
    if file.precision == "int8":
        return Replay(file.name, agree >= INT8_AGREEMENT, agree, apart, spikes)
    return Replay(file.name, agree == 1 and apart <= LOGIT_TOLERANCE and spikes is not False, agree, apart, spikes)


def _classes(bundle: Bundle, file: ModelFile, golden: Golden) -> Array:
    """The classes that a file gave the golden images where the bundle was exported."""
    answered: Array = golden.logits.argmax(axis=1)
    int8 = bundle.manifest.parity.get("int8", {}) if file.precision == "int8" else {}
    recorded = int8.get("golden_classes", answered.tolist()) if isinstance(int8, dict) else int8
    if not fits(list[Count], recorded) or len(recorded) != len(answered):
        raise BundleError(
            f"{bundle.folder / MANIFEST}: `parity.int8` says {str(recorded)[:60]!r} where it must give "
            f"`golden_classes`, one for each of {len(answered)} golden images; export the bundle again"
        )
    return np.asarray(recorded)


def check(folder: str | os.PathLike[str], options: Options, as_json: bool, say: Callable[[Any], None]) -> int:
    """Runs the command; returns 0 when every file passes, else 1."""
    bundle = read_bundle(folder)
    results = check_bundle(bundle, options)
    passed = all(result.passed for result in results)
    here, there = versions(*PACKAGES), bundle.manifest.versions
    if as_json:
        rows = [vars(result) for result in results]
        say({"bundle": str(folder), "passed": passed, "results": rows, "versions": here, "exported_with": there})
    else:
        said = {True: "equal", False: "DIFFER", None: ""}
        rows_of_text = [
            (r.file, f"{r.agree:.0%}", f"{r.logit_difference:.1e}", said[r.spikes], "PASS" if r.passed else "FAIL")
            for r in results
        ]
        say(f"{len(listed(bundle.manifest))} files unchanged")
        say(format_table(("replayed", "same class", "logits apart", "spikes", ""), rows_of_text))
        packages = [(name, here.get(name, "-"), there.get(name, "-")) for name in dict.fromkeys((*here, *there))]
        say("\n" + format_table(("version of", "here", "exported with"), packages))
        say("\nPASS" if passed else "\nFAIL: this machine does not answer as the exporting one did")
    return EXIT_OK if passed else EXIT_FAILED
