"""Writing a file so that its final name never holds half of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from equimodal.errors import InputError

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file under a temporary name beside its own, and rename it.

    :returns: the path.
    :raises InputError: when the disk is full or writing is not permitted; the earlier file of that name stays as it was.
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
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder, then run the same again"
        ) from None
    return path
