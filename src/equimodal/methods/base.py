"""What a method is: plain joint training (Eq. 3), of which a method overrides only what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from torch import Tensor, nn

from equimodal._configurable import Configurable
from equimodal.nn.prediction import Prediction, Routes
from equimodal.scores import MULTIMODAL
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from equimodal.data.batch import Batch
    from equimodal.groups import ParameterRegistry
    from equimodal.methods.space import Distribution

__all__ = ["SUBJECTS", "Branch", "BranchTrainer", "Criterion", "EpochContext", "Method", "Step"]

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits ``[batch, outputs]`` and targets in, the loss of every sample ``[batch]`` out."""


class Branch(NamedTuple):
    """What a training beside the run showed: mean losses by name of the watched data and by head, before and after."""

    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]


class BranchTrainer(Protocol):
    """Trains a copy of the model as it stands, as the run itself would, and throws it away; :class:`equimodal.train.Branches` is one."""

    def __call__(self, method: Method, train: Any, epochs: int, watch: Mapping[str, Any]) -> Branch:
        """Train a copy with another method and watch its losses.

        :param method: what the copy is trained with.
        :param train: the data to train on.
        :param epochs: for how long.
        :param watch: by name, the data whose losses are measured before and after.
        """


@dataclass
class EpochContext:
    """What a method sees at the start and the end of an epoch.

    :param epoch: its number, from 1.
    :param scores: by split (``"train"``, ``"val"``) and head, the scores of the epoch; empty at its start.
    :param losses: the same for mean losses.
    :param counts: by split, how many samples were scored.
    :param train: the training data as it was given, for methods that must look at it again.
    :param epochs: how many epochs are planned.
    :param branch: trains a copy of the model beside the run, for methods that must know what would be.
    """

    epoch: int
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    train: Any = None
    epochs: int | None = None
    branch: BranchTrainer | None = None
    stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Ask for this epoch to be the last."""
        self.stop_reason = reason


class Step(Protocol):
    """One optimizer step, as a method that owns it drives it; precision, clipping, accumulation and devices stay the loop's business."""

    batches: Sequence[Batch]
    """The micro-batches whose gradients add up to this step."""
    parameters: ParameterRegistry

    def zero_grad(self) -> None:
        """Forget all gradients."""

    def forward(self, batch: Batch) -> Prediction:
        """Run the model on one micro-batch, in the run's precision, through the method's ``transform``."""

    def backward(self, loss: Tensor, batch: Batch) -> None:
        """Add the gradient of a micro-batch's mean loss, weighted by its share of the step's samples."""

    def report(self, losses: Mapping[str, Tensor], batch: Batch) -> None:
        """Count a micro-batch's mean losses by head for the record."""

    def counted(self, batch: Batch) -> int:
        """Return how many of a micro-batch's samples count: none where this process only keeps the others company."""

    def step(self, only: str | None = None) -> None:
        """Clip and take the optimizer's step, on one modality's parameters alone where ``only`` names it."""


SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "the loss": ("transform", "transforms", "losses", "combine", "backward", "clipped"),
    "the gradients": ("modulate",),
    "the learning rates": ("multipliers",),
    "the step": ("update",),
    "the training data": ("training_data",),
}
"""What a method may decide, and the hooks by which it does."""


class Method(Configurable):
    r"""Base of all methods, itself plain joint training: :math:`L = L_{AB} + \sum_m L_m` (Eq. 3).

    The constructor's arguments are the hyper-parameters, kept under the same names. Hooks are called by :func:`equimodal.train.fit`
    and may be called from any loop; each does nothing, or plain joint training, unless a method overrides it.
    """

    name: ClassVar[str]
    """The name on the command line and in studies."""
    title: ClassVar[str]
    """The name in tables."""
    paper: ClassVar[str]
    """Authors, title and venue of the source."""
    fidelity: ClassVar[Literal["exact", "reconstructed"]]
    """Whether the source says everything that is implemented."""
    search_space: ClassVar[Mapping[str, Distribution]] = {}
    """The range of each hyper-parameter, the same for every data set."""
    prerequisites: ClassVar[Mapping[str, str]] = {}
    """Options whose values must be found by other trainings before a run, and what they are: ``{"rates": "unimodal learning rates"}``."""

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return an instance for a model of these modalities, with the defaults where there are any."""
        return cls()

    criterion: Criterion = staticmethod(single_label_loss)

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Prepare for a model before its optimizer exists, and return the model to train.

        :param model: a :class:`equimodal.nn.JointFusion`, or any module that returns a :class:`equimodal.nn.Prediction`.
        :param criterion: the loss per sample; default cross-entropy.
        """
        self.criterion = criterion
        return model

    def check(self, samples: Mapping[str, int]) -> None:
        """Refuse data that the method cannot work with, before anything is written.

        :param samples: the number of samples by split, of the splits that know it.
        """

    def training_data(self, train: Any) -> Any:
        """Return the part of the training data that the run trains on."""
        return train

    def claims(self) -> dict[str, object]:
        """Return what this method decides, for a :class:`equimodal.methods.compose.Composition`: by subject, how it decides it.

        Two methods go together where no subject is decided in two different ways. By default whoever overrides a hook decides its subject
        in a way of its own, and the loss is left to others.
        """
        return {subject: self for subject in SUBJECTS if self._overrides(subject, Method)}

    def _overrides(self, subject: str, base: type[Method]) -> bool:
        return any(getattr(type(self), hook) is not getattr(base, hook) for hook in SUBJECTS[subject])

    def attach(self, optimizer: Optimizer) -> None:
        """Get hold of the optimizer, once it exists."""

    def detach(self) -> None:
        """Let go of the optimizer, at the end of a run."""

    def epoch_start(self, context: EpochContext) -> None:
        """Prepare for an epoch."""

    def epoch_end(self, context: EpochContext) -> None:
        """Learn from an epoch's scores and losses."""

    def transform(self, features: dict[str, Tensor], batch: Batch) -> Routes:
        """Stand between the encoders and what follows: return the features that the fusion and the heads see."""
        return Routes(features, features)

    def transforms(self) -> bool:
        """Tell whether :meth:`transform` changes anything; a model need not take one where it does not."""
        return type(self).transform is not Method.transform

    def losses(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the mean loss of the multimodal prediction and of each head, over the samples in which its modality is present.

        Samples are those of one micro-batch in one process: where some lack a modality, accumulation and several processes therefore
        weigh the others a little differently than one large batch would.
        """
        losses = {MULTIMODAL: self.criterion(prediction.multimodal, batch.targets).mean()}
        for modality, logits in prediction.unimodal.items():
            loss = self.criterion(logits, batch.targets)
            mask = batch.present.get(modality)
            losses[modality] = loss.mean() if mask is None else loss.where(mask, 0).sum() / mask.sum().clamp(min=1)
        return losses

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the one loss to train: the sum, all weights 1 (Eq. 3)."""
        total, *others = losses.values()
        for loss in others:
            total = total + loss
        return total

    def backward(self, losses: Mapping[str, Tensor], step: Step, batch: Batch) -> None:
        """Add a micro-batch's gradients."""
        step.backward(self.combine(losses), batch)

    def observe(self, prediction: Prediction, batch: Batch) -> None:
        """Gather statistics that add up over the micro-batches of a step."""

    def modulate(self, parameters: ParameterRegistry) -> None:
        """Change the gradients, once per optimizer step, unscaled and reduced over all processes."""

    def update(self, step: Step) -> None:
        """Take one optimizer step."""
        step.zero_grad()
        for batch in step.batches:
            prediction = step.forward(batch)
            losses = self.losses(prediction, batch)
            step.report(losses, batch)
            self.backward(losses, step, batch)
            if step.counted(batch):
                self.observe(prediction, batch)
        self.modulate(step.parameters)
        step.step()

    def after_step(self, step: Step) -> None:
        """Follow the optimizer's step: moving averages, restored weights."""

    def clipped(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Return the parameters whose gradient norm is clipped together."""
        return model.parameters()

    def multipliers(self) -> dict[str, float]:
        """Return the learning-rate multipliers in force, by modality; empty where the method has none."""
        return {}

    def acted_on(self) -> dict[str, Any]:
        """Return the ``utilization`` and the ``gap`` that the method acted on at the last epoch's end, for the record.

        Empty where it looks at neither; the record then has those of the validation split.
        """
        return {}

    def record(self) -> dict[str, Any]:
        """Return what the method did in the epoch, as plain values for its record, under ``"method"``; empty for nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes during a run, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
