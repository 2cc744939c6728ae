"""One pass over the data: what the model says of every sample, and what it is asked again with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from equimodal.data.batch import Batch, map_tensors
from equimodal.diagnose.subject import Observation, Subject, called, modalities_of_model, subject_of
from equimodal.errors import InputError
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.cache import FeatureCache
    from equimodal.train.batches import Source

__all__ = ["Collected", "collect", "complete_batches", "read_again", "rebuilt"]


class Place(NamedTuple):
    """Stands in a structure for a tensor that is kept elsewhere."""

    number: int


class Sum(NamedTuple):
    """The sum of a tensor's rows; of whole numbers the first row, as a mean of those says nothing.

    :param total: ``[...]`` in double precision.
    :param like: ``[0, ...]``, which has the tensor's type.
    """

    total: Tensor
    like: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Sum:
        """Return the sum of a first batch."""
        rows = rows.cpu()
        return cls(rows.double().sum(dim=0) if rows.is_floating_point() else rows[0], rows[:0])

    def plus(self, rows: Tensor) -> Sum:
        """Return the sum with another batch.

        :raises InputError: for samples of another shape.
        """
        if rows.shape[1:] != self.total.shape:
            raise InputError(
                f"the inputs have shape {list(self.total.shape)} in one batch and {list(rows.shape[1:])} in another: bring them to one"
            )
        return self if not self.like.is_floating_point() else Sum(self.total + rows.cpu().double().sum(dim=0), self.like)

    def divided(self, count: int) -> Tensor:
        """Return the mean ``[1, ...]`` in the type of the rows."""
        return (self.total / count if self.like.is_floating_point() else self.total).to(self.like.dtype).unsqueeze(0)


@dataclass
class Collected:
    """The complete samples of one split.

    :param subject: the model, and how it is asked.
    :param cache: holds features and values.
    :param targets: ``[samples, ...]``.
    :param logits: by head ``[samples, outputs]``.
    :param numbers: ``[samples]``, the number of each sample within the data.
    :param incomplete: how many further samples lack a modality.
    :param sizes: how many complete samples each batch had.
    :param templates: by modality the structure of its values, where inputs are kept.
    :param means: by modality the mean of its inputs ``[1, ...]``, where these are what is left out.
    :param where: the device of the data as the model was given them.
    """

    subject: Subject
    cache: FeatureCache
    targets: Tensor
    logits: dict[str, Tensor]
    numbers: Tensor
    incomplete: int
    sizes: list[int]
    templates: dict[str, Any] = field(default_factory=dict)
    means: dict[str, Any] = field(default_factory=dict)
    where: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def features(self) -> dict[str, Tensor]:
        """By modality ``[samples, features]``; empty where the model does not show the features of all of them."""
        names = self.subject.modalities
        if not all(f"feature {name}" in self.cache for name in names):
            return {}
        return {name: self.cache[f"feature {name}"] for name in names}

    def value(self, modality: str, rows: Any) -> Any:
        """Return what stands for a modality in the model, of some samples, as it was observed.

        :param rows: a slice or sample numbers.
        """
        if self.subject.ablated == "features":
            return self.cache[f"feature {modality}"][rows]
        return rebuilt(self.templates[modality], lambda place: self.cache[f"value {modality} {place.number}"][rows])

    def floating(self, modality: str) -> bool:
        """Tell whether a modality's value has real numbers, of which zero and a mean make sense."""
        found: list[bool] = []
        rebuilt(self.value(modality, slice(0, 1)), lambda tensor: found.append(tensor.is_floating_point()))
        return any(found)

    def mean(self, modality: str) -> Any:
        """Return the mean of a modality's values ``[1, ...]``, added up in double precision; of whole numbers, those of one sample."""
        return mean_of(self.cache[f"feature {modality}"]) if self.subject.ablated == "features" else self.means[modality]


def rebuilt(template: Any, function: Any) -> Any:
    """Apply a function to every leaf of a structure: tensors of a value, or the numbers that stand for them in a template."""
    return map_tensors(function, template, (Place, Sum, Tensor))


def mean_of(tensor: Tensor) -> Tensor:
    """Return the mean of the rows ``[1, ...]``, a part at a time."""
    total = torch.zeros(tensor.shape[1:], dtype=torch.float64)
    for part in tensor.split(4096):  # type: ignore[no-untyped-call]
        total += part.double().sum(dim=0)
    return (total / len(tensor)).to(tensor.dtype).unsqueeze(0)


def complete_batches(source: Source, modalities: tuple[str, ...]) -> Iterator[tuple[Batch, Tensor, int]]:
    """Yield of every batch the samples that have all modalities, their numbers, and how many others there are."""
    seen = 0
    for batch in source.ordered():
        has = torch.stack([batch.has(name) for name in modalities]).all(dim=0)
        numbers = torch.arange(seen, seen + len(batch)) if batch.indices is None else batch.indices.cpu()
        seen += len(batch)
        rows = has.nonzero().squeeze(1)
        if len(rows) < len(batch):
            batch, numbers = batch.select(rows), numbers[rows.cpu()]
        yield Batch(batch.inputs, batch.targets), numbers, len(has) - len(rows)


def read_again(source: Source, collected: Collected) -> Iterator[tuple[slice, Batch]]:
    """Yield the complete samples of a source once more, batch by batch, and which rows of what was collected they are.

    :raises InputError: for data that come in another order than the first time.
    """
    start = 0
    for batch, _, _ in complete_batches(source, collected.subject.modalities):
        rows = slice(start, start + len(batch))
        if not torch.equal(batch.targets.cpu(), collected.targets[rows]):
            raise InputError("the data come in another order when they are read again: give a loader that does not shuffle")
        start += len(batch)
        if len(batch):
            yield rows, batch
    if start != len(collected):
        raise InputError(f"the data have {start:,} complete samples when they are read again, and had {len(collected):,}: give the same")


@torch.no_grad()
def collect(
    model: Any,
    source: Source,
    cache: FeatureCache,
    *,
    modalities: tuple[str, ...] | None = None,
    subject: Subject | None = None,
    split: str = "given",
    keep_values: bool = True,
) -> Collected:
    """Run a model once over a split.

    :param model: in evaluation mode, on the source's device.
    :param cache: takes up the features and values.
    :param modalities: their names; default those that the model states, or of the data.
    :param subject: how the model is asked, where that is known already.
    :param split: what the data are called, for messages.
    :param keep_values: whether inputs are kept, where modalities are left out in the inputs.
    :raises InputError: for data in which no sample has every modality, and a model that gives no finite logits.
    """
    targets: list[Tensor] = []
    numbers: list[Tensor] = []
    logits: dict[str, list[Tensor]] = {}
    templates: dict[str, Any] = {}
    sums: dict[str, Any] = {}
    sizes: list[int] = []
    incomplete, seen, where = 0, set[str](), torch.device("cpu")
    names = subject.modalities if subject is not None else modalities or getattr(model, "modalities", None)
    for batch, places, lacking in _batches(source, names, seen):
        incomplete += lacking
        sizes.append(len(batch))
        if not len(batch):
            continue
        if subject is None:
            names = modalities_of_model(model, modalities, batch.inputs)
            subject = _made(model, names, batch.inputs)
        found = _observed(subject, batch.inputs)
        _check_finite(found, places, split)
        for head, own in found.logits.items():
            logits.setdefault(head, []).append(own.float().cpu())
        for name, feature in found.features.items():
            cache.append(f"feature {name}", feature)
        if subject.ablated == "inputs":
            for name, value in found.values.items():
                sums[name] = _added(sums.get(name), value)
                if keep_values:
                    templates[name] = _kept(cache, name, value)
        where = batch.targets.device
        targets.append(batch.targets.cpu())
        numbers.append(places)
    if subject is None or not targets:
        raise _nothing(names, seen, split, incomplete)
    heads = {head: torch.cat(parts) for head, parts in logits.items() if sum(map(len, parts)) == sum(map(len, targets))}
    order = [head for head in (MULTIMODAL, *subject.modalities) if head in heads]
    count = sum(sizes)
    means = {name: rebuilt(value, lambda total: total.divided(count)) for name, value in sums.items()}
    ordered = {head: heads[head] for head in order}
    return Collected(subject, cache, torch.cat(targets), ordered, torch.cat(numbers), incomplete, sizes, templates, means, where)


def _batches(source: Source, names: tuple[str, ...] | None, seen: set[str]) -> Iterator[tuple[Batch, Tensor, int]]:
    if names is None:
        first = next(iter(source.ordered()))
        names = tuple(first.inputs)
    for batch, places, lacking in complete_batches(source, tuple(names)):
        seen.update(batch.inputs)
        yield batch, places, lacking


def _made(model: Any, names: tuple[str, ...], inputs: Mapping[str, Any]) -> Subject:
    try:
        return subject_of(model, names, inputs)
    except InputError:
        raise
    except Exception as error:
        raise called(model, error) from error


def _observed(subject: Subject, inputs: Mapping[str, Any]) -> Observation:
    try:
        return subject.observe(inputs)
    except InputError:
        raise
    except Exception as error:
        raise called(subject.model, error) from error


def _check_finite(found: Observation, places: Tensor, split: str) -> None:
    for head, own in found.logits.items():
        finite = own.flatten(1).isfinite().all(dim=1).cpu()
        if not finite.all():
            which = "the joint logits" if head == MULTIMODAL else f"the logits of the head {head!r}"
            raise InputError(
                f"{which} of sample {int(places[~finite][0])} of the {split} split are NaN or infinite: look for such numbers in its"
                " inputs or in the weights"
            )


def _kept(cache: FeatureCache, name: str, value: Any) -> Any:
    """Put the tensors of a value into the cache, and return its structure."""
    numbers = itertools.count()

    def keep(tensor: Tensor) -> Any:
        place = Place(next(numbers))
        cache.append(f"value {name} {place.number}", tensor)
        return place

    return map_tensors(keep, value)


def _added(total: Any, value: Any) -> Any:
    """Add the tensors of a batch to their sums over samples."""
    parts: list[Tensor] = []
    map_tensors(lambda tensor: parts.append(tensor.detach()) or tensor, value)  # type: ignore[func-returns-value]
    if total is None:
        return rebuilt(value, Sum.of)
    return rebuilt(total, lambda so_far: so_far.plus(parts.pop(0)))


def _nothing(names: tuple[str, ...] | None, seen: set[str], split: str, incomplete: int) -> InputError:
    missing = [name for name in names or () if name not in seen]
    if missing:
        have = ", ".join(sorted(seen)) or "nothing"
        return InputError(
            f"the {split} split lacks {', '.join(map(repr, missing))}, which the model sees (it has {have}): add it to the data"
        )
    return InputError(f"none of the {incomplete:,} samples of the {split} split has every modality: give data in which some have all")
