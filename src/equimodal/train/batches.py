"""Batches from whatever holds the data: tensors, a torch data set, or the caller's own loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from equimodal.data.batch import Batch
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError
from equimodal.train import processes
from equimodal.train.seeds import derived_seed

__all__ = ["Share", "Source", "as_batch", "make_source"]


class Share(NamedTuple):
    """One process's part of a batch.

    :param batch: the samples, on the run's device.
    :param counted: how many of them count: all, or none where the process only keeps the others company.
    :param total: the samples of the whole batch, over all processes.
    """

    batch: Batch
    counted: int
    total: int


class Source:
    """One split of the data, as batches on the device."""

    def epoch(self, epoch: int) -> Iterator[Share]:
        """Yield the batches of a training epoch, shuffled by its number."""
        raise NotImplementedError

    def ordered(self) -> Iterator[Batch]:
        """Yield this process's batches in a fixed order, each sample once over all processes."""
        raise NotImplementedError

    masks: bool = False
    """Whether some samples lack a modality."""


def make_source(data: Any, name: str, *, batch_size: int, device: torch.device, seed: int) -> Source:
    """Return a source for a :class:`equimodal.data.TensorSet`, a torch ``Dataset`` of ``(inputs, target)``, or any iterable of batches.

    :param data: the split. A data set or loader yields ``(inputs, targets)`` or ``(inputs, targets, present)``, or :class:`Batch` objects.
    :param name: the split's name, for messages and seeds.
    :param batch_size: samples per batch over all processes; a loader brings its own.
    :raises InputError: for an empty split or an object that yields no batches.
    """
    if hasattr(data, "__len__") and len(data) == 0:
        raise InputError(f"the {name} split is empty")
    if isinstance(data, TensorSet):
        return _TensorSource(data, name, batch_size, device, seed)
    if isinstance(data, DataLoader):
        return _LoaderSource(data, name, device, seed)
    if isinstance(data, Dataset) or (hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (list, tuple))):
        return _LoaderSource(_loader(data, name, batch_size), name, device, seed)
    if isinstance(data, Iterable):
        return _LoaderSource(data, name, device, seed)
    raise InputError(f"the {name} split is {type(data).__name__}: give a TensorSet, a torch Dataset of (inputs, target), or a DataLoader")


class _TensorSource(Source):
    def __init__(self, data: TensorSet, name: str, batch_size: int, device: torch.device, seed: int) -> None:
        self.data = data.to(device)
        self.name = name
        self.batch_size = batch_size
        self.seed = seed
        self.masks = bool(data.present)

    def epoch(self, epoch: int) -> Iterator[Share]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.data), generator=generator).to(self.data.targets.device)
        for indices in order.split(self.batch_size):  # type: ignore[no-untyped-call]
            share = indices[processes.rank() :: processes.world_size()]
            # Every process must take part in every step, so one without samples borrows one that does not count.
            yield Share(self.data[share if len(share) else indices[:1]], len(share), len(indices))

    def ordered(self) -> Iterator[Batch]:
        starts = range(0, len(self.data), self.batch_size)
        for start in starts[processes.rank() :: processes.world_size()]:
            yield self.data[start : start + self.batch_size]


def _loader(data: Any, name: str, batch_size: int) -> DataLoader[Any]:
    world = processes.world_size()
    if name != "train":
        part = torch.utils.data.Subset(data, list(range(processes.rank(), len(data), world)))
        return DataLoader(part, batch_size=batch_size)
    if world == 1:
        return DataLoader(data, batch_size=batch_size, shuffle=True, generator=torch.Generator())
    sampler: Any = torch.utils.data.DistributedSampler(data)
    return DataLoader(data, batch_size=max(1, batch_size // world), sampler=sampler)


class _LoaderSource(Source):
    def __init__(self, loader: Iterable[Any], name: str, device: torch.device, seed: int) -> None:
        self.loader = loader
        self.name = name
        self.device = device
        self.seed = seed

    def epoch(self, epoch: int) -> Iterator[Share]:
        # The order depends on the epoch's number alone, so that a resumed run sees the batches of an undisturbed one.
        sampler = getattr(self.loader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for holder in (self.loader, sampler):
            generator = getattr(holder, "generator", None)
            if generator is not None:
                generator.manual_seed(derived_seed(self.seed, "order", epoch))
        batches = 0
        for item in self.loader:
            batch = as_batch(item, self.name).to(self.device)
            batches += 1
            yield Share(batch, len(batch), len(batch) * processes.world_size())
        if not batches:
            raise InputError(
                f"the {self.name} loader yielded no batch in epoch {epoch}: it must be iterable once per epoch, not a generator"
            )

    def ordered(self) -> Iterator[Batch]:
        for item in self.loader:
            yield as_batch(item, self.name).to(self.device)


def as_batch(item: Any, name: str) -> Batch:
    """Return a loader's item as a batch.

    :raises InputError: for anything but a :class:`Batch`, ``(inputs, targets)`` or ``(inputs, targets, present)`` with a mapping of inputs.
    """
    if isinstance(item, Batch):
        return item
    if isinstance(item, (tuple, list)) and len(item) in (2, 3) and isinstance(item[0], Mapping):
        return Batch(dict(item[0]), item[1], dict(item[2]) if len(item) == 3 else {})
    raise InputError(
        f"the {name} split yields {type(item).__name__}: give (inputs by modality, targets), or with presence masks as a third"
    )
