"""Where the arrays of a modality are: one file per sample, one file with a row per sample, or columns of a table."""

# ruff: noqa: D102, PTH113, PTH117, PTH118 - what a method does is said once, in Source; paths are texts, as there may be a hundred thousand of them

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.data.described.npy import UNREADABLE, Header, header_of, numbers_of, refused, spooled, stream_of
from equimodal.data.reading.originals import Damaged, read_bytes
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from equimodal.data.described.description import Described, Description
    from equimodal.data.described.table import Table

__all__ = ["Numbers", "OneEach", "RowEach", "Source", "inside"]

_FIELD = re.compile(r"\{([^{}]+)\}")
_TRIED = 200  # files that may be missing or damaged before the shape of a modality is given up on


class Source:
    """The arrays of one modality, one per sample.

    :param described: what the description says of it.
    """

    ragged: bool = False
    """Whether samples may differ in length, their first dimension."""

    def __init__(self, described: Described) -> None:
        self.described = described
        self.what = f"{described.name} file"

    def header(self) -> Header:
        """Return shape and type of one sample's array, as far as one sample tells."""
        raise NotImplementedError

    def open(self) -> None:
        """Get ready to read."""

    def longest(self) -> int:
        """Return the length of the longest sample; call :meth:`open` before."""
        return self.header().shape[0]

    def read(self, row: int) -> NDArray[Any] | None:
        """Return the array of a sample, None where it lacks it.

        :raises Damaged: when it cannot be used.
        """
        raise NotImplementedError

    def place(self, row: int) -> str:
        """Return what holds a sample's array, for messages."""
        raise NotImplementedError

    def files(self, row: int) -> list[Path]:
        """Return the files that a sample's array is read from."""
        raise NotImplementedError

    def originals(self) -> list[Path]:
        """Return all files that are read and are there."""
        raise NotImplementedError


class OneEach(Source):
    """One ``.npy`` or ``.npz`` file per sample, named by a pattern such as ``audio/{id}.npy`` whose fields are columns of the table."""

    ragged = True

    def __init__(self, described: Described, description: Description, table: Table) -> None:
        super().__init__(described)
        self.table = table
        self.pattern = described.file or ""
        if Path(self.pattern).suffix.lower() not in (".npy", ".npz") and not self.pattern.endswith("}"):
            raise InputError(f"{described.place}: {self.pattern!r} names no .npy or .npz files: turn what it names into arrays first")
        columns = {
            name: table.column(name, f"the file of modality {described.name!r}", described.place) for name in _FIELD.findall(self.pattern)
        }
        self.paths = [self._path(description, row, {name: str(cells[row]) for name, cells in columns.items()}) for row in range(table.rows)]

    def _path(self, description: Description, row: int, cells: dict[str, str]) -> str | None:
        if "" in cells.values():
            return None
        name = _FIELD.sub(lambda found: cells[found[1]], self.pattern)
        path = os.path.join(description.folder, name)
        if ".." in name.replace("\\", "/").split("/") or (os.path.isabs(name) and not Path(name).is_relative_to(description.folder)):
            raise InputError(
                f"{self.table.where(row)}: {self.what} {name!r} does not lie in {description.folder}:"
                " set 'folder' to a folder that holds all"
            )
        return path

    def header(self) -> Header:
        there = list(itertools.islice((path for path in self.paths if path is not None and os.path.isfile(path)), _TRIED))
        if not there:
            example = next((path for path in self.paths if path is not None), None)
            looked = "the cells that name them are all empty" if example is None else f"{example}, for one, is missing"
            raise InputError(f"{self.described.place}: no {self.what} is there: {looked}")
        failure: BaseException | None = None
        for path in map(Path, there):
            try:
                with stream_of(path, self.described.member) as stream:
                    return header_of(stream)
            except UNREADABLE as error:
                failure = failure or refused(path, self.what, error)
        raise failure or RuntimeError("no file was tried")

    def longest(self) -> int:
        longest = 1
        for path in self.originals():
            try:
                with stream_of(path, self.described.member) as stream:
                    shape = header_of(stream).shape
            except UNREADABLE:
                continue  # reading it will say so
            longest = max(longest, *shape[:1])
        return longest

    def place(self, row: int) -> str:
        return f"{self.what} {self.paths[row]} ({self.table.where(row)})"

    def read(self, row: int) -> NDArray[Any] | None:
        name, optional = self.paths[row], self.described.optional
        if name is None:
            if optional:
                return None
            raise Damaged(f"{self.table.where(row)}: a cell that names the {self.what} is empty: fill it in, or set 'optional: true'")
        path = Path(name)
        if not path.is_file():
            if optional:
                return None
            raise Damaged(f"{self.place(row)} is missing: add it, or set 'optional: true'")
        content = read_bytes(path, self.what)
        try:
            with stream_of(path, self.described.member, content) as stream:
                return numbers_of(stream, header_of(stream))
        except UNREADABLE as error:
            raise refused(path, self.what, error) from None

    def files(self, row: int) -> list[Path]:
        path = self.paths[row]
        return [] if path is None else [Path(path)]

    def originals(self) -> list[Path]:
        return [Path(path) for path in dict.fromkeys(self.paths) if path is not None and os.path.isfile(path)]


class RowEach(Source):
    """One ``.npy`` file, or one member of an ``.npz`` file, whose row *k* is the sample of the table's row *k*."""

    def __init__(self, described: Described, description: Description, table: Table) -> None:
        super().__init__(described)
        self.path = inside(description, described)
        self.table = table
        self._rows: NDArray[Any] | None = None
        read = self._whole()
        if not read.shape or read.shape[0] != table.rows:
            count = read.shape[0] if read.shape else 1
            raise InputError(
                f"{self.what} {self.path} has {count} rows and table {table.path} has {table.rows}: row k of both must be the same sample"
            )
        self._header = Header(read.shape[1:], read.dtype)

    def _whole(self) -> Header:
        if self.path.suffix.lower() not in (".npy", ".npz"):
            raise InputError(f"{self.described.place}: {self.described.file!r} is no .npy, .npz or .parquet file: turn it into one first")
        try:
            with stream_of(self.path, self.described.member) as stream:
                return header_of(stream)
        except UNREADABLE as error:
            raise refused(self.path, self.what, error) from None

    def header(self) -> Header:
        return self._header

    def open(self) -> None:
        numpy = require("numpy", extra="data")
        try:
            if self.path.suffix.lower() == ".npy":
                self._rows = numpy.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                with stream_of(self.path, self.described.member) as stream:
                    self._rows = spooled(stream, header_of(stream))
        except UNREADABLE as error:
            raise refused(self.path, self.what, error) from None

    def place(self, row: int) -> str:
        return f"row {row} of {self.what} {self.path} ({self.table.where(row)})"

    def read(self, row: int) -> NDArray[Any] | None:
        if self._rows is None:
            raise RuntimeError(f"{self.path} is not open")
        found: NDArray[Any] = self._rows[row]
        return found

    def files(self, row: int) -> list[Path]:  # noqa: ARG002
        return [self.path]

    def originals(self) -> list[Path]:
        return [self.path]


class Numbers(Source):
    """Columns of numbers in the table itself, where that is a text file."""

    def __init__(self, described: Described, table: Table) -> None:
        super().__init__(described)
        numpy = require("numpy", extra="data")
        self.table = table
        gaps = described.optional
        columns = [table.numbers(name, f"modality {described.name!r}", described.place, gaps=gaps) for name in described.columns]
        self._rows: NDArray[Any] = numpy.array(columns, dtype="float64").T.copy()

    def header(self) -> Header:
        return Header(self._rows.shape[1:], self._rows.dtype)

    def place(self, row: int) -> str:
        return f"{self.table.where(row)}, modality {self.described.name!r}"

    def read(self, row: int) -> NDArray[Any] | None:
        numpy = require("numpy", extra="data")
        found: NDArray[Any] = self._rows[row]
        return None if self.described.optional and bool(numpy.isnan(found).all()) else found

    def files(self, row: int) -> list[Path]:  # noqa: ARG002
        return [self.table.path]

    def originals(self) -> list[Path]:
        return [self.table.path]


def inside(description: Description, described: Described) -> Path:
    """Return the path of a modality's only file, which must lie in the folder of the description."""
    path = description.folder / (described.file or "")
    if ".." in Path(described.file or "").parts or not path.is_relative_to(description.folder):
        raise InputError(
            f"{described.place}: {described.file!r} does not lie in {description.folder}: set 'folder' to a folder that holds all files"
        )
    return path
