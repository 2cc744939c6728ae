"""G-Blend, gradient blending: loss weights from how much each head gains and overfits when it is trained alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from equimodal import processes
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError
from equimodal.groups import modality_modules
from equimodal.methods._checks import FEWEST_SAMPLES, is_number, is_whole, need
from equimodal.methods.base import Criterion, EpochContext, Method
from equimodal.methods.space import Choice
from equimodal.methods.unimodal import Unimodal
from equimodal.methods.vanilla import Vanilla
from equimodal.scores import MULTIMODAL
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from torch import nn

    from equimodal.methods.space import Distribution

__all__ = ["FEWEST_SAMPLES", "GBlend", "weights"]

FLOOR = 1e-8


def weights(gains: Mapping[str, float], overfits: Mapping[str, float], floor: float = FLOOR) -> dict[str, float]:
    r"""Return the weight of every head's loss.

    .. math:: w_k = \frac{1}{Z} \frac{G_k}{O_k^2}, \qquad Z = \sum_k \frac{G_k}{O_k^2}

    >>> gains = {"audio": 0.5, "image": 0.3, "multimodal": 0.6}
    >>> overfits = {"audio": 0.2, "image": 0.5, "multimodal": 0.4}
    >>> {head: round(weight, 6) for head, weight in weights(gains, overfits).items()}
    {'audio': 0.716332, 'image': 0.068768, 'multimodal': 0.2149}

    Guards, ours: a gain below 0 counts as 0, so that a head which only got worse has no weight; :math:`O_k^2` is at least ``floor``;
    where no head gained, all weigh the same.

    :param gains: by head, :math:`G_k`: by how much the loss on held-out data fell.
    :param overfits: by head, :math:`O_k`: by how much the gap between held-out and training loss grew.
    :param floor: the least :math:`O_k^2`, above 0; default 1e-8.
    :returns: by head, in the order of the gains; their sum is 1.
    :raises InputError: for no heads, heads without a gain or an overfitting, a number that is not finite, or a floor that is not above 0.
    """
    need(is_number(floor) and floor > 0, "floor", floor, "a number above 0")
    if not gains or set(gains) != set(overfits):
        raise InputError(
            f"gains are of {', '.join(gains) or 'no head'}, overfits of {', '.join(overfits) or 'no head'}: give the same heads"
        )
    for what, numbers in (("gain", gains), ("overfitting", overfits)):
        for head, number in numbers.items():
            need(is_number(number), f"the {what} of {head!r}", number, "a finite number")
    raw = {head: max(gain, 0.0) / max(overfits[head] ** 2, floor) for head, gain in gains.items()}
    total = sum(raw.values())
    if total <= 0:
        return dict.fromkeys(raw, 1 / len(raw))
    return {head: value / total for head, value in raw.items()}


class GBlend(Method):
    r"""G-Blend, gradient blending (Wang, Tran & Feiszli, CVPR 2020).

    All heads are trained together, with weights that favour those which gain much and overfit little when they are trained alone.

    .. math::
        L = \sum_k w_k L_k, \qquad w_k = \frac{1}{Z} \frac{G_k}{O_k^2}, \qquad G_k = L^V_k(0) - L^V_k(n), \qquad
        O_k = \bigl(L^V_k(n) - L^T_k(n)\bigr) - \bigl(L^V_k(0) - L^T_k(0)\bigr)

    - *k*: every modality, and the multimodal head.
    - *T*, *V*: a part of the training split to train on, and the rest of it, held out. The validation split plays no part.
    - :math:`L^T_k(n), L^V_k(n)`: mean losses of head *k* on both, in evaluation mode, after it was trained alone on *T* for *n* epochs from
      the weights of the moment: encoder *m* with its head, or all encoders with the fusion. These trainings are thrown away.

    Offline, weights are found once, before the first epoch, with *n* the epochs of the whole run. Online, they are found anew every *n*
    epochs (``super_epoch``) from the model as it stands. Either way the side trainings cost about as many epochs for every head as the run
    has; records count their optimizer steps (``side_steps``) and seconds.

    In a loop of one's own the side trainings are :class:`equimodal.train.Branches`::

        method = GBlend()
        model = method.build(model)
        data = method.training_data(train)
        branches = Branches(model, optimizer, batch_size=64)
        for epoch in range(1, epochs + 1):
            method.epoch_start(EpochContext(epoch, epochs=epochs, train=train, branch=branches.at(epoch)))
            for batch in batches_of(data):
                optimizer.zero_grad()
                method.combine(method.losses(model(batch.inputs), batch)).backward()
                optimizer.step()

    :param schedule: ``"offline"`` (default) or ``"online"``.
    :param super_epoch: *n* of ``"online"``, at least 1; default 10, as in a third-party toolkit. The paper's values were not at hand.
    :param fraction: how much of the training split is *V*, above 0 and below 1; default 0.1 (a third-party toolkit has 0.08).
    :param floor: the least :math:`O_k^2`; default 1e-8.
    :param weights: fixed weights by head, such as ``{"multimodal": 0.37, "audio": 0.36, "image": 0.27}``, in place of all this.
    :raises InputError: for a value out of range; from ``training_data`` for a held-out part of fewer than 10 samples, whose loss is
        noise, or data that cannot be split (a loader); from ``epoch_start`` without a way to train branches.

    .. note::
        Formula and procedure are the paper's; how long super-epochs are and how large *V* is were not at hand, hence ``reconstructed``.
        Ours: the guards of :func:`weights`; *V* is drawn once per run; offline the blended model is trained on the whole training split,
        because *V* has done its service, online on *T*, because *V* must stay unseen. Branches begin with a fresh optimizer of the same
        kind, at its rates of the moment. The weights sum to 1 where plain joint training has M + 1: tune the learning rate for this
        method. A head that did not gain has weight 0: where it is the multimodal one, the fusion is not trained. Weights from the history
        of the blended model itself are another method.
    """

    name: ClassVar[str] = "gblend"
    title: ClassVar[str] = "G-Blend"
    paper: ClassVar[str] = "Wang, Tran & Feiszli, What Makes Training Multi-Modal Classification Networks Hard?, CVPR 2020"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "reconstructed"
    search_space: ClassVar[Mapping[str, Distribution]] = {"super_epoch": Choice((5, 10, 20))}

    def __init__(
        self,
        schedule: Literal["offline", "online"] = "offline",
        super_epoch: int = 10,
        fraction: float = 0.1,
        floor: float = FLOOR,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        need(schedule in ("offline", "online"), "schedule", schedule, "'offline' or 'online'")
        need(is_whole(super_epoch) and super_epoch >= 1, "super_epoch", super_epoch, "a whole number of epochs of at least 1")
        need(is_number(fraction) and 0 < fraction < 1, "fraction", fraction, "a number above 0 and below 1")
        need(is_number(floor) and floor > 0, "floor", floor, "a number above 0")
        if weights is not None:
            need(isinstance(weights, Mapping) and len(weights) > 0, "weights", weights, "a number for every head")
            for head, weight in weights.items():
                need(is_number(weight) and weight >= 0, f"the weight of {head!r}", weight, "a number of at least 0")
            need(sum(weights.values()) > 0, "weights", weights, "at least one number above 0")
        self.schedule = schedule
        self.super_epoch = super_epoch
        self.fraction = fraction
        self.floor = floor
        self.weights = None if weights is None else dict(weights)
        self.estimates: list[dict[str, Any]] = []
        self._current: dict[str, float] = {}
        self._modalities: tuple[str, ...] = ()
        self._parts: tuple[Any, Any] | None = None
        self._split_seed = 0

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return an instance that looks again every second epoch, and holds out enough of few samples."""
        return cls(schedule="online", super_epoch=2, fraction=0.25)

    @property
    def current_weights(self) -> dict[str, float]:
        """The weights in force, by head; empty before the first epoch."""
        return dict(self._current)

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Learn the model's heads."""
        model = super().build(model, criterion)
        self._modalities = tuple(modality_modules(model))
        heads = (MULTIMODAL, *self._modalities)
        if self.weights is None:
            self._check_branches(model)
        elif set(self.weights) != set(heads):
            raise InputError(f"weights are of {', '.join(self.weights)}, the model's heads are {', '.join(heads)}: give one for each")
        self._current = {} if self.weights is None else {head: float(self.weights[head]) for head in heads}
        self._parts = None
        self._split_seed = processes.from_first(int(torch.randint(2**62, ())))
        self.estimates = []
        return model

    def _check_branches(self, model: Any) -> None:
        """Refuse a model whose parts cannot be trained alone."""
        if not callable(getattr(model, "only", None)):
            raise InputError(
                f"{type(model).__name__} has no method only(modality), with which G-Blend trains branches: use JointFusion, or give weights"
            )
        if "transform" not in inspect.signature(model.forward).parameters:
            raise InputError(
                f"{type(model).__name__}.forward has no argument transform, which G-Blend needs to train the multimodal loss alone: "
                "add it as in equimodal.nn.JointFusion, or give weights"
            )
        for modality in self._modalities:
            if not any(parameter.requires_grad for parameter in model.only(modality).parameters()):
                raise InputError(f"all of {modality!r} is frozen, so that it cannot be trained alone: unfreeze its head, or give weights")

    def check(self, samples: Mapping[str, int]) -> None:
        """Refuse a training split whose held-out part would be too small."""
        if self.weights is None and "train" in samples:
            self._held_out(samples["train"])

    def _held_out(self, samples: int) -> int:
        held_out = math.floor(self.fraction * samples)
        if held_out < FEWEST_SAMPLES or samples - held_out < FEWEST_SAMPLES:
            raise InputError(
                f"fraction = {self.fraction} of {samples} training samples holds {held_out} out and leaves {samples - held_out}: "
                f"G-Blend needs at least {FEWEST_SAMPLES} of each, change fraction"
            )
        return held_out

    def training_data(self, train: Any) -> Any:
        """Draw *V*, and return what the run trains on: all of the training split offline, *T* online."""
        if self.weights is not None:
            return train
        if not _holds_samples(train):
            raise InputError(f"the training split is a {type(train).__name__}, which G-Blend cannot split: give a TensorSet or a Dataset")
        held_out = self._held_out(len(train))
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self._split_seed))
        kept, away = order[held_out:].sort().values, order[:held_out].sort().values
        self._parts = _subset(train, kept), _subset(train, away)
        return train if self.schedule == "offline" else self._parts[0]

    def epoch_start(self, context: EpochContext) -> None:
        """Find the weights anew where it is time."""
        if self.weights is not None:
            return
        if self.schedule == "offline":
            if self._current:
                return
            if context.epochs is None:
                raise InputError("G-Blend needs to know how many epochs are planned: give EpochContext(epoch, epochs=N, ...)")
            length = context.epochs
        elif (context.epoch - 1) % self.super_epoch:
            return
        else:
            length = self.super_epoch
        self._estimate(context, length)

    def _estimate(self, context: EpochContext, epochs: int) -> None:
        if context.branch is None or self._parts is None:
            lacks = "EpochContext(..., branch=equimodal.train.Branches(...))" if context.branch is None else "training_data(train)"
            raise InputError(f"G-Blend trains branches of its own and lacks {lacks}: give it, or fixed weights")
        kept, away = self._parts
        gains, overfits = {}, {}
        for head in (MULTIMODAL, *self._modalities):
            alone: Method = Vanilla() if head == MULTIMODAL else Unimodal(head)
            before, after = context.branch(alone, kept, epochs, {"train": kept, "held out": away})
            first, last = ({name: losses[head] for name, losses in when.items()} for when in (before, after))
            gains[head] = first["held out"] - last["held out"]
            overfits[head] = (last["held out"] - last["train"]) - (first["held out"] - first["train"])
        self._current = weights(gains, overfits, self.floor)
        self.estimates.append({"epoch": context.epoch, "gains": gains, "overfits": overfits, "weights": dict(self._current)})

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the heads' losses."""
        if not self._current:
            raise InputError("G-Blend has no weights yet: call epoch_start(context) first")
        return super().combine({head: self._current[head] * loss for head, loss in losses.items()})

    def record(self) -> dict[str, Any]:
        """Return the weights in force."""
        return {"weights": self.current_weights}

    def state_dict(self) -> dict[str, Any]:
        """Return the weights in force and how they were found."""
        estimates = [dict(estimate) for estimate in self.estimates]
        return {"weights": dict(self._current), "estimates": estimates, "split_seed": self._split_seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; in a loop of one's own, before :meth:`training_data`, so that *V* is the same."""
        self._split_seed = int(state["split_seed"])
        self._current = {str(head): float(weight) for head, weight in state["weights"].items()}
        self.estimates = [dict(estimate) for estimate in state["estimates"]]


def _holds_samples(data: Any) -> bool:
    """Tell whether data holds single samples by number; loaders and lists hold batches."""
    if isinstance(data, (DataLoader, IterableDataset, Mapping, list, tuple)):
        return False
    return (isinstance(data, Dataset) or hasattr(data, "__getitem__")) and hasattr(data, "__len__")


def _subset(data: Any, indices: Tensor) -> Any:
    return data.subset(indices) if isinstance(data, TensorSet) else Subset(data, indices.tolist())
