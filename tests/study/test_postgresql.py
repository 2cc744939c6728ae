"""The PostgreSQL server that tests start for themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import postgresql
from .postgresql import for_sqlalchemy, running

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (equimodal[postgresql])")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with running() as server:
        yield server


def numbers(url):
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


def note(url, number):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number integer)")
        connection.execute("INSERT INTO numbers VALUES (%s)", (number,))


def test_every_database_is_new_and_empty(server):
    first, second = server.new_database(), server.new_database()
    note(first, 1)
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_nobody_enters_without_the_password(server):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url.replace(server.password, "wrong"))


def test_what_was_committed_survives_a_crash_and_what_was_not_does_not(server):
    url = server.new_database()
    note(url, 1)
    with psycopg.connect(url) as open_one:
        open_one.execute("INSERT INTO numbers VALUES (2)")
        server.restart("immediate")
        assert "was not properly shut down; automatic recovery in progress" in server.log()
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
        open_one.close()
    assert numbers(url) == [1]


def test_nobody_is_let_in_while_it_is_down_and_the_port_is_the_same_afterwards(server):
    url = server.new_database()
    note(url, 1)
    server.stop("fast")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)
    server.start()
    assert numbers(url) == [1]


def test_optuna_keeps_a_study_in_it(server):
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")
    storage = optuna.storages.RDBStorage(for_sqlalchemy(server.new_database()))
    study = optuna.create_study(storage=storage, study_name="parabola", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
    again = optuna.load_study(storage=storage, study_name="parabola")
    assert [trial.values for trial in again.trials] == [[trial.params["x"] ** 2] for trial in study.trials]
    storage.engine.dispose()


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from postgresql import PostgreSQL
with PostgreSQL() as server:
    print(server.process.pid, server.folder, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_it_when_the_tests_are_killed(server):
    words = [sys.executable, "-c", KILLED, str(Path(postgresql.__file__).parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        pid, folder = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 30
    while Path(folder).exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not is_alive(int(pid))


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [("programs", None, "PostgreSQL is not installed"), ("owner", None, "PostgreSQL does not run as root")],
)
def test_without_a_server_the_reason_is_told(server, monkeypatch, name, answer, reason):
    monkeypatch.setattr(postgresql, name, lambda: answer)
    with pytest.raises(pytest.skip.Exception, match=reason), running():
        pass
