"""NIR to ONNX, with time unrolled, one step at a time, counting, or in 8 bits: one table from node to its ONNX form.

Imports `graph` alone; the rooms above the wings import it, the reference never.
onnx lives here and nowhere else.
"""

from __future__ import annotations

from .calibrate import calibrate as calibrate
from .calibrate import integer_weights as integer_weights
from .compiler import to_onnx as to_onnx
from .int8 import Range as Range
