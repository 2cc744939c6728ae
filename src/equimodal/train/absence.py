"""What is lost when a modality is absent: scores of a trained model for every subset of its modalities, on the same samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._predicting import from_what_is_there
from equimodal.nn.joint import JointFusion
from equimodal.nn.prediction import Prediction
from equimodal.train.absence_record import AbsenceRow, AbsenceTable
from equimodal.train.absence_scores import Scores, check_numbers, intervals, make_scores
from equimodal.train.batches import make_source
from equimodal.train.setting import the_device

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.tasks import Task

__all__ = ["ALL_SUBSETS", "AbsenceRow", "AbsenceTable", "absence_table"]

ALL_SUBSETS = 6
"""Up to so many modalities every subset has a row (63 for six); beyond, each one absent and each one alone."""


@torch.no_grad()
def absence_table(
    model: nn.Module,
    data: Any,
    *,
    task: str | Task = "single-label",
    metric: Any = None,
    split: str = "",
    batch_size: int = 256,
    device: str | torch.device | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> AbsenceTable:
    """Score a trained model with modalities left out.

    What is left out is left out of all samples, and ``predict`` answers from the rest: for a :class:`equimodal.nn.JointFusion` the mean of
    the logits of the present modalities' heads. Rows are about the samples that have every modality, so that they compare the same samples.

    >>> from equimodal import fit
    >>> from equimodal.testing import tiny_problem
    >>> problem = tiny_problem()
    >>> run = fit(problem.model, problem.train, problem.val, epochs=60, device="cpu")
    >>> table = absence_table(run.model, problem.val)
    >>> [row.label for row in table.rows]
    ['all', 'without image: audio alone', 'without audio: image alone']
    >>> table.row("image").difference < table.row("audio").difference  # audio is the clearer one
    True

    :param model: with ``modalities`` and ``predict(inputs, present=None)``, such as a :class:`equimodal.nn.JointFusion`. Its encoders run
        once per sample where it is one; another model runs once for every subset.
    :param data: the samples, as for :func:`equimodal.fit`: a TensorSet, a torch Dataset, or a loader of batches.
    :param task: the name of a task, or a :class:`equimodal.tasks.Task`.
    :param metric: the name of a metric of the task (default its first), a function of ``(logits, targets)``, or whatever else
        :meth:`equimodal.tasks.Task.scored_by` takes; larger is better.
    :param split: what the data are called, for the title, such as ``"test"``.
    :param batch_size: samples per forward pass.
    :param device: where to compute; default where the model is. The model is moved there.
    :param resamples: bootstrap samples for the intervals of the differences; 1000 is customary for 95 %. 0 for none.
    :param level: of the intervals (default 0.95), from the quantiles of the differences over resampled samples.
    :param seed: of the resampling.
    :returns: for two to six modalities a row for every subset; beyond, one for all, for each absent and for each alone.
    :raises InputError: for a model of a single modality or without ``predict``, no sample that has every modality, data or a metric that
        do not suit the task.
    """
    modalities = _modalities(model)
    scores = make_scores(task, metric)
    check_numbers(resamples, level)
    place = _device_of(model) if device is None else the_device(device)
    check = partial(scores.task.check, outputs=getattr(model, "num_outputs", None))
    source = make_source(data, split or "given", check, batch_size=batch_size, device=place, seed=0)
    subsets = _subsets(modalities)
    predict = _from_features if _is_joint_fusion(model) else _from_inputs
    training = model.training
    model.to(place).eval()
    try:
        found = _collect(model, source.ordered(), modalities, subsets, predict)
    finally:
        model.train(training)
    return _table(found, modalities, subsets, scores, split, resamples, level, seed)


@dataclass
class _Found:
    """Logits of the complete samples by subset, and of all samples from what they have."""

    logits: list[Tensor]  # per batch [subsets, samples, outputs]
    targets: list[Tensor]
    all_logits: list[Tensor]
    all_targets: list[Tensor]
    incomplete: int = 0


Predict = Callable[[Any, Mapping[str, Any], Sequence[tuple[str, ...]]], list[Tensor]]


def _collect(
    model: Any, batches: Iterator[Batch], modalities: tuple[str, ...], subsets: Sequence[tuple[str, ...]], predict: Predict
) -> _Found:
    found = _Found([], [], [], [])
    for batch in batches:
        has = torch.stack([batch.has(name) for name in modalities])
        complete = has.all(dim=0)
        lacking = len(batch) - int(complete.sum())
        whole = batch if not lacking else batch.select(complete.nonzero().squeeze(1))
        if len(whole):
            logits = torch.stack(predict(model, {name: whole.inputs[name] for name in modalities}, subsets)).float().cpu()
            found.logits.append(logits)
            found.targets.append(whole.targets.cpu())
            found.all_logits.append(logits[0])
            found.all_targets.append(whole.targets.cpu())
        if lacking:
            some = batch.select((~complete & has.any(dim=0)).nonzero().squeeze(1))
            found.incomplete += len(some)
            if len(some):
                inputs = {name: value for name, value in some.inputs.items() if name in modalities and bool(some.has(name).any())}
                present = {name: mask for name, mask in some.present.items() if name in inputs}
                found.all_logits.append(model.predict(inputs, present).float().cpu())
                found.all_targets.append(some.targets.cpu())
    return found


def _table(
    found: _Found,
    modalities: tuple[str, ...],
    subsets: Sequence[tuple[str, ...]],
    scores: Scores,
    split: str,
    resamples: int,
    level: float,
    seed: int,
) -> AbsenceTable:
    if not found.logits:
        raise InputError(
            f"no sample has all of {', '.join(modalities)}, so that there is nothing to compare with: give data in which some have all"
        )
    logits, targets = torch.cat(found.logits, dim=1), torch.cat(found.targets)
    values = scores.of(logits, targets)
    ends = intervals(scores, logits, targets, resamples=resamples, level=level, seed=seed)
    rows = []
    for position, (subset, score) in enumerate(zip(subsets, values, strict=True)):
        absent = tuple(name for name in modalities if name not in subset)
        rows.append(AbsenceRow(subset, absent, score, *((score - values[0], *ends[position]) if absent else ())))
    as_they_are = scores.of(torch.cat(found.all_logits)[None], torch.cat(found.all_targets))[0] if found.incomplete else None
    return AbsenceTable(modalities, scores.metric, split, len(targets), found.incomplete, as_they_are, tuple(rows), level, resamples, seed)


def _modalities(model: Any) -> tuple[str, ...]:
    names = getattr(model, "modalities", None) or ()
    if not callable(getattr(model, "predict", None)) or not names:
        raise InputError(
            f"{type(model).__name__} has no modalities and predict(inputs, present=None), which answers from what is there:"
            " add them as in equimodal.nn.JointFusion"
        )
    if len(names) < 2:
        raise InputError(f"this model sees {names[0]!r} alone: there is no modality to leave out")
    return tuple(names)


def _subsets(modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the subsets that have rows, larger ones first, each in the order of the modalities."""
    sizes: Sequence[int] = range(len(modalities), 0, -1)
    if len(modalities) > ALL_SUBSETS:
        sizes = (len(modalities), len(modalities) - 1, 1)
    return [subset for size in sizes for subset in itertools.combinations(modalities, size)]


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _is_joint_fusion(model: Any) -> bool:
    """Tell whether a model predicts as :class:`JointFusion` does, so that its features can be used for all subsets."""
    own = ("predict", "encode", "fuse", "classify", "forward")
    return isinstance(model, JointFusion) and all(getattr(type(model), name) is getattr(JointFusion, name) for name in own)


def _from_features(model: JointFusion, inputs: Mapping[str, Any], subsets: Sequence[tuple[str, ...]]) -> list[Tensor]:
    """Return what ``predict`` says of every subset, from one pass through the encoders."""
    features = model.encode(inputs)
    fused, heads = model.fuse(features), model.classify(features)
    return [from_what_is_there(Prediction(fused, {name: heads[name] for name in subset}), model.modalities) for subset in subsets]


def _from_inputs(model: Any, inputs: Mapping[str, Any], subsets: Sequence[tuple[str, ...]]) -> list[Tensor]:
    return [model.predict({name: inputs[name] for name in subset}) for subset in subsets]
