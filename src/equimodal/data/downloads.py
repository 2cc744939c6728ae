"""Where original files are kept, and how one of them is brought there."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["cache_dir", "download"]

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Return the folder for fetched data: ``$EQUIMODAL_CACHE``, else ``equimodal`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    own = os.environ.get("EQUIMODAL_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "equimodal"


def download(
    urls: Sequence[str],
    target: Path,
    prepare: Callable[[Path, Path], None],
    *,
    attempts: int = 3,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> None:
    """Download a file, verify it, and only then put it under its name.

    Each address is tried in turn, and the whole list again after a pause that doubles every time. Everything happens in a
    temporary folder beside the target, which is removed at the end, so that nothing half-written is ever left under the final name.

    :param urls: addresses that serve the same file.
    :param target: where the result goes; a file already there is replaced.
    :param prepare: called with the downloaded file and a free path; it verifies the one, raising ``InputError`` when it is wrong,
        and writes to the other what is to be kept.
    :param attempts: how many times the list of addresses is gone through.
    :param pause: seconds before the second attempt.
    :param timeout: seconds without an answer after which an address is given up.
    :raises InputError: when no address gave the right file, or the target's folder cannot be written to.
    """
    pooch = require("pooch", extra="data")
    # Without this header requests would ask for, and undo, a compression of its own around an already compressed file.
    get = pooch.HTTPDownloader(timeout=timeout, chunk_size=2**16, headers={"Accept-Encoding": "identity"})
    failure: Exception | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            source, kept = Path(folder, "download"), Path(folder, "kept")
            for attempt in range(attempts):
                if attempt:
                    time.sleep(pause * 2 ** (attempt - 1))
                for url in urls:
                    logger.info("downloading %s", url)
                    try:
                        get(url, str(source), None)
                        prepare(source, kept)
                    except (OSError, ValueError) as error:  # what requests raises is an OSError, an InputError is a ValueError
                        failure = error
                        if (response := getattr(error, "response", None)) is not None:
                            response.close()
                        logger.info("%s: %s", url, error)
                    else:
                        kept.replace(target)
                        return
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror or error}): choose another folder, or set EQUIMODAL_CACHE") from None
    reason = " ".join(str(failure).split()).replace(str(source), "the downloaded file")
    raise InputError(f"{target.name} could not be fetched from {' or '.join(urls)} ({reason}): run the same command again to go on")
