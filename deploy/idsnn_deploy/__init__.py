"""The floor of idsnn: the bundle format, image decoding, and the runtime of small machines. Never torch.

>>> from idsnn_deploy import Session
>>> session = Session("runs/demo/bundle")                          # doctest: +SKIP
>>> session.labels[int(session("digit.png").argmax())]             # doctest: +SKIP

Names are loaded when they are first used, so that `idsnn-deploy --help` costs no numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy

if TYPE_CHECKING:
    from .anytime import Decision as Decision
    from .datasets import Split as Split
    from .datasets import load_split as load_split
    from .errors import BundleError as BundleError
    from .errors import IdsnnError as IdsnnError
    from .errors import ImageError as ImageError
    from .images import load_image as load_image
    from .manifest import Bundle as Bundle
    from .manifest import read_bundle as read_bundle
    from .session import Session as Session

_HOME = {
    "Bundle": "manifest",
    "BundleError": "errors",
    "Decision": "anytime",
    "IdsnnError": "errors",
    "ImageError": "errors",
    "Session": "session",
    "Split": "datasets",
    "load_image": "images",
    "load_split": "datasets",
    "read_bundle": "manifest",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
