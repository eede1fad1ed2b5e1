"""The versions that decide what a machine trains, exports and answers."""

from __future__ import annotations

import importlib
import platform


def versions(*names: str) -> dict[str, str]:
    """The version of each package that is installed, in the given order; of `python` itself too, where it is named."""
    found = {name: platform.python_version() if name == "python" else _version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def _version(name: str) -> str | None:
    from importlib import metadata  # slow, and the floor's files are imported where no version is asked for

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    try:  # the module's own word: onnxruntime is installed under several names (onnxruntime-gpu, ...)
        return str(importlib.import_module(name).__version__)
    except (ImportError, AttributeError):
        return None
