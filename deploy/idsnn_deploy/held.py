"""A folder read as it was at one instant, though an export may put another in its place while it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .errors import BundleError, IdsnnError
from .workspace import aside

T = TypeVar("T")
_TRIES, _PAUSE = 100, 0.01  # an exchange takes microseconds; without one, the old folder lies aside for as long


class HeldFiles:
    """Files of a folder, held open: what is read is what was there, even when it has been replaced and removed."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        self._descriptors: dict[str, int] = {}
        for name in names if hasattr(os, "pread") else ():  # Windows replaces no folder whose files are open
            with suppress(OSError):  # what is missing or no file is said when it is read
                if (folder / name).is_file():
                    self._descriptors[name] = os.open(folder / name, os.O_RDONLY)

    def read(self, name: str, limit: int) -> bytes | None:
        """A file's bytes, at most `limit` + 1 of them; None for a file that is not held.

        Raises:
            BundleError: its disk does not give it.
        """
        descriptor, data = self._descriptors.get(name), b""
        if descriptor is None:
            return None
        try:
            size = min(limit, os.fstat(descriptor).st_size) + 1
            while len(data) < size and (more := os.pread(descriptor, size - len(data), len(data))):
                data = data + more if data else more
        except OSError as cause:
            raise BundleError(f"{self.folder / name}: cannot be read ({cause.strerror})") from cause
        return data

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


def undisturbed(folder: Path, read: Callable[[], T]) -> T:
    """What `read` makes of `folder`, read again where another folder took its place meanwhile.

    Raises:
        BundleError: it is replaced time and again, or was when its export was killed.
    """
    for _ in range(_TRIES):
        with _Pinned(folder) as pinned:
            try:
                found = read()
            except (IdsnnError, OSError):
                if pinned.there() and aside(folder) is None:
                    raise
            else:
                if pinned.there():
                    return found
        if aside(folder) is not None:
            time.sleep(_PAUSE)
    old = aside(folder)
    if old is not None:
        raise BundleError(
            f"{folder}: an export was killed as it replaced it; get it back with: mv {old} {folder} (or export again)"
        )
    raise BundleError(f"{folder}: replaced again and again while it was read; try once its exports are done")


class _Pinned:
    """A folder by its identity: held open, so that no new one can get its inode."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._descriptor, self._was_there = folder, -1, False

    def __enter__(self) -> _Pinned:
        flags = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
        try:
            self._descriptor = os.open(self.folder, flags)
        except OSError:  # missing, or on Windows, which opens no folders
            self._was_there = self.folder.exists()
        return self

    def there(self) -> bool:
        """Whether the path still names the folder, or still names none."""
        if self._descriptor < 0:
            return self.folder.exists() == self._was_there
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.folder))
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
