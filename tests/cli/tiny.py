"""A data set and a method from outside the package, small enough to train on in a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from equimodal.data.base import Dataset, Splits
from equimodal.methods.joint import Joint
from equimodal.testing import tiny_problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENCODER = {"name": "mlp", "in_features": 5, "hidden": [8], "out_features": 6}


class Tiny(Dataset):
    """Three classes in 48 + 24 + 24 samples.

    :param shift: added to every input.
    """

    name = "tiny"
    summary = "made up"
    licence = "none"
    citation = "none"
    modalities = ("audio", "image")
    num_outputs = 3
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {"audio": ENCODER, "image": ENCODER}

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def load(self, data_dir: Path | None = None) -> Splits:
        problem = tiny_problem(len(self.modalities))
        return Splits(problem.train, problem.val, problem.val)


class TinyThree(Tiny):
    """The same with a third modality."""

    name = "tiny-three"
    modalities = ("audio", "image", "text")
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {**Tiny.encoders, "text": ENCODER}


class Weighted(Joint):
    """Joint training with a weight on everything.

    :param weight: multiplies the loss.
    """

    name = "weighted"
    title = "Weighted"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def combine(self, losses):
        return self.weight * super().combine(losses)
