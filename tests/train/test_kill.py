"""The command is killed with SIGKILL again and again, also during writes, and ends with the numbers of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from .examples import assert_same_run

pytest.importorskip("numpy", reason="digits-av needs NumPy (equimodal[data])")
pytestmark = pytest.mark.slow

EPOCHS = 22
MOMENTS = 7
WRITES = 4


def command(folder):
    arguments = ["train", "--dataset", "digits-av", "--method", "miles", "--epochs", str(EPOCHS), "--out", str(folder), "--device", "cpu"]
    return [sys.executable, "-m", "equimodal", *arguments]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(folder):
    return subprocess.run(command(folder), capture_output=True, text=True, timeout=200, check=False, env=ENVIRONMENT)


def stamp(path):
    """When a file got its present content, or nothing."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


class Victim:
    """One start of the command, to be killed."""

    def __init__(self, folder):
        self.folder = folder
        self.before = {name: stamp(folder / name) for name in ("metrics.jsonl", "last.pt")}
        self.process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)

    def wait_until(self, condition):
        while not condition():
            assert self.process.poll() is None, "the command ended before it was killed: give it more epochs"

    def changed(self, name):
        return stamp(self.folder / name) != self.before[name]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL


def kill_at_a_moment(folder, delay):
    """Kill a while after training has begun; a delay below zero means while the command is still starting."""
    victim = Victim(folder)
    if delay < 0:
        time.sleep(-delay)
    else:
        victim.wait_until(lambda: victim.changed("metrics.jsonl"))
        time.sleep(delay)
    victim.kill()


def kill_during_a_write(folder, suffix, after_an_epoch):
    """Kill at the first sight of a temporary file, and tell whether it was left half-way."""
    victim = Victim(folder)
    if after_an_epoch:
        victim.wait_until(lambda: victim.changed("last.pt"))

    def writing():
        return any(path.name.endswith(suffix) for path in folder.iterdir())

    victim.wait_until(writing)
    victim.kill()
    return any(path.name.endswith(suffix) for path in folder.iterdir())


def test_killed_at_random_moments_and_during_writes_the_command_ends_with_the_same_numbers(tmp_path):
    assert finish(tmp_path / "whole").returncode == 0
    records = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    epoch = sum(json.loads(line)["seconds"] for line in records) / len(records)

    folder, chance = tmp_path / "killed", random.Random(20)
    folder.mkdir()
    left = kill_during_a_write(folder, ".tmp", after_an_epoch=False)  # the very first files
    kinds = ["moment"] * MOMENTS + ["write"] * WRITES
    chance.shuffle(kinds)
    halves = 0
    for number, kind in enumerate(kinds):
        if kind == "moment":
            kill_at_a_moment(folder, -chance.uniform(0.1, 2.0) if number % 4 == 3 else chance.uniform(0.0, 2.2 * epoch))
        else:
            halves += kill_during_a_write(folder, ".pt.tmp", after_an_epoch=chance.random() < 0.7)
    assert halves >= 3, f"only {halves} kills hit a checkpoint while it was written (the first files: {left})"
    assert not (folder / "complete").exists()

    last = finish(folder)
    assert last.returncode == 0, last.stderr
    assert_same_run(folder, tmp_path / "whole")

    before = {path.name: (path.read_bytes(), stamp(path)) for path in folder.iterdir()}
    again = finish(folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert "complete" in again.stdout
    assert {path.name: (path.read_bytes(), stamp(path)) for path in folder.iterdir()} == before


def test_a_full_disk_is_one_line_and_exit_code_two(tmp_path):
    limited = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000,) * 2); sys.argv[1:] = {command(tmp_path / 'run')[3:]!r}"
    )
    script = f"{limited}; from equimodal.cli import main; sys.exit(main())"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False, env=ENVIRONMENT)
    assert answer.returncode == 2
    assert answer.stderr == (
        f"equimodal: cannot write {tmp_path / 'run' / 'best.pt'}: File too large; "
        "free space or choose another folder, then run the same again\n"
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "environment.json", "metrics.jsonl"}
