"""A user's own function by its import path, `package.module:name`, in one line of words where it cannot be had.

Importing a module runs its code: only what the user names on the command line, or a run's config.json says, comes here.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from idsnn_deploy.errors import IdsnnError, UsageError, first_line


def is_import_path(name: str) -> bool:
    """Whether `name` is of the form `package.module:name`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def load(path: str) -> Callable[..., Any]:
    """The callable at `package.module:name`, looked for in the installed packages and the current folder.

    Raises:
        UsageError: no such module or name, nothing that can be called, or a module whose own code fails.
    """
    if not is_import_path(path):
        raise UsageError(f"{path}: is no import path; write package.module:factory")
    name, _, attribute = path.partition(":")
    found: Any = _module(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{path}: {name} has no {attribute}; it defines {', '.join(_defined(found)) or 'nothing'}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{path}: is a {type(found).__name__}, not a function that makes a network")
    callable_: Callable[..., Any] = found
    return callable_


def reason(error: BaseException) -> str:
    """An error of a user's code in one line: its type and the first line of its message; ours says it all itself."""
    if isinstance(error, IdsnnError):
        return str(error)
    first = first_line(error, "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:  # a command that pip installed does not look there; last, so that nothing is shadowed
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's module does
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"{name}: no such module, neither installed nor in {here} ({error})") from error
        raise UsageError(f"{name}: cannot be imported ({reason(error)})") from error


def _defined(found: Any) -> list[str]:
    """The callables that are a module's own, and not what it imports; of a class, its methods."""
    home = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
    names = vars(found) if hasattr(found, "__dict__") else {}
    ours = (name for name, value in names.items() if callable(value) and getattr(value, "__module__", None) == home)
    return sorted(name for name in ours if not name.startswith("_"))[:8]
