"""Columns of a Hugging Face data set as tensors: numbers, lists of fixed or of different lengths, pictures.

Nothing of ``datasets`` is imported: columns are told apart by what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.errors import InputError, first_line, nearest, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Column", "Reader", "look_at", "tensor_of"]

_LOOKED = 32  # rows that tell what a column holds where nothing else does
_TOGETHER = 10_000  # rows whose lengths are asked for at once
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True)
class Column:
    """What a column holds.

    :param name: its name.
    :param shape: of a sample; the first size is None where samples differ in it. Of a picture: channels, height, width.
    :param whole: whether its numbers are whole ones.
    :param mode: of pictures, the mode they are brought to.
    """

    name: str
    shape: tuple[int | None, ...]
    whole: bool = False
    mode: str | None = None

    @property
    def ragged(self) -> bool:
        """Whether samples differ in length."""
        return bool(self.shape) and self.shape[0] is None


class Reader:
    """Reads several rows of some columns in one call, each in the form that is quickest to use.

    :param dataset: the Hugging Face data set, or anything with ``column_names`` and columns of lists for a list of numbers.
    :param where: what it is, for messages.
    """

    def __init__(self, dataset: Any, where: str) -> None:
        names = getattr(dataset, "column_names", None)
        if not isinstance(names, (list, tuple)) or not hasattr(dataset, "__len__"):
            raise InputError(
                f"{where} is a {type(dataset).__name__}, which cannot be read by row numbers: load it without streaming"
                if isinstance(names, (list, tuple)) or hasattr(dataset, "__iter__")
                else f"{where} is a {type(dataset).__name__}: give a Dataset or a DatasetDict of the library datasets"
            )
        self.dataset = dataset
        self.where = where
        self.features: Mapping[str, Any] = getattr(dataset, "features", None) or {}
        described = getattr(dataset, "format", None)
        # A transformation makes its own columns, from others than those that are asked for.
        self.transformed = isinstance(described, Mapping) and described.get("type") == "custom"
        self.plain = hasattr(dataset, "select_columns") and hasattr(dataset, "with_format") and not self.transformed
        self.names = list(dataset[[0]]) if self.transformed and len(dataset) else list(names)
        self._views: dict[tuple[str, ...], list[Any]] = {}

    def check(self, name: Any) -> None:
        """Refuse a column that is not there, with the nearest one."""
        if name not in self.names:
            raise InputError(f"{self.where} has no column {name!r}: {nearest(str(name), self.names)}")

    def rows(self, numbers: Sequence[int], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return for each column a list with the value of each row: an array, a picture, a text, or None."""
        if not self.plain:
            found = self._read(self.dataset, numbers)
            return {name: [_as_array(value) for value in found[name]] for name in names}
        held: dict[str, list[Any]] = {}
        for view in self._seen(tuple(names)):
            found = self._read(view, numbers)
            held |= {name: [_as_array(value) for value in found[name]] for name in view.column_names}
        return held

    def _read(self, view: Any, numbers: Sequence[int]) -> Any:
        try:
            return view[list(numbers)]
        except AttributeError:  # to NumPy the library cannot turn lists of which the first is null
            if not self.plain:
                raise
            return view.with_format(None)[list(numbers)]
        except OSError as error:  # pictures are decoded only now
            rows = f"row {numbers[0]}" if len(numbers) == 1 else f"one of the {len(numbers)} rows {numbers[0]} to {numbers[-1]}"
            raise InputError(f"{rows} of {self.where} cannot be read: {first_line(error)}") from None

    def _seen(self, names: tuple[str, ...]) -> list[Any]:
        """Return views of the data set that hold the columns: numbers as NumPy reads them, pictures and texts as they are."""
        if names not in self._views:
            others = [name for name in names if type(self.features.get(name)).__name__ == "Image" or _is_text(self.features.get(name))]
            numbers = [name for name in names if name not in others]
            views = [(numbers, "numpy"), (others, None)]
            self._views[names] = [self.dataset.select_columns(group).with_format(kind) for group, kind in views if group]
        return self._views[names]

    def lengths(self, name: str) -> tuple[int, int] | None:
        """Return the shortest and the longest list of a column, or None where that cannot be told without reading all of it."""
        if not self.plain:
            return None
        compute = require("pyarrow.compute", extra="media")
        view, found = self.dataset.select_columns([name]).with_format("arrow"), []
        for start in range(0, len(view), _TOGETHER):
            try:
                bounds = compute.min_max(compute.list_value_length(view[start : start + _TOGETHER].column(name))).as_py()
            except (NotImplementedError, TypeError, ValueError):  # no list, as far as Arrow goes
                return None
            found += [length for length in bounds.values() if length is not None]
        return (min(found), max(found)) if found else None


def look_at(readers: Sequence[Reader], name: str, mode: str | None, size: tuple[int, int] | None) -> Column:
    """Find out what a column holds, in all splits.

    :param mode: the mode that pictures are wanted in; grey or RGB, as the first one is, where not given.
    :param size: the size that pictures are wanted in; that of the first one where not given.
    :raises InputError: for a column without values, or with what makes no tensor.
    """
    for reader in readers:
        reader.check(name)
    looked = [value for reader in readers for value in reader.rows(range(min(_LOOKED, len(reader.dataset))), [name])[name]]
    values = [value for value in looked if value is not None]
    first, where = next(iter(values), None), readers[0].where
    if first is None:
        raise InputError(f"column {name!r} of {where} holds no value in its first {_LOOKED} rows")
    if _is_picture(first):
        mode = mode or ("L" if first.mode in ("1", "L") else "RGB")
        return Column(name, ({"L": 1, "RGB": 3}[mode], *(size or (first.height, first.width))), mode=mode)
    if not hasattr(first, "dtype") or first.dtype.kind not in "biuf":
        raise InputError(f"column {name!r} of {where} holds {_brief(first)}: numbers, lists of numbers or pictures are needed")
    whole = all(value.dtype.kind in "biu" for value in values)
    shape: tuple[int | None, ...] = first.shape
    if shape and _differs(readers, name, values, whole):
        shape = (None, *shape[1:])
    return Column(name, shape, whole)


def _differs(readers: Sequence[Reader], name: str, values: Sequence[Any], whole: bool) -> bool:
    fixed = getattr(readers[0].features.get(name), "length", -1)
    if isinstance(fixed, int) and fixed >= 0:
        return False
    bounds = [reader.lengths(name) for reader in readers if len(reader.dataset)]
    known = [length for bound in bounds if bound is not None for length in bound]
    if known:
        return len(set(known)) > 1
    # What a transformation makes is not known beforehand; lists of whole numbers are most often the tokens of a text.
    return len({len(value) for value in values}) > 1 or (whole and values[0].ndim == 1 and readers[0].transformed)


def tensor_of(column: Column, value: Any, place: Callable[[], str], *, resized: bool = False, forced: bool = False) -> Tensor:
    """Return one value as a tensor: pictures as bytes, whole numbers as int64, others as float32.

    :param place: says where it stands.
    :param resized: whether pictures of another size are brought to the column's.
    :param forced: whether pictures in colour may be made grey.
    :raises InputError: for a value of another kind or shape than the column's, or numbers that are NaN or infinite.
    """
    numpy = require("numpy", extra="data")
    if column.mode is not None:
        return _pixels(column, value, place, resized, forced)
    if not hasattr(value, "dtype") or value.dtype.kind not in "biuf":
        raise InputError(f"{place()} holds {_brief(value)}: numbers are needed")
    if len(value.shape) != len(column.shape) or any(
        wanted is not None and wanted != size for wanted, size in zip(column.shape, value.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in column.shape)
        raise InputError(f"{place()} has shape {list(value.shape)}, not [{wanted}]")
    if value.dtype.kind == "f" and not bool(numpy.isfinite(value).all()):
        raise InputError(f"{place()} holds a number that is missing, NaN or infinite")
    if column.whole and value.dtype.kind == "f" and bool((value != numpy.floor(value)).any()):
        raise InputError(f"{place()} holds fractions, and the first rows whole numbers")
    return torch.as_tensor(numpy.array(value, dtype="int64" if column.whole else "float32"))


def _pixels(column: Column, value: Any, place: Callable[[], str], resized: bool, forced: bool) -> Tensor:
    numpy = require("numpy", extra="data")
    if not _is_picture(value):
        raise InputError(f"{place()} holds {_brief(value)}: a picture is needed")
    if value.mode not in _EIGHT_BITS:
        raise InputError(f"{place()} is a picture of mode {value.mode!r}: convert it to 8 bits per channel first")
    if column.mode == "L" and not forced and value.mode not in ("1", "L", "LA"):
        raise InputError(
            f"{place()} is a picture in colour (mode {value.mode!r}) among grey ones: set mode='RGB', or mode='L' for all in grey"
        )
    channels, height, width = column.shape
    converted = value if value.mode == column.mode else value.convert(column.mode)
    if resized and converted.size != (width, height):
        converted = converted.resize((width, height))
    if converted.size != (width, height):
        raise InputError(
            f"{place()} is a picture of {converted.height} × {converted.width} pixels, and the first is {height} × {width}:"
            " bring all to one size with size=(height, width)"
        )
    pixels: NDArray[Any] = numpy.array(converted, dtype="uint8")
    return torch.as_tensor(pixels).reshape(height or 0, width or 0, channels or 0).permute(2, 0, 1).contiguous()


def _is_picture(value: Any) -> bool:
    """Tell whether a value is a picture of Pillow."""
    return all(hasattr(value, name) for name in ("mode", "size", "convert", "resize"))


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _as_array(value: Any) -> Any:
    """Return a number, a list or a tensor as an array; anything else as it is."""
    numpy = require("numpy", extra="data")
    if value is None or isinstance(value, str) or _is_picture(value) or isinstance(value, Mapping):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    found = numpy.asarray(value, dtype=object) if isinstance(value, (list, tuple)) and _uneven(value) else numpy.asarray(value)
    if found.dtype == object and found.shape and all(item is not None for item in found):
        parts = [_as_array(item) for item in found]
        if len({getattr(part, "shape", None) for part in parts}) == 1:
            return numpy.stack(parts)
    return found


def _uneven(value: Sequence[Any]) -> bool:
    """Tell whether lists in a list have different lengths, of which NumPy makes no array."""
    lengths = {len(item) if hasattr(item, "__len__") and not isinstance(item, str) else -1 for item in value}
    return len(lengths) > 1 or None in value


def _brief(value: Any) -> str:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    return f"{shown} ({type(value).__name__})"
