"""What stands for a modality in the model, sample by sample: tensors of one shape, or padded to other lengths from batch to batch."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.errors import InputError

if TYPE_CHECKING:
    from equimodal.diagnose.cache import FeatureCache, Section

__all__ = ["Values", "mean_of", "padded"]


class Place(NamedTuple):
    """Stands in a structure for the tensor of this number."""

    number: int


class Values:
    """The values of one modality: of every tensor in them the rows of all samples, and their mean.

    Batches may be padded to different lengths, or differ in other dimensions but the first. A batch is given back as it was; samples of
    several batches are padded with zeros at the end to the longest of them, as :meth:`equimodal.nn.Sequences.pad` does. In the mean what is
    beyond a batch's end counts as zero, as if all batches had been padded to the longest: a model that leaves padding out sees the same.

    :param name: of the modality, for messages.
    :param cache: keeps the rows.
    :param keep: whether rows are kept; if not, there is only the mean.
    """

    def __init__(self, name: str, cache: FeatureCache | Section, *, keep: bool = True) -> None:
        self.name = name
        self.keep = keep
        self._cache = cache
        self._templates: list[Any] = []
        self._starts: list[int] = []
        self._rows: list[_Rows] = []
        self._sums: list[_Sum] = []
        self._count = 0

    def append(self, value: Any, samples: int) -> None:
        """Take up the values of a batch.

        :param samples: how many it has.

        :raises InputError: for a value with other tensors than those before it.
        """
        tensors: list[Tensor] = []

        def taken(tensor: Tensor) -> Place:
            tensors.append(tensor.detach())
            return Place(len(tensors) - 1)

        template = map_tensors(taken, value)
        if not self._templates:
            self._rows = [_Rows(f"value {self.name} {number}", self._cache) for number in range(len(tensors))]
            self._sums = [_Sum(tensor) for tensor in tensors]
        elif len(tensors) != len(self._rows):
            raise InputError(
                f"the input of {self.name!r} has {len(self._rows)} tensors in one batch and {len(tensors)} in another: give as many always"
            )
        for tensor, rows, total in zip(tensors, self._rows, self._sums, strict=True):
            if tensor.dim() != total.dim or tensor.dtype != total.dtype:
                shapes = f"{list(total.shape)}, {total.dtype}, in one batch and {list(tensor.shape[1:])}, {tensor.dtype}, in another"
                raise InputError(f"the input of {self.name!r} has shape {shapes}: bring them to one type and as many dimensions")
            total.add(tensor)
            if self.keep:
                rows.append(tensor)
        self._starts.append(self._count)
        # Nearly always the same; what is no tensor, such as a list of names, differs from batch to batch.
        self._templates.append(self._templates[-1] if self._templates and _same(template, self._templates[-1]) else template)
        self._count += samples

    def rows(self, rows: slice | Tensor, beside: slice | None = None) -> Any:
        """Return the values of some samples.

        :param rows: a batch's, as a slice, or sample numbers.
        :param beside: samples of one batch, than whose values these shall not be shorter.
        :raises InputError: for samples of several batches whose values differ in more than their tensors.
        """
        first = rows.start if isinstance(rows, slice) else None
        if first is None and any(template is not self._templates[0] for template in self._templates):
            raise InputError(f"the input of {self.name!r} is not of tensors alone, and what else it has cannot be borrowed")
        template = self._templates[0 if first is None else bisect.bisect_right(self._starts, first) - 1]
        return map_tensors(lambda place: self._rows[place.number].of(rows, beside), template, Place)

    def mean(self) -> Any:
        """Return the mean ``[1, ...]``, added up in double precision; of whole numbers, those of one sample."""
        return map_tensors(lambda place: self._sums[place.number].divided(self._count), self._templates[0], Place)

    @property
    def floating(self) -> bool:
        """Whether there are real numbers, of which zero and a mean make sense."""
        return any(total.dtype.is_floating_point for total in self._sums)


class _Rows:
    """One tensor of the values: the rows of batches of the same shape are kept together."""

    def __init__(self, name: str, cache: FeatureCache | Section) -> None:
        self._name = name
        self._cache = cache
        self._starts: list[int] = []
        self._places: list[tuple[torch.Size, int]] = []  # of each batch the shape of a row, and which row of that shape its first one is
        self._filled: dict[torch.Size, int] = {}
        self._samples = 0

    def append(self, tensor: Tensor) -> None:
        shape = tensor.shape[1:]
        if self._filled and shape not in self._filled and len(self._filled) == 1:
            self._cache.shrink(self._key(next(iter(self._filled))))  # it was to hold all samples
        first = self._filled.get(shape, 0)
        self._cache.append(self._key(shape), tensor, expected=0 if len(self._filled.keys() | {shape}) > 1 else None)
        self._starts.append(self._samples)
        self._places.append((shape, first))
        self._filled[shape] = first + len(tensor)
        self._samples += len(tensor)

    def of(self, rows: slice | Tensor, beside: slice | None) -> Tensor:
        if len(self._filled) == 1:
            found: Tensor = self._cache[self._key(next(iter(self._filled)))][rows]
            return found
        if isinstance(rows, slice):
            batch = bisect.bisect_right(self._starts, rows.start) - 1
            (shape, first), start = self._places[batch], self._starts[batch]
            if rows.stop <= start + self._length(batch):
                return self._cache[self._key(shape)][first + rows.start - start : first + rows.stop - start]
            rows = torch.arange(rows.start, rows.stop)
        batches = torch.searchsorted(torch.tensor(self._starts), rows, right=True) - 1
        places = {batch: self._places[batch] for batch in dict.fromkeys(batches.tolist())}
        shapes = [shape for shape, _ in places.values()]
        if beside is not None:
            shapes.append(self._places[bisect.bisect_right(self._starts, beside.start) - 1][0])
        longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        like = self._cache[self._key(shapes[0])]
        together = torch.zeros(len(rows), *longest, dtype=like.dtype)
        for batch, (shape, first) in places.items():
            mine = (batches == batch).nonzero().squeeze(1)
            own = self._cache[self._key(shape)][rows[mine] - self._starts[batch] + first]
            where: tuple[Any, ...] = (mine, *(slice(size) for size in shape))
            together[where] = own
        return together

    def _length(self, batch: int) -> int:
        return (self._starts[batch + 1] if batch + 1 < len(self._starts) else self._samples) - self._starts[batch]

    def _key(self, shape: torch.Size) -> str:
        return f"{self._name} {tuple(shape)}"


class _Sum:
    """The sum of a tensor's rows; of whole numbers the first row, as a mean of those says nothing."""

    def __init__(self, like: Tensor) -> None:
        self.dtype = like.dtype
        self.dim = like.dim()
        self._floating = like.is_floating_point()
        self._total = torch.zeros(like.shape[1:], dtype=torch.float64) if self._floating else like[0].cpu()

    @property
    def shape(self) -> torch.Size:
        return self._total.shape

    def add(self, tensor: Tensor) -> None:
        if not self._floating:
            return
        # Added up where the model runs, as sums of many rows are quick there; Apple's devices have no double precision.
        tensor = tensor.cpu() if tensor.device.type == "mps" else tensor
        own = tensor.sum(dim=0, dtype=torch.float64).cpu()
        longest = [max(sizes) for sizes in zip(own.shape, self._total.shape, strict=True)]
        self._total = padded(self._total, longest) + padded(own, longest)

    def divided(self, count: int) -> Tensor:
        return (self._total / count if self._floating else self._total).to(self.dtype).unsqueeze(0)


def padded(tensor: Tensor, shape: list[int] | torch.Size) -> Tensor:
    """Return a tensor cut at the end, or padded there with zeros, to a shape of as many dimensions.

    >>> padded(torch.ones(1, 3), [2, 2]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if list(tensor.shape) == list(shape):
        return tensor
    found = tensor.new_zeros(shape)
    common = tuple(slice(min(sizes)) for sizes in zip(tensor.shape, shape, strict=True))
    found[common] = tensor[common]
    return found


def mean_of(tensor: Tensor) -> Tensor:
    """Return the mean of the rows ``[1, ...]``, a part at a time."""
    total = torch.zeros(tensor.shape[1:], dtype=torch.float64)
    for part in tensor.split(4096):  # type: ignore[no-untyped-call]
        total += part.double().sum(dim=0)
    return (total / len(tensor)).to(tensor.dtype).unsqueeze(0)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):  # arrays, of which only the caller knows what they are for
        return False
