"""Trainings beside a run: a copy of the model as it stands, trained with another method, watched, and thrown away."""

from __future__ import annotations

import copy
import functools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from equimodal import processes
from equimodal.errors import TrainingDiverged
from equimodal.groups import MULTIPLIER_KEY
from equimodal.methods.base import Branch, EpochContext, Method
from equimodal.scores import MULTIMODAL
from equimodal.scoring import Scorer
from equimodal.tasks import Task, get_task
from equimodal.train.batches import TargetCheck, make_source
from equimodal.train.epoch import every_step, heads_of, parallel, step_scheduler, train_epoch
from equimodal.train.evaluate import evaluate
from equimodal.train.seeds import derived_seed
from equimodal.train.setting import the_device
from equimodal.train.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim import Optimizer

    from equimodal.data.augment import Augmentations

__all__ = ["Branches"]


class Branches:
    """Trains copies of a model beside its run, with the run's own settings: the ``branch`` of an epoch's context.

    A branch starts from the weights as they are, with an optimizer of the same kind and options at the learning rates of the moment,
    without its moments, and without multipliers of a method. The scheduler goes on from where the run's stands; ``ReduceLROnPlateau``,
    which waits for the run's scores, does not, and neither does one whose making is unknown. Nothing is validated within a branch, so that
    the ``epoch_end`` of its method is not called. Model, optimizer and random state of the run are left as they were. Order and noise
    depend on the seed, the epoch and the number of the branch within it.

    In a loop of your own, for :class:`equimodal.methods.gblend.GBlend`::

        branches = Branches(model, optimizer, batch_size=64)
        for epoch in range(1, epochs + 1):
            method.epoch_start(EpochContext(epoch, epochs=epochs, train=train, branch=branches.at(epoch)))

    :param model: the model in training, not wrapped for several processes.
    :param optimizer: its optimizer.
    :param scheduler: the scheduler on it, if any, and
    :param make_scheduler: the function of an optimizer that made it.
    :param scheduler_interval: as for :func:`equimodal.fit`, like the arguments that follow.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        scheduler: Any = None,
        make_scheduler: Callable[[Optimizer], Any] | None = None,
        scheduler_interval: str = "epoch",
        batch_size: int = 64,
        task: str | Task = "single-label",
        seed: int = 0,
        accumulate: int = 1,
        clip: float | None = None,
        autocast: torch.dtype | None = None,
        device: str | torch.device | None = None,
        augment: Augmentations | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.make_scheduler = make_scheduler
        self.scheduler_interval = scheduler_interval
        self.batch_size = batch_size
        self.task = get_task(task)
        self.seed = seed
        self.accumulate = accumulate
        self.clip = clip
        self.autocast = autocast
        self.device = the_device(device)
        self.augment = augment
        self.steps = 0
        """The optimizer steps of all branches so far."""
        self._epoch = 0
        self._number = 0

    def at(self, epoch: int) -> Branches:
        """Begin a new epoch of the run, and return this object."""
        self._epoch, self._number = epoch, 0
        return self

    def __call__(self, method: Method, train: Any, epochs: int, watch: Mapping[str, Any]) -> Branch:
        """Train a copy; see :class:`equimodal.methods.base.BranchTrainer`."""
        self._number += 1
        seed = derived_seed(self.seed, "branch", self._epoch, self._number)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            try:
                found = self._run(method, train, epochs, watch, seed)
            except TrainingDiverged:  # which speaks of the branch's own epochs, and of checkpoints
                found = None
        if found is None or _lost(found):
            raise TrainingDiverged(
                f"a training beside the run ({method.name}, before epoch {self._epoch}) became NaN or infinite: "
                "lower the learning rate or clip the gradient"
            )
        return found

    def _run(self, method: Method, train: Any, epochs: int, watch: Mapping[str, Any], seed: int) -> Branch:
        memo: dict[int, Any] = {}
        model = copy.deepcopy(self.model, memo)
        torch.manual_seed(derived_seed(seed, "build"))
        model = method.build(model, self.task.loss).to(self.device)
        optimizer = self._optimizer(memo)
        scheduler = self._scheduler(optimizer)
        heads, metrics = (MULTIMODAL, *heads_of(model)), ()  # losses alone are asked for
        check = TargetCheck(self.task, model)
        make = functools.partial(make_source, check=check, batch_size=self.batch_size, device=self.device, seed=seed, modalities=heads[1:])
        source, watched = make(train, "branch's training", augment=self.augment), {name: make(data, name) for name, data in watch.items()}

        def losses() -> dict[str, dict[str, float]]:
            found = {name: evaluate(model, data, self.task, heads, metrics, self.device, self.autocast) for name, data in watched.items()}
            return {name: evaluation.losses for name, evaluation in found.items()}

        method.attach(optimizer)
        try:
            before = losses()
            step = TrainingStep(parallel(model, self.device, masks=source.masks), optimizer, method, self.device, self.clip, self.autocast)
            after_step = every_step(scheduler, self.scheduler_interval)
            if after_step is not None:
                after_step = functools.partial(_step_unless_ended, scheduler, after_step)
            for epoch in range(1, epochs + 1):
                torch.manual_seed(derived_seed(seed, "noise", epoch, processes.rank()))
                step.model.train()
                method.epoch_start(context := EpochContext(epoch, epochs=epochs, train=train))
                train_epoch(step, source, epoch, self.accumulate, Scorer(self.task, heads, metrics, self.device), after_step)
                self.steps += step.steps
                if scheduler is not None and after_step is None:
                    _step_unless_ended(scheduler, functools.partial(step_scheduler, scheduler, context))
            return Branch(before, losses())
        finally:
            method.detach()

    def _optimizer(self, memo: dict[int, Any]) -> Optimizer:
        """Return an optimizer like the run's on the copied parameters, without its moments."""
        moments, self.optimizer.state = self.optimizer.state, defaultdict(dict)
        try:
            optimizer = copy.deepcopy(self.optimizer, memo)
        finally:
            self.optimizer.state = moments
        for group in optimizer.param_groups:
            group.pop(MULTIPLIER_KEY, None)
        return optimizer

    def _scheduler(self, optimizer: Optimizer) -> Any:
        """Return a scheduler that goes on from where the run's stands."""
        if self.scheduler is None or self.make_scheduler is None or isinstance(self.scheduler, ReduceLROnPlateau):
            return None
        options = copy.deepcopy([{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups])
        for group in optimizer.param_groups:
            group["lr"] = group.pop("initial_lr", group["lr"])
        scheduler = self.make_scheduler(optimizer)
        scheduler.load_state_dict(copy.deepcopy(self.scheduler.state_dict()))
        for group, held in zip(optimizer.param_groups, options, strict=True):
            group.update(held)  # rates and momenta of the moment, which making the scheduler has set back
        return scheduler


def _lost(branch: Branch) -> bool:
    """Tell whether a loss that was a number no longer is one; a head of which no sample has the modality has none from the start."""
    pairs = [(loss, branch.after[name][head]) for name, losses in branch.before.items() for head, loss in losses.items()]
    return any(math.isfinite(before) and not math.isfinite(after) for before, after in pairs)


def _step_unless_ended(scheduler: Any, step: Callable[[], None]) -> None:
    """Step a scheduler that has not come to its end: a branch may be longer than what is left of the run that OneCycleLR was made for."""
    members = [scheduler, *getattr(scheduler, "_schedulers", ())]
    if not any(isinstance(member, OneCycleLR) and member.last_epoch >= member.total_steps - 1 for member in members):
        step()
