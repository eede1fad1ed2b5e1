"""Spikes, synaptic operations and energy of a network that ships, from its bundle alone. Never torch.

>>> from idsnn_evaluation import evaluate
>>> report = evaluate("runs/demo/bundle", images, labels)          # doctest: +SKIP
>>> report.to_dict()["totals"]["conv_acs"]                         # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsnn_deploy.lazy import lazy

if TYPE_CHECKING:
    from .energy import estimate as estimate
    from .evaluator import evaluate as evaluate
    from .page import render_html as render_html
    from .platforms import Platform as Platform
    from .platforms import read_platforms as read_platforms
    from .report import Report as Report

_HOME = {
    "Platform": "platforms",
    "Report": "report",
    "estimate": "energy",
    "evaluate": "evaluator",
    "read_platforms": "platforms",
    "render_html": "page",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
