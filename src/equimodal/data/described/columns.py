"""The arrays of a modality from columns of a Parquet file: numbers side by side, or one column of lists."""

# ruff: noqa: D102 - what a method does is said once, in Source

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.data.described.arrays import Source, inside
from equimodal.data.described.npy import Header, mapped, temporary, written
from equimodal.data.reading.originals import Damaged, unusable
from equimodal.errors import InputError, nearest, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from equimodal.data.described.description import Described, Description
    from equimodal.data.described.table import Table

__all__ = ["Columns"]

_UNREADABLE = (OSError, ValueError, RuntimeError, NotImplementedError, KeyError)  # of which Arrow's own errors are
_TOGETHER = 4096  # rows in memory at once


class Columns(Source):
    """Columns of a Parquet file: numbers side by side make a vector; a list is a vector or, of lists, a sequence.

    Where the file has the column of the samples' ids, its rows are found by it; else row *k* belongs to row *k* of the table.
    """

    def __init__(self, described: Described, description: Description, table: Table, ids: list[str]) -> None:
        super().__init__(described)
        self.path = inside(description, described) if described.file is not None else table.path
        self.table = table
        self.schema = self._checked_schema()
        lists = [name for name in described.columns if _is_list(self.schema.field(name).type)]
        if lists and len(described.columns) > 1:
            raise InputError(f"{described.place}: column {lists[0]!r} of {self.path} holds lists: name it alone, or columns of numbers")
        self.list = bool(lists)
        self.nested = self.list and _is_list(self.schema.field(lists[0]).type.value_type)
        self.ragged = self.list and (self.nested or described.kind in ("sequence", "tokens"))
        self._where = self._rows_of(description, ids)
        self._values: NDArray[Any] | None = None
        self._starts: NDArray[Any] | None = None
        self._lengths: list[int | None] = []
        self._header = self._first()

    def _checked_schema(self) -> Any:
        parquet, described = require("pyarrow.parquet", extra="media"), self.described
        if not described.columns:
            raise InputError(f"{described.place}: name the columns of {self.path} that make modality {described.name!r} with 'columns'")
        try:
            schema = parquet.read_schema(self.path)
        except FileNotFoundError:
            raise InputError(f"{self.what} {self.path} is missing") from None
        except _UNREADABLE as error:
            raise unusable(self.path, self.what, error) from None
        types = require("pyarrow.types", extra="media")
        for name in described.columns:
            if name not in schema.names:
                raise InputError(f"{described.place}: {self.path} has no column {name!r}: {nearest(name, schema.names)}")
            inner = schema.field(name).type
            for _ in range(2):
                inner = inner.value_type if _is_list(inner) else inner
            if not (types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner)):
                raise InputError(
                    f"{described.place}: column {name!r} of {self.path} is of type {schema.field(name).type}: numbers are needed"
                )
        return schema

    def _rows_of(self, description: Description, ids: list[str]) -> list[int | None]:
        """Return the row of the file for each sample."""
        parquet = require("pyarrow.parquet", extra="media")
        if self.path != self.table.path and description.id in self.schema.names:
            numbers: dict[str, int] = {}
            for row, name in enumerate(parquet.read_table(self.path, columns=[description.id]).column(description.id).to_pylist()):
                if numbers.setdefault(str(name), row) != row:
                    raise InputError(f"{self.path}, row {row + 1}: id {str(name)!r} stands there more than once")
            return [numbers.get(name) for name in ids]
        count = parquet.read_metadata(self.path).num_rows
        if count != self.table.rows:
            raise InputError(
                f"{self.what} {self.path} has {count} rows and table {self.table.path} has {self.table.rows}:"
                f" row k of both must be the same sample, or give the file a column {description.id!r}"
            )
        return list(range(count))

    def _batches(self) -> Iterator[Any]:
        parquet = require("pyarrow.parquet", extra="media")
        try:
            with parquet.ParquetFile(self.path) as file:
                yield from file.iter_batches(_TOGETHER, columns=list(self.described.columns))
        except _UNREADABLE as error:
            raise error if isinstance(error, InputError) else unusable(self.path, self.what, error) from None

    def _first(self) -> Header:
        """Return shape and type of the first row that is not empty."""
        for batch in self._batches():
            values, lengths = self._numbers(batch)
            if not self.list:
                return Header(values.shape[1:], values.dtype)
            if (length := next((length for length in lengths if length), None)) is not None:
                return Header((length, *values.shape[1:]), values.dtype)
        raise InputError(f"{self.described.place}: column {self.described.columns[0]!r} of {self.path} holds no numbers at all")

    def _numbers(self, batch: Any) -> tuple[NDArray[Any], list[int | None]]:
        """Return the numbers of a batch: ``[rows, columns]``, or those of all lists one behind the other, and how many each row has."""
        numpy = require("numpy", extra="data")
        if not self.list:
            columns = [self._as_numbers(batch.column(name)) for name in self.described.columns]
            return numpy.stack(columns, axis=1), []
        compute = require("pyarrow.compute", extra="media")
        lists = batch.column(self.described.columns[0])
        lengths, flat = compute.list_value_length(lists).to_pylist(), compute.list_flatten(lists)
        if not self.nested:
            return self._as_numbers(flat), lengths
        inner = compute.list_value_length(flat).to_pylist()
        different = sorted(set(inner), key=str)
        if len(different) > 1 or None in different:
            raise InputError(
                f"column {self.described.columns[0]!r} of {self.path} has time steps of {different[0]} and of {different[1]} numbers"
            )
        return self._as_numbers(compute.list_flatten(flat)).reshape(-1, different[0] if different else 1), lengths

    def _as_numbers(self, column: Any) -> NDArray[Any]:
        """Return an Arrow array as NumPy's, gaps as NaN; of one type throughout, since a gap further on may turn up in whole numbers."""
        numpy = require("numpy", extra="data")
        found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        if found.dtype == object:  # truth values with gaps
            found = found.astype("float64")
        if self.described.kind != "tokens":
            with numpy.errstate(over="ignore"):  # what becomes infinite is found when it is read
                return found.astype("float32", copy=False)
        if found.dtype.kind == "f" and not bool((found == numpy.floor(found)).all()):
            raise InputError(f"column {self.described.columns[0]!r} of {self.path} holds a gap or a fraction: tokens are whole numbers")
        return found.astype("int64", copy=False)

    def header(self) -> Header:
        return self._header

    def open(self) -> None:
        numpy = require("numpy", extra="data")
        self._lengths, count = [], 0
        with temporary() as file:
            width = self._header.shape[1:] if self.list else self._header.shape
            for batch in self._batches():
                values, lengths = self._numbers(batch)
                if len(values) and values.shape[1:] != width:
                    raise InputError(
                        f"column {self.described.columns[0]!r} of {self.path} has time steps of {values.shape[1:]} and {width} numbers"
                    )
                written(file, values.tobytes())
                self._lengths += lengths
                count += len(values)
            self._values = mapped(file, Header((count, *width), self._header.dtype))
        if self.list:
            self._starts = numpy.cumsum([0, *(length or 0 for length in self._lengths)])

    def longest(self) -> int:
        return max(length or 0 for length in self._lengths)

    def place(self, row: int) -> str:
        found = self._where[row]
        return f"row {'?' if found is None else found + 1} of {self.what} {self.path} ({self.table.where(row)})"

    def read(self, row: int) -> NDArray[Any] | None:
        if self._values is None:
            raise RuntimeError(f"{self.path} is not open")
        found, optional = self._where[row], self.described.optional
        if found is None:
            if optional:
                return None
            raise Damaged(f"{self.what} {self.path} has no row for the sample of {self.table.where(row)}: add it, or set 'optional: true'")
        if self._starts is None:
            numbers: NDArray[Any] = self._values[found]
            numpy = require("numpy", extra="data")
            return None if optional and numbers.dtype.kind == "f" and bool(numpy.isnan(numbers).all()) else numbers
        if self._lengths[found] is None:
            if optional:
                return None
            raise Damaged(f"{self.place(row)} is empty: fill it in, or set 'optional: true'")
        held: NDArray[Any] = self._values[self._starts[found] : self._starts[found + 1]]
        return held

    def files(self, row: int) -> list[Path]:  # noqa: ARG002
        return [self.path]

    def originals(self) -> list[Path]:
        return [self.path]


def _is_list(kind: Any) -> bool:
    types = require("pyarrow.types", extra="media")
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
