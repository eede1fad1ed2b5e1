"""What a newcomer waits for: python benchmarks/startup.py [--rounds 5]

    help         processor time of `COMMAND --help`, and the modules that it imports
    first line   the same of `idsnn-train` until it says what it begins
    first step   the same until the first step of its optimizer

Every round starts a fresh process for each; figures are medians. The table is of one more process under
`-X importtime`: what each package costs by itself, what it imports left out. torch's optimizers import torch._dynamo as
soon as one is made, and Lightning Fabric does at its import: leaving one of them out saves nothing.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter

COMMANDS = {
    "idsnn-train": "idsnn.cli",
    "idsnn-export": "idsnn_export.cli",
    "idsnn-evaluate": "idsnn_evaluation.cli",
    "idsnn-deploy": "idsnn_deploy.cli",
}
END = "import sys, time; print(time.process_time(), len(sys.modules))"
HELP = """
import contextlib, {module}
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None): {module}.main(["--help"])
"""
BEGIN = """
import os, sys, time, idsnn.cli
def stop(*_):
    print(time.process_time(), len(sys.modules), flush=True)
    os._exit(0)
"""
LINE = (
    BEGIN
    + """
idsnn.cli.announce = stop
idsnn.cli.main(["--out", {folder!r}, "--force"])
"""
)
STEP = (
    BEGIN
    + """
from idsnn.display import Display
phase = Display.phase
def hooked(*given):
    from torch.optim.optimizer import register_optimizer_step_post_hook
    register_optimizer_step_post_hook(stop)
    return phase(*given)
Display.phase = hooked  # begun with torch in memory, which the command itself has loaded
idsnn.cli.main(["--out", {folder!r}, "--force"])
"""
)
_SELF = re.compile(r"import time: +(\d+) \| +\d+ \| +([\w.]+)")


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, to its end."""
    return subprocess.run([sys.executable, *options, "-c", script], capture_output=True, text=True, check=True)


def median(script: str, rounds: int) -> tuple[float, int]:
    """Processor seconds and modules that a script prints last."""
    found = [run(script).stdout.splitlines()[-1].split() for _ in range(rounds)]
    return statistics.median(float(seconds) for seconds, _ in found), int(found[0][1])


def costs(script: str) -> Counter[str]:
    """Seconds that each package's own modules take to import; torch's compiler by itself."""
    spent: Counter[str] = Counter()
    for micros, name in _SELF.findall(run(script, "-X", "importtime").stderr):
        package = "torch._dynamo" if name.startswith(("torch._dynamo", "torch._inductor")) else name.partition(".")[0]
        spent["standard library" if package in sys.stdlib_module_names else package] += int(micros) / 1e6
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for command, module in COMMANDS.items():
        seconds, modules = median(HELP.format(module=module) + END, rounds)
        print(f"{command + ' --help':<24} {seconds:6.2f} s of processor time, {modules} modules")
    with tempfile.TemporaryDirectory() as folder:
        for name, script in (("first line", LINE), ("first step", STEP)):
            script = script.format(folder=f"{folder}/run")
            seconds, modules = median(script, rounds)
            print(f"{name:<24} {seconds:6.2f} s of processor time, {modules} modules")
        for package, spent in costs(script).most_common(8):
            print(f"    {package:<20} {spent:6.2f} s")


if __name__ == "__main__":
    main()
