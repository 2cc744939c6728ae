"""Metrics that are not counted: average precision, functions of one's own, and those of torchmetrics."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equimodal.errors import InputError, first_line
from equimodal.processes import every

__all__ = ["Metric", "as_metric", "average_precision", "is_module"]


_REMEDY = "give one made for such tensors (ignore_index=-100 for positions), or a function of (logits, targets)"


@dataclass(frozen=True)
class Metric:
    """A metric of one's own; made by :func:`as_metric`.

    :param name: what it is called in records.
    :param function: of all logits and targets of a head, or
    :param module: a ``torchmetrics.Metric``, which is cloned for every head.
    """

    name: str
    function: Callable[[Tensor, Tensor], Any] | None = None
    module: Any = None

    def clone(self, device: torch.device) -> Any:
        """Return a copy of the module that has seen nothing, on a device."""
        copy = self.module.clone()
        copy.reset()
        return copy.to(device)

    def number(self, value: Any) -> float:
        """Return what the metric computed as a number.

        :raises InputError: for anything else.
        """
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
            raise InputError(
                f"the metric {self.name!r} gave a {type(value).__name__}{shape}: a single number is needed, such as a mean over the classes"
            ) from None

    def update(self, module: Any, logits: Tensor, targets: Tensor) -> None:
        """Show a copy of the module one batch.

        :raises InputError: where the module refuses it, with what it says.
        """
        try:
            module.update(logits, targets)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            given = f"logits {list(logits.shape)} and targets {list(targets.shape)}, {targets.dtype}"
            raise InputError(f"the metric {self.name!r} does not take {given}: {_said(error)}; {_REMEDY}") from error

    def computed(self, module: Any) -> float:
        """Return what a copy of the module computes, over all processes.

        :raises InputError: where that is no single number, or the module cannot compute it, with what it says.
        """
        _fill_empty(module)
        with warnings.catch_warnings():
            # One process of several may have had no sample of a modality.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric", category=UserWarning)
            try:
                value = module.compute()
            except (TypeError, ValueError, IndexError) as error:
                raise InputError(f"the metric {self.name!r} cannot be computed: {_said(error)}; {_REMEDY}") from error
        return self.number(value)


def _said(error: Exception) -> str:
    return f"{first_line(error).rstrip('.')} ({type(error).__name__})"


def _fill_empty(module: Any) -> None:
    """Give a process that had no sample empty parts of what a metric of torchmetrics collects: its gathering would hang without."""
    states = getattr(module, "metric_state", {})
    own = {name: (parts[0].shape[1:], parts[0].dtype) for name, parts in states.items() if isinstance(parts, list) and parts}
    for name, (shape, kind) in {name: found for of_one in every(own) for name, found in of_one.items()}.items():
        if not states[name]:
            setattr(module, name, [torch.empty(0, *shape, dtype=kind, device=module.device)])


def is_module(value: Any) -> bool:
    """Tell whether something is a metric of torchmetrics, or counts and computes as one; torchmetrics is not imported for it."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in ("update", "compute", "reset", "clone"))


def as_metric(given: Any) -> Metric:
    """Return a function, a metric of torchmetrics, or a pair of a name and one of these, as a :class:`Metric`.

    >>> def within_one(logits, targets):
    ...     return ((logits[:, 0] - targets).abs() <= 1).float().mean()
    >>> as_metric(within_one).name, as_metric(("close", within_one)).name
    ('within_one', 'close')

    :raises InputError: for anything else, a function without a name, and a metric of torchmetrics that is smaller when better.
    """
    name: str | None = None
    if isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[0], str) and not isinstance(given[1], str):
        name, given = given
        if not name.strip():
            raise InputError(f"metric = {(name, given)!r}: the name is empty")
    if isinstance(given, Metric):
        return given if name is None else Metric(name, given.function, given.module)
    if is_module(given):
        if getattr(given, "higher_is_better", None) is False:
            raise InputError(
                f"metric = {type(given).__name__}() is smaller when better: give a score that is larger when better, such as R2Score, or a"
                " function"
            )
        return Metric(name or _snake_case(type(given).__name__), module=given)
    if not callable(given) or isinstance(given, type):
        instance = f": give an instance, {given.__name__}(...)" if isinstance(given, type) else ""
        needed = "a name, a function of (logits, targets), a torchmetrics.Metric, or a pair of a name and one of these is needed"
        raise InputError(f"metric = {given!r}{instance or f': {needed}'}")
    called = name or str(getattr(given, "__name__", ""))
    if name is None and not called.isidentifier():
        raise InputError(f"metric = {given!r} has no name for the records: give a pair, metric=('name', function)")
    return Metric(called, function=given)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def average_precision(logits: Tensor, targets: Tensor) -> float:
    """Return the mean over classes of the average precision, the sum of precision × increase of recall over falling thresholds.

    Samples with equal logits share one threshold. Classes without a positive sample are left out.

    >>> average_precision(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    1.0

    :param logits: ``[samples, classes]``.
    :param targets: ``[samples]`` class numbers, or ``[samples, classes]`` zeros and ones.
    """
    positives = targets > 0.5 if targets.dim() == 2 else torch.nn.functional.one_hot(targets, logits.shape[1]).bool()
    precisions = []
    for column in range(logits.shape[1]):
        total = int(positives[:, column].sum())
        if total:
            ordered, order = logits[:, column].sort(descending=True)
            hits = positives[:, column][order].cumsum(0).double()
            last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool, device=ordered.device)])
            hits, places = hits[last], torch.arange(1, len(ordered) + 1, device=ordered.device)[last]
            gained = torch.diff(hits, prepend=torch.zeros(1, dtype=hits.dtype, device=hits.device))
            precisions.append(float((gained * hits / places).sum() / total))
    return sum(precisions) / len(precisions) if precisions else math.nan
