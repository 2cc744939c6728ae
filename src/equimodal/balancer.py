"""A method of this package in a loop that is not ours: what every adapter connects to the events of its harness."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

from equimodal import processes
from equimodal._before_forward import BeforeForward
from equimodal._needs import Needs
from equimodal._told import Told, as_prediction, checked
from equimodal.data.batch import Batch
from equimodal.errors import InputError
from equimodal.groups import MODALITY_KEY, ParameterRegistry, effective_rates, the_optimizer
from equimodal.methods._checks import is_whole, need
from equimodal.methods.base import EpochContext
from equimodal.methods.compose import as_method
from equimodal.nn._checks import takes
from equimodal.scores import MULTIMODAL, Scores, defined_utilization
from equimodal.tasks import Task, get_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from equimodal.methods.base import Method
    from equimodal.nn.prediction import Prediction

__all__ = ["Balancer"]


class Balancer:
    """Drives a method from a loop of any kind: the loop keeps its model, its optimizer and its own order of things.

    :class:`equimodal.MILES` alone is enough for learning rates in a plain loop. This class drives every method in the same few calls, and
    the adapters for Lightning, Hugging Face and others make them for you.

    >>> import torch
    >>> from equimodal import HeadScores, modality_groups
    >>> from equimodal.testing import tiny_problem
    >>> model, train, val = (problem := tiny_problem()).model, problem.train, problem.val
    >>> balancer = Balancer("miles+ogm")
    >>> model = balancer.build(model)
    >>> optimizer = torch.optim.SGD(modality_groups(model, lr=0.05))
    >>> balancer.attach(optimizer)
    >>> for epoch in range(1, 3):
    ...     _ = model.train()
    ...     balancer.epoch_start(epoch)
    ...     for batch in (train[:24], train[24:]):
    ...         optimizer.zero_grad()
    ...         loss = balancer.loss(model(batch.inputs), batch.targets)
    ...         loss.backward()
    ...         balancer.before_step()
    ...         optimizer.step()
    ...     scores = HeadScores(("audio", "image"))
    ...     with torch.no_grad():
    ...         scores.update(model.eval()(val[:].inputs), val[:].targets)
    ...     stop = balancer.epoch_end(scores.compute())
    >>> sorted(balancer.logs())[:3]
    ['learning_rate/audio', 'learning_rate/image', 'learning_rate/multimodal']

    What a method needs of these calls: learning-rate methods ``attach`` and ``epoch_end``; those that weight or detach losses also
    ``build`` and ``loss``; those that change gradients also ``before_step``. A call that a method needs and does not get is an error at
    the end of the epoch.

    :param method: a method, or the name of one with its default hyper-parameters; ``"a+b"`` or a list for several that go together.
    :param task: what targets look like, for :meth:`loss`: a name or an :class:`equimodal.tasks.Task`; default ``"single-label"``.
    :param options: hyper-parameters of a method that is given by its name, such as ``tau=0.1``.
    :raises InputError: for an unknown name or option, and for a method that takes the optimizer's step or calls ``backward`` itself,
        which only :func:`equimodal.fit` lets it do.
    """

    def __init__(
        self, method: str | Method | Sequence[str | Method] = "miles", *, task: str | Task = "single-label", **options: Any
    ) -> None:
        self.method = as_method(method, options)
        self.task = get_task(task)
        self.epoch = 0
        """The running epoch, from 1, or the last one."""
        self.stop_reason: str | None = None
        """Why the method asked for the end, once it did."""
        self.head_losses: dict[str, Tensor] = {}
        """The losses by head behind the last :meth:`loss`, without their graph."""
        self.optimizer: Optimizer | None = None
        self._needs = Needs(self.method)
        for member in (self.method, *self._needs.members):
            member.criterion = self.task.loss  # learning-rate methods may do without build()
        self._registry: ParameterRegistry | None = None
        self._model: nn.Module | None = None
        self._before = BeforeForward(self.method)
        self._pending: Mapping[str, Any] | None = None
        self._acted: dict[str, Any] = {}
        self._recorded: dict[str, Any] = {}
        self._begun = False
        self._losses = self._steps = self._seen = 0
        self._untaken = False  # the method was let in before a step that was not taken since
        self._warned = False
        self._handle: Any = None

    def build(self, model: nn.Module) -> nn.Module:
        """Let the method prepare for a model, before the optimizer exists.

        :param model: a :class:`equimodal.nn.JointFusion`, or any module that returns a :class:`equimodal.nn.Prediction` and names its parts
            in ``modality_modules()``; not wrapped yet. Where heads are probes, its ``forward`` is given the method's ``transform`` in
            training mode, by a hook.
        :returns: the model to train: the same one, except for ``unimodal``, which trains a part.
        :raises InputError: for a model that the method cannot work with.
        """
        built = self.method.build(model, self.task.loss)
        if self.method.transforms() and not takes(built, "transform"):
            raise InputError(
                f"{self.method.name} changes what stands between encoders and fusion: {type(built).__name__}.forward needs an argument "
                f"transform, as that of equimodal.JointFusion{_or_trained(self._needs.members)}"
            )
        registry = ParameterRegistry(built)
        self._before.leave()
        self._registry, self._model = registry, built
        self._stand_before()
        return built

    def _stand_before(self) -> None:
        if self._model is not None:
            self._before.stand(self._model, self.method.transforms() or self._needs.gradients or bool(self._before.resting))

    def attach(self, optimizer: Any) -> None:
        """Get hold of the optimizer; a state that was loaded before takes effect now.

        :param optimizer: a ``torch.optim`` optimizer with groups from :func:`equimodal.modality_groups`, also as Accelerate, Lightning or
            Fabric wrapped it.
        :raises InputError: for engines without torch's hooks, for groups without modalities, and while another optimizer is held.
        """
        found = the_optimizer(optimizer)
        if self.optimizer is not None:
            raise InputError(f"{self.method.name} holds an optimizer already: detach() the balancer before it gets another one")
        self.method.attach(found)
        self.optimizer = found
        self._handle = found.register_step_post_hook(self._note_step)
        self._stand_before()
        if self._pending is not None:
            self._load(self._pending)
            self._pending = None

    def detach(self) -> None:
        """Let go of the optimizer and of the model, which are then as if the method had never been there."""
        if self.optimizer is not None:
            self.method.detach()
            self._handle.remove()
            self.optimizer = None
        self._before.resting = []
        self._before.leave()

    def epoch_start(self, epoch: int, **known: Any) -> None:
        """Begin an epoch, before its first forward pass.

        :param epoch: its number, from 1; of a resumed training the next one.
        :param known: what else the loop knows, as in :class:`equimodal.methods.base.EpochContext`: ``epochs`` planned, the ``train`` data,
            a ``branch`` trainer (:class:`equimodal.train.Branches`) for methods that train beside the run.
        :raises InputError: for an epoch that is no whole number from 1, and for a method that needs a model and has none.
        """
        need(is_whole(epoch) and epoch >= 1, "epoch", epoch, "a whole number, counted from 1,")
        self._need_model()
        modes = {} if self._model is None else {module: module.training for module in self._model.modules()}
        for module in modes:
            module.training = True
        try:
            self.method.epoch_start(EpochContext(epoch, **known))
            self._before.resting = [module for module in modes if not module.training]
        finally:
            for module, mode in modes.items():
                module.training = mode and module.training
        self.epoch, self._begun = epoch, True
        self._losses = self._steps = self._seen = 0
        self._stand_before()

    def _need_model(self) -> None:
        if self.needs_model and self._registry is None:
            raise InputError(f"{self.method.name} has no model yet: call build(model) before the optimizer is made")

    def loss(
        self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, *, present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the loss to train, over one micro-batch, and let gradient methods look at the prediction.

        :param prediction: what the model returned; or logits by head, ``{"multimodal": ..., "audio": ..., ...}``.
        :param targets: as the task has them, in a tensor.
        :param present: for modalities that some samples lack, a boolean mask ``[batch]``; default those of the prediction.
        :returns: the method's combination of the mean losses of all heads; plainly their sum (Eq. 3). Divide it by the number of
            micro-batches per step where gradients are accumulated.
        """
        self._need_model()
        prediction, batch = self._taken(prediction, targets, present)
        losses = self.method.losses(prediction, batch)
        self.head_losses = {head: loss.detach() for head, loss in losses.items()}
        if torch.is_grad_enabled():  # else it is that of a validation, which is none of a gradient method's business
            self._losses += 1
            self._seen += 1
            self.method.observe(prediction, batch)
        return self.method.combine(losses)

    def observe(
        self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, *, present: Mapping[str, Tensor] | None = None
    ) -> None:
        """Let gradient methods look at a prediction, in a loop that computes its loss itself; :meth:`loss` does both.

        :raises InputError: for a method that decides the loss, which must then be used.
        """
        if self._needs.loss:
            raise InputError(f"{self.method.name} decides the loss: train balancer.loss(prediction, targets) instead of a loss of your own")
        self._need_model()
        self._seen += 1
        self.method.observe(*self._taken(prediction, targets, present))

    def _taken(
        self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, present: Mapping[str, Tensor] | None
    ) -> tuple[Prediction, Batch]:
        if not isinstance(targets, torch.Tensor):
            raise InputError(f"the targets are a {type(targets).__name__}: give a tensor")
        prediction = as_prediction(prediction)
        inputs = self._before.inputs if self._before.inputs is not None else dict.fromkeys(prediction.unimodal)
        return prediction, Batch(inputs, targets, prediction.present if present is None else present)

    def before_step(self) -> None:
        """Let gradient methods change the gradients: once per optimizer step, on unscaled gradients, before they are clipped.

        :raises InputError: when the method has seen no prediction of this step, or no model.
        """
        if self._needs.loss and not self._losses:
            raise InputError(
                f"{self.method.name} decides the loss and was not asked for it: train balancer.loss(prediction, targets), not your own"
            )
        if self._needs.gradients:
            self._need_model()
            if self._needs.predictions and not self._seen and processes.world_size() == 1:  # of several, one may have had no sample
                raise InputError(
                    f"{self.method.name} has seen no prediction of this step: train balancer.loss(prediction, targets), or call "
                    "balancer.observe(prediction, targets), before before_step()"
                )
            if self._untaken and self._steps and not self._warned:
                self._warned = True
                warnings.warn(
                    "before_step() was called again before the optimizer took its step, and has changed the same gradients twice: call it "
                    "once per step, after the last micro-batch (a step that a gradient scaler skipped is no cause for concern)",
                    stacklevel=2,
                )
            self.method.modulate(cast("ParameterRegistry", self._registry))
            self._untaken = True
        self._seen = 0
        self._steps += 1

    def _note_step(self, *_: Any) -> None:
        self._untaken = False

    def epoch_end(
        self,
        scores: Scores | None,
        losses: Mapping[str, float] | None = None,
        *,
        train_scores: Scores | None = None,
    ) -> str | None:
        """Show the method the scores of the epoch that has ended.

        :param scores: of the validation split by head, ``{"multimodal": 0.9, "audio": 0.4, ...}``, larger is better, as
            :meth:`equimodal.HeadScores.compute` returns them; None where there are none and the method looks at none.
        :param losses: mean validation losses by head, for methods that look at them (MSES).
        :param train_scores: scores of the training split, for ``MILESMethod(split="train")``.
        :returns: None, or why the method asks for the end.
        :raises InputError: for scores that the method cannot use, scores that differ between processes, and for calls that the method
            needed and did not get in this epoch.
        """
        if self.optimizer is None:
            raise InputError(f"{self.method.name} has no optimizer yet: call attach(optimizer) before the first epoch")
        self._need_model()
        self._needs.check_epoch(self.epoch, begun=self._begun, losses=self._losses, steps=self._steps)
        name, val = self.method.name, checked(scores, "scores")
        told = Told("scores", {"val": val, "train": checked(train_scores, "train_scores")}, name)
        context = EpochContext(self.epoch, told, Told("losses", {"val": checked(losses, "losses")}, name))
        self.method.epoch_end(context)
        self._acted = self.method.acted_on() or defined_utilization(val or {})
        self._recorded = self.method.record()
        self.stop_reason = context.stop_reason
        self._begun = False
        return self.stop_reason

    @property
    def needs_model(self) -> bool:
        """Whether :meth:`build` must be called; methods that only move learning rates do without."""
        return self._needs.model

    @property
    def learns_from_validation(self) -> bool:
        """Whether learning rates follow what :meth:`epoch_end` is given; a method that is never given it would do nothing, unnoticed."""
        return self._needs.scores

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the optimizer's groups; where these name none, those of the model."""
        tags = [group.get(MODALITY_KEY, MULTIMODAL) for group in self.optimizer.param_groups] if self.optimizer is not None else []
        named = self._registry.modalities if self._registry is not None else ()
        return tuple(dict.fromkeys(tag for tag in tags if tag != MULTIMODAL)) or named

    @property
    def multipliers(self) -> dict[str, float]:
        """The learning-rate multipliers in force, by modality; empty where the method has none."""
        return self.method.multipliers() if self.optimizer is not None else {}

    def logs(self) -> dict[str, float]:
        """Return what to log after an epoch, by name.

        ``learning_rate/NAME`` (effective, with the multiplier) and ``multiplier/NAME`` hold from now on; ``utilization/NAME`` and
        ``utilization_gap`` are of the last epoch's end, where they are defined. ``method/...`` is what else the method did in that epoch,
        such as OGM's mean factors, ``method/coefficients/NAME``.
        """
        found: dict[str, float] = {}
        if self.optimizer is not None:
            found |= {f"learning_rate/{name}": rate for name, rate in effective_rates(self.optimizer).items()}
            found |= {f"multiplier/{name}": value for name, value in self.multipliers.items()}
        rates: Mapping[str, float | None] = self._acted.get("utilization") or {}
        found |= {f"utilization/{name}": rate for name, rate in rates.items() if rate is not None and math.isfinite(rate)}
        gap = self._acted.get("gap")
        found |= {"utilization_gap": gap} if gap is not None and math.isfinite(gap) else {}
        return found | dict(_numbers(self._recorded, "method"))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes, as tensors and plain values; save it beside the optimizer's state."""
        if self._pending is not None:
            return dict(self._pending)
        state = self.method.state_dict()
        said = {"acted": self._acted, "recorded": self._recorded}
        return {"method": self.method.name, "epoch": self.epoch, "stop_reason": self.stop_reason, **said, "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; before :meth:`attach` it waits for the optimizer.

        :raises InputError: for the state of another method, or a damaged one.
        """
        if not isinstance(state, Mapping) or "method" not in state:
            raise InputError("this is no state of a balancer: give what Balancer.state_dict() returned")
        if state["method"] != self.method.name:
            raise InputError(f"the state is of the method {state['method']!r}, this balancer drives {self.method.name!r}: use that one")
        if not is_whole(state.get("epoch")) or not isinstance(state.get("state"), Mapping):
            raise InputError("this state of a balancer is damaged: use an earlier checkpoint")
        if self.optimizer is None:
            self._pending = dict(state)
        else:
            self._load(state)

    def _load(self, state: Mapping[str, Any]) -> None:
        self.method.load_state_dict(state["state"])
        self.epoch, self.stop_reason, self._acted = state["epoch"], state.get("stop_reason"), dict(state.get("acted", {}))
        self._recorded = dict(state.get("recorded", {}))

    def __repr__(self) -> str:
        return f"Balancer({self.method!r}, task={self.task.name!r})"


def _or_trained(members: Sequence[Method]) -> str:
    """Return what else may be done where a method's heads would be probes."""
    probing = [type(member).__name__ for member in members if "heads" in member.option_names() and member.transforms()]
    return f", or {probing[0]}(heads='trained'), which needs none" if probing else ""


def _numbers(values: Mapping[str, Any], place: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers in nested mappings, each with its path."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{place}/{name}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{place}/{name}", float(value)
