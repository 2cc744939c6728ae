"""Data sets of the Hugging Face library ``datasets``, as splits to train on. The library itself is not imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from equimodal.data.base import Splits
from equimodal.data.hugging_face_columns import Column, Reader, look_at, tensor_of
from equimodal.data.samples import Samples
from equimodal.errors import InputError, nearest
from equimodal.nn.encoders.sequence import Sequences

__all__ = ["HuggingFaceSamples", "from_hugging_face"]

_SPLITS = {"train": ("train", "training"), "val": ("validation", "val", "valid", "dev"), "test": ("test",)}
_TOGETHER = 10_000  # targets read at once


def from_hugging_face(
    dataset: Any,
    inputs: Mapping[str, str | Sequence[str]],
    target: str | Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    length: int | Mapping[str, int] | None = None,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    scaled: bool = True,
    splits: Mapping[str, str] | None = None,
) -> Any:
    """Make splits from a Hugging Face data set, read batch by batch where it lies, in one call for each batch.

    What a modality becomes:

    - one column of numbers or of lists of one length: a float tensor;
    - one column of lists of different lengths: of whole numbers ``{"input_ids", "attention_mask"}``, of others
      :class:`equimodal.nn.Sequences`, padded with zeros to the longest of the batch;
    - one column of pictures: float tensors ``[channels, height, width]`` from 0 to 1;
    - several columns: a mapping of tensors by column, as ``transformers`` takes it; where all hold single numbers, one vector of them.

    Targets: class numbers of a ``ClassLabel`` or of whole numbers; texts, with ``classes``; of a list of ``ClassLabel`` zeros and ones;
    several columns, or a column of lists, side by side as floats.

    :param dataset: a ``Dataset``, or a ``DatasetDict`` for all three splits at once.
    :param inputs: for each modality its column, or its columns.
    :param target: the column, or columns, to predict.
    :param classes: the labels in the order of their numbers, where the column holds texts.
    :param optional: modalities that a sample may lack: where a column is null, the presence mask is false.
    :param length: the length to which lists of different lengths are cut or padded, for all modalities or by modality.
    :param size: height and width that pictures are brought to; where it is not given, they must all be of one size.
    :param mode: ``"RGB"`` or ``"L"`` (grey) for all pictures; as the first one is where not given.
    :param scaled: leave pictures as bytes from 0 to 255 when false, for encoders that take them so.
    :param splits: the names of the splits of a ``DatasetDict`` where they are not the usual ones, as in ``{"val": "dev_matched"}``.
    :returns: :class:`HuggingFaceSamples`, or :class:`equimodal.data.Splits` of them for a ``DatasetDict``.
    :raises InputError: for an unknown column or split (with the nearest one), and for values that make no tensors.
    """
    named = _named(dataset, splits) if isinstance(dataset, Mapping) else {"": dataset}
    readers = {name: Reader(part, f"the {name} split" if name else "the data set") for name, part in named.items()}
    plan = _Plan(list(readers.values()), inputs, target, classes, optional, length, size, mode, scaled)
    made = {name: HuggingFaceSamples(reader, plan) for name, reader in readers.items()}
    return made[""] if "" in made else Splits(**cast("dict[str, Any]", made))


class HuggingFaceSamples(Samples):
    """Samples of a Hugging Face data set, as :func:`from_hugging_face` makes them.

    :param reader: reads its rows.
    :param plan: what is made of them.
    :param modality: the only modality to keep; all where not given.
    """

    def __init__(self, reader: Reader, plan: _Plan, modality: str | None = None) -> None:
        super().__init__(reader.dataset, modality)
        self.reader = reader
        self.plan = plan

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes or labels, where they have names."""
        return self.plan.class_names

    @property
    def num_outputs(self) -> int:
        """How many classes, labels or numbers there are to predict; of class numbers without names, one more than the highest."""
        if self.plan.class_names is not None:
            return len(self.plan.class_names)
        return int(self.targets.max()) + 1 if self.targets.dim() == 1 else self.targets.shape[1]

    @cached_property
    def targets(self) -> Tensor:
        """The targets of all samples, read from their column alone."""
        numbers = range(len(self))
        pieces = [numbers[start : start + _TOGETHER] for start in range(0, len(self), _TOGETHER)]
        read = [(piece, self.reader.rows(piece, self.plan.targets)) for piece in pieces]
        return torch.stack([self.plan.target(self.reader, found, place, row) for piece, found in read for place, row in enumerate(piece)])

    def only(self, modality: str) -> HuggingFaceSamples:
        """Return the samples with one modality alone."""
        return HuggingFaceSamples(self.reader, self.plan, modality)

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples, lists padded to the longest among them."""
        inputs = self.plan.inputs if self.modality is None else {self.modality: self.plan.inputs[self.modality]}
        names = list(dict.fromkeys([*(column.name for columns in inputs.values() for column in columns), *self.plan.targets]))
        found = self.reader.rows(numbers, names)
        held = {modality: self.plan.values(self.reader, modality, found, numbers) for modality in inputs}
        samples = []
        for place, row in enumerate(numbers):
            target = self.plan.target(self.reader, found, place, row)
            sample = ({modality: values[place] for modality, (values, _) in held.items()}, target)
            masks = {modality: present[place] for modality, (_, present) in held.items() if modality in self.plan.optional}
            samples.append((*sample, masks) if masks else sample)
        return samples


class _Plan:
    """What becomes of which column; the same for all splits."""

    def __init__(
        self,
        readers: Sequence[Reader],
        inputs: Mapping[str, str | Sequence[str]],
        target: str | Sequence[str],
        classes: Sequence[str] | None,
        optional: Sequence[str],
        length: int | Mapping[str, int] | None,
        size: tuple[int, int] | None,
        mode: str | None,
        scaled: bool,
    ) -> None:
        _check(inputs, target, optional, length, size, mode)
        self.optional = frozenset(optional)
        self.resized = size is not None
        self.scaled = scaled
        self.forced = mode is not None
        self.inputs = {
            modality: [look_at(readers, name, mode, size) for name in ([columns] if isinstance(columns, str) else columns)]
            for modality, columns in inputs.items()
        }
        self.single = {modality: isinstance(columns, str) for modality, columns in inputs.items()}
        self.length = dict(length) if isinstance(length, Mapping) else {} if length is None else dict.fromkeys(inputs, length)
        self.targets = [target] if isinstance(target, str) else list(target)
        for reader in readers:
            for name in self.targets:
                reader.check(name)
        self.classes = None if classes is None else {name: number for number, name in enumerate(classes)}
        self.several, self.class_names = self._labels(readers)

    def _labels(self, readers: Sequence[Reader]) -> tuple[bool, tuple[str, ...] | None]:
        """Return whether a target is a list of labels, and the names of classes or labels."""
        if len(self.targets) > 1:
            return False, None
        features = [reader.features.get(self.targets[0]) for reader in readers]
        inner = [getattr(feature, "feature", None) for feature in features]
        several = all(getattr(feature, "names", None) for feature in inner)
        if self.classes is not None:
            return several, tuple(self.classes)
        names = [getattr(feature, "names", None) for feature in (inner if several else features)]
        if any(other != names[0] for other in names):
            raise InputError(
                f"column {self.targets[0]!r} has other class names in {readers[0].where} than elsewhere: cast them to one ClassLabel"
            )
        return several, tuple(names[0]) if names[0] else None

    def values(self, reader: Reader, modality: str, found: Mapping[str, list[Any]], rows: Sequence[int]) -> tuple[list[Any], list[bool]]:
        """Return a modality's values, one per row, and which rows have it."""
        columns = self.inputs[modality]
        lacks = modality in self.optional
        held = [not lacks or all(_is_there(found[column.name][place]) for column in columns) for place in range(len(rows))]
        parts: dict[str, list[Tensor]] = {}
        lengths = [0] * len(rows)
        for column in columns:
            tensors = [
                self._tensor(reader, column, found[column.name][place], row) if held[place] else self._nothing(column)
                for place, row in enumerate(rows)
            ]
            if column.ragged:
                cut = self.length.get(modality)
                tensors = [tensor[:cut] for tensor in tensors]
                lengths = [len(tensor) if there else 0 for tensor, there in zip(tensors, held, strict=True)]
                tensors = _padded(tensors, cut)
            parts[column.name] = tensors
        return self._shaped(modality, columns, parts, lengths), held

    def _tensor(self, reader: Reader, column: Column, value: Any, row: int) -> Tensor:
        def place() -> str:
            return f"row {row} of {reader.where}: column {column.name!r}"

        if value is None:
            raise InputError(f"{place()} is null: fill it in, leave the row out, or name the modality in optional=")
        tensor = tensor_of(column, value, place, resized=self.resized, forced=self.forced)
        return tensor.float() / 255 if column.mode is not None and self.scaled else tensor

    def _nothing(self, column: Column) -> Tensor:
        """Return what stands in the place of a value that is not there."""
        kind = torch.int64 if column.whole else torch.uint8 if column.mode is not None and not self.scaled else torch.float32
        return torch.zeros([1 if size is None else size for size in column.shape], dtype=kind)

    def _shaped(self, modality: str, columns: Sequence[Column], parts: dict[str, list[Tensor]], lengths: Sequence[int]) -> list[Any]:
        """Return one value per row, in the form that encoders take."""
        first = columns[0]
        if self.single[modality]:
            tensors = parts[first.name]
            if not first.ragged:
                return tensors if first.mode is not None else [tensor.float().reshape(tensor.shape or (1,)) for tensor in tensors]
            if first.whole and len(first.shape) == 1:
                return [
                    {"input_ids": tensor, "attention_mask": _mask(tensor, count)} for tensor, count in zip(tensors, lengths, strict=True)
                ]
            steps = [tensor.float().reshape(len(tensor), -1) for tensor in tensors]
            return [Sequences(tensor, torch.tensor(count)) for tensor, count in zip(steps, lengths, strict=True)]
        if all(not column.shape for column in columns):
            return [torch.stack([tensor.float() for tensor in row]) for row in zip(*parts.values(), strict=True)]
        if "attention_mask" not in parts and any(column.name == "input_ids" and column.ragged for column in columns):
            parts["attention_mask"] = [_mask(tensor, count) for tensor, count in zip(parts["input_ids"], lengths, strict=True)]
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]

    def target(self, reader: Reader, found: Mapping[str, list[Any]], place: int, row: int) -> Tensor:
        """Return one row's target."""
        values = [found[name][place] for name in self.targets]
        for name, value in zip(self.targets, values, strict=True):
            if not _is_there(value):
                raise InputError(f"row {row} of {reader.where}: column {name!r} is null: leave the row out")
        if len(values) > 1:
            return torch.tensor([float(value) for value in values])
        return self._one_target(values[0], f"row {row} of {reader.where}: column {self.targets[0]!r}")

    def _one_target(self, value: Any, where: str) -> Tensor:
        if isinstance(value, str) or getattr(getattr(value, "dtype", None), "kind", "") in "UO":
            texts = [value] if isinstance(value, str) or not value.shape else [str(item) for item in value]
            if self.classes is None:
                raise InputError(f"{where} holds the text {str(texts[0])!r}: give the labels with classes=, or use class_encode_column()")
            numbers = [self._number(str(text), where) for text in texts]
            return torch.tensor(numbers[0]) if isinstance(value, str) or not value.shape else self._indicators(numbers)
        if self.several:
            return self._indicators([int(number) for number in value])
        if not value.shape and value.dtype.kind in "biu":
            if int(value) < 0 or (self.class_names is not None and int(value) >= len(self.class_names)):
                raise InputError(f"{where} holds {int(value)}, which is no class: leave out rows without a label")
            return torch.tensor(int(value))
        return torch.as_tensor(value, dtype=torch.float32).reshape(-1)

    def _number(self, text: str, where: str) -> int:
        classes = self.classes or {}
        if text not in classes:
            raise InputError(f"{where} holds the unknown label {text!r}: {nearest(text, classes)}")
        return classes[text]

    def _indicators(self, numbers: Sequence[int]) -> Tensor:
        marks = torch.zeros(len(self.class_names or ()))
        marks[list(numbers)] = 1
        return marks


def _named(dataset: Mapping[str, Any], splits: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the three splits of a ``DatasetDict``."""
    found = {}
    for name, usual in _SPLITS.items():
        wanted = (splits or {}).get(name)
        if wanted is not None and wanted not in dataset:
            raise InputError(f"the data set has no split {wanted!r}: {nearest(wanted, dataset)}")
        key = wanted or next((other for other in usual if other in dataset), None)
        if key is None:
            raise InputError(
                f"the data set has the splits {', '.join(dataset)}: name the one for {name} with splits={{{name!r}: NAME}},"
                " or make one with train_test_split()"
            )
        found[name] = dataset[key]
    return found


def _check(
    inputs: Any,
    target: Any,
    optional: Sequence[str],
    length: int | Mapping[str, int] | None,
    size: Any,
    mode: str | None,
) -> None:
    """Refuse what no data set could be read with."""
    if not isinstance(inputs, Mapping) or not inputs or not all(inputs.values()):
        raise InputError(f"inputs={inputs!r}: name for each modality its column or columns, such as {{'text': 'input_ids'}}")
    if not target:
        raise InputError(f"target={target!r}: name the column to predict, or several")
    for what, names in (("optional", optional), ("length", length if isinstance(length, Mapping) else ())):
        for name in names:
            if name not in inputs:
                raise InputError(f"{what} names {name!r}, which is no modality: {nearest(str(name), inputs)}")
    if mode not in (None, "L", "RGB"):
        raise InputError(f"mode={mode!r}: 'RGB' or 'L' is needed")
    for given in length.values() if isinstance(length, Mapping) else () if length is None else (length,):
        if not _is_count(given):
            raise InputError(f"length={given!r}: a whole number of at least 1 is needed")
    if size is not None and (not isinstance(size, (tuple, list)) or len(size) != 2 or not all(map(_is_count, size))):
        raise InputError(f"size={size!r}: height and width in pixels are needed, such as (32, 32)")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_there(value: Any) -> bool:
    """Tell whether a value is there; NumPy reads a null among numbers as NaN."""
    return value is not None and not (getattr(value, "shape", None) == () and value.dtype.kind == "f" and value != value)


def _padded(tensors: Sequence[Tensor], length: int | None) -> list[Tensor]:
    longest = length or max(1, *(len(tensor) for tensor in tensors))
    return [nn.functional.pad(tensor, [0, 0] * (tensor.dim() - 1) + [0, longest - len(tensor)]) for tensor in tensors]


def _mask(tensor: Tensor, length: int) -> Tensor:
    return (torch.arange(len(tensor)) < length).long()
