"""A description of a call of ``fit`` from its objects, whose hash tells one run from another."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.train.batches import length

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from equimodal.methods import Method

__all__ = ["describe"]


def describe(
    model: nn.Module, optimizer: Optimizer, scheduler: Any, method: Method, splits: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a run's configuration as plain values.

    It covers what decides the numbers: the model's class, the shapes and initial values of its weights, optimizer and scheduler with their
    options, the method with its hyper-parameters, the size of every split, and the settings. It cannot see the content of the data or
    the code of the model.
    """
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            held = value.detach().cpu().contiguous()
            weights.update(f"{name}{tuple(held.shape)}{held.dtype}".encode())
            weights.update(ctypes.string_at(held.data_ptr(), held.nbytes) if held.nbytes else b"")  # works without NumPy
    groups = [{key: value for key, value in group.items() if key not in ("params", "param_names")} for group in optimizer.param_groups]
    return {
        "model": {"class": type(model).__qualname__, "weights": weights.hexdigest()[:16]},
        "method": {"name": method.name, **method.options()},
        "scheduler": None if scheduler is None else {"class": type(scheduler).__qualname__, **_plain_state(scheduler)},
        "optimizer": {"class": type(optimizer).__qualname__, "groups": groups},
        "splits": {name: length(data) for name, data in splits.items()},
        **settings,
        "threads": torch.get_num_threads(),
    }


def _plain_state(scheduler: Any) -> dict[str, Any]:
    """Return the options of a scheduler, as far as its state shows them as numbers, strings and lists."""
    simple = (bool, int, float, str, type(None), list, tuple)
    state = scheduler.state_dict() if hasattr(scheduler, "state_dict") else {}
    return {key: value for key, value in state.items() if isinstance(value, simple)}
