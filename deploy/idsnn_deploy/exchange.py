"""Two folders swapped in one instant, where the kernel can (renameat2 with RENAME_EXCHANGE: Linux 3.15, glibc 2.28)."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


def exchange(a: Path, b: Path) -> bool:
    """Swaps what `a` and `b` name; False, with both as they were, where the system or its disk cannot.

    Raises:
        OSError: the system can, but not these two.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # here: a process that reads bundles needs none of it

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    sys.audit("os.rename", a, b, -1, -1)  # as os.replace does
    if call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(b))
