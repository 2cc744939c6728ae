"""Problems small enough to train on in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from equimodal.data.tensors import TensorSet
from equimodal.nn import MLP, JointFusion

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Problem", "tiny_problem"]

_NAMES = ("audio", "image", "text", "depth", "touch", "smell", "taste", "balance")


@dataclass(frozen=True)
class Problem:
    """A model and its data.

    :param model: a :class:`equimodal.nn.JointFusion` with fixed initial weights.
    :param train: 48 samples.
    :param val: 24 samples.
    """

    model: nn.Module
    train: TensorSet
    val: TensorSet


def tiny_problem(modalities: int = 2, *, fusion: str = "concat", dtype: torch.dtype = torch.float32, seed: int = 0) -> Problem:
    """Return three classes seen through several modalities, of which the first is the clearest.

    >>> problem = tiny_problem(3)
    >>> list(problem.train.inputs), len(problem.train), len(problem.val)
    (['audio', 'image', 'text'], 48, 24)

    :param modalities: how many, 2 to 8.
    :param fusion: the fusion of the model.
    :param dtype: of inputs and weights.
    :param seed: of data and weights.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(72) % 3
    names = _NAMES[:modalities]
    signal = functional.one_hot(targets, 3).to(dtype)
    inputs = {
        name: torch.cat([signal, torch.zeros(72, 2, dtype=dtype)], dim=1)
        + (0.3 + 0.3 * level) * torch.randn(72, 5, generator=generator, dtype=dtype)
        for level, name in enumerate(names)
    }
    data = TensorSet(inputs, targets)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = JointFusion({name: MLP(5, hidden=(8,), out_features=6) for name in names}, 3, fusion).to(dtype)
    return Problem(model, data.subset(torch.arange(48)), data.subset(torch.arange(48, 72)))
