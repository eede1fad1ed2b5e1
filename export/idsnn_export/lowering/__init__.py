"""NIR to ONNX."""

from __future__ import annotations

from .compiler import to_onnx as to_onnx
from .int8 import Range as Range
