"""`python -m idsnn` says what there is."""

from __future__ import annotations

import sys

from idsnn_deploy.command_line import PACKAGES, Parser
from idsnn_deploy.commands import say
from idsnn_deploy.versions import versions

TEXT = """\
idsnn: from an ordinary classifier to a spiking network on a device

  idsnn-train       images or recordings of event cameras -> a run folder       needs idsnn[train]
  idsnn-export      a run folder or a .nir file -> a bundle, or C99             needs idsnn[export]
  idsnn-evaluate    a bundle -> spikes, synaptic operations, energy: a report   needs idsnn[evaluation]
  idsnn-deploy      a bundle -> classes, latency, a check; without torch        needs nothing more

Each says more with --help. In Python: import idsnn, idsnn_export, idsnn_evaluation, idsnn_deploy
"""


def main() -> None:
    """Prints the commands and the versions of what is installed; anything else that is asked for is refused."""
    given = sys.argv[1:]
    if given and given not in (["-h"], ["--help"], ["--version"]):
        meant = f"the command is idsnn-{given[0]}" if f"idsnn-{given[0]} " in TEXT else "it runs no command"
        Parser("python -m idsnn", "").error(f"argument {given[0]}: {meant}")
    say(TEXT)
    say(", ".join(f"{name} {version}" for name, version in versions(*PACKAGES).items()))


if __name__ == "__main__":
    main()
