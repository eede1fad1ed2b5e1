"""What a teacher says of K views of each image: it is asked once for each, and its answers are kept.

    view of an epoch = epoch mod K              its images move as they did in the last epoch of that view
    z[image, view]   = teacher(view of image)   (K views, N images, classes) float32, for the size that is shown

After K epochs of a size a step costs the student alone. Fast knowledge distillation (Shen and Xing, ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Views:
    """Kept answers.

    Args:
        count: K.
        images: N.
    """

    def __init__(self, count: int, images: int) -> None:
        self.count, self.images = count, images
        self._pixels: int | None = None
        self._kept: dict[int, Tensor] = {}

    def of(self, epoch: int) -> int:
        """The view that an epoch shows."""
        return epoch % self.count

    def logits(self, view: int, pixels: int | None, index: Tensor, ask: Callable[[], Tensor]) -> Tensor:
        """The teacher's `(n, classes)` for the images at `index` (n,), of which `ask` asks it where one is not known.

        All of a batch are asked again for one that is not known: an answer's last bits may hang on the batch's size.
        """
        if pixels != self._pixels:
            self._pixels, self._kept = pixels, {}
        if view in self._kept:
            known = self._kept[view][index]
            if not known.isnan().any():
                return known
        answers = ask()
        if view not in self._kept:
            self._kept[view] = answers.new_full((self.images, answers.shape[-1]), torch.nan)
        self._kept[view][index] = answers
        return answers
