"""Where original files are kept, and how one of them is brought there."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.data.reading.originals import is_html
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["cache_dir", "check_hash", "download"]

logger = logging.getLogger(__name__)

_WORTH_SHOWING = 2**20
_ALGORITHMS = {32: "md5", 64: "sha256"}


def cache_dir() -> Path:
    """Return the folder for fetched data: ``$EQUIMODAL_CACHE``, else ``equimodal`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    own = os.environ.get("EQUIMODAL_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "equimodal"


def download(
    urls: Sequence[str],
    target: Path,
    prepare: Callable[[Path, Path], object] = Path.replace,
    *,
    known_hash: str | None = None,
    attempts: int = 3,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> None:
    """Download a file, verify it, and only then put it under its name.

    Each address is tried in turn, and the whole list again after a pause that doubles every time. Everything happens in a
    temporary folder beside the target, which is removed at the end, so that nothing half-written is ever left under the final name.
    A web page that arrives instead of data is refused. How far a large file is goes to this module's logger.

    :param urls: addresses that serve the same file.
    :param target: where the result goes; a file already there is replaced.
    :param prepare: called with the downloaded file and a free path; it verifies the one, raising ``InputError`` when it is wrong,
        and writes to the other what is to be kept. By default the file is kept as it is.
    :param known_hash: the sha256 or md5 of the file as it is served, in hexadecimal digits, after ``"sha256:"`` or ``"md5:"`` if wanted.
    :param attempts: how many times the list of addresses is gone through.
    :param pause: seconds before the second attempt.
    :param timeout: seconds without an answer after which an address is given up.
    :raises InputError: when no address gave the right file, or the target's folder cannot be written to.
    """
    pooch = require("pooch", extra="data")
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
                    # Without this header requests would ask for, and undo, a compression of its own around an already compressed file.
                    headers = {"Accept-Encoding": "identity"}
                    get = pooch.HTTPDownloader(timeout=timeout, chunk_size=2**16, headers=headers, progressbar=_Progress())
                    try:
                        get(url, str(source), None)
                        _refuse_web_page(source, target)
                        if known_hash is not None:
                            check_hash(source, known_hash, "what the server sent")
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


def check_hash(path: Path, known_hash: str, what: str = "") -> None:
    """Refuse a file that is not the known one.

    :param path: the file.
    :param known_hash: its sha256 or md5, as for :func:`download`.
    :param what: what it is, for the message; its path when not given.
    :raises InputError: when it is missing, unreadable or another one.
    """
    expected = known_hash.rpartition(":")[2].lower()
    algorithm = known_hash.partition(":")[0].lower() if ":" in known_hash else _ALGORITHMS.get(len(expected), "")
    if algorithm not in _ALGORITHMS.values():
        raise InputError(f"checksum {known_hash!r} is neither a sha256 nor an md5 in hexadecimal digits")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    if found != expected:
        raise InputError(f"wrong checksum: {what or path} has {algorithm} {found}, expected {expected}")


def _refuse_web_page(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        if target.suffix.lower() not in (".html", ".htm") and is_html(file.read(512)):
            raise InputError("the server sent an HTML page instead: it refuses the download or asks for a login")


class _Progress:
    """What pooch calls while it downloads: every percent is logged for those who draw a bar, every tenth for those who read."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self._percent = 0

    def update(self, more: int) -> None:
        self.done += more
        percent = min(100, 100 * self.done // self.total) if self.total >= _WORTH_SHOWING else 0
        if percent > self._percent:
            level = logging.INFO if percent // 10 > self._percent // 10 else logging.DEBUG
            self._percent = percent
            progress = (min(self.done, self.total), self.total)
            logger.log(level, "%d %% of %.0f MB", percent, self.total / 1e6, extra={"progress": progress})

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing is held open."""
