"""The table of operators that are run is the lowering's, and what a model may need is followed exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import CASES, STEPS, inputs
from onnx import shape_inference
from test_onnx_int8 import spiking

from idsnn_deploy.onnx_allowed import MAX_WORK, OPERATORS, check_model, follow
from idsnn_deploy.onnx_shapes import BATCH
from idsnn_deploy.onnx_wire import read_model
from idsnn_export.graph.metadata import Metadata, write_metadata
from idsnn_export.lowering import calibrate, integer_weights, to_onnx

KINDS = ("model", "step", "probe", "trace")
MEAN, STD = (0.5,), (0.25,)


def models(profile: Any) -> Iterator[onnx.ModelProto]:
    """Every case in every kind that is written, dynamic and fixed, and the 8-bit forms."""
    for (name, case), kind, static in itertools.product(CASES.items(), KINDS, (True, False)):
        graph = case.build()
        batch = 3 if len(name) % 2 or profile == "portable" else "dynamic"
        yield to_onnx(graph, STEPS, kind=kind, static=static, batch=batch, mean=MEAN, std=STD, profile=profile)
    largest = next(iter(CASES.values())).build()
    write_metadata(largest, Metadata(STEPS, readout="max"))
    yield to_onnx(largest, STEPS, profile=profile, batch=1 if profile == "portable" else "dynamic")
    network = spiking()
    for formats, kind in itertools.product(
        (calibrate(network, 2, inputs(network)[0]), integer_weights(network)), KINDS
    ):
        yield to_onnx(network, 2, kind=kind, int8=formats, profile=profile, batch=3)


def written(profile: str) -> dict[str, set[str]]:
    """{operator: its attributes} of everything that is written in a profile; each model is allowed."""
    found: dict[str, set[str]] = {}
    for model in models(profile):
        check_model(model.SerializeToString(), "model.onnx")
        for node in model.graph.node:
            found.setdefault(node.op_type, set()).update(each.name for each in node.attribute)
    return found


def test_what_the_lowering_writes_is_what_the_table_allows() -> None:
    default, portable = written("default"), written("portable")
    assert set(default) == {name for name, row in OPERATORS.items() if not row.portable}
    assert set(portable) - set(default) == {name for name, row in OPERATORS.items() if row.portable}
    for name, row in OPERATORS.items():
        assert default.get(name, set()) | portable.get(name, set()) == set(row.attributes), name


@pytest.mark.parametrize("profile", ["default", "portable"])
def test_sizes_are_those_of_onnx_itself(profile: Any) -> None:
    """Shape inference of the onnx package, which shares nothing with the table, at a batch of 7."""
    for case in CASES.values():
        model = to_onnx(case.build(), STEPS, batch=7, profile=profile)
        theirs = {
            value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
            for value in shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.value_info
        }
        ours = follow(read_model(model.SerializeToString()))
        assert theirs
        assert {name: ours[name].shape for name in theirs} == theirs


def test_the_batch_is_larger_than_any_product_of_sizes() -> None:
    assert np.iinfo(np.int64).max * MAX_WORK < BATCH
