"""Addresses of storages, and the lock that keeps two processes from beginning the same trial."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from equimodal._files import FolderLock
from equimodal.errors import InputError, first_line, require
from equimodal.train.seeds import derived_seed

__all__ = ["engine_options", "hidden", "lock_of"]


def hidden(url: str) -> str:
    """Return the address of a storage without its password.

    >>> hidden("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    >>> hidden("postgresql://host/db?user=me&password=secret")
    'postgresql://host/db?user=me&password=***'
    """
    url = re.sub(r"([?&]password=)[^&]*", r"\1***", url)
    head, at, tail = url.rpartition("@")
    scheme, slashes, login = head.partition("://")
    if not at or ":" not in login:
        return url
    return f"{scheme}{slashes}{login.partition(':')[0]}:***@{tail}"


class _FileLock:
    """The lock of a storage in a file: that of its folder, which the system lets go of when a process ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        lock = FolderLock(self.folder, "the study")
        lock.take(wait=True)
        try:
            yield
        finally:
            lock.release()


class _ServerLock:
    """The lock of a storage on a server, which the server lets go of when the connection ends."""

    def __init__(self, engine: str, name: str) -> None:
        sqlalchemy = require("sqlalchemy", extra="study")
        self._text = sqlalchemy.text
        pool = require("sqlalchemy.pool", extra="study")
        self._engine = sqlalchemy.create_engine(engine, poolclass=pool.NullPool, connect_args=_CONNECT)
        self._key = derived_seed(0, "lock", name)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(self._text("SELECT pg_advisory_lock(:key)"), {"key": self._key})
            yield
            # Fails where the server went away meanwhile, and with it the lock: what was done is then not relied upon.
            connection.execute(self._text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})


# A machine that vanishes says nothing: without these its lock would be kept for hours, and so would we wait for a vanished server. Optuna
# writes heartbeats in the zone of the session, which no clock change may move.
_KEEP_ALIVE = {"idle": 30, "interval": 10, "count": 3}
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 60_000,
    **{f"keepalives_{name}": value for name, value in _KEEP_ALIVE.items()},
    "options": " ".join(["-c timezone=UTC", *(f"-c tcp_keepalives_{name}={value}" for name, value in _KEEP_ALIVE.items())]),
}


def lock_of(url: str, name: str) -> tuple[Any, str]:
    """Return the lock of a storage, and its address as SQLAlchemy needs it.

    :raises InputError: for an address of another kind.
    """
    scheme, slashes, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind == "sqlite" and slashes:
        path = Path(rest.removeprefix("/")).expanduser()
        if not rest.startswith("/") or not path.name:
            raise InputError(f"storage = {url!r}: an SQLite file is needed, such as sqlite:///study.db")
        try:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"storage = {url!r}: cannot make the folder {path.parent}: {error.strerror or error}") from None
        return _FileLock(path.absolute().parent), f"sqlite:///{path.absolute()}"
    if kind in ("postgresql", "postgres") and slashes:
        require("psycopg", extra="postgresql")
        engine = f"postgresql+psycopg://{rest}"
        try:
            return _ServerLock(engine, name), engine
        except Exception as error:  # a part of the address that is none, such as a port in letters
            raise InputError(f"storage = {hidden(url)!r} is no address of a database: {first_line(error)}") from None
    raise InputError(f"storage = {hidden(url)!r}: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE is needed")


def engine_options(url: str) -> dict[str, Any]:
    """Return how SQLAlchemy is to connect to a storage."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    return {"pool_pre_ping": True, "connect_args": _CONNECT}
