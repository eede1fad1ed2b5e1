"""The probe graph of a bundle, opened from checked bytes and held to what the layer table promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idsnn_deploy.errors import BundleError
from idsnn_deploy.layer_table import Layer, Neurons
from idsnn_deploy.manifest import Bundle, Precision, model_file
from idsnn_deploy.onnx_file import Graph, Options

from .table import still
from .tally import Arrays, Tally, tallies


class Probe:
    """A network that counts: images in, logits and the sums of docs/onnx.md out.

    Attributes:
        layers: the layer table; `still` what in it is the same at every step.
        axis: where samples lie in the input: 0 for images `(N, ...)`, 1 for frames `(T, N, ...)`.
        fixed: the batch that the graph was exported for, or None.
    """

    def __init__(self, bundle: Bundle, variant: Precision = "fp32", options: Options | None = None) -> None:
        manifest = bundle.manifest
        self.layers = manifest.layers
        self.still = still(self.layers, manifest.sample_axis == 0)
        self.timesteps = manifest.timesteps
        self.axis, self.input = manifest.sample_axis, manifest.input_name
        self.graph = Graph(bundle, model_file("probe", variant), options or Options())
        self.graph.expect(
            {self.input: manifest.batch_shape(None)},
            {
                "logits": (None, len(manifest.labels)),
                "step_logits": (manifest.timesteps, None, len(manifest.labels)),
                **{name: shape for e in self.layers for name, shape in self._promised(e, manifest.timesteps).items()},
            },
            more=True,
        )
        self.fixed = self.graph.inputs[self.input][self.axis]

    def tallies(self) -> list[Tally]:
        """Fresh accumulators, one per layer."""
        return tallies(self.layers, self.still, self.timesteps)

    def counting(self, tallies: Sequence[Tally]) -> list[str]:
        """The outputs that the tallies take, with the logits of each step."""
        return ["step_logits", *(name for t in tallies for name in t.outputs if name in self.graph.outputs)]

    def rasters(self) -> list[str]:
        """The names of the neuron layers whose rasters the graph gives."""
        return [e.name for e in self.layers if isinstance(e, Neurons) and f"raster.{e.name}" in self.graph.outputs]

    def run(self, x: np.ndarray[Any, Any], names: Sequence[str]) -> Arrays:
        """The named outputs for a batch, finite, samples of a fixed batch's padding cut off."""
        count = x.shape[self.axis]
        missing = 0 if self.fixed is None else self.fixed - count
        if missing:
            x = np.pad(x, [(0, missing if axis == self.axis else 0) for axis in range(x.ndim)])
        values = self.graph.run(names, {self.input: x})
        return {n: v[:, :count] if n == "step_logits" else v[:count] for n, v in zip(names, values, strict=True)}

    def _promised(self, layer: Layer, timesteps: int) -> dict[str, tuple[int | None, ...]]:
        if isinstance(layer, Neurons):
            return {f"spikes.{layer.name}": (None, timesteps)}
        name = f"sum.{layer.name}"
        if name not in self.graph.outputs:
            raise BundleError(f"{self.graph.where}: has no output {name}; export the bundle again")
        return {}
