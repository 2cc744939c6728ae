"""Batches from whatever holds the data: tensors, a torch data set, or the caller's own loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from equimodal import processes
from equimodal.data.augment import Augmentations, augmented
from equimodal.data.batch import Batch, map_tensors
from equimodal.data.samples import fetched, joined
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError
from equimodal.train.seeds import derived_seed

if TYPE_CHECKING:
    from torch import nn

    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["Check", "Share", "Source", "TargetCheck", "as_batch", "length", "make_source"]

Check = Callable[[Tensor, str], None]
"""Refuses targets that do not suit the task; the second argument says what holds them."""


class TargetCheck:
    """Refuses targets that do not suit a task or a model; of a model that does not say its ``num_outputs``, once it has predicted.

    :param task: whose targets they are.
    :param model: the model that is to predict them.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self.task = task
        self.outputs: int | None = getattr(model, "num_outputs", None)
        self._waiting: list[tuple[Tensor, str]] = []

    def __call__(self, targets: Tensor, where: str) -> None:
        """Check targets; ``where`` says what holds them."""
        self.task.check(targets, where, self.outputs)
        if self.outputs is None:
            self._waiting.append((targets, where))

    def saw(self, prediction: Prediction) -> None:
        """Take the number of outputs from the first prediction, and look again at what was checked without it."""
        if self.outputs is None and prediction.multimodal.dim() > 1:
            self.outputs = prediction.multimodal.shape[1]
            while self._waiting:
                self.task.check(*self._waiting.pop(0), self.outputs)


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
        """Yield this process's batches in an order that is always the same, each sample once over all processes."""
        raise NotImplementedError

    def saw(self, prediction: Prediction) -> None:
        """Look at what a model made of a batch, before it is compared with the targets."""
        if isinstance(self.check, TargetCheck):
            self.check.saw(prediction)

    check: Check
    masks: bool = True
    """Whether some samples may lack a modality."""
    samples: int | None = None
    """How many samples there are, where that is known."""


def make_source(
    data: Any,
    name: str,
    check: Check,
    *,
    batch_size: int,
    device: torch.device,
    seed: int,
    augment: Augmentations | None = None,
    modalities: Sequence[str] = (),
) -> Source:
    """Return a source for a :class:`equimodal.data.TensorSet`, a torch ``Dataset`` of ``(inputs, target)``, or any iterable of batches.

    :param data: the split. A data set yields samples and a loader batches: ``(inputs, targets)`` or ``(inputs, targets, present)``, or
        :class:`Batch` objects. Where there are several processes, a loader yields the part of its process.
    :param name: the split's name, for messages and seeds.
    :param check: looks at the targets.
    :param batch_size: samples per batch over all processes; a loader brings its own.
    :param augment: random changes of the samples of :meth:`Source.epoch`, by modality.
    :param modalities: what the model sees. A batch of a data set in which no sample has one of them still has an entry for it, and a mask
        that says so: a model of that modality alone needs it.
    :raises InputError: for an empty split, an object that yields no batches, or a loader that is to be augmented.
    """
    if length(data) == 0:
        raise InputError(f"the {name} split is empty")
    if isinstance(data, TensorSet):
        check(data.targets, f"the {name} split")
        return _TensorSource(data.to(device) if _resident(data, device) else data, name, check, batch_size, device, seed, augment)
    if isinstance(data, Iterator):
        raise InputError(
            f"the {name} split is a {type(data).__name__}, which can be read only once: give a list of batches or a DataLoader"
        )
    if augment and (isinstance(data, (DataLoader, list, tuple)) or not hasattr(data, "__getitem__")):
        raise InputError(
            f"the {name} split is a {type(data).__name__}, which brings its own batches: let it augment them, or give a Dataset"
        )
    if isinstance(data, DataLoader):
        return _LoaderSource(data, name, check, device, seed)
    if isinstance(data, Dataset) or (hasattr(data, "__getitem__") and not isinstance(data, (list, tuple, Mapping))):
        if not isinstance(data, IterableDataset) and length(data) is not None:
            source = _DatasetSource(data, name, check, batch_size, device, seed, augment)
            source.modalities = tuple(modalities)
            return source
    elif isinstance(data, Iterable) and not isinstance(data, Mapping):
        return _LoaderSource(data, name, check, device, seed)
    raise InputError(f"the {name} split is a {type(data).__name__}: give a TensorSet, a torch Dataset of (inputs, target), or a DataLoader")


def length(data: Any) -> int | None:
    """Return the length of a split, or None where it does not know."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


class _IndexedSource(Source):
    """Samples by number: every process takes its part of the same batches."""

    def __init__(
        self,
        data: Any,
        name: str,
        check: Check,
        batch_size: int,
        device: torch.device,
        seed: int,
        augment: Augmentations | None = None,
    ) -> None:
        self.data = data
        self.name = name
        self.check = check
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self.augment = augment or {}
        self.samples = len(data)
        self.index_device = torch.device("cpu")
        self._blanks: dict[str, Any] = {}

    def select(self, which: Tensor | slice) -> Batch:
        """Return the samples of these numbers as a batch."""
        raise NotImplementedError

    def epoch(self, epoch: int) -> Iterator[Share]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.data), generator=generator).to(self.index_device)
        # One stream of numbers for each augmentation, so that one more of them leaves the others' draws as they were.
        generators = {
            (modality, place): torch.Generator().manual_seed(derived_seed(self.seed, "augment", modality, place, epoch))
            for modality, steps in self.augment.items()
            for place in range(len(steps))
        }
        for indices in order.split(self.batch_size):  # type: ignore[no-untyped-call]
            mine = slice(processes.rank(), None, processes.world_size())
            counted = len(indices[mine])
            # Every process must take part in every step, so one without samples borrows one that does not count.
            mine = mine if counted else slice(0, 1)
            batch = augmented(self.select(indices[mine]), self.augment, generators, len(indices), mine)
            yield Share(batch, counted, len(indices))

    def ordered(self) -> Iterator[Batch]:
        starts = range(0, len(self.data), self.batch_size)
        for start in starts[processes.rank() :: processes.world_size()]:
            yield self.select(slice(start, start + self.batch_size))


class _TensorSource(_IndexedSource):
    """Batches by index where the data are: on the device where they fit, else from where they are, a batch at a time."""

    def __init__(self, data: TensorSet, *settings: Any) -> None:
        super().__init__(data, *settings)
        self.index_device = data.targets.device
        self.streams = self.index_device != torch.empty(0, device=self.device).device  # which knows its number, as "cuda" does not
        self.masks = bool(data.present)

    def select(self, which: Tensor | slice) -> Batch:
        batch: Batch
        if self.streams:
            stored = self.data.stored(which)
            # The copy from pinned memory runs while the device computes; what is stored small is decoded there.
            batch = self.data.decoded((stored.pinned() if self.device.type == "cuda" else stored).to(self.device))
        else:
            batch = self.data[which]
        return batch


def _resident(data: TensorSet, device: torch.device) -> bool:
    """Tell whether a split is kept on the device.

    Memory-mapped rows stay where they are when the CPU trains: the system keeps in memory what fits.
    """
    if data.residence != "auto":
        return data.residence == "device"
    if device.type == "cpu":
        return data.rows is None
    free = _free_memory(device)
    return free is None or data.nbytes <= free // 2


def _free_memory(device: torch.device) -> int | None:
    """Return how many bytes a device has left, where it says so."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


class _DatasetSource(_IndexedSource):
    modalities: tuple[str, ...] = ()

    def select(self, which: Tensor | slice) -> Batch:
        numbers = range(len(self.data))[which] if isinstance(which, slice) else which.tolist()
        samples = fetched(self.data, list(numbers))
        batch = as_batch(joined(samples, f"samples of the {self.name} split"), self.name, self.check)
        batch = dataclasses.replace(batch, indices=torch.as_tensor(list(numbers)))
        for modality in self.modalities:
            if modality not in batch.inputs:
                batch = self._without(batch, modality)
        return batch.to(self.device)

    def _without(self, batch: Batch, modality: str) -> Batch:
        """Return a batch with zeros for a modality that none of its samples has."""
        blank = self._blank(modality)
        if blank is None:
            return batch
        rows = map_tensors(lambda tensor: tensor.expand(len(batch), *tensor.shape[1:]), blank)
        nowhere = torch.zeros(len(batch), dtype=torch.bool)
        return dataclasses.replace(batch, inputs={**batch.inputs, modality: rows}, present={**batch.present, modality: nowhere})

    def _blank(self, modality: str) -> Any:
        """Return zeros like the first sample that has a modality, so that nothing depends on what was read before."""
        if modality not in self._blanks:
            found = None
            for number in range(len(self.data)):
                one = joined(fetched(self.data, [number]), f"samples of the {self.name} split")
                if modality in one.inputs:
                    found = map_tensors(torch.zeros_like, one.inputs[modality])
                    break
            self._blanks[modality] = found
        return self._blanks[modality]


class _LoaderSource(Source):
    def __init__(self, loader: Iterable[Any], name: str, check: Check, device: torch.device, seed: int) -> None:
        self.loader = loader
        self.name = name
        self.check = check
        self.device = device
        self.seed = seed
        self.samples = length(getattr(loader, "dataset", None))

    def _shuffle(self, epoch: int) -> None:
        """Let the order depend on the epoch's number alone, so that a resumed run sees the batches of an undisturbed one."""
        sampler, batch_sampler = getattr(self.loader, "sampler", None), getattr(self.loader, "batch_sampler", None)
        for holder in (self.loader, sampler, batch_sampler, getattr(batch_sampler, "sampler", None)):
            if hasattr(holder, "set_epoch"):
                holder.set_epoch(epoch)  # type: ignore[union-attr]
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(derived_seed(self.seed, "order", epoch))

    def epoch(self, epoch: int) -> Iterator[Share]:
        self._shuffle(epoch)
        for batch in self._batches():
            yield Share(batch, len(batch), len(batch) * processes.world_size())

    def ordered(self) -> Iterator[Batch]:
        self._shuffle(0)
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        batches = 0
        for item in self.loader:
            batches += 1
            yield as_batch(item, self.name, self.check).to(self.device)
        if not batches:
            raise InputError(f"the {self.name} loader yielded no batch: it must yield its batches anew every epoch")


def as_batch(item: Any, name: str, check: Check) -> Batch:
    """Return a loader's item as a batch.

    :raises InputError: for anything but a :class:`Batch`, ``(inputs, targets)`` or ``(inputs, targets, present)`` with a mapping of inputs,
        and for targets that are no tensor, do not suit the task, or are of another number than the inputs.
    """
    if isinstance(item, Batch):
        batch = item
    elif isinstance(item, (tuple, list)) and len(item) in (2, 3) and isinstance(item[0], Mapping):
        batch = Batch(dict(item[0]), item[1], dict(item[2]) if len(item) == 3 else {})
    else:
        raise InputError(
            f"the {name} split yields {type(item).__name__}: give (inputs by modality, targets), or with presence masks as a third"
        )
    where = f"a batch of the {name} split"
    if not isinstance(batch.targets, Tensor):
        raise InputError(f"{where} has targets of type {type(batch.targets).__name__}: give a tensor")
    check(batch.targets, where)
    for modality, mask in batch.present.items():
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (len(batch),):
            raise InputError(f"{where} has a presence mask of {modality!r} that is no torch.bool tensor [{len(batch)}]")
    for modality, value in batch.inputs.items():
        map_tensors(lambda tensor, modality=modality: _as_long(tensor, batch, f"{where}: {modality!r}"), value)  # type: ignore[misc]
    return batch


def _as_long(tensor: Tensor, batch: Batch, what: str) -> Tensor:
    if tensor.dim() == 0 or len(tensor) != len(batch):
        raise InputError(f"{what} has shape {list(tensor.shape)} and there are {len(batch)} targets: the first dimension must be the batch")
    return tensor
