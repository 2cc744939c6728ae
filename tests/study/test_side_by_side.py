"""Processes that begin at once, a lock that is lost with its database, and connections that are given back."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from equimodal.study import protocol
from equimodal.study import storage as storage_module
from equimodal.study.protocol import open_storage, run_study

from .postgresql import running
from .small import JOINT, begun, claim, series_of, small

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_module.time, "sleep", lambda _: None)
    return begun(tmp_path, small())


@pytest.fixture
def taken(storage, monkeypatch):
    """How often the lock was taken."""
    times, held = [], storage._lock.held

    @contextlib.contextmanager
    def noted():
        times.append(1)
        with held():
            yield

    monkeypatch.setattr(storage._lock, "held", noted)
    return times


def first_time(action):
    """A function that does something more when it is called for the first time."""
    waiting = [action]

    def before(real):
        def call(*arguments):
            if waiting:
                waiting.pop()(*arguments)
            return real(*arguments)

        return call

    return before


def test_a_database_that_was_away_has_let_go_of_the_lock_so_it_is_taken_anew(storage, taken, monkeypatch):
    def away(*_):
        raise optuna.exceptions.StorageInternalError("away")

    monkeypatch.setattr(storage, "_attempts", first_time(away)(storage._attempts))

    def look():
        with storage.locked():
            return storage.attempts(JOINT)

    assert storage.patiently(look) == []
    assert len(taken) == 2


def test_an_attempt_that_others_gave_up_while_it_was_begun_is_begun_anew(storage, taken, monkeypatch):
    def give_up(trial, *_):
        storage._end(trial.study, trial.number, optuna.trial.TrialState.FAIL)

    monkeypatch.setattr(storage_module, "_suggest", first_time(give_up)(storage_module._suggest))
    trial = storage.patiently(lambda: claim(storage, series_of(storage.declaration)[JOINT]))
    assert [attempt.state for attempt in storage.attempts(JOINT)] == ["FAIL", "RUNNING"]
    assert storage.finish(trial, "COMPLETE", {"score": 0.5}, 0.5)
    assert len(taken) == 2


def test_processes_that_begin_at_once_do_not_write_the_same_file_at_once(tmp_path, monkeypatch):
    at_it, most, write_whole = [], [], protocol.write_whole

    def slowly(*arguments):
        at_it.append(1)
        most.append(len(at_it))
        time.sleep(0.1)
        write_whole(*arguments)
        at_it.pop()

    class Idle:
        def __init__(self, *_, **__):
            pass

        def work(self):
            return True

    monkeypatch.setattr(protocol, "write_whole", slowly)
    monkeypatch.setattr(protocol, "Worker", Idle)
    begun(tmp_path, small())
    workers = [threading.Thread(target=run_study, args=(small(), tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1, 1, 1]


@pytest.mark.slow
def test_a_finished_study_has_no_connection_left(tmp_path):
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (equimodal[postgresql])")
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with running() as server:
        url = server.new_database()
        assert run_study(small(), tmp_path, url=url, only=[JOINT])
        with psycopg.connect(url) as connection:
            assert connection.execute(count).fetchone() == (0,)
            storage = open_storage(small(), tmp_path, url)
            assert [attempt.state for attempt in storage.attempts(JOINT)] == ["COMPLETE"] * 2
            storage.close()
            assert connection.execute(count).fetchone() == (0,)
