"""NIR to ONNX."""

from __future__ import annotations

from .calibrate import calibrate as calibrate
from .calibrate import integer_weights as integer_weights
from .compiler import to_onnx as to_onnx
from .int8 import Range as Range
