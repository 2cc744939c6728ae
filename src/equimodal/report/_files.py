"""Writing a file so that its final name never holds half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from equimodal.errors import InputError

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write the content to a temporary file beside the path, then rename it.

    :returns: the path.
    :raises InputError: when the folder does not exist, cannot be written to, or is full; nothing is left behind.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp keeps others from reading; a report is an ordinary file.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{str(path)!r} cannot be written: {reason}; give a path in an existing folder with space and permission"
        ) from None
    return path
