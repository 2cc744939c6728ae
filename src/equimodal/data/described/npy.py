"""Reading ``.npy`` files and members of ``.npz`` files: their headers alone, memory-mapped, and never by running what they hold."""

from __future__ import annotations

import functools
import io
import math
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from equimodal.data.downloads import cache_dir
from equimodal.data.reading.originals import Damaged, is_html, unusable
from equimodal.errors import InputError, first_line, nearest, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UNREADABLE", "Header", "header_of", "mapped", "numbers_of", "refused", "spooled", "stream_of", "temporary", "written"]

UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, MemoryError, OverflowError)
"""What a file may raise that is cut short, damaged or of another kind; an ``InputError`` is among them."""


_MAGIC = b"\x93NUMPY"
_START = len(_MAGIC) + 2  # and two bytes of version
_LONGEST = 10_000  # bytes of a header, as NumPy has it
_PARSER = threading.Lock()


class Header(NamedTuple):
    """Shape and type of an array, without its numbers."""

    shape: tuple[int, ...]
    dtype: Any
    fortran: bool = False


class _Unfit(ValueError):
    """The file is whole, but holds something else than numbers."""


def refused(path: Path, what: str, error: BaseException) -> InputError:
    """Return what is to be raised for a file that could not be read."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, FileNotFoundError):
        return Damaged(f"{what} {path} is missing")
    if isinstance(error, _Unfit) and not _is_page(path):
        return Damaged(f"{what} {path} {error}")
    return unusable(path, what, first_line(error))


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return is_html(file.read(512))


@contextmanager
def stream_of(path: Path, member: str | None, content: bytes | None = None) -> Iterator[IO[bytes]]:
    """Open an array: a ``.npy`` file, or a member of an ``.npz`` file.

    :param member: which one, where there are several.
    :param content: the file's bytes, where they have been read.
    """
    with path.open("rb") if content is None else io.BytesIO(content) as file:
        if path.suffix.lower() != ".npz":
            yield file
            return
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if member is None and len(names) != 1:
                raise _Unfit(f"holds {', '.join(names) or 'no arrays'}: name one with 'member'")
            if member is not None and member not in names:
                raise _Unfit(f"has no member {member!r}: {nearest(member, names)}")
            with archive.open(f"{member or names[0]}.npy") as stream:
                yield stream


def header_of(stream: IO[bytes]) -> Header:
    """Read an array's header.

    :raises ValueError: for anything but an array of real numbers.
    """
    start = stream.read(_START)
    if not start.startswith(_MAGIC):
        raise _Unfit("is no NumPy array: write it with numpy.save")
    sizes = {(1, 0): 2, (2, 0): 4}
    version = (start[-2], start[-1]) if len(start) == _START else (0, 0)
    if version not in sizes:  # what else there is has field names
        raise _Unfit("holds an array with named fields: write plain numbers with numpy.save")
    size = stream.read(sizes[version])
    length = int.from_bytes(size, "little")
    text = stream.read(min(length, _LONGEST + 1))
    if len(text) < length:
        raise ValueError("its header is cut short")
    return _parsed(start + size + text)


@functools.lru_cache(maxsize=1024)
def _parsed(content: bytes) -> Header:
    numpy, stream = require("numpy", extra="data"), io.BytesIO(content)
    # Python's own parser, which NumPy asks, fails now and then when several threads are in it.
    with _PARSER:
        version = numpy.lib.format.read_magic(stream)
        read = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    if any(size < 0 for size in shape):
        raise ValueError(f"its header gives the shape {shape}")
    if dtype.hasobject:
        raise _Unfit("holds Python objects, which only a pickle can, and pickles may run code: write an array of numbers")
    if dtype.kind not in "biuf":
        raise _Unfit(f"holds values of type {dtype}: write an array of real numbers")
    return Header(shape, dtype, fortran)


def numbers_of(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """Read an array's numbers, which follow its header.

    :raises ValueError: when there are too few.
    """
    numpy = require("numpy", extra="data")
    needed = math.prod(header.shape) * header.dtype.itemsize
    content = stream.read(needed)
    if len(content) < needed:
        raise ValueError(f"{len(content)} bytes of numbers, not {needed}")
    found: NDArray[Any] = numpy.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
    return found


def spooled(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """Write what is left of a stream, an array's numbers, to a temporary file without a name, and map that into memory."""
    needed = math.prod(header.shape) * header.dtype.itemsize
    with temporary() as file:
        while piece := stream.read(2**20):
            written(file, piece)
        if file.tell() < needed:
            raise ValueError(f"{file.tell()} bytes of numbers, not {needed}")
        return mapped(file, header)


def temporary() -> IO[bytes]:
    """Open a temporary file without a name, in the cache.

    :raises InputError: when it cannot be written to.
    """
    place = cache_dir()
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=place)
    except OSError as error:
        raise InputError(f"{place} cannot be written ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours") from None


def written(file: IO[bytes], piece: Any) -> None:
    """Write a piece to a temporary file.

    :raises InputError: when the disk is full.
    """
    try:
        file.write(piece)
    except OSError as error:
        raise InputError(
            f"{cache_dir()} is written to while unpacking ({error.strerror or error}): free space, or set EQUIMODAL_CACHE"
        ) from None


def mapped(file: IO[bytes], header: Header) -> NDArray[Any]:
    """Map a temporary file into memory; it lives as long as the array."""
    numpy = require("numpy", extra="data")
    file.flush()
    if not math.prod(header.shape):
        return numpy.zeros(header.shape, header.dtype)  # type: ignore[no-any-return]
    found: NDArray[Any] = numpy.memmap(file, header.dtype, "r", shape=header.shape, order="F" if header.fortran else "C")
    return found
