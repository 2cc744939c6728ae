"""Preparing while processes are killed or stand in each other's way."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.preparation.toy import write_originals

SCRIPT = """
import sys, time
from pathlib import Path
from data.preparation.toy import Toy
from equimodal.data.preparation import writer

writer._SECONDS = 0.0
plan = Toy.plan
def slow(self, folder):
    made = plan(self, folder)
    def read(row):
        time.sleep(float(sys.argv[2]))
        with open(sys.argv[3], "a") as file:
            file.write(f"{row}\\n")
        return made.read(row)
    return type(made)(made.ids, made.arrays, read, made.columns, made.facts, made.notes, made.files)
Toy.plan = slow
print(Toy().prepare(Path(sys.argv[1]), workers=1).made)
"""


def start(originals, cache, pause, log):
    environment = {**os.environ, "EQUIMODAL_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(originals), str(pause), str(log)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def content(cache):
    (entry,) = (path for path in (cache / "prepared" / "toy").iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in entry.iterdir() if path.name != "manifest.json"}


@pytest.mark.slow
def test_a_killed_preparation_goes_on_and_ends_with_the_same_bytes(tmp_path):
    originals = write_originals(tmp_path / "originals", 200)
    undisturbed = start(originals, tmp_path / "undisturbed", 0, tmp_path / "log0")
    assert undisturbed.communicate()[0] == "True\n"
    log, cache, kills = tmp_path / "log", tmp_path / "cache", 0
    while True:
        process = start(originals, cache, 0.01, log)
        seen = len(log.read_text().splitlines()) if log.exists() else 0
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < seen + 70):
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.communicate()[0] == "True\n"
            break
        assert not any(path.name[0] != "." for path in (cache / "prepared" / "toy").iterdir())
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills >= 2
    assert content(cache) == content(tmp_path / "undisturbed")
    # Each kill costs no more than the samples that were read and not yet marked: two pieces.
    assert len(log.read_text().splitlines()) <= 200 + kills * 128


@pytest.mark.slow
def test_of_two_processes_one_prepares_and_the_other_waits(tmp_path):
    originals = write_originals(tmp_path / "originals", 100)
    both = [start(originals, tmp_path / "cache", 0.005, tmp_path / f"log{k}") for k in range(2)]
    assert sorted(process.communicate(timeout=120)[0] for process in both) == ["False\n", "True\n"]
    assert sum(len(path.read_text().splitlines()) for path in tmp_path.glob("log*")) == 100
