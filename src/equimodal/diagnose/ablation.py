"""The joint model with modalities left out, in several ways, for every subset that is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.diagnose.collecting import Collected, read_again
from equimodal.diagnose.record import Ablation
from equimodal.errors import InputError, first_line
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.diagnose.measure import Measure
    from equimodal.train.batches import Source

__all__ = ["KINDS", "Subset", "Without", "ablations", "borrowed_means", "donors_of", "evaluate_without"]

KINDS = ("zero", "mean", "permutation")
"""What takes the place of a modality: zeros, the mean over samples, or that of other samples."""

Subset = frozenset[str]
"""The modalities that are there."""


@dataclass
class Without:
    """What is known of the joint model with modalities left out.

    :param columns: by kind and subset the score, for the samples as they are and every draw ``[1 + resamples]``.
    :param correct: by kind and subset which samples are right, where a sample has one class; not for permutations, which are several.
    :param logits: by kind and subset ``[samples, outputs]``, where they are kept.
    :param failed: by kind, why it is not there, or not for some subset.
    :param donors: how many other samples lent each sample their modality.
    """

    columns: dict[str, dict[Subset, Tensor]] = field(default_factory=dict)
    correct: dict[str, dict[Subset, Tensor]] = field(default_factory=dict)
    logits: dict[str, dict[Subset, Tensor]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    donors: int = 0


def donors_of(samples: int, count: int, seed: int) -> Tensor:
    """Return for every sample the numbers of other samples, which lend it their modality.

    All samples stand in a circle in random order, and everyone borrows from the next ``count``: nobody borrows from itself, no two of a
    sample's lenders are the same, and everyone lends equally often.

    >>> donors_of(4, 3, seed=0).sort(dim=0).values.T.tolist()
    [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]

    :returns: ``[min(count, samples - 1), samples]``.
    """
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    shifts = torch.arange(1, min(count, samples - 1) + 1).unsqueeze(1)
    return order[(place + shifts) % samples]


def borrowed_means(right: Tensor, lenders: Tensor) -> Tensor:
    r"""Return one number per sample, whose mean is that of all pairs and whose spread over samples says how sure it is.

    A pair of a borrower *i* and a lender *j* is right or not, :math:`h_{ij} = \theta + a_i + b_j + e_{ij}`. The mean over the drawn pairs
    depends on each sample twice (a U-statistic; Hoeffding 1948). The mean :math:`r_i` over a borrower's *R* lenders varies by
    :math:`\mathrm{var}\,a + (\mathrm{var}\,b + \mathrm{var}\,e) / R`, and the mean :math:`d_i` over a lender's borrowers likewise with
    *a* and *b* exchanged. Returned is

    .. math:: c_i = r_i + s \, (d_i - \hat\theta)

    with *s* such that lenders add the :math:`(1 - 1/R) \, \mathrm{var}\,b + 2 \, \mathrm{cov}(a, b)` that is missing, estimated by the
    method of moments.

    :param right: ``[permutations, samples]``, by borrower.
    :param lenders: ``[permutations, samples]``, from :func:`donors_of`.
    :returns: ``[samples]``.
    """
    right, count = right.double(), len(right)
    borrowed = right.mean(dim=0)
    if count < 2 or right.shape[1] < 3:
        return borrowed
    by_lender = torch.zeros_like(right).scatter_(1, lenders, right)
    lent = by_lender.mean(dim=0) - borrowed.mean()
    spread = float(lent.var())
    # What lenders differ by cannot exceed what one borrower sees of different ones: nothing, where the modality has no influence.
    most = float(right.var(dim=0).mean())
    own = min(max(spread - float(by_lender.var(dim=0).mean()) / count, 0.0), most) * (1 - 1 / count)
    together = float(((borrowed - borrowed.mean()) * lent).mean()) if most else 0.0
    wanted = own + 2 * together
    return borrowed + (math.sqrt(together**2 + spread * wanted) - together) / spread * lent if wanted > 0 and spread else borrowed


@torch.no_grad()
def evaluate_without(
    collected: Collected,
    source: Source,
    subsets: Iterable[Subset],
    measure: Measure,
    bootstrap: Bootstrap,
    *,
    fill: Collected | None = None,
    kinds: Sequence[str] = KINDS,
    donors: int = 5,
    seed: int = 0,
    logits_of: Iterable[Subset] = (),
) -> Without:
    """Score the joint model for subsets of its modalities.

    Modalities that are left out together by permutation come from the same other sample: the joint distribution of what is left out stays
    what it is, and its connection to the rest and to the targets is cut. A model that is told which modalities it has is not asked without
    any: the score then is that of answering the same for all, as often as each answer is right.

    :param collected: the samples, as the whole model saw them.
    :param source: yields the same batches again, for models that are asked with their inputs.
    :param subsets: the modalities that are there.
    :param fill: the samples whose means stand in; default the same.
    :param kinds: of :data:`KINDS`; a model that is told its modalities is asked in its own way instead.
    :param donors: permutations, whose scores are averaged.
    :param seed: of the permutations.
    :param logits_of: subsets whose logits are kept for later, for kinds other than permutation.
    """
    full = frozenset(collected.subject.modalities)
    wanted = [subset for subset in dict.fromkeys(subsets) if subset != full]
    found = Without()
    asked = dict.fromkeys(_possible(kinds, collected, found), wanted)
    lenders = donors_of(len(collected), donors if "permutation" in asked else 0, seed)
    found.donors = len(lenders)
    filling = _Filling(collected, fill or collected, lenders, measure)
    kept = _Kept(measure, frozenset(logits_of), lenders)
    for rows, inputs in _parts(collected, source):
        for kind, subset in ((kind, subset) for kind in asked for subset in wanted if (kind, subset) not in kept.failed):
            for turn in range(len(lenders) if kind == "permutation" else 1):
                said = _ask(collected, filling, kind, subset, rows, turn, inputs)
                kept.add(kind, subset, turn, said, collected.targets[rows])
    _score(found, kept, tuple(asked), collected, bootstrap)
    return found


def _possible(kinds: Sequence[str], collected: Collected, found: Without) -> Iterator[str]:
    """Yield the kinds that make sense for these samples, and note why the others do not."""
    subject = collected.subject
    if subject.ablated == "subsets":
        yield "absent"
        return
    whole = next((name for name in subject.modalities if not collected.floating(name)), None)
    for kind in kinds:
        if kind in ("zero", "mean") and whole is not None:
            what = "zero" if kind == "zero" else "a mean"
            found.failed[kind] = f"the input of {whole!r} has whole numbers alone, of which {what} says nothing"
        elif kind == "permutation" and len(collected) < 2:
            found.failed[kind] = "a single sample has no other to borrow from"
        else:
            yield kind


def ablations(without: Without, modalities: tuple[str, ...], bootstrap: Bootstrap) -> dict[str, dict[str, Ablation]]:
    """Return by kind and modality the score without it, and what is lost; a modality whose score is not known is left out."""
    full = frozenset(modalities)
    found: dict[str, dict[str, Ablation]] = {}
    for kind, columns in without.columns.items():
        own = {name: columns[full - {name}] for name in modalities if full - {name} in columns}
        if own:
            found[kind] = {
                name: Ablation(bootstrap.interval(score), bootstrap.interval(columns[full] - score)) for name, score in own.items()
            }
    return found


class _Filling:
    """Makes what stands for a modality that is left out."""

    def __init__(self, collected: Collected, fill: Collected, lenders: Tensor, measure: Measure) -> None:
        self.collected = collected
        self.measure = measure
        self.fill = fill
        self.lenders = lenders
        self._means: dict[str, Any] = {}

    def values(self, kind: str, modality: str, rows: slice, turn: int) -> Any:
        if kind == "permutation":
            return self.collected.value(modality, self.lenders[turn, rows])
        own = self.collected.value(modality, rows)
        if kind == "zero":
            return map_tensors(lambda tensor: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor, own)
        if modality not in self._means:
            self._means[modality] = self.fill.mean(modality)
        means: list[Tensor] = []
        map_tensors(lambda tensor: means.append(tensor) or tensor, self._means[modality])  # type: ignore[func-returns-value]
        places = iter(means)

        def replace(tensor: Tensor) -> Tensor:
            mean = next(places)
            return mean.expand(tensor.shape) if tensor.is_floating_point() else tensor

        return map_tensors(replace, own)

    def constant(self, samples: int) -> Tensor:
        """Return the logits of a model that knows how often each answer is right, and sees nothing."""
        targets = self.fill.targets
        outputs = self.collected.logits[MULTIMODAL].shape[1:]
        if targets.is_floating_point() and self.measure.task.name == "regression":
            said = targets.double().mean(dim=0).reshape(outputs)
        elif self.measure.classes:
            said = (targets.bincount(minlength=outputs[0]).double() + 1e-9).log()
        elif self.measure.task.name == "multilabel":
            said = targets.double().mean(dim=0).logit(eps=1e-9)
        else:
            raise InputError(f"no answer without any modality is known for {self.measure.task.name} targets")
        return said.expand(samples, *outputs)


class _Kept:
    """What the model said, by kind and subset, as small as the measure allows."""

    def __init__(self, measure: Measure, logits_of: frozenset[Subset], lenders: Tensor) -> None:
        self.measure = measure
        self.logits_of = logits_of
        self.lenders = lenders
        self.failed: dict[tuple[str, Subset], str] = {}
        self.scores: dict[tuple[str, Subset, int], list[Tensor]] = {}
        self.correct: dict[tuple[str, Subset], list[Tensor]] = {}
        self.logits: dict[tuple[str, Subset], list[Tensor]] = {}

    def add(self, kind: str, subset: Subset, turn: int, said: Tensor | str, targets: Tensor) -> None:
        if isinstance(said, str):
            self.failed[kind, subset] = said
            return
        score = self.measure.kept(said, targets)
        self.scores.setdefault((kind, subset, turn), []).append(score)
        if kind == "permutation":
            return
        right = self.measure.correct(said, targets)
        if right is not None:
            self.correct.setdefault((kind, subset), []).append(right)
        if subset in self.logits_of:
            self.logits.setdefault((kind, subset), []).append(said)


def _parts(collected: Collected, source: Source) -> Iterator[tuple[slice, Mapping[str, Any] | None]]:
    """Yield which samples make up each batch, with their inputs where the model is asked with them."""
    if collected.subject.again or collected.subject.ablated == "subsets":
        yield from ((rows, batch.inputs) for rows, batch in read_again(source, collected))
        return
    start = 0
    for size in collected.sizes:
        if size:
            yield slice(start, start + size), None
            start += size


def _ask(
    collected: Collected, filling: _Filling, kind: str, subset: Subset, rows: slice, turn: int, inputs: Mapping[str, Any] | None
) -> Tensor | str:
    """Return the logits ``[batch, outputs]`` on the CPU, or one line that says why there are none."""
    subject = collected.subject
    names = subject.modalities
    lacking = ", ".join(name for name in names if name not in subset)
    try:
        if kind == "absent" and not subset:
            logits = filling.constant(rows.stop - rows.start)
        elif kind == "absent":
            assert inputs is not None
            logits = subject.subset(inputs, tuple(name for name in names if name in subset))
        else:
            every = names if subject.ablated == "features" else tuple(collected.templates)
            values = {
                name: collected.value(name, rows) if name in subset or name not in names else filling.values(kind, name, rows, turn)
                for name in every
            }
            device = collected.where
            on_device = {name: map_tensors(lambda tensor: tensor.to(device), value) for name, value in values.items()}
            logits = subject.joint(on_device, inputs)
    except Exception as error:  # the model is the caller's: whatever it does without a modality is to be told, not to end everything
        said = first_line(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        return f"the model cannot answer without {lacking} ({said})"
    logits = logits.float().cpu()
    if not bool(logits.isfinite().all()):
        return f"the model returns NaN or infinite logits without {lacking}"
    return logits


def _score(found: Without, kept: _Kept, kinds: tuple[str, ...], collected: Collected, bootstrap: Bootstrap) -> None:
    """Put what was kept into columns, with the whole model's own as the subset of all modalities."""
    full, measure = frozenset(collected.subject.modalities), kept.measure
    joint = collected.logits[MULTIMODAL]
    known = {key: torch.cat(parts) for key, parts in kept.scores.items() if key[:2] not in kept.failed}
    if measure.is_accuracy:  # one mean over all permutations says how sure it is
        for subset in {key[1] for key in known if key[0] == "permutation"}:
            right = torch.stack([known.pop(("permutation", subset, turn)) for turn in range(len(kept.lenders))])
            known["permutation", subset, 0] = borrowed_means(right, kept.lenders)
    columns = measure.columns([measure.kept(joint, collected.targets), *known.values()], collected.targets, bootstrap)
    turns: dict[tuple[str, Subset], list[Tensor]] = {(kind, full): [columns[:, 0]] for kind in kinds}
    for key, column in zip(known, columns.T[1:], strict=True):
        turns.setdefault(key[:2], []).append(column)
    for (kind, subset), of_turns in turns.items():
        found.columns.setdefault(kind, {})[subset] = torch.stack(of_turns).mean(dim=0)
    correct = measure.correct(joint, collected.targets)
    if correct is not None:
        found.correct = {kind: {full: correct} for kind in kinds if kind != "permutation"}
    for what, parts in ((found.correct, kept.correct), (found.logits, kept.logits)):
        for (kind, subset), of_batches in parts.items():
            if (kind, subset) not in kept.failed:
                what.setdefault(kind, {})[subset] = torch.cat(of_batches)
    # The largest subset says it most plainly: what fails without one modality fails without more.
    for (kind, _), said in sorted(kept.failed.items(), key=lambda item: -len(item[0][1])):
        found.failed.setdefault(kind, said)
