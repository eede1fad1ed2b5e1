"""Names of a package that are loaded when they are first used, so that importing it costs nothing (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .errors import MissingExtraError

_OWN, _TORCH = "idsnn", ("torch", "snntorch", "torchvision")


def lazy(
    package: str, home: Mapping[str, str], extra: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        home: public names to the modules that they live in, relative to the package.
        extra: what brings the packages that those need; torch comes with `train`. None where the base brings them.
    """
    names = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f".{home[name]}", package)
        except ModuleNotFoundError as missing:
            if extra is None or missing.name is None or missing.name.startswith(_OWN):
                raise
            brings = "train" if missing.name in _TORCH else extra
            raise MissingExtraError(
                f"{package}.{name} needs {missing.name}: pip install 'idsnn[{brings}]'", name=missing.name
            ) from missing
        names[name] = value = getattr(module, name)
        return value

    return get, lambda: sorted({*names, *home})
