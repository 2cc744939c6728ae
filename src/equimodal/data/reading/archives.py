"""Raw downloads that are archives: unpacked safely, once, and whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from equimodal._files import FolderLock, write_whole
from equimodal.data.downloads import cache_dir
from equimodal.data.reading.originals import sha256_of
from equimodal.data.reading.unpacking import Limits, Unpacking
from equimodal.errors import InputError

__all__ = ["Limits", "opened", "unpack"]

Progress = Callable[[int, int], None]
"""Called with how much is done and of how much."""

_STALE = ".unpacking-"


def opened(
    source: Path, suits: Callable[[Path], object] | None = None, limits: Limits | None = None, on_progress: Progress | None = None
) -> Path:
    """Return a folder of originals: the one that was named, or the one that the archive of that name is unpacked to.

    An archive is unpacked once, into ``unpacked`` in the cache, beside a note of its sha256; the folder may be removed at any time. Where
    the archive has not changed since, it is neither read nor unpacked again.

    :param source: a folder, or a ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz`` archive or a single compressed file.
    :param suits: raises ``InputError`` for a folder that does not hold what is sought. Where an archive's content lies in one folder
        within, that folder is tried too.
    :param limits: what an archive may hold at most.
    :param on_progress: called while it is unpacked.
    :raises InputError: when there is nothing of that name, or as :func:`unpack`, or the first of what ``suits`` raises.
    """
    if source.is_dir():
        return source
    if source.suffix == ".npz":  # NumPy's files are zip archives inside
        raise InputError(f"{source} is one of the originals, not an archive of them: name its folder, {source.parent}")
    folder = _unpacked(source, limits, on_progress)
    return folder if suits is None else _innermost(folder, suits)


def _innermost(folder: Path, suits: Callable[[Path], object]) -> Path:
    try:
        suits(folder)
    except InputError:
        inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        if len(inside) == 1 and inside[0].is_dir():
            with contextlib.suppress(InputError):
                return _innermost(inside[0], suits)
        raise
    return folder


def _unpacked(source: Path, limits: Limits | None, on_progress: Progress | None) -> Path:
    try:
        state = source.stat()
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror or error}): name a folder or an archive of originals") from None
    if not source.is_file():
        raise InputError(f"{source} is neither a folder nor a file: name a folder or an archive of originals")
    place = cache_dir() / "unpacked"
    known = {"archive": str(source.resolve()), "size": state.st_size, "modified_ns": state.st_mtime_ns}
    for note, folder in _notes(place):
        if {key: note.get(key) for key in known} == known and _is_whole(folder, note):
            return folder
    digest = sha256_of(source, "archive")
    # The end of the name keeps archives of one name apart, the beginning is for people.
    folder = place / f"{source.name.partition('.')[0][:40] or 'archive'}-{digest[:12]}"
    with _alone(place):
        if not any(held == folder and note.get("sha256") == digest and _is_whole(held, note) for note, held in _notes(place)):
            shutil.rmtree(folder, ignore_errors=True)  # what is left where someone removed a part
            unpack(source, folder, limits, on_progress)
        files, size = _measure(folder)
        note_file = folder.with_name(f"{folder.name}.json")
        write_whole(note_file, json.dumps({**known, "sha256": digest, "files": files, "bytes": size}, indent=1))
    return folder


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one process at a time unpack into a folder, the others wait; remove what killed ones left there."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place} cannot be made ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours") from None
    lock = FolderLock(place, "an archive")
    lock.take(wait=True)
    try:
        if os.name == "posix":  # elsewhere there is no lock, and these may belong to a process at work
            for stale in place.glob(f"{_STALE}*"):
                shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()


def unpack(archive: Path, folder: Path, limits: Limits | None = None, on_progress: Progress | None = None) -> None:
    """Unpack an archive into a new folder.

    Nothing appears under the folder's name before everything is there. Refused, with nothing left behind, are names that lead out of the
    folder, links, devices, names that stand there twice or differ in case alone, encrypted files, and more than the limits allow, counted
    as it is written.

    :param archive: its kind is recognised by its content. A single file that is compressed with gzip, bzip2 or xz keeps its name without
        the suffix.
    :param folder: where its content goes; must not exist.
    :param limits: what it may hold at most.
    :param on_progress: called with the bytes done and of all.
    :raises InputError: for such an archive, one that is cut short, damaged or none at all, or when the disk is full.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already: an archive is unpacked into a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=_STALE, dir=folder.parent))
    except OSError as error:
        raise _unwritable(archive, folder, error) from None
    try:
        Unpacking(archive, partial / "content", limits or Limits(), on_progress).run()
        (partial / "content").rename(folder)
    except OSError as error:
        raise _unwritable(archive, folder, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritable(archive: Path, folder: Path, error: OSError) -> InputError:
    return InputError(
        f"archive {archive} cannot be unpacked below {folder.parent} ({error.strerror or error}): free space, or choose another place with"
        " EQUIMODAL_CACHE"
    )


def _notes(place: Path) -> Iterator[tuple[dict[str, object], Path]]:
    """Yield the note of each unpacked archive and its folder."""
    for path in sorted(place.glob("*.json")):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(note, dict):
            yield note, path.with_suffix("")


def _is_whole(folder: Path, note: dict[str, object]) -> bool:
    return folder.is_dir() and _measure(folder) == (note.get("files"), note.get("bytes"))


def _measure(folder: Path) -> tuple[int, int]:
    """Return how many files there are below a folder, and their bytes."""
    files = size = 0
    for above, _, names in os.walk(folder):
        for name in names:
            files += 1
            size += os.lstat(Path(above, name)).st_size
    return files, size
