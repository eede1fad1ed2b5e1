"""A run folder from its first moment on: begun, kept from other processes, replaced, gone on with.

    .lock          held while a training lives in the folder; a second one is refused
    .next.json     the config of a run that takes the folder over: while it is there, everything else is the last run's
    config.json    the run's resolved settings; then come the files named below

At whatever instant a kill hits, the folder is one run's: the last one's, whole, or the new one's, to be gone on with.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idsnn_deploy.errors import RunError, UsageError
from idsnn_deploy.files import write_json
from idsnn_deploy.workspace import beside, locked

CONFIG, SUMMARY, LAST = "config.json", "summary.json", "last.ckpt"
STUDENT, TEACHER, BEST = "student.safetensors", "teacher.safetensors", "best.safetensors"
METRICS, CURVES, EVENTS = "metrics.csv", "curves.png", "tensorboard"
_LOCK, _NEXT = ".lock", ".next.json"
_OURS = (CONFIG, SUMMARY, LAST, STUDENT, TEACHER, BEST, METRICS, CURVES)


@contextmanager
def held(folder: Path, resume: bool, force: bool) -> Iterator[None]:
    """Keeps the folder for this process, and first finishes what a killed one left half done.

    Of several processes that train one network together, the first keeps it for all.

    Raises:
        UsageError: training would overwrite something unasked, or another process trains in the folder.
    """
    refuse(folder, resume, force)
    if not _is_first():
        yield
        return
    with locked(folder, folder / _LOCK):
        refuse(folder, resume, force)  # again: another process may have been faster
        for name in (*_OURS, _NEXT):
            shutil.rmtree(beside(folder / name), ignore_errors=True)
        _settle(folder)
        yield


def refuse(folder: Path, resume: bool, force: bool) -> None:
    """Raises `UsageError` where training would overwrite something unasked."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another --out")
    if not (resume or force) and folder.exists() and any(not each.name.startswith(".") for each in folder.iterdir()):
        raise UsageError(f"{folder}: exists already; choose another --out, --force to replace it, --resume to go on")


def begin(folder: Path, config: Mapping[str, Any]) -> None:
    """Makes the folder a new run's in one instant, then removes the last run's files, and nothing else."""
    write_json(folder / _NEXT, config)
    _settle(folder)


def begun(folder: Path) -> Path | None:
    """The config of the folder's run; None where none was begun."""
    return next((folder / name for name in (_NEXT, CONFIG) if (folder / name).exists()), None)


def finished(folder: Path) -> Path | None:
    """The summary of the folder's run; None where it is not finished."""
    return folder / SUMMARY if not (folder / _NEXT).exists() and (folder / SUMMARY).exists() else None


def refuse_half_replaced(folder: Path) -> None:
    """Raises `RunError` where a new run has begun and the last one's files are still there."""
    if (folder / _NEXT).exists():
        raise RunError(f"{folder}: a new run was beginning in it; go on with: idsnn-train --resume --out {folder}")


def _settle(folder: Path) -> None:
    if not (folder / _NEXT).exists():
        return
    for name in _OURS:
        (folder / name).unlink(missing_ok=True)
    for file in (folder / EVENTS).glob("events.out.tfevents.*"):
        file.unlink()
    os.replace(folder / _NEXT, folder / CONFIG)


def _is_first() -> bool:
    """Whether this is the first of the processes that torchrun or SLURM started together."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0
