"""Spikes, synaptic operations and energy of a network that ships, from its bundle alone. Never torch.

>>> from idsnn_evaluation import evaluate
>>> report = evaluate("runs/demo/bundle", images, labels)          # doctest: +SKIP
>>> report.to_dict()["totals"]["conv_acs"]                         # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsnn_deploy.lazy import lazy

if TYPE_CHECKING:
    from .cost.energy import estimate as estimate
    from .cost.platforms import Platform as Platform
    from .cost.platforms import read_platforms as read_platforms
    from .evaluator import evaluate as evaluate
    from .report import Report as Report
    from .show.page import render_html as render_html

_HOME = {
    "Platform": "cost.platforms",
    "Report": "report",
    "estimate": "cost.energy",
    "evaluate": "evaluator",
    "read_platforms": "cost.platforms",
    "render_html": "show.page",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME, "evaluation")
