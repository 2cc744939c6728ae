"""The process that measures beside the one that shows."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from equimodal.diagnose.beside import Beside
from equimodal.diagnose.live import Live
from equimodal.train.config import train
from train.examples import network, run

CONFIG = {"dataset": "cli.tiny:Tiny", "epochs": 2, "batch_size": 16, "device": "cpu", "method": "miles"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside") / "run"
    train(CONFIG, out=folder)
    return folder


@pytest.fixture(autouse=True)
def at_full_priority(monkeypatch):
    # Other tests may take every core: what yields to them would wait for minutes.
    monkeypatch.setattr("equimodal.diagnose.beside.NICE", 0)


@pytest.fixture
def beside():
    """Make what measures, and end it after the test."""
    made = []

    def make(folder, **options):
        made.append(Beside(folder, {"resamples": 20, **options}))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def until_settled(beside):
    end = time.monotonic() + 300
    beside.look(complete=True)
    while not beside.settled():
        assert time.monotonic() < end
        time.sleep(0.02)
        beside.look(complete=True)


def test_another_process_measures_the_same(trained, beside):
    measuring = beside(trained, samples=10)
    assert not measuring.busy
    until_settled(measuring)
    wanted = Live(trained, samples=10, resamples=20).measure()
    assert measuring.reason is None
    assert measuring.measured.diagnosis.ablations == wanted.diagnosis.ablations
    assert measuring.measured.diagnosis.findings == wanted.diagnosis.findings
    assert (measuring.measured.epoch, measuring.measured.of) == (2, 24)


def test_without_a_checkpoint_no_process_is_started(trained, tmp_path, beside):
    shutil.copy(trained / "config.yaml", tmp_path)
    measuring = beside(tmp_path)
    measuring.look()
    assert measuring.settled()
    assert measuring._process is None


@pytest.mark.slow
def test_what_cannot_be_measured_is_said_once_and_for_all(tmp_path, beside):
    run(network(), epochs=1, out=tmp_path / "run")
    measuring = beside(tmp_path / "run")
    until_settled(measuring)
    assert "a run of fit makes neither its model nor its data" in measuring.reason
    os.utime(tmp_path / "run" / "last.pt")  # as if there were a new one
    measuring.look(complete=True)
    assert not measuring.busy


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_that_dies_leaves_a_line(trained, beside):
    measuring = beside(trained)
    measuring.look()
    measuring._process.send_signal(signal.SIGKILL)
    until_settled(measuring)
    assert measuring.reason == "the process that measures was ended by signal 9, perhaps for lack of memory"


@pytest.mark.slow
def test_it_ends_with_whoever_asked(trained, beside):
    measuring = beside(trained)
    measuring.look()
    measuring._process.stdin.close()  # as when that process was killed
    assert measuring._process.wait(timeout=300) == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(("complete", "lower"), [(False, 3), (True, 0)])
def test_it_has_a_low_priority_beside_a_training_and_goes_when_told(trained, tmp_path, beside, monkeypatch, complete, lower):
    folder = shutil.copytree(trained, tmp_path / "run")
    if not complete:
        (folder / "complete").unlink()
    monkeypatch.setattr("equimodal.diagnose.beside.NICE", 3)
    measuring = beside(folder)
    until_settled(measuring)
    number = measuring._process.pid
    niceness = [int(Path(f"/proc/{process}/stat").read_text().rsplit(")")[1].split()[16]) for process in ("self", number)]
    assert niceness[1] == min(niceness[0] + lower, 19)
    measuring.stop()
    assert not Path(f"/proc/{number}").exists()


ODD_ANSWERS = """\
import sys
for _ in sys.stdin:
    sys.stdout.buffer.write(b"a library greets you \\xff\\n\\n[1]\\n")
    sys.stdout.buffer.write(LINE)
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    "line", [b'{"measured": \n', b'{"measured": 1}\n', b'{"other": {}}\n', b'{"reason": \xff}\n'], ids=["half", "type", "other", "bytes"]
)
def test_a_line_that_is_no_answer_does_not_end_it(trained, tmp_path, beside, monkeypatch, line):
    folder = shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setattr("equimodal.diagnose.beside._PROGRAM", ODD_ANSWERS.replace("LINE", repr(line)))
    measuring = beside(folder)
    until_settled(measuring)
    assert measuring.reason == "the process that measures gave an answer that cannot be read"
    assert not measuring.final
    os.utime(folder / "last.pt")  # as if there were a new one, which the same process is asked for
    number = measuring._process.pid
    until_settled(measuring)
    assert measuring._process.pid == number
    assert measuring._process.poll() is None


def test_lines_before_an_answer_are_left_out(trained, beside, monkeypatch):
    answer = b'{"reason": "the loss is NaN", "final": true}\n'
    monkeypatch.setattr("equimodal.diagnose.beside._PROGRAM", ODD_ANSWERS.replace("LINE", repr(answer)))
    measuring = beside(trained)
    until_settled(measuring)
    assert (measuring.reason, measuring.final) == ("the loss is NaN", True)


def test_what_another_version_measured_is_told(trained, beside, monkeypatch):
    answer = b'{"measured": {"epoch": 1}}\n'
    monkeypatch.setattr("equimodal.diagnose.beside._PROGRAM", ODD_ANSWERS.replace("LINE", repr(answer)))
    measuring = beside(trained)
    until_settled(measuring)
    assert measuring.reason.startswith("what was measured cannot be read: ")


def test_a_process_that_closes_its_output_and_lives_is_ended(trained, beside, monkeypatch):
    monkeypatch.setattr("equimodal.diagnose.beside._PROGRAM", "import os, sys; os.close(1); sys.stdin.read()")
    monkeypatch.setattr("equimodal.diagnose.beside._GRACE", 0.3)
    measuring = beside(trained)
    until_settled(measuring)
    assert (measuring.reason, measuring.final) == ("the process that measures closed its output", True)
    assert measuring._process.wait(60) != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_the_process_started_does_not_hold_up_the_end(trained, beside, monkeypatch):
    # A worker of a loader may live on and hold the pipe open.
    program = "import os, sys, time\nif os.fork() == 0: time.sleep(4)\nelse: sys.stdin.read()"
    monkeypatch.setattr("equimodal.diagnose.beside._PROGRAM", program)
    monkeypatch.setattr("equimodal.diagnose.beside._GRACE", 0.3)
    measuring = beside(trained)
    measuring.look()
    time.sleep(0.5)
    started = time.monotonic()
    measuring.stop()
    assert time.monotonic() - started < 3
    measuring._reader.join(60)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_it_rests_four_times_as_long_as_it_took(trained, tmp_path, monkeypatch):
    clock, asked = Clock(), []
    folder = shutil.copytree(trained, tmp_path / "run")
    measuring = Beside(folder, clock=clock)

    class Process:
        class stdin:  # noqa: N801
            write = asked.append

            @staticmethod
            def flush():
                pass

    monkeypatch.setattr(measuring, "_start", Process)

    def new_checkpoint():
        whole = folder / "last.pt.tmp"
        shutil.copy(folder / "best.pt", whole)
        whole.replace(folder / "last.pt")

    def answered():
        measuring._answers.put({"reason": "NaN", "final": False})
        measuring.look()

    measuring.look()
    assert len(asked) == 1
    new_checkpoint()
    measuring.look()
    assert len(asked) == 1  # the first is still being measured
    clock.now = 3.0
    answered()
    for moment, count in ((3.1, 1), (14.9, 1), (15.0, 2)):
        clock.now = moment
        measuring.look()
        assert len(asked) == count, moment
    clock.now = 16.0
    answered()
    clock.now = 100.0
    measuring.look()
    assert len(asked) == 2  # it has measured this checkpoint
    assert measuring.settled()
    new_checkpoint()
    assert not measuring.settled()
    measuring.look()
    clock.now = 110.0
    answered()
    new_checkpoint()
    measuring.look()
    assert len(asked) == 3
    measuring.look(complete=True)  # nothing is disturbed any more
    assert len(asked) == 4
