"""A real PostgreSQL server of a test's own, in a temporary folder, which is gone after the test in every case."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

__all__ = ["PostgreSQL", "for_sqlalchemy", "missing", "running"]

USER = "equimodal"
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
PATIENCE = 60.0
"""Seconds for a server to start, recovery from a crash included, or to stop."""

# Ports that the system gives to clients start at 32768. One of those would be lost to a client that keeps trying to connect while the
# server is down: sooner or later it meets its own socket.
PORTS = range(20_000, 32_000)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "16MB",
    # What a server has written stays with the system when the server crashes; only a crash of the whole machine needs the disk.
    "fsync": "off",
}

# Ends when its input does: when the test closes it, or the test's process is gone for whatever reason.
KEEPER = 'read -r _; "$0" stop -D "$1/data" -m immediate -w -t 20; rm -rf "$1"'


def programs():
    """The folder of the newest server's programs; None where there is no server."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.parent.name.split(".") if part.isdecimal()])
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


def owner():
    """Who may run the server, as arguments of a process: the present user, or where that is root, which it refuses, another one."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return None


def missing():
    """Why no server can be started here, in words; None where one can."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed (equimodal[postgresql])"
    if programs() is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    if owner() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


@contextlib.contextmanager
def running():
    """A server for the time of a test or fixture, which is skipped where there can be none."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with PostgreSQL() as server:
        yield server


def for_sqlalchemy(url):
    """Name the driver in a URL: SQLAlchemy's default is psycopg2."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


class PostgreSQL:
    """A server that runs from the beginning of a ``with`` statement to its end, and on the same port after each restart."""

    def __init__(self):
        self.programs, self.owner = programs(), owner()
        self.password = secrets.token_hex(8)
        self.port = None
        self.process = None
        self.databases = 0

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # the path of a socket has at most 107 characters
        if self.owner:
            os.chown(self.folder, self.owner["user"], self.owner["group"])
        words = ["sh", "-c", KEEPER, str(self.programs / "pg_ctl"), str(self.folder)]
        self.keeper = self._begin(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._initialize()
            self._first_start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        """The URL of a database that is always there."""
        return self._url("postgres")

    def new_database(self):
        """Make an empty database and return its URL."""
        import psycopg

        self.databases += 1
        name = f"study{self.databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self._url(name)

    def start(self):
        """Start the server and wait until it answers."""
        assert self.process is None, "the server is running"
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        words = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = self._begin(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()

    def stop(self, mode="fast"):
        """Stop the server: "fast" ends its connections, "immediate" is a crash, "smart" waits for the last client."""
        self.process.send_signal(MODES[mode])
        self.process.wait(PATIENCE)
        self.process = None

    def restart(self, mode="fast", pause=0.0):
        """Stop the server, wait a while, and start it again."""
        self.stop(mode)
        time.sleep(pause)
        self.start()

    def log(self):
        """What the server has written."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        """Stop the server and remove all it has left."""
        if self.process is not None and self.process.poll() is None:
            self.stop("immediate")
        self.process = None
        self.keeper.stdin.close()
        self.keeper.wait(PATIENCE)

    def _initialize(self):
        password = self.folder / "password"
        password.write_text(self.password)
        if self.owner:
            os.chown(password, self.owner["user"], self.owner["group"])
        words = [str(self.programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER, "--pwfile", str(password)]
        words += ["-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE, cwd="/", env=clean(), **self.owner)
        assert done.returncode == 0, done.stderr

    def _first_start(self):
        chance = random.SystemRandom()
        while True:
            self.port = free_port(chance)
            try:
                return self.start()
            except RuntimeError:
                if "Address already in use" not in self.log():
                    raise
                (self.folder / "log").unlink()  # another process was faster: take another port

    def _wait(self):
        """Wait until the server takes connections."""
        import psycopg

        end = time.monotonic() + PATIENCE
        while True:
            try:
                return psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                ended = self.process.poll() is not None
                if ended or time.monotonic() > end:
                    said = self.log()[-2000:]
                    if ended:
                        self.process = None
                    raise RuntimeError(f"PostgreSQL {'does not start' if ended else 'does not answer'}:\n{said}") from None
            time.sleep(0.02)

    def _url(self, database):
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _begin(self, words, **streams):
        # In a session of its own, so that Ctrl-C ends the tests alone, and they end the server.
        return subprocess.Popen(words, cwd="/", env=clean(), start_new_session=True, **streams, **self.owner)


def clean():
    """The environment without what would speak to another server."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, "LC_ALL": "C"}


def free_port(chance):
    """A port that nobody listens on at the moment."""
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
