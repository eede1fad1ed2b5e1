"""Where a model comes from: the line that a refusal names where no line of the model's own code is to blame.

a class of the user's     its forward
a library's container     the function that made it, where it came by its import path; else who handed it over
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import snntorch
import torch

import idsnn

FRAMEWORKS = tuple(f"{Path(str(each.__file__)).parent}/" for each in (torch, snntorch))
OURS = (f"{Path(__file__).parents[1]}/", f"{Path(str(idsnn.__file__)).parent}/")
NOT_THE_USERS = (*FRAMEWORKS, *OURS, "<")  # how their files, and what has none, begin
NAMED = ("torch.", "snntorch.", "spikingjelly.")  # modules, wherever they lie


def origin(model: Any, function: str, made_by: Any = None) -> str:
    """`net.py:12`, or nothing where nobody knows.

    Args:
        model: the model.
        function: the name of what is run of it.
        made_by: the function that made it, where that is known.
    """
    return definition(getattr(type(model), function, None)) or definition(made_by) or _caller()


def definition(thing: Any) -> str:
    """Where a function or a class of the user's begins; nothing for those of frameworks."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if thing is None or f"{getattr(thing, '__module__', '')}.".startswith(NAMED):
        return ""
    code = getattr(thing, "__code__", None)
    try:
        line = code.co_firstlineno if code else inspect.getsourcelines(thing)[1]
        file = code.co_filename if code else inspect.getsourcefile(thing)
    except (OSError, TypeError):
        return ""
    return f"{Path(file).name}:{line}" if file and not file.startswith("<") else ""


def raised_at(error: BaseException) -> str:
    """The innermost line of an error's traceback that is neither a framework's nor ours."""
    at, found = error.__traceback__, ""
    while isinstance(at, TracebackType):
        file = at.tb_frame.f_code.co_filename
        if not file.startswith(NOT_THE_USERS):
            found = f"{Path(file).name}:{at.tb_lineno}"
        at = at.tb_next
    return found


def _caller() -> str:
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith(".py") and not file.startswith(NOT_THE_USERS):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
