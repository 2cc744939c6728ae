import importlib.util

import pytest

from cli.tiny import Tiny
from equimodal.study import work

from .small import JOINT, begun, series_of, small


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EQUIMODAL_CACHE", str(folder))
    return folder / "unimodal-rates"


@pytest.fixture(scope="session")
def tiny():
    return Tiny(), Tiny().load()


@pytest.fixture
def quick(monkeypatch):
    """Leave the report's figures out, which take longer than the runs."""
    monkeypatch.setattr("equimodal.study.outcome.render_report", lambda *_, **__: "<html>report</html>")


@pytest.fixture(scope="session", autouse=True)
def unhurried_disk():
    """Let SQLite not wait until the disk has what it wrote: the tests end processes, not machines."""
    if importlib.util.find_spec("sqlalchemy") is None:
        yield
        return
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def relax(connection, _):
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    yield
    event.remove(Engine, "connect", relax)


@pytest.fixture
def declaration():
    """A study of MILES and joint training."""
    return small(methods=["miles"])


@pytest.fixture
def joint(declaration):
    return series_of(declaration)[JOINT]


@pytest.fixture
def storage(tmp_path, declaration):
    """The storage of that study, which has begun."""
    return begun(tmp_path, declaration)


@pytest.fixture
def perform(monkeypatch):
    """Let something else happen in place of each training; given the job, and what does it."""
    real = work.perform

    def replace(action):
        monkeypatch.setattr(work, "perform", lambda job, *more: action(job, lambda: real(job, *more)))

    return replace
