"""What a metric needs of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from equimodal.diagnose.intervals import Bootstrap

__all__ = ["Form"]


class Form:
    """What is kept of a prediction, as small as its metric allows, and how that is scored.

    :param metric: its name.
    """

    is_mean = False
    """Whether the score is a mean over samples of what is kept."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return what is kept of a batch of logits ``[batch, outputs]``, its first dimension the batch."""
        raise NotImplementedError

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores of several predictions as columns ``[1 + resamples, predictions]``."""
        raise NotImplementedError
