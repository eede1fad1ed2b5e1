"""The version that is installed; a module of its own, because finding it takes longer than a command's help."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("idsnn")
