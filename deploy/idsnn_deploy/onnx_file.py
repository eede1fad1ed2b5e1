"""One ONNX file of a bundle: loaded from checked bytes, held to the signature that docs/format.md gives it."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array
from .closest import known_are
from .errors import BundleError, IdsnnError, UsageError, first_line
from .manifest import Bundle
from .onnx_allowed import check_model

Shape = tuple[int | None, ...]  # None: any size
Provider = str | tuple[str, Mapping[str, Any]]
# Graph optimization levels of onnxruntime, most first, and its names for them.
OPTIMIZATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disable": "ORT_DISABLE_ALL",
}
_FATAL_ONLY = 4  # errors are exceptions too, which are shown


@dataclass(frozen=True)
class Options:
    """How onnxruntime runs a graph.

    Attributes:
        threads: threads within an operator; None lets onnxruntime take every core.
        providers: execution providers in order of preference; None is the CPU.
        optimization: a key of `OPTIMIZATIONS`.
    """

    threads: int | None = None
    providers: Sequence[Provider] | None = None
    optimization: str = "all"


class Graph:
    """A loaded ONNX file; `inputs` and `outputs` map names to shapes."""

    def __init__(self, bundle: Bundle, name: str, options: Options) -> None:
        self.where = f"{bundle.folder / name}"
        self.session = _load(bundle.read(name), self.where, options)
        self.inputs = _signature(self.session.get_inputs(), self.where)
        self.outputs = _signature(self.session.get_outputs(), self.where)

    def expect(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], more: bool = False) -> None:
        """Raises `BundleError` unless the graph takes just `inputs` and gives just `outputs`, or `more` than these."""
        for what, wanted, found in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if not set(wanted) <= set(found) or (len(found) > len(wanted) and not (more and what == "outputs")):
                raise BundleError(
                    f"{self.where}: has the {what} {', '.join(sorted(found))} where {', '.join(sorted(wanted))} "
                    f"belong; export the bundle again"
                )
            for name, shape in wanted.items():
                if not _fits(shape, found[name]):
                    raise BundleError(
                        f"{self.where}: {name} has the shape {_words(found[name])} where the manifest says "
                        f"{_words(shape)}; export the bundle again"
                    )

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Returns the named outputs, in order, all finite.

        Raises:
            BundleError: onnxruntime fails, or a value is not finite.
        """
        try:
            values: list[Array] = self.session.run(list(outputs), dict(feeds))
        except Exception as cause:  # onnxruntime's errors share no base class
            raise BundleError(f"{self.where}: fails while running ({first_line(cause)})") from cause
        for name, value in zip(outputs, values, strict=True):
            if not np.isfinite(value).all():
                raise BundleError(f"{self.where}: {name} is not finite; the network's weights are broken")
        return values


def _load(data: bytes, where: str, options: Options) -> Any:
    check_model(data, where)
    ort = importlib.import_module("onnxruntime")  # here, because it takes most of a small session's start
    if options.optimization not in OPTIMIZATIONS:
        raise UsageError(
            f"unknown optimization {options.optimization!r}; {known_are(options.optimization, OPTIMIZATIONS)}"
        )
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"{options.threads} threads; give at least 1")
    providers = list(options.providers or ["CPUExecutionProvider"])
    for provider in providers:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in ort.get_available_providers():
            known = ", ".join(ort.get_available_providers())
            raise UsageError(f"the installed onnxruntime has no {name}; it has {known}")
    settings = ort.SessionOptions()
    settings.log_severity_level = _FATAL_ONLY
    # From its second run on, a session reuses a plan of its buffers that lets live values overlap in 1.17 and 1.18.
    # The logits are wrong and nothing is said (microsoft/onnxruntime issues 18672, 27768). Off costs 1 to 3 % of time
    # (8 convolutions of 64 channels, T 4) and saves a third of the memory.
    settings.enable_mem_pattern = False
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, OPTIMIZATIONS[options.optimization])
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    try:
        # onnxruntime prints its fallbacks on standard output, which belongs to the caller's JSON.
        with contextlib.redirect_stdout(io.StringIO()):
            return ort.InferenceSession(data, settings, providers=providers)
    except IdsnnError:
        raise
    except Exception as cause:  # protobuf, Unicode and runtime errors that share no base class
        raise BundleError(f"{where}: onnxruntime cannot load it ({first_line(cause)})") from cause


def _signature(values: Sequence[Any], where: str) -> dict[str, Shape]:
    for value in values:
        if value.type != "tensor(float)":
            raise BundleError(f"{where}: {value.name} is a {value.type}, not a float32 tensor; export the bundle again")
    return {v.name: tuple(d if isinstance(d, int) else None for d in v.shape or ()) for v in values}


def _fits(wanted: Shape, found: Shape) -> bool:
    return len(wanted) == len(found) and all(
        w is None or f is None or w == f for w, f in zip(wanted, found, strict=True)
    )


def _words(shape: Shape) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
