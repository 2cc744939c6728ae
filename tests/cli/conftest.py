import contextlib
import hashlib
import io
from typing import NamedTuple

import pytest

from equimodal.cli import main

TINY = ("--dataset", "cli.tiny:Tiny")


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str


def answer(*words):
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def run_command():
    """Run a command that must succeed without a word on stderr; returns what it printed."""

    def run(*words):
        given = answer(*words)
        assert (given.code, given.err) == (0, "")
        return given.out

    return run


@pytest.fixture(scope="session")
def refused():
    """Run a command that must be refused in one line; returns the line."""

    def run(*words):
        given = answer(*words)
        assert given.code == 2, given
        assert given.err.startswith("equimodal: "), given.err
        assert given.err.endswith("\n"), given.err
        assert given.err.count("\n") == 1, given.err
        return given.err

    return run


@pytest.fixture(scope="session")
def train(run_command):
    """Train one epoch on the tiny data set, unless the words say otherwise."""

    def run(out, *words):
        return run_command("train", *TINY, "--epochs", 1, "--out", out, *words)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, run_command):
    """A finished run on the tiny data set: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run_command("train", *TINY, "--epochs", 3, "--out", folder)


@pytest.fixture(scope="session")
def content():
    """Return the hash of every file below a folder."""

    def read(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return read
