"""The table of a user's own data: one row per sample, with its name, target, split and whatever else is known of it."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equimodal.data.reading.originals import is_html, read_bytes, unusable
from equimodal.errors import InputError, nearest, require

__all__ = ["Table", "read_table"]

_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


class Table:
    """The cells of a table as texts; those that are empty, null or NaN as the empty text, lists of a Parquet column as tuples of texts.

    :param path: the file.
    :param digest: the sha256 of its content.
    :param names: the columns.
    :param rows: how many samples there are.
    """

    def __init__(self, path: Path, digest: str, names: Sequence[str], rows: int) -> None:
        self.path = path
        self.digest = digest
        self.names = list(names)
        self.rows = rows
        if not rows:
            raise InputError(f"table {path} has no rows: one per sample is needed")

    def where(self, row: int) -> str:
        """Return file and line, or row, of a sample, for messages."""
        return f"{self.path}, row {row + 1}"

    def cells(self, column: str) -> Sequence[Any]:
        """Return a column that is there."""
        raise NotImplementedError

    def column(self, name: str, key: str, place: str) -> Sequence[Any]:
        """Return a column.

        :param key: what names it in the description, for the message.
        :param place: where it does.
        :raises InputError: when there is none of that name, with the nearest one.
        """
        if name not in self.names:
            raise InputError(f"{place}: table {self.path} has no column {name!r}, which {key} names: {nearest(name, self.names)}")
        return self.cells(name)

    def texts(self, name: str, key: str, place: str) -> Sequence[str]:
        """Return a column in which every cell holds a single text."""
        cells = self.column(name, key, place)
        for row, cell in enumerate(cells):
            if isinstance(cell, tuple):
                raise InputError(f"{self.where(row)}: column {name!r} holds a list, a single value is needed")
            if not cell:
                raise InputError(f"{self.where(row)}: column {name!r} is empty: fill it in, or remove the row")
        return cells

    def truths(self, name: str, key: str, place: str) -> list[bool]:
        """Return a column of yes and no."""
        cells = self.column(name, key, place)
        for row, cell in enumerate(cells):
            if str(cell).lower() not in (*_TRUE, *_FALSE):
                raise InputError(f"{self.where(row)}: column {name!r} holds {cell!r}: true or false, or 1 or 0, is needed")
        return [cell.lower() in _TRUE for cell in cells]

    def numbers(self, name: str, key: str, place: str, *, gaps: bool = False) -> list[float]:
        """Return a column of finite numbers.

        :param gaps: whether cells may be empty; they are then NaN.
        """
        found = []
        for row, cell in enumerate(self.column(name, key, place)):
            try:
                number = math.nan if gaps and cell == "" else float(cell)
            except (TypeError, ValueError):
                number = math.inf
            if math.isinf(number) or (math.isnan(number) and cell != ""):
                raise InputError(f"{self.where(row)}: column {name!r} holds {cell!r}: a finite number is needed")
            found.append(number)
        return found

    def ids(self, name: str, place: str) -> Sequence[str]:
        """Return the samples' names, each once."""
        cells = self.texts(name, "id", place)
        seen: dict[str, int] = {}
        for row, cell in enumerate(cells):
            if seen.setdefault(cell, row) != row:
                first = self.where(seen[cell]).rpartition(", ")[2]
                raise InputError(f"{self.where(row)}: id {cell!r} stands in {first} already: each sample needs its own")
        return cells


class _Csv(Table):
    def __init__(self, path: Path, content: bytes) -> None:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise InputError(f"table {path}, line {line} is not UTF-8 text: save it as 'CSV UTF-8'") from None
        head = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
        names: list[str] = []
        columns: list[list[str]] = []
        self.lines: list[int] = []
        end = 0
        try:
            for cells in reader:
                line, end = end + 1, reader.line_num
                if not any(cells):
                    continue
                if not names:
                    names = [cell.strip() for cell in cells]
                    columns = [[] for _ in names]
                    continue
                if len(cells) != len(names):
                    raise InputError(
                        f"{path}, line {line}: {len(cells)} cells under {len(names)} column names: put texts with commas in quotes"
                    )
                for column, cell in zip(columns, cells, strict=True):
                    column.append(cell.strip())
                self.lines.append(line)
        except csv.Error as error:
            raise InputError(f"table {path}, line {end + 1} cannot be read as CSV ({error})") from None
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"table {path}, line 1: the column name {name!r} stands there more than once")
        self._columns = dict(zip(names, columns, strict=True))
        super().__init__(path, hashlib.sha256(content).hexdigest(), names, len(self.lines))

    def where(self, row: int) -> str:
        return f"{self.path}, line {self.lines[row]}"

    def cells(self, column: str) -> Sequence[Any]:
        return self._columns[column]


class _Parquet(Table):
    def __init__(self, path: Path, content: bytes) -> None:
        parquet = require("pyarrow.parquet", extra="media")
        try:
            metadata = parquet.read_metadata(path)
            names = metadata.schema.to_arrow_schema().names
        # Arrow's own errors are of several classes, most of which are one of these.
        except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise unusable(path, "table", error) from None
        self._held: dict[str, list[Any]] = {}
        super().__init__(path, hashlib.sha256(content).hexdigest(), names, metadata.num_rows)

    def cells(self, column: str) -> Sequence[Any]:
        if column not in self._held:
            parquet = require("pyarrow.parquet", extra="media")
            try:
                values = parquet.read_table(self.path, columns=[column]).column(column).to_pylist()
            except (OSError, ValueError, RuntimeError, NotImplementedError, KeyError) as error:
                raise unusable(self.path, "table", error) from None
            self._held[column] = [_text(value) for value in values]
        return self._held[column]


def _text(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or value != value else str(value).strip()


def read_table(path: Path) -> Table:
    """Read a table: Parquet by its name's ending, else text with commas, semicolons or tabs.

    The last table read is kept, since a configuration is read more often than a table changes.

    :raises InputError: for a file that is missing, an HTML page, no table, or one without rows.
    """
    try:
        state = path.stat()
    except OSError:
        state = None
    return _read(path, *((state.st_size, state.st_mtime_ns) if state is not None else (0, 0)))


@functools.lru_cache(maxsize=2)
def _read(path: Path, size: int, modified: int) -> Table:  # noqa: ARG001
    content = read_bytes(path, "table")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _Parquet(path, content)
    if content[:4] == b"PAR1" or (b"\0" in content[:512] and not is_html(content)):
        raise InputError(f"table {path} is no text: give a .csv or a .parquet file its own ending")
    return _Csv(path, content)
