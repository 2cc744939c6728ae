"""Unimodal evidence: what one modality alone says of a sample, as logits obtained in one of six ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equimodal.data.batch import map_tensors
from equimodal.errors import InputError, nearest
from equimodal.methods._evidence import Evidence, Prototype
from equimodal.nn import Additive, Concat, JointFusion, Sum
from equimodal.nn.fusion import sliceable

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.nn.prediction import Prediction

__all__ = ["EVIDENCE", "Evidence", "check_evidence", "make_evidence"]


_UNCHECKED = (Concat, Sum, Additive)


class _Slice(Evidence):
    kind = "slice"

    @classmethod
    def lacks(cls, model: nn.Module) -> str | None:
        if not callable(getattr(model, "contributions", None)):
            return f"{type(model).__name__} has no method contributions(features), the parts of its multimodal logits by modality"
        if isinstance(model, JointFusion) and not sliceable(model.fusion):
            return f"the fusion {type(model.fusion).__name__} cannot be sliced, as it defines no contributions(features)"
        return None

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # A fusion of ours needs none of the checks that the model makes at every call.
        self._checked = not all(getattr(type(model), hook, None) is getattr(JointFusion, hook) for hook in ("fuse", "contributions"))

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        model: Any = self.model
        source = model if self._checked else model.fusion
        parts: dict[str, Tensor] = (source if isinstance(source, _UNCHECKED) else model).contributions(self._features(prediction))
        return parts if len(batch.inputs) == len(parts) else {name: part for name, part in parts.items() if name in batch.inputs}


class _ZeroedFeature(Evidence):
    kind = "zeroed-feature"

    @classmethod
    def lacks(cls, model: nn.Module) -> str | None:
        return None if callable(getattr(model, "fuse", None)) else f"{type(model).__name__} has no method fuse(features)"

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        model: Any = self.model
        features = self._features(prediction)
        zeros = {name: torch.zeros_like(feature) for name, feature in features.items()}
        # The encoders of a JointFusion do not run here, so their many modules need not be looked through.
        with _evaluating(model.fusion if isinstance(model, JointFusion) else model):
            return {name: model.fuse({**zeros, name: features[name]}) for name in features if name in batch.inputs}


class _ZeroedInput(Evidence):
    kind = "zeroed-input"

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        options = {"present": batch.present} if batch.present else {}
        known = getattr(self.model, "modalities", None) or prediction.unimodal
        zeros = {name: _zeroed(batch.inputs[name], name) for name in batch.inputs}
        with _evaluating(self.model):
            return {name: self.model({**zeros, name: batch.inputs[name]}, **options).multimodal for name in known if name in batch.inputs}


class _Head(Evidence):
    kind = "head"

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {name: logits for name, logits in prediction.unimodal.items() if name in batch.inputs}


class _SharedHead(Evidence):
    kind = "shared-head"

    @classmethod
    def lacks(cls, model: nn.Module) -> str | None:
        fusion = getattr(model, "fusion", None)
        return None if isinstance(fusion, Sum) else f"the fusion of {type(model).__name__} is not 'sum', one linear layer for all features"

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        head: nn.Linear = self.model.fusion.linear  # type: ignore[assignment, union-attr]
        return {name: head(feature) for name, feature in self._features(prediction).items() if name in batch.inputs}


_KINDS: dict[str, type[Evidence]] = {kind.kind: kind for kind in (_Slice, _ZeroedFeature, _ZeroedInput, _Head, _SharedHead, Prototype)}

EVIDENCE: tuple[str, ...] = tuple(_KINDS)
"""The kinds of evidence, which are not the same thing and seldom agree.

``"slice"``
    The modality's part of the multimodal logits, with its share of the bias: ``W_m z_m + b / M``. OGM's own. The parts add up to the
    multimodal logits.
``"zeroed-feature"``
    The multimodal logits with the features of all other modalities set to zero.
``"zeroed-input"``
    The multimodal logits with the inputs of all other modalities set to zero, whose encoders still run (AGM). One forward pass of the
    whole model per modality, in evaluation mode, so that no batch statistics move.
``"head"``
    The modality's own head, as in the prediction.
``"shared-head"``
    The layer of the fusion ``"sum"``, with its whole bias, applied to the modality's feature alone: ``W z_m + b`` (MLA).
``"prototype"``
    Minus the Euclidean distance of the modality's feature to the mean feature of each class over the epoch before (PMR); in the first
    epoch, over what this process has seen so far. A class that was not seen has minus infinity.
"""


def check_evidence(kind: Any) -> None:
    """Refuse what names no kind of evidence.

    :raises InputError: for an unknown kind, with the nearest one.
    """
    if kind not in EVIDENCE:
        raise InputError(f"evidence = {kind!r} is unknown: {nearest(str(kind), EVIDENCE)}")


def make_evidence(kind: str, model: nn.Module) -> Evidence:
    """Return where a model's unimodal logits come from.

    >>> import torch
    >>> from equimodal.data import Batch
    >>> from equimodal.nn import MLP, JointFusion
    >>> model = JointFusion({"audio": MLP(20), "image": MLP(64)}, num_outputs=10)
    >>> batch = Batch({"audio": torch.ones(4, 20), "image": torch.ones(4, 64)}, torch.tensor([0, 1, 2, 3]))
    >>> prediction = model(batch.inputs)
    >>> logits = make_evidence("slice", model).logits(prediction, batch)
    >>> torch.allclose(logits["audio"] + logits["image"], prediction.multimodal, atol=1e-5)
    True

    :param kind: one of :data:`EVIDENCE`.
    :param model: a :class:`equimodal.nn.JointFusion` or a model of one's own, not wrapped. Any model will do for ``"head"`` and
        ``"zeroed-input"``; ``"prototype"`` needs features in its Prediction; ``"slice"`` those and a method ``contributions(features)``;
        ``"zeroed-feature"`` those and a method ``fuse(features)``; ``"shared-head"`` those and an attribute ``fusion``, an
        :class:`equimodal.nn.Sum`.
    :raises InputError: for an unknown kind, or a model that lacks what the kind needs.
    """
    check_evidence(kind)
    missing = _KINDS[kind].lacks(model)
    if missing is not None:
        others = [repr(name) for name, other in _KINDS.items() if other.lacks(model) is None]
        raise InputError(f"evidence = {kind!r}: {missing}; choose {', '.join(others[:-1])} or {others[-1]}")
    return _KINDS[kind](model)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode for a while: batch statistics and the random numbers of dropout stay as they are."""
    # Each flag for itself: parts may be in another mode than the whole, and keep it.
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _zeroed(value: Any, modality: str) -> Any:
    """Return an input with zeros in place of its values; lengths and masks beside them stay."""
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    if isinstance(value, Mapping) and "input_ids" in value:  # a tokenizer's output, whose values are whole numbers
        return {**value, "input_ids": torch.zeros_like(value["input_ids"])}
    values: list[Tensor] = []

    def zero(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        values.append(tensor)
        return torch.zeros_like(tensor)

    zeroed = map_tensors(zero, value)
    if not values:
        raise InputError(
            f"evidence = 'zeroed-input' cannot tell values from lengths in the input of {modality!r}, which holds whole numbers alone:"
            " choose 'zeroed-feature' or 'head'"
        )
    return zeroed
