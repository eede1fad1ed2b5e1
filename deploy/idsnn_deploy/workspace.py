"""One writer at a time: a folder beside what is written, locked for as long as its process lives.

    .NAME.tmp/     beside NAME, gone once its process has ended
        lock       held while NAME is written; the kernel lets go of it when the process dies, however it dies
        new        what is being written
        old        where folders cannot be exchanged in one instant: what NAME was, until the new one is in its place

What a dead process left there is swept by the next one that writes NAME, and `old` goes back where NAME is missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UsageError

try:
    import fcntl

    _DIE_WITH_PROCESS = True
except ImportError:  # Windows: the lock file itself is the lock, and a kill leaves it behind
    _DIE_WITH_PROCESS = False

LOCK, OLD = "lock", "old"
_TRIES = 1000  # of making a folder that others remove meanwhile; one that no one can make fails each of them


@contextmanager
def workspace(final: Path, wait: bool = False) -> Iterator[Path]:
    """Gives a folder on the disk of `final` that no other process uses, empty but for its lock.

    Args:
        final: what is to be written.
        wait: until another process that writes it is done; otherwise it is refused.

    Raises:
        UsageError: another process is writing `final`.
    """
    work = beside(final)
    if work.is_symlink():  # somebody else's doing: sweeping would go where it points
        raise UsageError(f"{work}: a link where the work on {final} goes; remove it")
    try:
        with locked(final, work / LOCK, wait):
            _tidy(final, work)
            try:
                yield work
            finally:
                _tidy(final, work)
    finally:
        with suppress(OSError):  # the next process is in it already
            work.rmdir()


@contextmanager
def locked(what: Path, lock: Path, wait: bool = False) -> Iterator[None]:
    """Holds the file `lock`, which keeps other processes from writing `what`; folders made for it go if left empty.

    Raises:
        UsageError: another process holds it.
    """
    descriptor, made = _acquire(what, lock, wait)
    try:
        yield
    finally:
        _release(descriptor, lock)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def beside(final: Path) -> Path:
    """Where the work on `final` goes."""
    place = final if final.name not in ("", "..") else final.resolve()
    return place.parent / f".{place.name}.tmp"


def aside(final: Path) -> Path | None:
    """What `final` was before a process was killed while it replaced it, where that lies aside."""
    old = beside(final) / OLD
    return old if old.exists() and not os.path.lexists(final) else None


def _tidy(final: Path, work: Path) -> None:
    """Puts back what was taken aside and never replaced; removes everything else but the lock."""
    old = aside(final)
    if old is not None:
        os.replace(old, final)
    for entry in work.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink(missing_ok=True)


def _acquire(what: Path, lock: Path, wait: bool) -> tuple[int, list[Path]]:
    """A descriptor that holds `lock`, and the folders that were made for it, innermost first."""
    tries = 0
    while True:
        tries += 1
        made = [folder for folder in lock.parents if not folder.exists()]
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor, created = _open(lock)
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(lock.parent) and not lock.parent.is_dir():
                raise
            if tries == _TRIES:
                raise UsageError(f"{what}: no folder can be made there; choose another --out") from None
            continue  # the last holder removed file or folder at this moment
        try:
            _lock(descriptor, created, what, lock, wait)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor, made
        except FileNotFoundError:
            pass  # the last holder removed the file as it let go; a lock on it keeps nobody out
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(descriptor: int, lock: Path) -> None:
    if not _DIE_WITH_PROCESS:  # Windows removes no open file
        os.close(descriptor)
    lock.unlink(missing_ok=True)  # while it is held: nobody else's can be hit
    if _DIE_WITH_PROCESS:
        os.close(descriptor)


def _open(lock: Path) -> tuple[int, bool]:
    """The lock file opened, and whether this process made it."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(lock, flags), False


def _lock(descriptor: int, created: bool, what: Path, lock: Path, wait: bool) -> None:
    try:
        if not _DIE_WITH_PROCESS:
            raise OSError
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise UsageError(f"{what}: another process is writing it; wait for that one, or choose another --out") from None
    except OSError:  # no locks on this system or disk: whoever makes the file has it
        if not created:
            raise UsageError(
                f"{what}: another process is writing it, or was killed where files cannot be locked; "
                f"if none is, remove {lock}"
            ) from None
