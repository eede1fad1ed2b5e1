"""Two gates that an export must pass, and where two runs part.

*Exact*, float64: the prepared torch network, the interpreter and the re-read file give identical spikes, and outputs
to 1e-9. *Float32*, for ONNX, unfolded torch and foreign simulators: another order of summation flips a spike whose
membrane sits on the threshold, and one flip cascades. So a sample's first flip, in time and then in topological
order, must lie where the float64 membrane is within 1e-5 max(1, |theta|) of theta; samples without a flip agree in
logits to 1e-4 of the larger of 1 and the largest logit, and so in the class wherever the two best are twice as far
apart. How many samples flip is reported, not bounded.

    reference = trace(graph, x, T)                                              # interpreter, float64
    exact_gate(reference, {"torch": run_prepared(network, x, T), "file": trace(read_nir(path), x, T)})
    float_gate(reference, "onnx", logits, {"lif1": spikes, ...})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array
from idsnn_deploy.errors import ParityError

from ..reference.interpreter import Trace

EXACT_OUTPUTS = 1e-9
FLOAT_LOGITS = 1e-4
EXCUSED = 1e-5


@dataclass(frozen=True)
class Divergence:
    """The first place where one sample's spikes differ between two runs.

    Attributes:
        layer: the node's name.
        step: t, from 0.
        sample: its index.
        neuron: its index in the layer's shape.
        membranes: before reset, of the reference and of the other; None where a run does not show them.
        threshold: what they are compared with.
        distance: of the reference's membrane from the threshold, the largest among the neurons that differ there.
    """

    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    membranes: tuple[float | None, float | None]
    threshold: float
    distance: float

    @property
    def excused(self) -> bool:
        """Whether rounding alone explains it."""
        return self.distance <= EXCUSED * max(1.0, abs(self.threshold))

    def __str__(self) -> str:
        shown = " and ".join("not shown" if v is None else f"{v:.9g}" for v in self.membranes)
        return (
            f"first difference at {self.layer}, step {self.step}, sample {self.sample}, neuron {self.neuron}: "
            f"membranes {shown}, threshold {self.threshold:.9g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain JSON types."""
        return asdict(self)


def exact_gate(reference: Trace, others: Mapping[str, Trace]) -> dict[str, Any]:
    """Figures for the manifest: samples, steps, spikes compared, largest difference of the outputs.

    Args:
        reference: float64, the interpreter on the graph.
        others: float64, each under the name that an error shall give it.

    Raises:
        ParityError: a spike differs, or an output by more than 1e-9 of the larger of 1 and the largest output.
    """
    worst = 0.0
    for name, other in others.items():
        _comparable(name, reference, other.outputs, other.spikes)
        parted = divergences(reference, other.spikes, other.membranes)
        if parted:
            raise ParityError(f"{name} is not the graph, spike for spike: {parted[0]}")
        worst = max(worst, _agreement(name, reference.outputs, other.outputs, EXACT_OUTPUTS))
    return {**_size(reference), "artefacts": sorted(others), "largest_difference": worst}


def float_gate(reference: Trace, name: str, logits: Array, spikes: Mapping[str, Array]) -> dict[str, Any]:
    """Figures for the manifest: samples, steps, samples with an excused flip, largest difference of the others' logits.

    Args:
        reference: float64, the interpreter on the graph.
        name: of the candidate, for the error.
        logits: (N, K), the mean over T, of the candidate; outputs of any shape are K logits in C order.
        spikes: {node: (T, N, ...)} of the candidate; non-zero is a spike.

    Raises:
        ParityError: a flip that rounding does not explain, or logits of a sample without a flip.
    """
    _comparable(name, reference, None, spikes)
    expected, logits = (each.reshape(len(each), -1) for each in (reference.logits, np.asarray(logits)))
    if logits.shape != expected.shape:
        raise ParityError(f"{name}: logits of shape {logits.shape}, expected {expected.shape}")
    parted = divergences(reference, spikes)
    for divergence in parted:
        if not divergence.excused:
            raise ParityError(f"{name}: {divergence}; {divergence.distance:.3g} away from it is not rounding")
    same = np.setdiff1d(np.arange(len(logits)), [divergence.sample for divergence in parted])
    worst = _agreement(name, expected[same], logits[same], FLOAT_LOGITS)
    return {**_size(reference), "flipped_samples": len(parted), "largest_difference": worst}


def combined(figures: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of one gate over several batches as one."""
    total: dict[str, Any] = {}
    for each in figures:
        for key, value in each.items():
            if key in ("samples", "spikes", "flipped_samples"):
                total[key] = total.get(key, 0) + value
            elif key == "largest_difference":
                total[key] = max(total.get(key, value), value)
            else:
                total[key] = value
    return total


def divergences(
    reference: Trace, spikes: Mapping[str, Array], membranes: Mapping[str, Array] | None = None
) -> list[Divergence]:
    """Where each sample that differs does so first, in time and then in the order of the reference's layers."""
    if not reference.spikes:
        return []
    layers = list(reference.spikes)
    different = np.stack(
        [_each_sample(reference.spikes[name] != (np.asarray(spikes[name]) > 0)) for name in layers], axis=1
    )  # (T, layers, N)
    flat = different.reshape(-1, different.shape[2])
    found = []
    for sample in np.flatnonzero(flat.any(0)):
        step, layer = divmod(int(flat[:, sample].argmax()), len(layers))
        found.append(_divergence(reference, spikes, membranes or {}, layers[layer], step, int(sample)))
    return found


def _divergence(
    reference: Trace,
    spikes: Mapping[str, Array],
    membranes: Mapping[str, Array],
    layer: str,
    step: int,
    sample: int,
) -> Divergence:
    ours, theirs = reference.spikes[layer][step, sample], np.asarray(spikes[layer])[step, sample] > 0
    membrane = reference.membranes[layer][step, sample]
    threshold = np.broadcast_to(reference.thresholds[layer], membrane.shape)
    # Neurons of one layer do not hear each other within a step, so all that differ here are first; show the worst.
    distance = np.where(ours != theirs, np.abs(membrane - threshold), -np.inf)
    neuron = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
    other = membranes.get(layer)
    return Divergence(
        layer=layer,
        step=step,
        sample=sample,
        neuron=neuron,
        membranes=(float(membrane[neuron]), None if other is None else float(other[step, sample][neuron])),
        threshold=float(threshold[neuron]),
        distance=float(distance[neuron]),
    )


def _each_sample(different: Array) -> Array:
    return np.asarray(different.reshape(*different.shape[:2], -1).any(2))


def _comparable(name: str, reference: Trace, outputs: Array | None, spikes: Mapping[str, Array]) -> None:
    shapes = {layer: np.shape(spikes[layer]) if layer in spikes else None for layer in reference.spikes}
    for layer, values in reference.spikes.items():
        if shapes[layer] != values.shape:
            raise ParityError(f"{name}: spikes of {layer} have shape {shapes[layer]}, expected {values.shape}")
    if outputs is not None and outputs.shape != reference.outputs.shape:
        raise ParityError(f"{name}: outputs of shape {outputs.shape}, expected {reference.outputs.shape}")


def _agreement(name: str, ours: Array, theirs: Array, tolerance: float) -> float:
    """The largest difference, checked."""
    if not ours.size:
        return 0.0
    largest = float(np.abs(ours - theirs).max())
    bound = tolerance * max(1.0, float(np.abs(ours).max()))
    if not largest <= bound:  # also where it is not a number
        raise ParityError(f"{name}: outputs differ by {largest:.3g} though every spike agrees; at most {bound:.3g} may")
    return largest


def _size(reference: Trace) -> dict[str, Any]:
    steps, samples = reference.outputs.shape[:2]
    return {"samples": samples, "timesteps": steps, "spikes": int(sum(s.sum() for s in reference.spikes.values()))}
