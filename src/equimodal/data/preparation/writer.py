"""Writing the rows of a prepared set: many readers, one writer, killed at any moment and gone on with."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal._files import write_whole
from equimodal.data.reading.originals import Damaged
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from equimodal.data.preparation.plan import Plan, Stored

__all__ = ["DAMAGED", "FLAGS", "MISSING", "STORED", "Rows", "moments_of"]

STORED, MISSING, DAMAGED = 1, 2, 3
"""What became of an array of a sample; 0 where it has not been read yet."""

FLAGS = "flags.npy"
_TOGETHER = 64  # samples read before their rows are written
_IN_MEMORY = 2**28  # bytes of their rows, which may make it fewer samples
_SECONDS = 2.0  # between two marks of what is done


class Rows:
    """The arrays of a prepared set while they are written.

    Rows go into their place in plain ``.npy`` files; every two seconds they are forced to the disk and marked as done, so that a later
    process goes on from there. They are written, never memory-mapped: a full disk is then an error and not the end of the process.

    :param folder: where the files are.
    :param plan: what is written.
    :raises InputError: when the disk has too little room.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.numpy = require("numpy", extra="data")
        self._files = {
            name: _ArrayFile(folder / f"{name}.npy", len(plan.ids), stored.shape, stored.dtype) for name, stored in plan.arrays.items()
        }
        self._moments = {
            name: _ArrayFile(folder / f"{name}.moments.npy", len(plan.ids), (_channels(stored), 3), "float64")
            for name, stored in plan.arrays.items()
            if stored.moments
        }
        self.flags = self._found_flags()
        self.reasons: dict[str, str] = {}

    def _found_flags(self) -> NDArray[Any]:
        shape = (len(self.plan.ids), len(self.plan.arrays))
        try:
            found = self.numpy.load(self.folder / FLAGS, allow_pickle=False)
            if any(file.path.stat().st_size != file.size for file in self._all()):  # someone removed one: its rows are gone
                found = None
        except (OSError, ValueError):
            found = None
        flags: NDArray[Any] = self.numpy.zeros(shape, dtype="uint8")
        if found is not None and found.shape == shape and found.dtype == flags.dtype:
            flags[:] = found * (found != DAMAGED)  # those are read again: someone may have mended them
        return flags

    def needed(self) -> int:
        """Return how many bytes all files take."""
        return sum(file.size for file in self._all())

    def forget(self, rows: list[int]) -> None:
        """Have these rows read again, by a later process too, if this one is killed before it comes to them."""
        self.flags[rows] = 0
        self._keep_flags()

    def write(self, workers: int, on_progress: Callable[[int, int], None]) -> None:
        """Read and write every row that is not done.

        :param workers: how many threads read.
        :param on_progress: called with the number of samples done and of all.
        :raises InputError: when the disk is full; what is done stays.
        """
        total = len(self.plan.ids)
        left = [row for row in range(total) if not self.flags[row].all()]
        done, marked = total - len(left), time.monotonic()
        on_progress(done, total)
        try:
            for file in self._all():
                file.open()
            together = max(workers, min(_TOGETHER, _IN_MEMORY // max(sum(file.row for file in self._files.values()), 1)))
            with ThreadPoolExecutor(workers) as pool:
                for row, found in _in_pieces(pool, self._read, left, together):
                    self._keep(row, found)
                    done += 1
                    if done < total and time.monotonic() - marked > _SECONDS:
                        self._mark()
                        marked = time.monotonic()
                        on_progress(done, total)
            self._mark()
            if left:
                on_progress(done, total)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written ({error.strerror or error}): free space, or choose another place with EQUIMODAL_CACHE;"
                " the same command goes on"
            ) from None
        finally:
            for file in self._all():
                file.close()

    def _all(self) -> Iterator[_ArrayFile]:
        yield from self._files.values()
        yield from self._moments.values()

    def _read(self, row: int) -> Mapping[str, NDArray[Any] | None] | Damaged:
        try:
            return self._checked(row, self.plan.read(row))
        except Damaged as error:
            return error
        except OSError as error:  # of an original; the caller takes its own for those of the place that is written to
            return Damaged(f"sample {self.plan.ids[row]!r} cannot be read ({error.strerror or error})")

    def _checked(self, row: int, found: Mapping[str, NDArray[Any] | None]) -> dict[str, NDArray[Any] | None]:
        rows: dict[str, NDArray[Any] | None] = {}
        for name, stored in self.plan.arrays.items():
            value = found[name]
            if value is None:
                if not stored.optional:
                    raise Damaged(f"sample {self.plan.ids[row]!r} has no {name}")
                rows[name] = None
                continue
            value = self.numpy.asarray(value)
            if value.shape != stored.shape:
                raise Damaged(f"sample {self.plan.ids[row]!r}: {name} has shape {list(value.shape)}, not {list(stored.shape)}")
            if value.dtype.kind == "f" and not self.numpy.isfinite(value).all():
                raise Damaged(f"sample {self.plan.ids[row]!r}: {name} holds a value that is NaN or infinite")
            with self.numpy.errstate(over="ignore"):
                rows[name] = cast = value.astype(stored.dtype, casting="same_kind", copy=False)
            if cast.dtype != value.dtype and not (self.numpy.isfinite(cast) if cast.dtype.kind == "f" else cast == value).all():
                raise Damaged(f"sample {self.plan.ids[row]!r}: {name} holds {abs(value).max()}, which is too large for {stored.dtype}")
        return rows

    def _keep(self, row: int, found: Mapping[str, NDArray[Any] | None] | Damaged) -> None:
        if isinstance(found, Damaged):
            self.flags[row] = DAMAGED
            self.reasons[self.plan.ids[row]] = str(found)
            return
        for column, (name, value) in enumerate(found.items()):
            if value is None:
                self._files[name].clear(row)  # an earlier process may have found it there
                self.flags[row, column] = MISSING
                continue
            self._files[name].put(row, value)
            if name in self._moments:
                length = found.get(f"{name.removesuffix('.values')}.lengths") if name.endswith(".values") else None
                self._moments[name].put(row, moments_of(value if length is None else value[: int(length)], self.plan.arrays[name]))
            self.flags[row, column] = STORED

    def _mark(self) -> None:
        for file in self._all():
            file.sync()
        self._keep_flags()

    def _keep_flags(self) -> None:
        held = io.BytesIO()
        self.numpy.save(held, self.flags)
        write_whole(self.folder / FLAGS, held.getvalue())


def _in_pieces(pool: ThreadPoolExecutor, read: Callable[[int], Any], rows: list[int], together: int) -> Iterator[tuple[int, Any]]:
    """Yield what is read of the rows, in their order, with at most two pieces of so many of them in memory."""
    pieces = [rows[start : start + together] for start in range(0, len(rows), together)]
    ahead: list[Any] = []
    for piece in [*pieces, None]:
        if piece is not None:
            ahead.append((piece, [pool.submit(read, row) for row in piece]))
        if len(ahead) > 1 or (piece is None and ahead):
            numbers, futures = ahead.pop(0)
            for number, future in zip(numbers, futures, strict=True):
                yield number, future.result()


def _channels(stored: Stored) -> int:
    if not stored.shape:
        return 1
    return stored.shape[0 if stored.channels == "first" else -1]


def moments_of(value: NDArray[Any], stored: Stored) -> NDArray[Any]:
    """Return how many values each channel has, their sum and the sum of their squares: ``[channels, 3]``, float64."""
    numpy = require("numpy", extra="data")
    channels = _channels(stored)
    # One copy in 64 bits, channels first.
    wide = numpy.asarray(value, dtype="float64")
    flat = wide.reshape(channels, -1) if stored.channels == "first" else numpy.moveaxis(wide, -1, 0).reshape(channels, -1)
    found: NDArray[Any] = numpy.stack([numpy.full(channels, flat.shape[1]), flat.sum(1), numpy.einsum("ij,ij->i", flat, flat)], axis=1)
    return found


class _ArrayFile:
    """A ``.npy`` file whose rows are written in any order."""

    def __init__(self, path: Path, rows: int, shape: tuple[int, ...], dtype: str) -> None:
        numpy = require("numpy", extra="data")
        self.path = path
        self.dtype = numpy.dtype(dtype).newbyteorder("<")
        self.row = self.dtype.itemsize * math.prod(shape)
        self._header = _header(numpy, self.dtype, (rows, *shape))
        self.size = len(self._header) + rows * self.row
        self._descriptor: int | None = None

    def open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        os.ftruncate(self._descriptor, self.size)
        os.pwrite(self._descriptor, self._header, 0)

    def put(self, row: int, value: NDArray[Any]) -> None:
        self._write(row, value.astype(self.dtype, order="C", copy=False).tobytes())

    def clear(self, row: int) -> None:
        self._write(row, bytes(self.row))

    def _write(self, row: int, value: bytes) -> None:
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} is not open")
        content = memoryview(value)
        place = len(self._header) + row * self.row
        while content:  # a disk that fills up may take a part
            written = os.pwrite(self._descriptor, content, place)
            content, place = content[written:], place + written

    def sync(self) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _header(numpy: Any, dtype: Any, shape: tuple[int, ...]) -> bytes:
    held = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(held, {"descr": numpy.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return held.getvalue()
