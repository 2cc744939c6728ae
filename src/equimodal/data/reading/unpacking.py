"""One archive on its way into a folder: every name is checked before it is used, every byte counted as it is written."""

from __future__ import annotations

import importlib
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from equimodal.data.reading.originals import is_html
from equimodal.errors import InputError

__all__ = ["Limits", "Unpacking"]

_CHUNK = 2**20
_FILE = "\0"  # at the end of a path that is a file's
_LONGEST_HEADER = 2**24
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "lzma"}
_SUFFIXES = {".tgz": ".tar", ".tbz2": ".tar", ".txz": ".tar", ".gz": "", ".bz2": "", ".xz": ""}
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, struct.error, RecursionError, ValueError)
_ANEW = "get the archive anew from its source"
_ROOM = "free space, or choose another place with EQUIMODAL_CACHE"
_BY_HAND = "unpack it yourself and name the folder, if this is what it should hold"


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most.

    :param total: bytes of all files together.
    :param file: bytes of one file.
    :param entries: files and folders.
    :param ratio: bytes of all files for each byte of the archive.
    :param small: so many bytes are unpacked whatever the ratio.
    """

    total: int = 500 * 2**30
    file: int = 250 * 2**30
    entries: int = 1_000_000
    ratio: int = 250
    small: int = 2**28


class Unpacking:
    """Unpacks one archive.

    :param archive: the file.
    :param folder: is made, and keeps what was written when the archive is refused.
    :param limits: what it may hold at most.
    :param on_progress: called with the bytes done and of all.
    """

    def __init__(self, archive: Path, folder: Path, limits: Limits, on_progress: Callable[[int, int], None] | None = None) -> None:
        self.archive = archive
        self.folder = folder
        self.limits = limits
        self.written = 0
        self._on_progress = on_progress
        self._size = 0
        self._known: dict[str, str] = {}  # how a path is spelled, by the path without case
        self._raw: IO[bytes] | None = None

    def run(self) -> None:
        """Unpack everything.

        :raises InputError: when the archive is refused or damaged.
        :raises OSError: when the disk is full.
        """
        try:
            self.folder.mkdir()
            with self._opened() as raw:
                self._raw = raw
                self._size = self.archive.stat().st_size
                head = raw.read(512)
                raw.seek(0)
                self._unpack(raw, head)
        except InputError:
            raise
        except NotImplementedError as error:  # zipfile's word for a compression that it does not know
            raise self._refusal(f"cannot be read here ({error})", _BY_HAND) from None
        except _DAMAGE as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is None:  # gzip and bz2 say so of their content
                raise self._damaged(error) from None
            raise

    def _opened(self) -> IO[bytes]:
        try:
            return self.archive.open("rb")
        except OSError as error:
            raise self._refusal(f"cannot be read ({error.strerror or error})", "name a folder or an archive of originals") from None

    def _unpack(self, raw: IO[bytes], head: bytes) -> None:
        compression = next((module for magic, module in _COMPRESSED.items() if head.startswith(magic)), None)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
            self._zip(raw)
        elif compression is not None:
            self._compressed(raw, compression)
        elif self._is_tar(head, self.archive.name):
            self._tar(raw)
        elif not head:
            raise self._refusal("is empty", _ANEW)
        elif is_html(head):
            raise self._refusal("is an HTML page, not an archive", f"the download was refused or asks for a login; {_ANEW}")
        else:
            raise self._refusal("is no zip, tar, gz, bz2 or xz archive", "unpack it yourself and name the folder")

    def _compressed(self, raw: IO[bytes], compression: str) -> None:
        try:
            module: Any = importlib.import_module(compression)
        except ImportError:
            raise self._refusal(
                f"needs {compression}, which this Python was built without", "unpack it yourself and name the folder"
            ) from None
        try:
            with module.open(raw) as inner:
                is_tar = self._is_tar(inner.read(512), self.archive.name)
                inner.seek(0)
                if is_tar:
                    self._tar(inner)
                else:
                    self._file(self._single_name(), inner)
        except getattr(module, "LZMAError", ()) as error:
            raise self._damaged(error) from None

    @staticmethod
    def _is_tar(head: bytes, name: str) -> bool:
        return head[257:262] == b"ustar" or (head != b"" and re.search(r"\.(tar(\.\w+)?|tgz|tbz2|txz)$", name.lower()) is not None)

    def _single_name(self) -> str:
        name = self.archive.name
        suffix = self.archive.suffix.lower()
        return name[: -len(suffix)] + _SUFFIXES[suffix] if suffix in _SUFFIXES and len(suffix) < len(name) else f"{name}.content"

    def _zip(self, raw: IO[bytes]) -> None:
        with zipfile.ZipFile(raw) as archive:
            entries = archive.infolist()
            expected = sum(entry.file_size for entry in entries)
            self._check_room(expected)
            for entry in entries:
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise self._refusal(f"holds {_shown(entry.filename)}, a link or device", _ANEW)
                if entry.flag_bits & 1:
                    raise self._refusal(f"holds {_shown(entry.filename)}, which is protected by a password", _BY_HAND)
                if entry.is_dir():
                    self._directory(entry.filename)
                    continue
                with archive.open(entry) as source:
                    size = self._file(entry.filename, source, expected)
                if size != entry.file_size:
                    raise self._damaged(f"{_shown(entry.filename)} has {size} bytes, not {entry.file_size}")

    def _check_room(self, expected: int) -> None:
        """Refuse an archive that says itself that it is too large, before anything is written."""
        self._count(expected, 0)
        self.written = 0
        free = shutil.disk_usage(self.folder).free
        if free < expected:
            raise self._refusal(f"needs {expected:,} bytes, and {free:,} are free there", _ROOM)

    def _tar(self, stream: Any) -> None:
        # Members one by one, in their order: nothing is skipped, and the stream is read once.
        with tarfile.TarFile(fileobj=_Bounded(stream), tarinfo=_Member) as archive:  # type: ignore[arg-type]
            found: Any = archive
            while (member := found.next()) is not None:
                if member.isdir():
                    self._directory(member.name)
                elif member.isreg() and (source := archive.extractfile(member)) is not None:
                    self._file(member.name, source)
                else:
                    raise self._refusal(f"holds {_shown(member.name)}, a link or device", _ANEW)
                found.members.clear()  # a million of them would fill the memory
        while chunk := stream.read(_CHUNK):  # compressors keep their checksum at the very end
            self._count(len(chunk), 0)

    def _directory(self, name: str) -> None:
        self._place(name, is_file=False).mkdir(parents=True, exist_ok=True)

    def _file(self, name: str, source: IO[bytes], expected: int = 0) -> int:
        path = self._place(name, is_file=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                self._count(len(chunk), size, name)
                file.write(chunk)
                if self._on_progress is not None and self._raw is not None:
                    self._on_progress(*((self.written, expected) if expected else (self._raw.tell(), self._size)))
        return size

    def _count(self, more: int, size: int, name: str = "") -> None:
        """Count bytes before they are written."""
        self.written += more
        limits = self.limits
        if size > limits.file:
            raise self._refusal(f"holds {_shown(name)} of more than {limits.file:,} bytes", _BY_HAND)
        if self.written > limits.total:
            raise self._refusal(f"holds more than {limits.total:,} bytes", _BY_HAND)
        if self.written > max(limits.small, limits.ratio * self._size):
            raise self._refusal(f"of {self._size:,} bytes unpacks to more than {limits.ratio} times as many", _BY_HAND)

    def _place(self, name: str, *, is_file: bool) -> Path:
        """Return where an entry goes, or refuse its name."""
        path = name.replace("\\", "/")  # as some programs write folders
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self._refusal(f"holds {_shown(name)}, which leads out of its folder", _ANEW)
        if path.startswith("/") or re.match("[A-Za-z]:", path):
            raise self._refusal(f"holds {_shown(name)}, an absolute path", _ANEW)
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
            raise self._refusal(f"holds {_shown(name)}, a name with characters that no file should have", _ANEW)
        if is_file and (not parts or path.endswith("/")):
            raise self._refusal("holds a file without a name", _ANEW)
        for depth in range(1, len(parts) + 1):
            is_new_file = is_file and depth == len(parts)
            spelling = "/".join(parts[:depth])
            # Some file systems take names that differ in case or in the coding of accents for the same.
            key = unicodedata.normalize("NFC", spelling).casefold()
            before = self._known.get(key)
            if before is not None and (before != spelling or is_new_file):
                raise self._refusal(f"holds {_shown(name)} and {_shown(before.rstrip(_FILE))}, one name for two things", _BY_HAND)
            self._known[key] = spelling + _FILE if is_new_file else spelling
        if len(self._known) > self.limits.entries:
            raise self._refusal(f"holds more than {self.limits.entries:,} files and folders", _BY_HAND)
        return self.folder.joinpath(*parts)

    def _refusal(self, reason: str, hint: str) -> InputError:
        return InputError(f"archive {self.archive} {reason}: nothing was unpacked; {hint}")

    def _damaged(self, reason: object) -> InputError:
        said = " ".join(str(reason).split())
        return self._refusal(f"is cut short or damaged{f' ({said})' if said else ''}", _ANEW)


class _Member(tarfile.TarInfo):
    """An entry whose header, when it is wrong, is an error also in the middle of an archive, where tarfile would take it for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            member = super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the true end
                raise
            raise tarfile.ReadError(str(error)) from None
        if member.size < 0:
            raise tarfile.ReadError("a file of negative size")
        return member


class _Bounded:
    """A stream whose end is an error: after its last entry a tar archive has a mark that is read before. Headers cannot fill the memory."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError("a header of impossible size")
        content: bytes = self.stream.read(size)
        if size and not content:
            raise EOFError("it has no end")
        return content


def _shown(name: str) -> str:
    """Return a name as a message can hold it."""
    return repr(name if len(name) <= 80 else f"{name[:60]}…{name[-19:]}")
