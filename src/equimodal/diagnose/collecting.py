"""One pass over the data: what the model says of every sample, and what it is asked again with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import Batch
from equimodal.diagnose.subject import Observation, Subject, called, modalities_of_model, subject_of
from equimodal.diagnose.values import Values, mean_of
from equimodal.errors import CannotWrite, InputError
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.cache import FeatureCache, Section
    from equimodal.train.batches import Source

__all__ = ["Collected", "NotFinite", "collect", "complete_batches", "read_again"]


class NotFinite(InputError):
    """The model's joint logits are NaN or infinite."""


@dataclass
class Collected:
    """The complete samples of one split.

    :param subject: the model, and how it is asked.
    :param cache: holds all that grows with the samples: features, values, logits, targets.
    :param heads: whose logits there are, ``"multimodal"`` first.
    :param numbers: ``[samples]``, the number of each sample within the data.
    :param incomplete: how many further samples lack a modality.
    :param sizes: how many complete samples each batch had.
    :param values: by name the inputs, where these are what is left out.
    :param left_out: by quantity, one line that says why a head or a modality's features are not there although the model has them.
    :param where: the device of the data as the model was given them.
    """

    subject: Subject
    cache: FeatureCache | Section
    heads: tuple[str, ...]
    numbers: Tensor
    incomplete: int
    sizes: list[int]
    values: dict[str, Values] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    where: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def targets(self) -> Tensor:
        """``[samples, ...]``."""
        return self.cache["targets"]

    @property
    def logits(self) -> dict[str, Tensor]:
        """By head ``[samples, outputs]``."""
        return {head: self.cache[f"logits {head}"] for head in self.heads}

    @property
    def features(self) -> dict[str, Tensor]:
        """By modality ``[samples, features]``; empty where the model does not show the features of all of them.

        Without those that are not there for a reason of their own, which :attr:`left_out` names.
        """
        names = self.subject.modalities
        there = [name for name in names if f"feature {name}" in self.cache]
        if not all(name in there or f"features.{name}" in self.left_out for name in names):
            return {}
        return {name: self.cache[f"feature {name}"] for name in there}

    def value(self, modality: str, rows: slice | Tensor, beside: slice | None = None) -> Any:
        """Return what stands for a modality in the model, of some samples, as it was observed.

        :param rows: a slice within a batch, or sample numbers.
        :param beside: a batch than whose inputs these shall not be shorter, where they are padded to different lengths.
        """
        if self.subject.ablated == "features":
            return self.cache[f"feature {modality}"][rows]
        return self.values[modality].rows(rows, beside)

    def floating(self, modality: str) -> bool:
        """Tell whether a modality's value has real numbers, of which zero and a mean make sense."""
        if self.subject.ablated == "features":
            return self.cache[f"feature {modality}"].is_floating_point()
        return self.values[modality].floating

    def mean(self, modality: str) -> Any:
        """Return the mean of a modality's values ``[1, ...]``, added up in double precision; of whole numbers, those of one sample."""
        return mean_of(self.cache[f"feature {modality}"]) if self.subject.ablated == "features" else self.values[modality].mean()


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
    cache: FeatureCache | Section,
    *,
    modalities: tuple[str, ...] | None = None,
    subject: Subject | None = None,
    split: str = "given",
    keep_values: bool = True,
) -> Collected:
    """Run a model once over a split.

    :param model: in evaluation mode, on the source's device.
    :param cache: takes up the features, values, logits and targets.
    :param modalities: their names; default those that the model states, or of the data.
    :param subject: how the model is asked, where that is known already.
    :param split: what the data are called, for messages.
    :param keep_values: whether inputs are kept, where modalities are left out in the inputs.
    :raises InputError: for data in which no sample has every modality.
    :raises NotFinite: for joint logits that are NaN or infinite.
    """
    numbers: list[Tensor] = []
    values: dict[str, Values] = {}
    sizes: list[int] = []
    incomplete, seen, where = 0, set[str](), torch.device("cpu")
    names = subject.modalities if subject is not None else modalities or getattr(model, "modalities", None)
    taken = _Taken(cache, split)
    for batch, places, lacking in _batches(source, names, seen):
        incomplete += lacking
        sizes.append(len(batch))
        if not len(batch):
            continue
        if subject is None:
            names = modalities_of_model(model, modalities, batch.inputs)
            subject = _made(model, names, batch.inputs)
        found = _observed(subject, batch.inputs)
        taken.add(found, batch.targets, places, needed=subject.ablated == "features")
        for name, value in found.values.items() if subject.ablated == "inputs" else ():
            values.setdefault(name, Values(name, cache, keep=keep_values)).append(value, len(batch))
        where = batch.targets.device
        numbers.append(places)
    if subject is None or not numbers:
        raise _nothing(names, seen, split, incomplete)
    heads = tuple(head for head in (MULTIMODAL, *subject.modalities) if head in taken.heads())
    return Collected(subject, cache, heads, torch.cat(numbers), incomplete, sizes, values, taken.left_out, where)


class _Taken:
    """Puts what the model says into the cache, and notes what has to be left out."""

    def __init__(self, cache: FeatureCache | Section, split: str) -> None:
        self.cache = cache
        self.split = split
        self.left_out: dict[str, str] = {}
        self._logits: dict[str, int] = {}
        self._samples = 0

    def add(self, found: Observation, targets: Tensor, places: Tensor, *, needed: bool) -> None:
        """Take up a batch.

        :param needed: whether modalities are left out in their features.
        """
        self._samples += len(targets)
        self.cache.append("targets", targets)
        for head, own in found.logits.items():
            if f"heads.{head}" in self.left_out:
                continue
            logits = own.float().cpu()
            if (sample := _not_finite(logits, places)) is not None:
                self._refuse(head, sample)
            else:
                self._logits[head] = self._logits.get(head, 0) + len(logits)
                self.cache.append(f"logits {head}", logits)
        for name, feature in found.features.items():
            if f"features.{name}" not in self.left_out:
                try:
                    self.cache.append(f"feature {name}", feature)
                except CannotWrite:
                    raise
                except InputError as error:
                    if needed:
                        raise
                    self.left_out[f"features.{name}"] = str(error)
                    self.cache.drop(f"feature {name}")

    def heads(self) -> list[str]:
        """Return the heads that answered for every sample."""
        return [head for head, samples in self._logits.items() if samples == self._samples]

    def _refuse(self, head: str, sample: int) -> None:
        what = "the joint logits" if head == MULTIMODAL else f"the logits of the head {head!r}"
        said = f"{what} of sample {sample} of the {self.split} split are NaN or infinite"
        if head == MULTIMODAL:
            raise NotFinite(f"{said}: look for such numbers in its inputs or in the weights")
        self.left_out[f"heads.{head}"] = f"{said}: the head is left out"
        self._logits.pop(head, None)
        self.cache.drop(f"logits {head}")


def _not_finite(logits: Tensor, places: Tensor) -> int | None:
    """Return the number of the first sample with logits that are NaN or infinite."""
    finite = logits.flatten(1).isfinite().all(dim=1)
    return None if bool(finite.all()) else int(places[~finite][0])


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


def _nothing(names: tuple[str, ...] | None, seen: set[str], split: str, incomplete: int) -> InputError:
    missing = [name for name in names or () if name not in seen]
    if missing:
        have = ", ".join(sorted(seen)) or "nothing"
        return InputError(
            f"the {split} split lacks {', '.join(map(repr, missing))}, which the model sees (it has {have}): add it to the data"
        )
    return InputError(f"none of the {incomplete:,} samples of the {split} split has every modality: give data in which some have all")
