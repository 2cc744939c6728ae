"""The training loop: any model, method, optimizer and scheduler; killed at any moment, the same call goes on."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from equimodal import processes
from equimodal.data.augment import make_augmentations
from equimodal.errors import InputError, UnusableRun, first_line, nearest
from equimodal.groups import MODALITY_KEY, effective_rates, modality_groups, modality_modules
from equimodal.methods.base import EpochContext
from equimodal.methods.compose import as_method
from equimodal.scores import MULTIMODAL, defined_utilization, modalities_of
from equimodal.scoring import Scorer
from equimodal.tasks import Task, get_task
from equimodal.train.batches import Source, TargetCheck, length, make_source
from equimodal.train.branches import Branches
from equimodal.train.describe import describe
from equimodal.train.epoch import check_losses, every_step, heads_of, parallel, step_scheduler, train_epoch
from equimodal.train.evaluate import evaluate
from equimodal.train.record import FORMAT, RunFolder, plain
from equimodal.train.seeds import derived_seed
from equimodal.train.setting import deterministic, the_device
from equimodal.train.step import TrainingStep

if TYPE_CHECKING:
    from equimodal.methods import Method

__all__ = ["Run", "fit"]

Record = dict[str, Any]


@dataclass(repr=False)
class Run:
    """What :func:`fit` returns.

    :param model: the trained model with the weights of its best epoch, in evaluation mode.
    :param history: one record per epoch: scores and losses by split and head, utilization and gap, and the multipliers and effective
        learning rates that the epoch was trained with.
    :param result: the best epoch and the final scores of every head on every split, as in ``result.json``.
    :param method: the method, with its state after the last epoch.
    :param folder: the run's folder, if any.
    :param found_complete: whether the run was found finished, and nothing was trained.
    """

    model: nn.Module
    history: list[Record]
    result: Record
    method: Method
    folder: Path | None = None
    found_complete: bool = False

    def __repr__(self) -> str:
        """Say in one line what was trained and how well it does."""
        split = "test" if "test" in self.result["scores"] else "val"
        scores = ", ".join(f"{head} {score:.3g}" for head, score in self.result["scores"][split].items() if score is not None)
        epochs = f"{self.result['epochs']} epochs, best {self.result['best_epoch']}"
        where = f"; {self.folder}" if self.folder is not None else ""
        return f"<Run of {type(self.model).__name__}, {self.method.name}: {epochs}; {split} {self.result['metric']}: {scores}{where}>"


@dataclass
class _State:
    """Everything that moves during a run and is saved after each epoch."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: Any
    method: Method
    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    stopped: str | None = None
    history: list[Record] = field(default_factory=list)
    best_model: dict[str, Any] | None = None

    def parts(self) -> dict[str, Any]:
        found = {"model": self.model, "optimizer": self.optimizer, "method": self.method, "scheduler": self.scheduler}
        return {name: part for name, part in found.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        numbers = {"epoch": self.epoch, "best_epoch": self.best_epoch, "best_score": self.best_score, "stopped": self.stopped}
        return {**numbers, **{name: part.state_dict() for name, part in self.parts().items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self.parts().items():
            if name not in state:
                raise UnusableRun(f"the checkpoint lacks the state of the {name}: remove the run's folder to start anew")
            try:
                part.load_state_dict(state[name])
            except (RuntimeError, ValueError, KeyError) as error:
                said = first_line(error)
                raise UnusableRun(f"the checkpoint's state of the {name} does not fit: {said}") from None
        self.epoch, self.best_epoch, self.best_score = state["epoch"], state["best_epoch"], state["best_score"]
        self.stopped, self.history = state["stopped"], state["history"]


def fit(
    model: nn.Module,
    train: Any,
    val: Any,
    *,
    epochs: int,
    test: Any = None,
    method: str | Method | Sequence[str | Method] = "joint",
    optimizer: Callable[[list[dict[str, Any]]], Optimizer] | Optimizer | None = None,
    scheduler: Callable[[Optimizer], Any] | None = None,
    scheduler_interval: str = "epoch",
    groups: Mapping[str, Any] | None = None,
    batch_size: int = 64,
    task: str | Task = "single-label",
    metric: Any = None,
    seed: int = 0,
    accumulate: int = 1,
    clip: float | None = None,
    autocast: torch.dtype | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
    stop: int | Callable[[list[Record]], bool] | None = None,
    augment: Mapping[str, Sequence[Any]] | None = None,
    out: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> Run:
    """Train a multimodal model with a method, keep its best epoch by validation score, and read the test split once.

    >>> import torch
    >>> from equimodal.data import TensorSet
    >>> from equimodal.nn import MLP, JointFusion
    >>> generator = torch.Generator().manual_seed(0)
    >>> labels = torch.arange(60) % 3
    >>> inputs = {name: torch.nn.functional.one_hot(labels, 3) + torch.randn(60, 3, generator=generator) for name in ("audio", "image")}
    >>> data = TensorSet(inputs, labels)
    >>> _ = torch.manual_seed(0)
    >>> model = JointFusion({name: MLP(3, hidden=(8,), out_features=4) for name in inputs}, num_outputs=3)
    >>> run = fit(model, data.subset(torch.arange(40)), data.subset(torch.arange(40, 60)), method="miles", epochs=2)
    >>> [record["epoch"] for record in run.history], sorted(run.history[0]["multipliers"])
    ([1, 2], ['audio', 'image'])

    :param model: a :class:`equimodal.nn.JointFusion`, or any module that takes inputs by modality, returns a
        :class:`equimodal.nn.Prediction`, and names its parts in ``modality_modules()``. Trained in place.
    :param train: a :class:`equimodal.data.TensorSet`, a torch ``Dataset`` of ``(inputs, target)``, or a loader of such batches. Random
        augmentation in a loader's workers is resumed bit by bit only without ``persistent_workers``.
    :param val: the split that rules and selection see.
    :param test: the split that is read once, with the weights of the best epoch; may be left out.
    :param epochs: how many epochs to train.
    :param method: a method, or the name of one with its default hyper-parameters; or several that go together, in a list
        (:class:`equimodal.methods.compose.Composition`).
    :param optimizer: makes the optimizer from parameter groups, such as ``partial(torch.optim.SGD, lr=0.1)``; or an optimizer with groups
        from :func:`equimodal.modality_groups`. Default Adam with lr 0.001; Adam as in the paper, which searches the rate.
    :param scheduler: makes a learning-rate scheduler from the optimizer; any of torch. ``ReduceLROnPlateau`` is given the validation
        loss of the multimodal head, or its score with ``mode="max"``.
    :param scheduler_interval: step the scheduler every ``"epoch"`` or every optimizer ``"step"``.
    :param groups: ``overrides`` and ``no_decay`` for :func:`equimodal.modality_groups`.
    :param batch_size: samples per forward pass, over all processes.
    :param task: what targets look like: ``"single-label"``, ``"multilabel"``, ``"regression"``, ``"ordinal"``, ``"positions"`` (a class per
        token or pixel), or an :class:`equimodal.tasks.Task`.
    :param metric: the score that rules and selection use, larger when better: the name of one of the task's, a function of
        ``(logits, targets)``, a ``torchmetrics.Metric``, or a pair of a name and one of these; by default the task's first (accuracy,
        micro F1, R²). A run's description holds its name alone.
    :param seed: root of the seeds for order and noise; the caller's global random state is left as it was. Weights are the caller's.
    :param accumulate: batches per optimizer step.
    :param clip: the largest norm of the gradient.
    :param autocast: compute in this type, such as ``torch.bfloat16``.
    :param device: default the GPU where there is one.
    :param threads: CPU threads during the run; default as they are. Part of the configuration, because results depend on it.
    :param stop: end after this many epochs without a better multimodal validation score, or when this function of the history says so.
    :param augment: random changes of the training samples by modality, on the device, such as ``{"image": ["horizontal-flip"]}``
        (:mod:`equimodal.data.augment`); none by default. For a TensorSet or a Dataset; a loader augments its batches itself.
    :param out: the run's folder (:class:`equimodal.train.record.RunFolder`). The same call goes on from the last finished epoch of a
        killed run and ends with the same numbers; a finished run is returned as it is.
    :param config: the run's description, whose hash is its identity in ``out``; default a description of these arguments.
    :param on_epoch: called with each epoch's record.
    :raises InputError: for bad arguments, data or an unusable folder.
    :raises TrainingDiverged: when a training or validation loss is NaN or infinite; the last good checkpoint stays.
    """
    _check_arguments(epochs, batch_size, accumulate, clip, stop, scheduler, scheduler_interval, autocast)
    method = as_method(method)
    kind, metric = get_task(task).scored_by(metric)
    device = the_device(device)
    changes = make_augmentations(augment or {}, tuple(modality_modules(model)))
    given = {"train": train, "val": val, **({} if test is None else {"test": test})}
    with deterministic(threads), ExitStack() as at_the_end:
        at_the_end.callback(method.detach)
        torch.manual_seed(derived_seed(seed, "build"))
        model = method.build(model, kind.loss).to(device)
        splits = {name: method.training_data(data) if name == "train" else data for name, data in given.items()}
        heads = (MULTIMODAL, *heads_of(model))
        check = TargetCheck(kind, model)
        make = functools.partial(make_source, check=check, batch_size=batch_size, device=device, seed=seed, modalities=heads[1:])
        sources = {name: make(data, name, augment=changes if name == "train" else None) for name, data in splits.items()}
        method.check(_sample_counts(sources, train))
        state = _State(model, _make_optimizer(model, optimizer, groups or {}), None, method)
        method.attach(state.optimizer)
        state.scheduler = scheduler(state.optimizer) if scheduler is not None else None
        after_step = every_step(state.scheduler, scheduler_interval)
        step = TrainingStep(parallel(model, device, masks=sources["train"].masks), state.optimizer, method, device, clip, autocast)
        branches = Branches(
            model,
            state.optimizer,
            scheduler=state.scheduler,
            make_scheduler=scheduler,
            scheduler_interval=scheduler_interval,
            batch_size=batch_size,
            task=kind,
            seed=seed,
            accumulate=accumulate,
            clip=clip,
            autocast=autocast,
            device=device,
            augment=changes,
        )
        if config is None:
            settings = {"scheduler_interval": scheduler_interval, "task": kind.name, "metric": metric, "seed": seed, "clip": clip}
            counts = {"epochs": epochs, "batch_size": batch_size, "accumulate": accumulate, "stop": stop}
            settings |= {**counts, "autocast": autocast, "device": device.type, "augment": changes}
            config = _described(state, method, splits, settings, whole=out is not None)
        folder = None if out is None else RunFolder(out, dict(config))
        if folder is not None:
            at_the_end.callback(folder.close)
        found_complete = _resume(folder, state)

        while state.epoch < epochs and state.stopped is None and not found_complete:
            started = time.perf_counter()
            context = EpochContext(state.epoch + 1, train=train, epochs=epochs, branch=branches.at(state.epoch + 1))
            torch.manual_seed(derived_seed(seed, "noise", context.epoch, processes.rank()))
            step.model.train()
            side_steps = branches.steps
            method.epoch_start(context)
            in_force = {"multipliers": method.multipliers(), "learning_rates": effective_rates(state.optimizer)}
            trained = train_epoch(step, sources["train"], context.epoch, accumulate, Scorer(kind, heads, (metric,), device), after_step)
            checked = evaluate(model, sources["val"], kind, heads, (metric,), device, autocast)
            for split, evaluation in (("train", trained), ("val", checked)):
                context.scores[split] = {head: values[metric] for head, values in evaluation.metrics.items()}
                context.losses[split], context.counts[split] = evaluation.losses, evaluation.samples
            check_losses(checked, metric, context.epoch)
            _note_best(state, context, folder)
            if state.scheduler is not None and after_step is None:
                step_scheduler(state.scheduler, context)
            method.epoch_end(context)
            record = {
                "epoch": context.epoch,
                "scores": context.scores,
                "losses": context.losses,
                **(method.acted_on() or _utilization(context.scores["val"])),
                **in_force,
                **({"method": noted} if (noted := method.record()) else {}),
                "steps": step.steps,
                "side_steps": branches.steps - side_steps,
                "seconds": processes.mean(time.perf_counter() - started),
            }
            _finish_epoch(state, plain(record), context, stop, folder)
            if on_epoch is not None:
                on_epoch(state.history[-1])

        _load_best(state, folder)
        if folder is not None and found_complete:
            result = folder.result()
        else:
            torch.manual_seed(derived_seed(seed, "noise", 0, processes.rank()))  # a loader may shuffle even here
            final = {name: evaluate(model, source, kind, heads, kind.metrics, device, autocast) for name, source in sources.items()}
            result = _result(config, state, metric, {name: evaluation.metrics for name, evaluation in final.items()})
            if folder is not None and processes.rank() == 0:
                folder.finish(result)
        processes.barrier()
    model.eval()
    return Run(model, state.history, result, method, folder.path if folder else None, found_complete)


def _sample_counts(sources: Mapping[str, Source], train: Any) -> dict[str, int]:
    """Return the number of samples of every split that knows it; a method may train on a part of the training data."""
    counts = {name: source.samples for name, source in sources.items()}
    if counts["train"] is not None:
        counts["train"] = length(train.dataset if isinstance(train, DataLoader) else train)
    return {name: count for name, count in counts.items() if count is not None}


def _note_best(state: _State, context: EpochContext, folder: RunFolder | None) -> None:
    """Keep the weights if they score best: as they were scored, before the method may change them at the epoch's end."""
    score = context.scores["val"][MULTIMODAL]
    score = -math.inf if math.isnan(score) else score
    if score <= state.best_score and state.best_epoch != 0:
        return
    state.best_epoch, state.best_score = context.epoch, score
    if folder is None:
        state.best_model = copy.deepcopy(state.model.state_dict())
    elif processes.rank() == 0:
        folder.save("best.pt", {"epoch": context.epoch, "model": state.model.state_dict()})


def _finish_epoch(state: _State, record: Record, context: EpochContext, stop: Any, folder: RunFolder | None) -> None:
    """Note the epoch, decide whether it is the last, and save."""
    state.epoch = record["epoch"]
    state.history.append(record)
    if context.stop_reason is not None:
        state.stopped = context.stop_reason
    elif callable(stop) and stop(state.history):
        state.stopped = "the stop function said so"
    elif isinstance(stop, int) and state.epoch - state.best_epoch >= stop:
        state.stopped = f"no better validation score in {stop} epochs"
    if folder is not None and processes.rank() == 0:
        folder.write_epochs(state.history)
        folder.save("last.pt", state.state_dict())


def _described(state: _State, method: Method, splits: Mapping[str, Any], settings: dict[str, Any], *, whole: bool) -> Record:
    """Return a description of the arguments of :func:`fit`: a few words, or for a run that has a folder the whole."""
    if not whole:
        return {"method": method.name, "seed": settings["seed"]}
    augment = {name: [repr(step) for step in steps] for name, steps in settings.pop("augment").items()}
    return describe(state.model, state.optimizer, state.scheduler, method, splits, settings | ({"augment": augment} if augment else {}))


def _resume(folder: RunFolder | None, state: _State) -> bool:
    """Load what a folder holds of this run; return whether it is finished."""
    if folder is None:
        return False
    if processes.rank() == 0:
        folder.open()
    processes.barrier()
    saved = folder.resume()
    processes.barrier()
    if processes.rank() == 0 and not folder.complete:
        # Records that are newer than the last checkpoint go: their epochs run again and give the same numbers.
        folder.write_epochs(saved["history"] if saved is not None else [])
    if saved is not None:
        state.load_state_dict(saved)
    return folder.complete


def _load_best(state: _State, folder: RunFolder | None) -> None:
    processes.barrier()
    best = state.best_model if folder is None else folder.load("best.pt")["model"]
    if best is not None:
        state.model.load_state_dict(best)


def _make_optimizer(model: nn.Module, optimizer: Any, groups: Mapping[str, Any]) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        own = set(model.parameters())
        if any(parameter not in own for group in optimizer.param_groups for parameter in group["params"]):
            raise InputError("the optimizer holds parameters that the method does not train: pass a function of parameter groups instead")
        return optimizer
    if optimizer is not None and not callable(optimizer):
        raise InputError(f"optimizer = {optimizer!r}: a function of parameter groups is needed, such as partial(torch.optim.SGD, lr=0.1)")
    for key in groups:
        if key not in ("overrides", "no_decay"):
            raise InputError(f"groups has unknown key {key!r}: {nearest(str(key), ('overrides', 'no_decay'))}")
    if modality_modules(model):
        built = modality_groups(model, **groups)
    else:
        built = [{"params": list(model.parameters()), MODALITY_KEY: MULTIMODAL}]
    made = torch.optim.Adam(built, lr=1e-3) if optimizer is None else optimizer(built)
    if not isinstance(made, Optimizer):
        raise InputError(f"optimizer made {type(made).__name__}: it must return a torch.optim.Optimizer from a list of parameter groups")
    return made


def _utilization(scores: Mapping[str, float]) -> Record:
    """Return utilization and gap as they are recorded: null where they are undefined, empty for a single modality."""
    undefined: Record = {"utilization": dict.fromkeys(modalities_of(scores)) if len(scores) > 2 else {}, "gap": None}
    return defined_utilization(scores) or undefined


def _result(config: Mapping[str, Any], state: _State, metric: str, metrics: Mapping[str, Any]) -> Record:
    described = {key: config[key] for key in ("dataset", "method", "seed") if key in config}
    names = {key: value["name"] if isinstance(value, dict) else value for key, value in described.items()}
    scores = {split: {head: values[metric] for head, values in heads.items()} for split, heads in metrics.items()}
    numbers = {"metric": metric, "epochs": state.epoch, "best_epoch": state.best_epoch, "stopped": state.stopped}
    result: Record = plain({"format": FORMAT, **names, **numbers, "scores": scores, "metrics": metrics})
    return result


def _check_arguments(
    epochs: Any, batch_size: Any, accumulate: Any, clip: Any, stop: Any, scheduler: Any, scheduler_interval: Any, autocast: Any
) -> None:
    if scheduler is not None and not callable(scheduler):
        raise InputError(f"scheduler = {scheduler!r}: a function of the optimizer is needed, such as partial(StepLR, step_size=10)")
    if autocast is not None and not isinstance(autocast, torch.dtype):
        raise InputError(f"autocast = {autocast!r}: a type such as torch.bfloat16 is needed, or None")
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("accumulate", accumulate)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} = {value!r}: a whole number of at least 1 is needed")
    if clip is not None and not (isinstance(clip, (int, float)) and clip > 0):
        raise InputError(f"clip = {clip!r}: a norm above 0 is needed, or None")
    if stop is not None and not callable(stop) and (not isinstance(stop, int) or isinstance(stop, bool) or stop < 1):
        raise InputError(f"stop = {stop!r}: a number of epochs of at least 1 is needed, a function of the history, or None")
    if scheduler_interval not in ("epoch", "step"):
        raise InputError(f"scheduler_interval = {scheduler_interval!r}: 'epoch' or 'step' is needed")
