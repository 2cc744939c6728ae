"""Whose storage it is, which cannot be used, and a database that is away."""

import sqlite3
from pathlib import Path

import pytest

from equimodal import InputError
from equimodal.study import storage as storage_module
from equimodal.study.locks import hidden
from equimodal.study.protocol import open_storage
from equimodal.study.storage import Storage

from .small import BASE, begun, claim, small

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")
sqlalchemy = pytest.importorskip("sqlalchemy")


# --- whose storage it is


def test_a_file_holds_one_study(tmp_path, storage):
    with pytest.raises(InputError, match=r"belongs to the study 'small': choose another file for 'other'"):
        open_storage(small(name="other"), tmp_path)


def test_a_study_that_has_begun_is_known_again(tmp_path, declaration, storage):
    assert storage.check()
    (tmp_path / "new").mkdir()
    assert not Storage(f"sqlite:///{tmp_path / 'new' / 'study.db'}", declaration).check()


def test_a_changed_file_is_refused_and_an_extended_one_becomes_that_of_the_study(tmp_path, storage):
    with pytest.raises(InputError, match=r"trials = 2 there, 1 here"):
        open_storage(small(methods=["miles"], trials=1), tmp_path)
    begun(tmp_path, small(methods=["miles"], trials=5))
    with pytest.raises(InputError, match=r"trials = 5 there, 2 here"):
        storage.begin()


@pytest.mark.parametrize("content", [None, "no JSON", '{"format": 99, "file": {}}', '{"format": 1}', "[]"])
def test_a_study_of_another_version_is_refused_but_one_that_was_hardly_begun_is_not(tmp_path, declaration, content):
    storage = open_storage(declaration, tmp_path)
    root = storage._study("equimodal")
    if content is None:
        storage.begin()
        assert storage.check()
        return
    root.set_user_attr("declaration", content)
    with pytest.raises(InputError, match=r"holds a study 'small' of another version: choose another storage"):
        storage.begin()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "an SQLite file is needed"),
        ("sqlite:///", "an SQLite file is needed"),
        ("mysql://me:secret@host/db", "sqlite:///FILE or postgresql://"),
        ("study.db", "sqlite:///FILE or postgresql://"),
        ("", "sqlite:///FILE or postgresql://"),
        ("postgresql://me:secret@localhost:1/none", "cannot be used"),
        ("sqlite:///{folder}", "cannot be used"),
        ("sqlite:///{folder}/text.db", "file is not a database"),
        ("sqlite:///{folder}/text.db/below/study.db", "cannot make the folder"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_one_line_without_its_password(tmp_path, declaration, url, said):
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="psycopg is not installed (equimodal[postgresql])")
    (tmp_path / "text.db").write_text("this is no database, however one looks at it\n" * 100)
    with pytest.raises(InputError) as error:
        Storage(url.format(folder=tmp_path), declaration)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:se@cr:et@host:5/db", "postgresql://me:***@host:5/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?password=secret", "postgresql://host/db?password=***"),
        ("sqlite:////tmp/study.db", "sqlite:////tmp/study.db"),
    ],
)
def test_a_password_is_hidden(url, shown):
    assert hidden(url) == shown


# --- a database that is away


@pytest.fixture
def no_sleep(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(storage_module.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(storage_module.time, "monotonic", lambda: clock[0])
    return clock


def away(times, error):
    """An action that meets no database a few times."""
    left = [times]

    def act():
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "found"

    return act


def database_error(kind):
    cause = sqlite3.OperationalError("no route to host\nat all")
    error = getattr(sqlalchemy.exc, kind)("SELECT 1", {}, cause)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("kind", ["OperationalError", "InterfaceError", "InternalError", None])
def test_a_database_that_is_away_is_waited_for_and_that_is_said_once(tmp_path, declaration, no_sleep, kind):
    said = []
    storage = open_storage(declaration, tmp_path, say=said.append)
    error = optuna.exceptions.StorageInternalError("no route to host") if kind is None else database_error(kind)
    assert storage.patiently(away(5, error)) == "found"
    assert said == ["the storage does not answer (no route to host); waiting for it", "the storage is back"]


def test_a_database_that_stays_away_ends_the_wait(storage, no_sleep):
    with pytest.raises(InputError, match=r"has been away for 600 s: no route to host$"):
        storage.patiently(away(10**6, database_error("OperationalError")))
    assert 600 <= no_sleep[0] < 700


def test_an_error_of_another_kind_is_not_waited_for(storage, no_sleep):
    with pytest.raises(KeyError):
        storage.patiently(away(1, KeyError("x")))
    assert no_sleep[0] == 0.0


def test_a_heartbeat_without_a_database_does_not_end_an_attempt(storage, joint, monkeypatch):
    trial = claim(storage, joint)
    monkeypatch.setattr(storage._storage, "record_heartbeat", lambda _: away(1, database_error("OperationalError"))())
    assert storage.beat(trial)


def test_the_folder_of_a_file_is_made(tmp_path, declaration):
    path = Path(tmp_path) / "a" / "b" / "study.db"
    Storage(f"sqlite:///{path}", declaration).begin()
    assert path.is_file()
    assert BASE["name"] == declaration.name
