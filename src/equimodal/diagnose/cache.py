"""Tensors that grow part by part: in memory up to a limit, in a temporary file beyond it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from equimodal.errors import CannotWrite, InputError

__all__ = ["CACHE_LIMIT", "FeatureCache", "Section"]

CACHE_LIMIT = 2 * 2**30
"""Two GiB: a million samples with two features of 256 values."""


_UNLINKS = os.name == "posix"
"""Whether a file can lose its name while it is mapped."""


class FeatureCache:
    """Named tensors that are appended to row by row, kept on the CPU.

    As long as all of them together take at most ``limit`` bytes they are in memory. What would exceed it goes into a file in a temporary
    folder, which is mapped: the system keeps in memory what fits. It has a name only until it is mapped, so that not even a process that
    is killed leaves it behind. Windows cannot do so: there :meth:`close`, or the end of a ``with`` block, removes the folder.

    >>> with FeatureCache(limit=1000) as cache:
    ...     for batch in range(3):
    ...         cache.append("audio", torch.full((100, 2), float(batch)))
    ...     cache["audio"].shape, cache["audio"][250].tolist(), cache.bytes_on_disk > 0
    (torch.Size([300, 2]), [2.0, 2.0], True)

    :param limit: bytes.
    :param expected: how many rows there will be at most, where that is known: tensors then need not grow.
    :param folder: where to make the temporary folder; by default where the system has them.
    :raises InputError: for a limit that is no whole number of at least 0.
    """

    def __init__(self, limit: int = CACHE_LIMIT, *, expected: int | None = None, folder: str | os.PathLike[str] | None = None) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise InputError(f"cache_limit = {limit!r}: a whole number of bytes of at least 0 is needed")
        self.limit = limit
        self._expected = expected
        self._where = folder
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tensors: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}
        self._files: dict[str, Path | None] = {}  # None for one that has no name any more

    def section(self, prefix: str, expected: int | None = None) -> Section:
        """Return a part of the names, under the same limit; see :class:`Section`."""
        return Section(self, prefix, expected)

    def append(self, name: str, rows: Tensor, *, expected: int | None = None) -> None:
        """Put rows under those that a tensor has.

        :param rows: ``[rows, ...]``; the same type and further dimensions every time.
        :param expected: how many rows this tensor will have at most; 0 where that is not known. Default as for the cache.
        :raises InputError: for other ones.
        :raises CannotWrite: when the disk is full.
        """
        rows = rows.detach().cpu()
        start = self._rows.get(name, 0)
        held = self._tensors.get(name)
        if held is not None and (held.shape[1:] != rows.shape[1:] or held.dtype != rows.dtype):
            one, other = (held.dtype, rows.dtype) if held.shape[1:] == rows.shape[1:] else (list(held.shape[1:]), list(rows.shape[1:]))
            what = "type" if isinstance(one, torch.dtype) else "shape"
            raise InputError(f"{name} has {what} {one} in one batch and {other} in another: bring all to one {what}")
        end = start + len(rows)
        if held is None or end > len(held):
            expected = (self._expected or 0) if expected is None else expected
            held = self._enlarged(name, held, start, max(end, expected, 0 if held is None else 2 * len(held)), rows)
        held[start:end] = rows
        self._rows[name] = end

    def shrink(self, name: str) -> None:
        """Give back the room of a tensor for rows that were expected and are not there."""
        held, rows = self._tensors[name], self._rows[name]
        if rows < len(held):
            self._enlarged(name, held, rows, rows, held)

    def drop(self, name: str) -> None:
        """Let go of a tensor, where there is one."""
        self._rows.pop(name, None)
        self._tensors.pop(name, None)
        self._forget(self._files.pop(name, None))

    def _enlarged(self, name: str, held: Tensor | None, filled: int, capacity: int, like: Tensor) -> Tensor:
        shape = (capacity, *like.shape[1:])
        size = like.element_size() * torch.Size(shape).numel()
        # With the tensor that is outgrown: until its rows are copied there are both.
        fits = name not in self._files and self.bytes_in_memory + size <= self.limit
        old = self._files.pop(name, None)
        new = torch.empty(shape, dtype=like.dtype) if fits else self._mapped(name, shape, like.dtype, size)
        if held is not None:
            new[:filled] = held[:filled]
        self._tensors[name] = new
        self._forget(old)  # what is mapped already stays readable until it is let go
        return new

    @staticmethod
    def _forget(file: Path | None) -> None:
        if file is not None:
            file.unlink()

    def _mapped(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, size: int) -> Tensor:
        count = torch.Size(shape).numel()
        path = None
        try:
            path = self._reserved(size)
            mapped = torch.from_file(str(path), shared=True, size=count, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        except OSError as error:
            raise CannotWrite(
                f"{size:,} bytes of {name} do not fit into memory (cache_limit = {self.limit:,}) nor onto the disk"
                f" ({error.strerror or error}): free space, set TMPDIR to another folder, or raise cache_limit"
            ) from None
        finally:
            if _UNLINKS:
                self._forget(path)
        self._files[name] = None if _UNLINKS else path
        return mapped.view(shape)

    def _reserved(self, size: int) -> Path:
        """Return a new file of so many bytes."""
        if self._folder is None and not _UNLINKS:
            self._folder = tempfile.TemporaryDirectory(prefix="equimodal-", dir=self._where, ignore_cleanup_errors=True)
        number, path = tempfile.mkstemp(prefix="equimodal-", dir=self._where if self._folder is None else self._folder.name)
        try:
            # A file with holes would kill the process where the disk is full, instead of failing here.
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(number, 0, size)
            else:
                os.truncate(number, size)
        except OSError:
            if _UNLINKS:
                Path(path).unlink()
            raise
        finally:
            os.close(number)
        return Path(path)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that there are."""
        return tuple(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor with all rows that were appended."""
        return self._tensors[name][: self._rows[name]]

    @property
    def bytes_in_memory(self) -> int:
        """How many bytes the tensors in memory take."""
        return sum(tensor.nbytes for name, tensor in self._tensors.items() if name not in self._files)

    @property
    def bytes_on_disk(self) -> int:
        """How many bytes the mapped tensors take."""
        return sum(self._tensors[name].nbytes for name in self._files)

    def close(self) -> None:
        """Let go of everything, and remove the temporary folder."""
        self._tensors, self._rows, self._files = {}, {}, {}
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Section:
    """The tensors of a cache whose names begin alike, without that beginning.

    >>> with FeatureCache() as cache:
    ...     train = cache.section("train ")
    ...     train.append("audio", torch.ones(2, 3))
    ...     "audio" in train, "audio" in cache, train["audio"].shape
    (True, False, torch.Size([2, 3]))

    :param cache: where they are, and whose limit they share.
    :param prefix: the beginning.
    :param expected: how many rows there will be at most, where that is known.
    """

    def __init__(self, cache: FeatureCache, prefix: str, expected: int | None = None) -> None:
        self._cache = cache
        self._prefix = prefix
        self._expected = expected or 0

    def append(self, name: str, rows: Tensor, *, expected: int | None = None) -> None:
        """Put rows under those that a tensor has; see :meth:`FeatureCache.append`."""
        self._cache.append(self._prefix + name, rows, expected=self._expected if expected is None else expected)

    def shrink(self, name: str) -> None:
        """Give back the room of a tensor for rows that are not there."""
        self._cache.shrink(self._prefix + name)

    def drop(self, name: str) -> None:
        """Let go of a tensor, where there is one."""
        self._cache.drop(self._prefix + name)

    def clear(self) -> None:
        """Let go of all tensors of this part."""
        for name in [name for name in self._cache.names if name.startswith(self._prefix)]:
            self._cache.drop(name)

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._cache

    def __getitem__(self, name: str) -> Tensor:
        return self._cache[self._prefix + name]
