"""Every error that a user of idsnn can meet, as one tree.

    IdsnnError                  one line: where, what was got, what to do; a command prints it and exits with 2
    ├── UsageError              a value on the command line or in a config
    │   └── MissingExtraError   a command or a name whose packages are not installed
    ├── DataError               a data set or an image folder
    │   └── ImageError          one image
    ├── RunError                a run folder, its weights or its config
    │   └── DivergedError       the loss is no longer finite
    ├── GraphError              a NIR graph or file
    │   └── UnsupportedError    a layer or a node with no form in the target; named by its path
    ├── ParityError             two artefacts that must agree do not; exits with 1
    └── BundleError             a bundle: truncated, changed, of another format, incomplete

Plain misuse of a Python function raises the built-in `TypeError` or `ValueError`.
"""

from __future__ import annotations

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_UNFORESEEN, EXIT_INTERRUPTED = 0, 1, 2, 70, 130


class IdsnnError(Exception):
    """The root of the tree; `str(error)` is one line that says where, what was got and what to do."""

    exit_code = EXIT_BAD_INPUT


class UsageError(IdsnnError):
    """A value on the command line or in a config that cannot be used."""


class MissingExtraError(UsageError, ImportError):
    """A command, or a name that is imported, needs packages that its extra brings."""


class DataError(IdsnnError):
    """A data set or an image folder that cannot be read as one."""


class ImageError(DataError):
    """An image that does not decode, or is of a kind that is refused."""


class RunError(IdsnnError):
    """A run folder that is incomplete, or weights that do not fit."""


class DivergedError(RunError):
    """Training left the finite numbers."""

    exit_code = EXIT_FAILED


class GraphError(IdsnnError):
    """A NIR graph or file that is broken, unsafe or means nothing."""


class UnsupportedError(GraphError):
    """A layer or node that has no form in the target, named by its path."""


class ParityError(IdsnnError):
    """Two artefacts that must agree do not; names the first diverging layer, step and neuron."""

    exit_code = EXIT_FAILED


class BundleError(IdsnnError):
    """A bundle that is truncated, changed, incomplete or of another format."""


def first_line(cause: BaseException, otherwise: str | None = None) -> str:
    """What an error of somebody else's says in its first line; `otherwise` where it says nothing, or else its type."""
    lines = str(cause).strip().splitlines() or [type(cause).__name__ if otherwise is None else otherwise]
    return lines[0][:300]
