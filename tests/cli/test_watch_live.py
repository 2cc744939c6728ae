"""``equimodal watch`` beside a training: the run is not disturbed, and the terminal shows what is measured."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cli.screens import Terminal
from train.examples import assert_same_run

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
pytestmark = pytest.mark.slow

TRAINING = ("train", "--dataset", "digits-av", "--epochs", 3, "--out")
WAIT = ("--every", "0.1", "--wait", "300")


def started(*words, **options):
    """Start the command line in a process and a group of its own."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "equimodal", *map(str, words)]
    return subprocess.Popen(command, env=environment, start_new_session=True, **options)


def test_a_watched_run_is_the_run_that_nobody_watched(run_command, tmp_path):
    watching = started("watch", tmp_path / "watched", *WAIT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run_command(*TRAINING, tmp_path / "watched")
    said, complaints = watching.communicate(timeout=600)
    assert (watching.returncode, complaints) == (0, "")
    lines = said.splitlines()
    assert [line.split()[0] for line in lines if "/3 " in line] == ["1/3", "2/3", "3/3"]
    measured = [line for line in lines if line.startswith("measured at epoch ")]
    assert measured[-1].startswith("measured at epoch 3, in ")
    assert len(set(measured)) == len(measured) <= 3
    assert "not measured" not in said
    assert lines[-1].startswith("complete: ")
    run_command(*TRAINING, tmp_path / "alone")
    assert_same_run(tmp_path / "watched", tmp_path / "alone")


def test_a_terminal_of_80_by_24_shows_it_all(run_command, tmp_path):
    terminal, seen = Terminal(80, 24), []
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    watching = started("watch", tmp_path / "run", *WAIT, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)

    def read():
        left = b""
        while True:
            try:
                left += os.read(master, 65536)
            except OSError:  # how a terminal on Linux says that nobody writes to it any more
                return
            text = left.decode(errors="ignore")
            if text.encode() == left:  # else a letter is not whole yet
                terminal.write(text)
                seen.append(str(terminal))
                left = b""

    reading = threading.Thread(target=read)
    reading.start()
    run_command(*TRAINING, tmp_path / "run")
    assert watching.wait(timeout=600) == 0
    reading.join()
    os.close(master)
    assert terminal.lost == []
    assert any("measuring the last checkpoint" in screen for screen in seen)
    last = str(terminal)
    assert last.startswith("miles on digits-av, accuracy, seed 0\n")
    for part in ("multimodal  ", "complete: best epoch", "measured at epoch 3", "─ lost without ─", "verdict: "):
        assert part in last, part


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_ctrl_c_ends_the_process_that_measures_too(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "complete").unlink()
    watching = started("watch", folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{watching.pid}/task/{watching.pid}/children")
    end = time.monotonic() + 300
    while not (numbers := children.read_text().split()):
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(watching.pid, signal.SIGINT)  # as the terminal does
    _, complaints = watching.communicate(timeout=300)
    assert (watching.returncode, complaints) == (130, "")
    assert not any(Path(f"/proc/{number}").exists() for number in numbers)
