"""Samples one by one, as torch's data sets yield them, and batches of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from equimodal.data.batch import Batch, map_tensors
from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from equimodal.data.base import Splits

__all__ = ["Samples", "as_samples", "collate", "fetched", "joined"]

_TOGETHER = 256  # samples read at once


class Samples(Dataset[Any]):
    """Any torch data set of ``(inputs, target)``, to stand among the splits of a :class:`equimodal.data.Dataset`.

    A number yields what the data set yields; a slice or a tensor of numbers a :class:`equimodal.data.Batch`. Where the data set reads
    several samples at once (torch's ``__getitems__``), it is asked for a whole batch in one call.

    >>> pairs = [({"image": torch.zeros(4), "audio": torch.ones(2)}, 0), ({"image": torch.ones(4), "audio": torch.ones(2)}, 1)]
    >>> samples = Samples(pairs)
    >>> samples[:].inputs["image"].shape, samples.targets
    (torch.Size([2, 4]), tensor([0, 1]))

    :param data: anything with ``len`` and a sample for every number: ``(inputs by modality, target)``, or with presence masks by
        modality as a third. A sample that lacks a modality leaves it out, or has a mask that says so.
    :param modality: the only modality to keep; all where not given.
    :raises InputError: for an object without length or numbers.
    """

    def __init__(self, data: Any, modality: str | None = None) -> None:
        kind = type(data)
        if not hasattr(kind, "__len__") or not hasattr(kind, "__getitem__") or issubclass(kind, Mapping):
            raise InputError(f"a {type(data).__name__} does not give a sample for every number: give a torch Dataset with a length")
        self.data = data
        self.modality = modality

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            numbers = list(range(len(self))[index])
        elif isinstance(index, Tensor) and index.dim():
            numbers = (index.nonzero().flatten() if index.dtype == torch.bool else index).tolist()
        else:
            return self.__getitems__([int(index)])[0]
        batch = joined(self.__getitems__(numbers), "samples")
        return Batch(batch.inputs, batch.targets, batch.present, torch.as_tensor(numbers))

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples, read in one call where the data set can."""
        samples = fetched(self.data, numbers)
        return samples if self.modality is None else [self._alone(sample, self.modality) for sample in samples]

    @staticmethod
    def _alone(sample: Any, modality: str) -> tuple[Any, ...]:
        inputs, target, *present = _parts(sample, "samples")
        return (
            {name: value for name, value in inputs.items() if name == modality},
            target,
            *({name: mask for name, mask in part.items() if name == modality} for part in present),
        )

    @cached_property
    def targets(self) -> Tensor:
        """The targets of all samples, for which each is read once."""
        numbers = range(len(self))
        pieces = (numbers[start : start + _TOGETHER] for start in range(0, len(self), _TOGETHER))
        parts = [_parts(sample, "samples")[1] for piece in pieces for sample in self.__getitems__(piece)]
        found: Tensor = _collated(parts, "targets") if parts else torch.zeros(0, dtype=torch.int64)
        return found

    def only(self, modality: str) -> Samples:
        """Return the samples with one modality alone."""
        return Samples(self.data, modality)


def as_samples(splits: Splits) -> Splits:
    """Return splits in which every torch data set is one of :class:`Samples`; what is more than that stays as it is."""
    wrapped = {name: getattr(splits, name) for name in ("train", "val", "test")}
    for name, split in wrapped.items():
        # Its class is asked, so that a test split is not looked at before its time.
        kind = type(split)
        if hasattr(kind, "__getitem__") and hasattr(kind, "__len__") and not hasattr(kind, "only"):
            wrapped[name] = Samples(split)
    return dataclasses.replace(splits, **wrapped)


def fetched(data: Any, numbers: Sequence[int]) -> list[Any]:
    """Return the samples of these numbers: in one call of ``__getitems__`` where the data set has it, else one by one.

    :raises InputError: when ``__getitems__`` gives something else than a list of as many samples.
    """
    together = getattr(data, "__getitems__", None)
    if not callable(together):
        return [data[number] for number in numbers]
    samples = together(list(numbers))
    if not isinstance(samples, (list, tuple)) or len(samples) != len(numbers):
        held = f"{len(samples)} samples" if isinstance(samples, (list, tuple)) else f"a {type(samples).__name__}"
        raise InputError(
            f"__getitems__ of {type(data).__name__} returned {held} for {len(numbers)} numbers: return a list of one sample each"
        )
    return list(samples)


def collate(samples: Sequence[Any]) -> Batch:
    """Join samples to a batch, as the ``collate_fn`` of a ``DataLoader``; a sample that lacks a modality just leaves it out.

    What others have stands as zeros in its row, and a presence mask says that it is not there.

    >>> batch = collate([({"image": torch.ones(2), "audio": torch.ones(3)}, 0), ({"image": torch.ones(2)}, 1)])
    >>> batch.inputs["audio"].tolist(), batch.present
    ([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], {'audio': tensor([ True, False])})

    :param samples: ``(inputs by modality, target)``, or with presence masks by modality as a third.
    :raises InputError: for samples that are no such pairs, or do not fit together.
    """
    return joined(samples, "samples")


def joined(samples: Sequence[Any], what: str) -> Batch:
    """Join samples to a batch; see :func:`collate`.

    :param what: what they are, for messages.
    :raises InputError: for samples that are no pairs of inputs and target, or do not fit together.
    """
    parts = [_parts(sample, what) for sample in samples]
    if not parts:
        raise InputError(f"{what}: there are none to join to a batch")
    names = {frozenset(inputs) for inputs, *_ in parts}
    masked = {frozenset(rest[0]) if rest else frozenset() for _, _, *rest in parts}
    if len(names) > 1 or len(masked) > 1:
        return _with_gaps(parts, what)
    inputs, targets, *present = _collated(parts, what)
    return Batch(dict(inputs), targets, dict(present[0]) if present else {})


def _with_gaps(parts: list[tuple[Any, ...]], what: str) -> Batch:
    """Join samples of which some leave modalities or masks out."""
    size = len(parts)
    given = [dict(rest[0]) if rest else {} for _, _, *rest in parts]
    inputs: dict[str, Any] = {}
    present: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for values, *_ in parts for name in values):
        rows = torch.tensor([row for row in range(size) if name in parts[row][0]])
        value = _collated([parts[row][0][name] for row in rows.tolist()], f"{what}: {name!r}")
        inputs[name] = value if len(rows) == size else map_tensors(partial(_placed, rows=rows, size=size), value)
        mask = torch.tensor([name in parts[row][0] and bool(given[row].get(name, True)) for row in range(size)])
        if len(rows) < size or any(name in masks for masks in given):
            present[name] = mask
    return Batch(inputs, _collated([target for _, target, *_ in parts], f"{what}: the targets"), present)


def _placed(values: Tensor, *, rows: Tensor, size: int) -> Tensor:
    return values.new_zeros(size, *values.shape[1:]).index_copy(0, rows, values)


def _parts(sample: Any, what: str) -> tuple[Any, ...]:
    """Return inputs, target and, where there are any, presence masks."""
    if isinstance(sample, Batch):
        return dict(sample.inputs), sample.targets, dict(sample.present)
    if isinstance(sample, (tuple, list)) and len(sample) in (2, 3) and isinstance(sample[0], Mapping):
        nothing = next((name for name, value in sample[0].items() if value is None), None)
        if nothing is not None:
            raise InputError(f"{what}: {nothing!r} of one is None: leave out a modality that the sample lacks")
        return tuple(sample)
    hint = " (of a Hugging Face data set, from_hugging_face makes such samples)" if isinstance(sample, Mapping) else ""
    raise InputError(
        f"{what}: one is a {type(sample).__name__}; give (inputs by modality, target), or with presence masks by modality as a third{hint}"
    )


def _collated(parts: list[Any], what: str) -> Any:
    try:
        return default_collate(parts)
    except (TypeError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{what} cannot be joined to a batch: {first_line(error)}") from None
