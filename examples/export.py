"""2 of 4. The student as a bundle: NIR, ONNX and golden vectors, behind the parity gates: python examples/export.py."""

from __future__ import annotations

from pathlib import Path

from idsnn_export import ExportConfig, export_bundle

RUN = Path("runs/example")


def main() -> None:
    bundle, manifest = export_bundle(ExportConfig(RUN, force=True))
    for name, file in manifest.files.items():
        print(f"{bundle / name}: {file['bytes']:,} bytes")


if __name__ == "__main__":
    main()
