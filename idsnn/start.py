"""A student's start from the student of another run: its weights, to be tuned further.

What a layer with memory holds, beta and theta, is as the settings say, so that theta may be raised or learned from here
on; where the other run learned them, they are taken over and go on to be learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from idsnn_deploy.errors import RunError

from .checkpoint import load_weights, read_weights
from .networks.import_path import is_import_path
from .networks.protocol import spiking
from .neuron import LIF
from .run_facts import read_facts
from .run_folder import CONFIG, STUDENT, refuse_half_replaced

_SHAPE = ("network", "depth", "width", "residual", "stem", "labels")
_LEARNED = {"learn_beta": "beta", "learn_threshold": "threshold"}


class Start:
    """The student of `--start RUN`, read and fit for the settings.

    Args:
        source: the run folder.
        config: the resolved settings of the new run.

    Attributes:
        notes: what the settings change, a line each.

    Raises:
        RunError: no such run, or a student of another shape, with the setting that differs.
    """

    def __init__(self, source: str, config: Mapping[str, Any]) -> None:
        folder = Path(source)
        refuse_half_replaced(folder)
        theirs = read_facts(folder / CONFIG)
        self.where = f"--start {source}"
        own = is_import_path(str(config["network"]))
        for name in _SHAPE if not own else ("network", "labels"):
            if theirs.get(name) != config[name]:
                raise RunError(
                    f"{self.where}: has {name} {_words(theirs.get(name))}, asked for is {_words(config[name])}"
                )
        for flag, value in () if own else _LEARNED.items():
            if theirs.get(flag) and not config[flag]:
                raise RunError(
                    f"{self.where}: learned its {value}; give --{flag.replace('_', '-')} to go on from there"
                )
        self.weights = read_weights(folder / STUDENT)
        self.notes = [] if own else list(self._changes(theirs, config))

    def _changes(self, theirs: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
        for flag, value in _LEARNED.items():
            if not theirs.get(flag) and theirs.get(value) != config[value]:
                yield f"{self.where}: {value} is {config[value]:g} from here on, it was {theirs.get(value)}"

    def into(self, student: nn.Module) -> None:
        """Gives `student` the weights.

        Raises:
            RunError: names the first layer that does not fit.
        """
        held = {
            f"{name}.{each}"
            for name, layer in spiking(student).neurons().items()
            if isinstance(layer, LIF)
            for each in ("beta", "threshold", "raw_beta", "raw_threshold")
        }
        state: dict[str, Tensor] = {name: each for name, each in self.weights.items() if name not in held}
        for name, each in student.state_dict().items():
            if name in held:
                learned = name.rpartition(".")[2].startswith("raw_") and name in self.weights
                state[name] = self.weights[name] if learned else each
        load_weights(student, state, self.where)


def _words(value: Any) -> str:
    return f"{len(value)} classes" if isinstance(value, list) else str(value)
