"""A data set held as tensors: batches by index, no worker processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from equimodal.data.batch import Batch, map_tensors
from equimodal.errors import InputError

__all__ = ["TensorSet"]

_IN_MEMORY = 2**28
"""So many bytes are brought to a device at a time."""


class TensorSet(Dataset[Batch]):
    """Samples of several modalities held as tensors, so that a batch is one indexing operation on their device.

    >>> samples = TensorSet({"image": torch.zeros(5, 1, 8, 8), "audio": torch.zeros(5, 20)}, torch.arange(5))
    >>> len(samples), samples[torch.tensor([0, 3])].targets.tolist()
    (5, [0, 3])

    The tensors may be memory-mapped files, larger than memory, of which this set uses some rows; and they may be stored in a smaller type
    than encoders take, such as pictures in bytes. ``inputs`` holds them as they are stored; whatever is selected is decoded.

    >>> from equimodal.data.decode import Scaled
    >>> pictures = torch.tensor([[0], [51], [255]], dtype=torch.uint8)
    >>> chosen = TensorSet({"image": pictures}, torch.tensor([1, 0]), rows=torch.tensor([2, 0]), decode={"image": Scaled(1 / 255)})
    >>> chosen[:].inputs["image"]
    tensor([[1.],
            [0.]])

    :param inputs: one entry per modality: a tensor ``[rows, ...]`` or a tuple or mapping of such tensors.
    :param targets: ``[samples]`` class numbers, or ``[samples, outputs]`` for multilabel targets and regression.
    :param present: for modalities that some samples lack, a boolean mask ``[samples]``.
    :param rows: ``[samples]``, the row of the inputs that holds each sample; by default rows are samples. Targets and masks are by sample.
    :param decode: for a modality, what turns a batch of its stored values into the encoder's input, on the batch's device.
    :param residence: where training keeps the inputs: ``"device"``; ``"stream"``, where they are and batch by batch to the device; or
        ``"auto"`` (default), on the device if they take at most half of its free memory. Results are the same.
    :raises InputError: when the lengths differ, a mask is of another type or of no known modality, or a row is not there.
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        targets: Tensor,
        present: Mapping[str, Tensor] | None = None,
        *,
        rows: Tensor | None = None,
        decode: Mapping[str, Callable[[Any], Any]] | None = None,
        residence: Literal["auto", "device", "stream"] = "auto",
    ) -> None:
        self.inputs = dict(inputs)
        self.targets = targets
        self.present = dict(present or {})
        self.rows = rows
        self.decode = dict(decode or {})
        self.residence = residence
        if residence not in ("auto", "device", "stream"):
            raise InputError(f"residence={residence!r}: auto, device or stream is needed")
        if rows is not None:
            self._checked("rows", rows)
        for name, value in self.inputs.items():
            map_tensors(lambda tensor, name=name: self._check_rows(name, tensor), value)  # type: ignore[misc]
        for name, mask in self.present.items():
            if name not in self.inputs:
                raise InputError(f"a presence mask is given for {name!r}, which is not among the modalities {', '.join(self.inputs)}")
            if mask.dtype != torch.bool:
                raise InputError(f"the presence mask of {name!r} has type {mask.dtype}: make it torch.bool")
            self._checked(f"{name} presence mask", mask)
        for name in self.decode:
            if name not in self.inputs:
                raise InputError(f"decode names {name!r}, which is not among the modalities {', '.join(self.inputs)}")

    def _check_rows(self, name: str, tensor: Tensor) -> Tensor:
        if self.rows is None:
            return self._checked(name, tensor)
        low, high = (int(bound) for bound in self.rows.aminmax()) if len(self.rows) else (0, -1)
        if low < 0 or high >= len(tensor):
            raise InputError(f"{name!r} has {len(tensor)} rows, and row {low if low < 0 else high} is asked for")
        return tensor

    def _checked(self, name: str, tensor: Tensor) -> Tensor:
        if len(tensor) != len(self.targets):
            raise InputError(f"{name!r} has {len(tensor)} samples and the targets have {len(self.targets)}: they must be equal")
        return tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> Batch:
        """Select samples by an index tensor (a batch), a slice (a batch) or a number (one sample, without batch dimension)."""
        return self.decoded(self.stored(index))

    def stored(self, index: Any) -> Batch:
        """Select samples as they are stored; :meth:`decoded` does the rest, where training on another device does it."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            indices = torch.arange(start, max(start, stop), step, device=self.targets.device)
        else:
            indices = torch.as_tensor(index, device=self.targets.device)
        rows: Any = index if self.rows is None else self.rows[index]

        def select(tensor: Tensor) -> Tensor:
            return tensor[rows]

        return Batch(
            {name: map_tensors(select, value) for name, value in self.inputs.items()},
            self.targets[index],
            {name: mask[index] for name, mask in self.present.items()},
            indices,
        )

    def decoded(self, batch: Batch) -> Batch:
        """Return what :meth:`stored` selected, as the encoders take it."""
        if not self.decode:
            return batch
        inputs = {name: self.decode[name](value) if name in self.decode else value for name, value in batch.inputs.items()}
        return dataclasses.replace(batch, inputs=inputs)

    @property
    def nbytes(self) -> int:
        """How many bytes the inputs of these samples take, as they are stored."""
        sizes: list[int] = []

        def measure(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes // max(len(tensor), 1) * len(self))
            return tensor

        for value in self.inputs.values():
            map_tensors(measure, value)
        return sum(sizes)

    def to(self, device: torch.device | str) -> TensorSet:
        """Return the data set on a device, with the rows that it uses alone."""
        place = torch.device(device)
        rows = self.rows

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(place)

        def pick(tensor: Tensor) -> Tensor:
            if rows is None:
                return move(tensor)
            if place == tensor.device:
                return tensor[rows]
            # Piece by piece: the rows of a file may be more than memory next to the device holds.
            found = torch.empty((len(rows), *tensor.shape[1:]), dtype=tensor.dtype, device=place)
            together = max(1, _IN_MEMORY * len(tensor) // max(tensor.nbytes, 1))
            for start in range(0, len(rows), together):
                found[start : start + together] = tensor[rows[start : start + together]].to(place)
            return found

        return self._like(
            {name: map_tensors(pick, value) for name, value in self.inputs.items()},
            move(self.targets),
            {name: move(mask) for name, mask in self.present.items()},
            None,
        )

    def subset(self, indices: Tensor) -> TensorSet:
        """Return the samples of the given numbers, in that order; of a set with ``rows``, without copying their inputs."""
        if self.rows is None:
            chosen = self.stored(indices)
            return self._like(chosen.inputs, chosen.targets, chosen.present, None)
        present = {name: mask[indices] for name, mask in self.present.items()}
        return self._like(self.inputs, self.targets[indices], present, self.rows[indices])

    def only(self, modality: str) -> TensorSet:
        """Return the samples with one modality alone."""
        present = {name: mask for name, mask in self.present.items() if name == modality}
        return self._like({modality: self.inputs[modality]}, self.targets, present, self.rows)

    def _like(self, inputs: Mapping[str, Any], targets: Tensor, present: Mapping[str, Tensor], rows: Tensor | None) -> TensorSet:
        decode = {name: function for name, function in self.decode.items() if name in inputs}
        return TensorSet(inputs, targets, present, rows=rows, decode=decode, residence=self.residence)
