"""Diagnose a model: one pass over its encoders, and every quantity from what that pass kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from equimodal import __version__, processes
from equimodal.diagnose.cache import CACHE_LIMIT, FeatureCache
from equimodal.diagnose.collecting import Collected, NotFinite, collect
from equimodal.diagnose.digest import samples_digest
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.making import Making
from equimodal.diagnose.measure import Measure
from equimodal.diagnose.record import Diagnosis
from equimodal.errors import InputError
from equimodal.scores import MULTIMODAL
from equimodal.train.absence_scores import check_numbers
from equimodal.train.batches import make_source
from equimodal.train.setting import the_device

if TYPE_CHECKING:
    from os import PathLike

    from equimodal.diagnose.quantities import Finding
    from equimodal.tasks import Task
    from equimodal.train.batches import Source

__all__ = ["diagnose"]


def diagnose(
    model: Any,
    data: Any,
    *,
    train: Any = None,
    task: str | Task = "single-label",
    metric: Any = None,
    split: str = "",
    batch_size: int = 256,
    device: str | torch.device | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    cache_limit: int = CACHE_LIMIT,
    permutations: int | None = None,
    gradients: bool = False,
    robustness: bool = False,
    run: str | PathLike[str] | None = None,
    modalities: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    title: str | None = None,
) -> Diagnosis:
    """Find out which modality a trained model really uses.

    >>> from equimodal import fit
    >>> from equimodal.testing import tiny_problem
    >>> problem = tiny_problem()
    >>> trained = fit(problem.model, problem.train, problem.val, epochs=200, device="cpu")
    >>> diagnosis = diagnose(trained.model, problem.val, train=problem.train, resamples=100)
    >>> loss = {name: ablation.loss.value for name, ablation in diagnosis.ablations["mean"].items()}
    >>> loss["audio"] > loss["image"]  # audio is the clearer one
    True
    >>> parts = diagnosis.shapley["mean"]
    >>> round(sum(value.value for value in parts.values.values()) - (parts.full.value - parts.empty.value), 9)
    0.0

    :param model: one of these, trained:

        - a :class:`equimodal.nn.JointFusion`, or any module that returns a :class:`equimodal.nn.Prediction` with features and whose
          ``fuse`` makes the joint logits of them; or a model with :func:`equimodal.probe` on it. Its encoders run once, and modalities
          are left out in their features;
        - any module or function that is given the inputs and returns a Prediction, or logits: it runs again for every subset of its
          modalities, which are left out in the inputs. What a function calls must be in evaluation mode already;
        - one with an argument ``modalities``: it runs again for every subset and is told which one, as in
          ``model(inputs, modalities=("audio",))``.
    :param data: the samples, as for :func:`equimodal.fit`: a TensorSet, a torch Dataset, or a loader of batches in a fixed order. Samples
        that lack a modality are counted and otherwise left out.
    :param train: the split that the model was trained on: probes are fitted to it, and its means stand in for modalities. Without it
        both come from ``data``, probes by cross-fitting in five folds; so too where the model gives NaN for a sample of it, which is noted.
    :param task: the name of a task, or a :class:`equimodal.tasks.Task`.
    :param metric: the score, larger is better, as for :meth:`equimodal.tasks.Task.scored_by`; default the task's first. Intervals of one of
        your own take longer, as every draw is scored anew.
    :param split: what the data are called, such as ``"test"``.
    :param batch_size: samples per forward pass.
    :param device: where to compute; default where the model is.
    :param resamples: bootstrap samples behind all intervals, the same for all; 0 for none.
    :param level: of the intervals (default 0.95).
    :param seed: of the bootstrap, the permutations and the folds.
    :param cache_limit: bytes that are kept in memory (default 2 GiB) of all that grows with the samples times something else: features, or
        inputs where modalities are left out there; targets, logits, the answers without modalities, and the bootstrap's draws. What exceeds
        it goes into temporary files.
    :param permutations: how many are averaged in the ablation by permutation; default 5 from features, 2 from inputs.
    :param gradients: also measure the gradient that reaches each encoder, over ``train``, else ``data``. That takes some five passes
        forward and back, and for its interval up to sixteen more backward passes, fewer from a thousand samples on.
    :param robustness: also score the model with noise on the inputs, which takes further passes; a share of samples that lack a modality
        takes none.
    :param run: the folder of the model's run, for its learning curves.
    :param modalities: the names, where the model has no attribute ``modalities`` and the data have further inputs.
    :param classes: the names of the classes in the order of their numbers.
    :param title: what is diagnosed, in words.
    :returns: everything that was found. What could not be is named in its ``skipped``, with the reason.
    :raises InputError: for data without a sample that has every modality or of one class alone, targets that the model has no output for,
        a model of a single modality, one that cannot be called or gives NaN for complete samples, and settings that cannot be.
    """
    started = time.perf_counter()
    check_numbers(resamples, level)
    if permutations is not None and (not isinstance(permutations, int) or isinstance(permutations, bool) or permutations < 1):
        raise InputError(f"permutations = {permutations!r}: a whole number of at least 1 is needed")
    _check_whole("seed", seed, -(2**63))
    _check_whole("batch_size", batch_size, 1)
    if train is data:
        raise InputError("train is the same object as data: probes would be scored on what they were fitted to; leave train out")
    if processes.world_size() > 1:
        raise InputError(
            f"a diagnosis needs all samples in one process, and there are {processes.world_size()}: call it after training, in one"
        )
    if not callable(model):
        raise InputError(f"model = {model!r}: a torch module or a function is needed; equimodal.load(run) gives that of a run folder")
    measure = Measure(task, metric)
    place = _device(model, device)
    name = split or "given"
    names = _names(modalities)
    source_of = partial(_source, model=model, measure=measure, batch_size=batch_size, device=place, modalities=names)
    source = source_of(data, name)
    train_source = None if train is None else source_of(train, "train")
    # Loaders draw a seed from torch's random state with every pass.
    random = torch.random.fork_rng(devices=[place] if place.type == "cuda" else [])
    with random, _evaluating(model, place), FeatureCache(cache_limit) as cache:
        collected = collect(model, source, cache.section("", source.samples), modalities=names, split=name)
        _check_targets(collected, measure, name)
        _check_classes(collected, measure, name)
        fitted, no_train = _fitted(model, train_source, cache, collected, measure)
        bootstrap = Bootstrap(len(collected), resamples=resamples, level=level, seed=seed, cache=cache)
        making = Making(collected, fitted, source, None if no_train else train_source, measure, bootstrap, seed)
        making.skipped |= no_train
        found = making.everything(permutations, run, {"gradients": gradients, "robustness": robustness})
        _note_few(making.skipped, collected, measure)
        found |= {"chance": measure.chance(collected.targets), "digest": samples_digest(collected.targets, collected.numbers)}
        found["train_digest"] = "" if fitted is None else samples_digest(fitted.targets, fitted.numbers)
    subject = collected.subject
    diagnosis = Diagnosis(
        title=title or _title(model),
        modalities=subject.modalities,
        task=measure.task.name,
        metric=measure.metric,
        split=split,
        samples=len(collected),
        incomplete=collected.incomplete,
        classes=None if classes is None else tuple(map(str, classes)),
        level=level,
        resamples=resamples,
        seed=seed,
        ablated=subject.ablated,
        mean_of="given" if fitted is None else "train",
        probes_fitted_on="cross-fitted" if fitted is None else "train",
        version=__version__,
        **found,
        skipped=making.skipped,
    )
    findings = making.attempt("findings", (), lambda: _findings(diagnosis))
    cost = {"seconds": time.perf_counter() - started, **making.cost()}
    return dataclasses.replace(diagnosis, findings=findings, cost=cost, skipped=dict(making.skipped))


def _findings(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    from equimodal.diagnose.verdict import verdict

    findings: tuple[Finding, ...] = verdict(diagnosis)
    return findings


def _fitted(
    model: Any, source: Source | None, cache: FeatureCache, collected: Collected, measure: Measure
) -> tuple[Collected | None, dict[str, str]]:
    """Return what the model says of the train split, or in one line why that is left out."""
    if source is None:
        return None, {}
    part = cache.section("train ", source.samples)
    try:
        fitted = collect(model, source, part, subject=collected.subject, split="train", keep_values=False)
    except NotFinite as error:
        part.clear()
        return None, {"train": f"{error}; probes and means are of the other samples instead"}
    _check_targets(fitted, measure, "train")
    return fitted, {}


def _check_targets(collected: Collected, measure: Measure, split: str) -> None:
    """Refuse targets that the model has no output for: any model's logits tell how many there are."""
    outputs = collected.logits[MULTIMODAL].shape[1]
    try:
        measure.task.check(collected.targets, f"the {split} split", outputs)
    except InputError as error:
        raise InputError(f"{error}; the model has {outputs} output{'' if outputs == 1 else 's'}") from None


def _check_classes(collected: Collected, measure: Measure, split: str) -> None:
    if not measure.one_class:
        return
    present = torch.unique(collected.targets)
    if len(present) < 2:
        raise InputError(
            f"the complete samples of the {split} split have the class {int(present[0])} alone: every score would be right by chance;"
            " give data with two classes or more"
        )


def _note_few(skipped: dict[str, str], collected: Collected, measure: Measure) -> None:
    classes = collected.logits[MULTIMODAL].shape[1]
    if measure.classes and len(collected) < classes:
        skipped["samples"] = (
            f"{len(collected)} samples are fewer than the {classes} classes, some of which are not among them: take these numbers with care"
        )


def _names(modalities: Sequence[str] | None) -> tuple[str, ...] | None:
    if modalities is None:
        return None
    if isinstance(modalities, str) or not all(isinstance(name, str) for name in modalities):
        raise InputError(f"modalities = {modalities!r}: a list of names is needed")
    if len(set(modalities)) < len(modalities):
        raise InputError(f"modalities = {list(modalities)!r}: every name once is needed")
    return tuple(modalities)


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise InputError(f"{name} = {value!r}: a whole number {'of at most 64 bits' if least < 0 else f'of at least {least}'} is needed")


def _device(model: Any, device: str | torch.device | None) -> torch.device:
    if device is not None:
        return the_device(device)
    module = _module(model)
    parameters = iter(()) if module is None else module.parameters()
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def _source(
    data: Any,
    name: str,
    *,
    model: Any,
    measure: Measure,
    batch_size: int,
    device: torch.device,
    modalities: tuple[str, ...] | None,
) -> Source:
    check = partial(measure.task.check, outputs=getattr(model, "num_outputs", None))
    return make_source(data, name, check, batch_size=batch_size, device=device, seed=0, modalities=modalities or ())


@contextmanager
def _evaluating(model: Any, device: torch.device) -> Iterator[None]:
    """Put a model into evaluation mode on a device, and back."""
    whole = _module(model)
    if whole is None:
        yield
        return
    modes = [(module, module.training) for module in whole.modules()]
    first = next(whole.parameters(), None)
    before = None if first is None else first.device
    if before != device:
        whole.to(device)
    whole.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        if before is not None and before != device:
            whole.to(before)


def _module(model: Any) -> nn.Module | None:
    """Return the module that is called: the model, or that of which it is a method."""
    owner = getattr(model, "__self__", None)
    return model if isinstance(model, nn.Module) else owner if isinstance(owner, nn.Module) else None


def _title(model: Any) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else str(getattr(model, "__name__", type(model).__name__))
