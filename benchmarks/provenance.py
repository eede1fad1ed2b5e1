"""Where a row comes from: the processor, and the commit that is checked out."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def processor() -> str:
    """The processor's name and widest vectors, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    words = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wide = next((name for name in ("avx512f", "avx2", "asimd") if name in words.get("flags", "").split()), "")
    return " ".join(filter(None, (words.get("model name", platform.machine()), wide)))


def commit() -> str:
    """The commit that is checked out, `+` where tracked files differ from it; the rows themselves may."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(Path(__file__).parents[1]), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    head = git("rev-parse", "--short=12", "HEAD")
    changed = git("diff", "--quiet", "HEAD", "--", ":/", ":!benchmarks/results")
    return head.stdout.strip() + "+" * changed.returncode if head.returncode == 0 else "unknown"
