"""The joint model with modalities left out, in several ways, for every subset that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.diagnose.borrowing import borrowed_means, donors_of
from equimodal.diagnose.collecting import Collected, read_again
from equimodal.diagnose.filling import Filling
from equimodal.diagnose.quantities import Ablation
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
    :param kept: by kind and subset what the measure keeps of every sample; not for permutations, which are several.
    :param failed: by kind, why it is not there, or not for some subset.
    :param notes: by quantity, what had to be done in another way.
    :param donors: how many other samples lent each sample their modality.
    """

    columns: dict[str, dict[Subset, Tensor]] = field(default_factory=dict)
    kept: dict[str, dict[Subset, Tensor]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    donors: int = 0


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
    """
    full = frozenset(collected.subject.modalities)
    wanted = [subset for subset in dict.fromkeys(subsets) if subset != full]
    found = Without()
    asked = dict.fromkeys(_possible(kinds, collected, found), wanted)
    lenders = donors_of(len(collected), donors if "permutation" in asked else 0, seed)
    found.donors = len(lenders)
    filling = Filling(collected, fill or collected, lenders, measure)
    said = _Said(measure, collected, lenders)
    for rows, inputs in _parts(collected, source):
        for kind, subset in ((kind, subset) for kind in asked for subset in wanted if (kind, subset) not in said.failed):
            for turn in range(len(lenders) if kind == "permutation" else 1):
                answer = _ask(collected, filling, kind, subset, rows, turn, inputs)
                said.add(kind, subset, turn, rows, answer)
                if isinstance(answer, str):
                    break
    _score(found, said, tuple(asked), collected, bootstrap)
    found.notes = filling.notes
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


class _Said:
    """What the model said, by kind and subset, as small as the measure allows, in the cache of the samples."""

    def __init__(self, measure: Measure, collected: Collected, lenders: Tensor) -> None:
        self.measure = measure
        self.cache = collected.cache
        self.targets = collected.targets
        self.lenders = lenders
        self.failed: dict[tuple[str, Subset], str] = {}
        self._known: dict[tuple[str, Subset, int], None] = {}

    def add(self, kind: str, subset: Subset, turn: int, rows: slice, said: Tensor | str) -> None:
        if isinstance(said, str):
            self.failed[kind, subset] = said
            for known in [known for known in self._known if known[:2] == (kind, subset)]:
                del self._known[known]
                self.cache.drop(_name(*known))
            return
        self._known[kind, subset, turn] = None
        self.cache.append(_name(kind, subset, turn), self.measure.kept(said, self.targets[rows]), expected=len(self.targets))

    def joint(self, logits: Tensor) -> Tensor:
        """Return what is kept of the whole model's own answers."""
        for rows in torch.arange(len(logits)).split(4096):  # type: ignore[no-untyped-call]
            own = slice(int(rows[0]), int(rows[-1]) + 1)
            self.cache.append("answers", self.measure.kept(logits[own], self.targets[own]), expected=len(logits))
        return self.cache["answers"]

    def kept(self) -> dict[tuple[str, Subset, int], Tensor]:
        """Return what was kept; where the score is a mean over samples, of all permutations one number per sample."""
        if self.measure.is_mean:  # one mean over all permutations says how sure it is
            for kind, subset, turn in list(self._known):
                if kind == "permutation" and turn == 0:
                    self._join(subset)
        return {key: self.cache[_name(*key)] for key in self._known}

    def _join(self, subset: Subset) -> None:
        names = [("permutation", subset, turn) for turn in range(len(self.lenders))]
        joined = borrowed_means([self.cache[_name(*name)] for name in names], self.lenders)
        for name in names:
            self.cache.drop(_name(*name))
            self._known.pop(name)
        self.cache.append(_name(*names[0]), joined, expected=len(joined))
        self._known[names[0]] = None


def _name(kind: str, subset: Subset, turn: int) -> str:
    return f"answers {kind} {turn} {sorted(subset)}"


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
    collected: Collected, filling: Filling, kind: str, subset: Subset, rows: slice, turn: int, inputs: Mapping[str, Any] | None
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
            every = names if subject.ablated == "features" else tuple(collected.values)
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


def _score(found: Without, said: _Said, kinds: tuple[str, ...], collected: Collected, bootstrap: Bootstrap) -> None:
    """Put what was kept into columns, with the whole model's own as the subset of all modalities."""
    full, measure = frozenset(collected.subject.modalities), said.measure
    joint = said.joint(collected.logits[MULTIMODAL])
    known = said.kept()
    columns = measure.columns([joint, *known.values()], collected.targets, bootstrap)
    turns: dict[tuple[str, Subset], list[Tensor]] = {(kind, full): [columns[:, 0]] for kind in kinds}
    for key, column in zip(known, columns.T[1:], strict=True):
        turns.setdefault(key[:2], []).append(column)
    for (kind, subset), of_turns in turns.items():
        found.columns.setdefault(kind, {})[subset] = torch.stack(of_turns).mean(dim=0)
    found.kept = {kind: {full: joint} for kind in kinds if kind != "permutation"}
    for (kind, subset, _), own in known.items():
        if kind != "permutation":
            found.kept[kind][subset] = own
    # The largest subset says it most plainly: what fails without one modality fails without more.
    for (kind, _), why in sorted(said.failed.items(), key=lambda item: -len(item[0][1])):
        found.failed.setdefault(kind, why)
