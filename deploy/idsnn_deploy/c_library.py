"""The C of a bundle as a library for this machine, built once.

    .BUNDLE.c/KEY.so     beside the bundle; KEY: the sources' hashes, the compiler's command, the processor

What is compiled is what the manifest's hashes cover, from memory. A library gets its name when it is whole, and may be
removed at any time. Where nothing can be kept beside the bundle, or others could write there, it is built for this
process alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .errors import BundleError, UsageError
from .files import canonical_json, replacing, sha256
from .manifest import Bundle, C
from .printable import printable

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-DIDSNN_NO_STATIC_ARENA", "-shared", "-fPIC")
SELF_TEST = ("main.c", "golden.h")
# What sums of weights are written for: the compiler's flags.
ISAS = {"portable": "", "avx2": "-mavx2 -DIDSNN_AVX2", "dsp": "-DIDSNN_DSP"}
LONGEST = 600  # seconds that a compiler may take


def library(bundle: Bundle) -> ctypes.CDLL:
    """The bundle's C, compiled and loaded.

    `CC` and `CFLAGS` of the environment are honoured.

    Raises:
        BundleError: the bundle has no C, or a file of it is missing or changed.
        UsageError: there is no compiler, or it fails.
    """
    c = bundle.manifest.c
    if c is None:
        raise BundleError(f"{bundle.folder}: the bundle has no C; add it with: idsnn-export {bundle.folder} --format c")
    with _kept(bundle.folder) as folder:
        sources = sorted(name for name in c.files if name.endswith((".c", ".h")) and name not in SELF_TEST)
        hashes = {name: c.files[name]["sha256"] for name in sources}
        flags = _flags(c.isa)
        file = folder / f"{_key(hashes, flags)}.so"
        if not file.is_file():
            _build(bundle, sources, [*_compiler(bundle), *flags], file)
        try:
            return ctypes.CDLL(str(file.resolve()))
        except OSError as cause:
            raise UsageError(f"{file}: cannot be loaded ({cause}); remove {folder}") from cause


def _build(bundle: Bundle, sources: Sequence[str], command: Sequence[str], file: Path) -> None:
    with replacing(file) as new:
        folder = new.parent / C
        folder.mkdir()
        for name in sources:
            (folder / name).write_bytes(bundle.read(f"{C}/{name}"))
        units = [name for name in sources if name.endswith(".c")]
        _compile([*command, "-o", str(new.resolve()), *units], folder, bundle)


def _compile(command: Sequence[str], folder: Path, bundle: Bundle) -> None:
    where, shown = bundle.folder / C, printable(shlex.join(command))
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=LONGEST
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise UsageError(f"{where}: {printable(str(cause))}; the command was: {shown}") from cause
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")
        raise UsageError(f"{where}: the compiler fails: {printable(said)}; the command was: {shown}")


def _compiler(bundle: Bundle) -> list[str]:
    """Its command.

    Raises:
        UsageError: there is none.
    """
    given = shlex.split(os.environ.get("CC", ""))
    found = given or [name for name in COMPILERS if shutil.which(name)][:1]
    if not found or shutil.which(found[0]) is None:
        named = f"{found[0]} is none; " if found else ""
        raise UsageError(
            f"{bundle.folder}: its C needs a compiler, and there is none here ({named}{', '.join(COMPILERS)}; "
            f"CC names another); the other variants need none"
        )
    return found


def _flags(isa: str) -> list[str]:
    x86 = platform.machine() in ("x86_64", "AMD64")
    own = os.environ.get("CFLAGS", "-O3 -march=native" if x86 else "-O3")  # the key has the processor, too
    has = isa == "avx2" and "avx2" in _processor().split()  # else the same files are the portable form
    return [*shlex.split(own), *shlex.split(ISAS["avx2"] if has else ""), *FLAGS]


@cache
def _processor() -> str:
    """What this processor can do, where Linux says so."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _key(hashes: Mapping[str, str], flags: Sequence[str]) -> str:
    """Not the compiler itself: what it built runs on where it is gone."""
    machine = [platform.system(), platform.machine(), _processor()]
    return sha256(canonical_json([hashes, os.environ.get("CC", ""), flags, machine]))


@contextmanager
def _kept(bundle: Path) -> Iterator[Path]:
    """A folder beside the bundle that nobody else writes to; where there is none, one until the library is loaded."""
    beside = bundle.resolve().parent / f".{bundle.resolve().name}.c"
    try:
        beside.mkdir(mode=0o700, exist_ok=True)
        ours = os.access(beside, os.W_OK) and _is_ours(beside.lstat())
    except OSError:
        ours = False
    if ours:
        yield beside
        return
    with tempfile.TemporaryDirectory(prefix="idsnn-", ignore_cleanup_errors=True) as once:
        yield Path(once)


def _is_ours(found: os.stat_result) -> bool:
    """A folder, no link, of this user and written by nobody else: what lies in it is run."""
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
