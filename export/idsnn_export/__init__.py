"""From a trained spiking network to NIR, and from NIR to ONNX with time unrolled.

Names are loaded when they are first used: `read_nir`, `interpret` and `to_onnx` never bring torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsnn_deploy.lazy import lazy

if TYPE_CHECKING:
    from .bundle import export_bundle as export_bundle
    from .config import ExportConfig as ExportConfig
    from .from_torch import to_nir as to_nir
    from .interpreter import interpret as interpret
    from .lowering import to_onnx as to_onnx
    from .reader import read_nir as read_nir
    from .writer import write_nir as write_nir

_HOME = {
    "ExportConfig": "config",
    "export_bundle": "bundle",
    "interpret": "interpreter",
    "read_nir": "reader",
    "to_nir": "from_torch",
    "to_onnx": "lowering",
    "write_nir": "writer",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
