"""Writing a file so that its final name never holds half of it, and keeping a folder to one process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from equimodal.errors import Busy, CannotWrite

__all__ = ["FolderLock", "make_folder", "write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file under a temporary name beside its own, and rename it.

    :returns: the path.
    :raises CannotWrite: when the disk is full or writing is not permitted; the earlier file of that name stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        if hasattr(os, "O_DIRECTORY"):  # the new name too must outlive a power cut
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder, then run the same again"
        ) from None
    return path


def make_folder(folder: Path) -> Path:
    """Make a folder, and those above it, where it is not there.

    :returns: the folder.
    :raises CannotWrite: when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"the folder {str(folder)!r} cannot be made: {error.strerror or error}; choose another one") from None
    return folder


class FolderLock:
    """Keeps other processes from a folder until it is released; the end of the process does so too, however it ends.

    :param path: the folder.
    :param what: what is in it, for the message, such as ``"the run"``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self._held: int | None = None

    def take(self, *, wait: bool = False) -> None:
        """Take the folder, where the system has locks.

        :param wait: wait until another process lets go of it, instead of refusing.
        :raises Busy: when another process has it.
        """
        try:
            import fcntl
        except ImportError:  # Windows has other locks
            return
        self._held = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise Busy(f"another process is at work on {self.what} in {self.path}: wait for it, or choose another folder") from None
        except OSError:  # a file system without locks
            self.release()

    def release(self) -> None:
        """Let others have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
