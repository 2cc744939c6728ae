"""Three workers are killed again and again, and their PostgreSQL is restarted, and nothing of the study is lost or done twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equimodal.study.declaration import read_declaration
from equimodal.study.protocol import open_storage
from equimodal.study.reading import read_study

from .postgresql import running
from .small import numbers
from .test_takeover import completed

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (equimodal[postgresql])")
pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")
pytest.importorskip("numpy", reason="digits-av needs NumPy (equimodal[data])")
pytestmark = pytest.mark.slow

WORKERS = 3
KILLS = 12
RESTARTS = {4: "immediate", 8: "fast"}
"""After so many kills the database is restarted, the first time as by a crash."""

PATIENCE = 900.0
"""Seconds after which a study hangs, even on a machine that is busy with much else."""

# Two models of one modality, joint and MILES: four trials of a search, and the selected one with two seeds, of each.
TRIALS = 4 * (4 + 2)
STUDY = """
datasets:
  - dataset: digits-av
    model:
      encoders:
        image: {name: mlp, in_features: 64, hidden: [16], out_features: 8}
        audio: {name: mlp, in_features: 576, hidden: [16], out_features: 8}
fusions: [concat]
methods: [joint, miles]
trials: 4
seeds: 1
epochs: 4
train: {batch_size: 8, threads: 1, device: cpu}
ablations: {tau: [], mu: [], training_scores: false, example: null}
heartbeat: 1
"""

# A process that takes itself for one of another machine: of its end the others learn by its heartbeat alone.
ELSEWHERE = "import sys; from equimodal.study import machine; name = sys.argv.pop(1); machine._machine = lambda: name; \
from equimodal.cli import main; sys.exit(main())"

STATES = "SELECT state, count(*) FROM trials GROUP BY state"
AT_WORK = """
SELECT noted.value_json::json ->> 'process' FROM trials JOIN trial_user_attributes AS noted USING (trial_id)
WHERE trials.state = 'RUNNING' AND noted.key = 'mark'
"""


class Crew:
    """Processes of ``equimodal study run``, each of which is replaced when it is killed."""

    def __init__(self, words, folder):
        self.words, self.folder = words, folder
        self.starts = 0
        self.processes = {}

    def __enter__(self):
        for place in range(WORKERS):
            self.start(place)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, place):
        self.starts += 1
        begin = ["-c", ELSEWHERE, f"machine-{self.starts}"] if place == 0 else ["-m", "equimodal"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"log-{self.starts}").open("wb") as log:
            words = [sys.executable, *begin, *self.words]
            self.processes[place] = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
            self.processes[place].log = log.name

    def kill(self, place):
        process = self.processes[place]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the worker ended before it was killed: give the study more to do"
        self.start(place)

    def tend(self):
        """Start those anew that met no database when they began, and return the places of those that are at it."""
        for place, process in list(self.processes.items()):
            code, said = process.poll(), Path(process.log).read_text()
            if code == 2 and "cannot be used" in said:
                self.start(place)
            else:
                assert code in (None, 0), said
        return [place for place, process in self.processes.items() if process.poll() is None]

    def said(self):
        return "\n".join(path.read_text(encoding="utf-8") for path in self.folder.glob("log-*"))


def wait_for_work(url, crew, done):
    """Wait until so many trials are complete and a worker is in the middle of another; return the places of all that are."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.errors.UndefinedTable), psycopg.connect(url) as connection:
            states = dict(connection.execute(STATES).fetchall())
            numbers = {int(number) for (number,) in connection.execute(AT_WORK)}
            found = [place for place in crew.tend() if crew.processes[place].pid in numbers]
            if found and states.get("COMPLETE", 0) >= done:
                return found
        assert crew.tend(), "the study ended before the last kill: give it more to do"
        time.sleep(0.05)
    raise AssertionError(f"the study does not go on\n{crew.said()}")


def make_chaos(server, url, crew):
    """Kill workers in the middle of trials and at any moment, from the first trial to the last ones, and restart the database."""
    chance = random.Random(5)
    for number in range(KILLS):
        done = number * TRIALS // (KILLS + 1)
        victims = wait_for_work(url, crew, done)
        if number % 3 == 2:
            time.sleep(chance.uniform(0.0, 3.0))
            victims = crew.tend()
        else:
            time.sleep(chance.uniform(0.0, 0.6))
        crew.kill(chance.choice(victims))
        if number in RESTARTS:
            wait_for_work(url, crew, done)
            server.restart(RESTARTS[number], pause=chance.uniform(0.1, 1.5))


def finish(crew):
    end = time.monotonic() + PATIENCE
    while crew.tend():
        assert time.monotonic() < end, f"the study does not end\n{crew.said()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "chaos.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def undisturbed(study):
    """The record of the same study, done by one process on SQLite."""
    out = study.parent / "undisturbed"
    words = [sys.executable, "-m", "equimodal", "study", "run", str(study), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return outcome(read_declaration(study), out)[0]


def outcome(declaration, out, url=None):
    """What a study found, and how many attempts at each of its trials are complete."""
    storage = open_storage(declaration, out, url)
    record = read_study(storage)
    counts = completed(storage, record)
    storage.close()
    return record, counts


def test_killed_workers_and_a_restarted_database_lose_nothing_and_count_nothing_twice(study, undisturbed, tmp_path):
    with running() as server:
        url = server.new_database()
        words = ["study", "run", str(study), "--storage", url, "--out", str(tmp_path / "out"), "--workers", "1"]
        with Crew(words, tmp_path) as crew:
            make_chaos(server, url, crew)
            finish(crew)
        assert "automatic recovery in progress" in server.log()
        record, counts = outcome(read_declaration(study), tmp_path / "out", url)

    assert [trial.state for trial in record.trials] == ["complete"] * TRIALS, crew.said()
    assert counts == dict.fromkeys(counts, 1)
    assert len(counts) == TRIALS
    assert sum(trial.attempts for trial in record.trials) >= TRIALS + KILLS // 3, "too few kills hit a trial"
    assert numbers(record) == numbers(undisturbed)
    assert server.password not in crew.said()
