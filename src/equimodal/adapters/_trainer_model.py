"""What the Trainer trains and how it scores it: a model with keywords, a loss and logits by head, and metrics of these."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equimodal.balancer import Balancer
from equimodal.errors import InputError, first_line
from equimodal.groups import modality_modules
from equimodal.head_scores import HeadScores
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["TrainerModel", "head_metrics"]

_PRESENT = "present_"


def head_metrics(modalities: Sequence[str], metric: Any = None, task: str | Task = "single-label") -> Callable[..., dict[str, float]]:
    """Return a ``compute_metrics`` that scores every head: ``eval_multimodal``, ``eval_audio``, and ``eval_loss_audio`` and so on.

    It takes what the Trainer gathers of a model whose output holds the logits by head under ``"logits"``, as :class:`TrainerModel` does,
    and masks under ``"present"``; or of one whose output is the logits alone, ``multimodal`` first and then the modalities in the order
    given here. It serves ``batch_eval_metrics`` too.

    >>> import numpy
    >>> from transformers import EvalPrediction
    >>> right, wrong = numpy.eye(2)[[0, 1, 1]], numpy.eye(2)[[1, 0, 0]]
    >>> compute = head_metrics(("audio", "image"))
    >>> found = compute(EvalPrediction({"multimodal": right, "audio": right, "image": wrong}, numpy.array([0, 1, 1])))
    >>> found["multimodal"], found["image"], round(found["loss_image"], 3)
    (1.0, 0.0, 1.313)

    :param modalities: their names.
    :param metric: as for :class:`equimodal.HeadScores`; default the task's first.
    :param task: what targets look like.
    :raises InputError: for an unknown task or metric; when called, for predictions that are no logits by head.
    """
    counter = HeadScores(modalities, task, metric)

    def compute(evaluation: Any, compute_result: bool = True) -> dict[str, float]:
        logits, present = _by_head(evaluation.predictions, counter.heads)
        counter.update(logits, torch.as_tensor(evaluation.label_ids), present)
        if not compute_result:
            return {}
        found = counter.compute() | {f"loss_{head}": loss for head, loss in counter.losses().items()}
        counter.reset()
        return found

    return compute


def _by_head(given: Any, heads: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    present = None
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(isinstance(part, Mapping) for part in given):
        given, present = given
    if not isinstance(given, Mapping):
        if not isinstance(given, (tuple, list)) or len(given) != len(heads):
            found = f"{len(given)} arrays" if isinstance(given, (tuple, list)) else f"one {type(given).__name__}"
            raise InputError(
                f"the predictions are {found}: the model must return the logits of {', '.join(heads)}, as a mapping in 'logits'"
            )
        given = dict(zip(heads, given, strict=True))
    masks = None if present is None else {name: torch.as_tensor(mask) for name, mask in present.items()}
    return {name: torch.as_tensor(logits) for name, logits in given.items()}, masks


class TrainerModel(nn.Module):
    """A model that returns a :class:`equimodal.Prediction`, as the Trainer wants one: keywords in, a loss and logits out.

    >>> from equimodal.testing import tiny_problem
    >>> problem = tiny_problem()
    >>> model = TrainerModel(problem.model)
    >>> batch = problem.train[:4]
    >>> output = model(labels=batch.targets, **batch.inputs)
    >>> output["loss"].shape, list(output["logits"])
    (torch.Size([]), ['multimodal', 'audio', 'image'])

    Items of a data set are mappings with an entry for each column and ``"labels"``; ``"present_NAME"``, true or false, for a modality that
    some samples lack. Under a :class:`BalanceCallback` the loss in training is the method's own, else the sum of all heads' (Eq. 3).

    :param model: a :class:`equimodal.JointFusion`, a probed model, or any that is called with a mapping of inputs and returns a Prediction.
    :param task: what labels look like.
    :param columns: the inputs by name; default the modalities that the model names.
    :raises InputError: for a model that does not name its modalities.
    """

    accepts_loss_kwargs = False  # the loss is a mean, which the Trainer divides by the number of accumulated batches

    def __init__(self, model: nn.Module, *, task: str | Task = "single-label", columns: Sequence[str] | None = None) -> None:
        super().__init__()
        self.model = model
        self.balancer: Balancer | None = None
        self._plain = Balancer("joint", task=task)
        modalities = tuple(modality_modules(model))
        if not modalities:
            raise InputError(
                f"{type(model).__name__} does not name its modalities in modality_modules(): give a JointFusion or equimodal.probe"
            )
        names = (*(modalities if columns is None else columns), "labels", *(f"present_{name}" for name in modalities))
        parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]
        # The Trainer drops the columns that forward does not name.
        self.forward = functools.partial(self.forward)  # type: ignore[method-assign]
        self.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def forward(self, labels: Tensor | None = None, **inputs: Any) -> dict[str, Any]:
        """Return ``"loss"`` where there are labels, ``"logits"`` by head, and ``"present"`` where masks were given."""
        present = {name.removeprefix(_PRESENT): inputs.pop(name) for name in list(inputs) if name.startswith(_PRESENT)}
        present = {name: mask.bool() for name, mask in present.items() if mask is not None}
        prediction = self._predict(inputs, present)
        output: dict[str, Any] = {}
        if labels is not None:
            output["loss"] = self._loss(prediction, labels)
        output["logits"] = {MULTIMODAL: prediction.multimodal, **prediction.unimodal}
        if present:
            output["present"] = present
        return output

    def _predict(self, inputs: dict[str, Any], present: dict[str, Tensor]) -> Prediction:
        try:
            found: Prediction = self.model(inputs, **({"present": present} if present else {}))
        except TypeError as error:
            said = first_line(error)
            if "argument" not in said:
                raise
            raise InputError(
                f"the model cannot be called with the columns {', '.join(inputs) or 'none'} ({said}): name its inputs, as in "
                "TrainerModel(model, columns=['input_ids', 'pixel_values']), and probe a model that takes keywords with call='keywords'"
            ) from error
        return found

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # what a method counts is no reason to compile anew
    def _loss(self, prediction: Prediction, labels: Tensor) -> Tensor:
        balancer = self.balancer if self.balancer is not None and torch.is_grad_enabled() else self._plain
        return balancer.loss(prediction, labels)

    def modality_modules(self) -> dict[str, Any]:
        """Return what the model names."""
        return modality_modules(self.model)
