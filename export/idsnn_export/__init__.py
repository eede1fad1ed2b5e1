"""From a trained spiking network to NIR, and from NIR to ONNX with time unrolled.

Names are loaded when they are first used: `read_nir`, `interpret` and `to_onnx` never bring torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsnn_deploy.lazy import lazy

if TYPE_CHECKING:
    from .bundle import export_bundle as export_bundle
    from .config import ExportConfig as ExportConfig
    from .from_torch.convert import to_nir as to_nir
    from .lowering import to_onnx as to_onnx
    from .nir_file.reader import read_nir as read_nir
    from .nir_file.writer import write_nir as write_nir
    from .reference.interpreter import interpret as interpret

_HOME = {
    "ExportConfig": "config",
    "export_bundle": "bundle",
    "interpret": "reference.interpreter",
    "read_nir": "nir_file.reader",
    "to_nir": "from_torch.convert",
    "to_onnx": "lowering",
    "write_nir": "nir_file.writer",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME, "export")
