"""A worker is killed, and another one goes on where it was: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from equimodal.study import work
from equimodal.study.declaration import declare
from equimodal.study.protocol import open_storage, run_study
from equimodal.study.reading import read_study

from .small import numbers

pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed at a line")

SEARCH = "tiny/alone/audio"
FINAL = f"{SEARCH}/final"
FILE = {
    "name": "takeover",
    "datasets": [{"label": "tiny", "dataset": "cli.tiny:Tiny"}],
    "fusions": ["concat"],
    "methods": ["joint"],
    "trials": 2,
    "seeds": 1,
    "epochs": 4,
    "train": {"batch_size": 16, "threads": 1, "device": "cpu"},
    "ablations": {"tau": [], "mu": [], "training_scores": False, "example": None},
    "heartbeat": 1,
}

# Processes that are made when everything is imported already.
VICTIMS = """
import os, random, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from equimodal.study import machine, work
from equimodal.study.declaration import declare
from equimodal.study.protocol import run_study
from equimodal.study.series import expand
from study.test_takeover import FILE, FINAL, SEARCH
import optuna, torch._dynamo

optuna.storages.RDBStorage("sqlite://")
expand(declare(FILE))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def ended(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

# Ends after the first epoch of its first trial, when the checkpoint is on disk. Of another machine only the heartbeat tells of the end.
IN_A_TRIAL = """
def broken_off(out, where):
    if where == "elsewhere":
        machine._machine = lambda: "another machine"
    perform = work.perform
    work.perform = lambda job, data, on_epoch, passing: perform(job, data, die, passing)
    run_study(declare(FILE), out, only=[SEARCH])

for where in ("here", "elsewhere"):
    print(ended(lambda: broken_off(os.path.join(sys.argv[1], where), where)))
"""

# Each ends at a statement of SQL, or between the last one and what makes it last, until one finds everything done.
AT_A_STATEMENT = """
chance = random.Random(3)

def broken_off(out, number):
    def count(*_):
        nonlocal number
        number -= 1
        if number < 0:
            die()

    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, count)
    run_study(declare(FILE), out, only=[FINAL])

code = -signal.SIGKILL
while code == -signal.SIGKILL:
    number = chance.randrange(40, 260)
    code = ended(lambda: broken_off(sys.argv[1], number))
    print(code)
"""


def victims(script, out):
    """Run processes of which each ends itself; returns their exit codes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", VICTIMS + script, str(out)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return [int(code) for code in done.stdout.split()]


def finish(out, only):
    """Do what is left in this process; returns what was found, and the numbers of the trials as they were begun."""
    begun = []
    declaration = declare(FILE)
    assert run_study(declaration, out, only=[only], on_event=lambda event: begun.append(event.number) if event.kind == "begun" else None)
    storage = open_storage(declaration, out)
    record = read_study(storage)
    counts = completed(storage, record)
    assert counts == dict.fromkeys(counts, 1)
    storage.close()
    return {key: value for key, value in numbers(record).items() if key[0] in (SEARCH, only)}, begun


def completed(storage, record):
    """How many attempts at each trial that was ever begun are complete."""
    counts = {}
    for series in record.series:
        for attempt in storage.attempts(series.name):
            counts[series.name, attempt.key] = counts.get((series.name, attempt.key), 0) + (attempt.state == "COMPLETE")
    return counts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed study finds."""
    found, begun = finish(tmp_path_factory.mktemp("whole"), FINAL)
    assert begun == [0, 1, 0, 1]
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with two studies, each left in the middle of its first trial."""
    folder = tmp_path_factory.mktemp("killed")
    assert victims(IN_A_TRIAL, folder) == [-9, -9]
    for where in ("here", "elsewhere"):
        assert len((folder / where / "runs" / SEARCH / "trial-000" / "metrics.jsonl").read_text().splitlines()) == 1
    return folder


@pytest.fixture
def epochs(monkeypatch):
    """The epochs that are trained in this process, by the name of the run folder."""
    found = {}
    perform = work.perform

    def noted(job, data, on_epoch, passing):
        def look(record):
            found.setdefault(job.out.name, []).append(record["epoch"])
            on_epoch(record)

        return perform(job, data, look, passing)

    monkeypatch.setattr(work, "perform", noted)
    return found


# Of a process of this machine it is plain that it is gone; one of another machine has until its heartbeats end.
@pytest.mark.parametrize(("where", "order"), [("here", [0, 1]), ("elsewhere", [1, 0])])
def test_a_broken_off_trial_is_taken_over_and_goes_on_from_its_checkpoint(killed, whole, epochs, where, order):
    with contextlib.closing(sqlite3.connect(killed / where / "study.db")) as database, database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '+2 seconds')")  # as if it had ended just now
    found, begun = finish(killed / where, SEARCH)
    assert begun == order
    assert epochs == {"trial-000": [2, 3, 4], "trial-001": [1, 2, 3, 4]}
    assert found == {key: value for key, value in whole.items() if key[0] == SEARCH}


@pytest.mark.slow
def test_killed_at_any_statement_workers_lose_nothing_and_count_nothing_twice(tmp_path, whole):
    codes = victims(AT_A_STATEMENT, tmp_path)
    assert codes[-1] == 0
    assert len(codes) > 10
    found, begun = finish(tmp_path, FINAL)
    assert begun == []
    assert found == whole
