"""Whether a process is still there is known at once on its own machine, and never of another one."""

import json
import os
import subprocess
import sys

import pytest

from equimodal.study import machine
from equimodal.study.machine import is_gone, own_mark

MARK = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['own_mark']()), flush=True); input()"

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system has no /proc")  # noqa: PTH110


@pytest.fixture
def other():
    """Another process, and its mark."""
    with subprocess.Popen(
        [sys.executable, "-c", MARK, machine.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def test_a_process_is_gone_when_it_is_killed_and_not_before(other):
    process, mark = other
    assert mark["process"] == process.pid
    assert not is_gone(mark)
    assert not is_gone(own_mark())
    process.kill()
    # Also while it only waits for its parent to take note of its end.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(mark)
    process.wait()
    assert is_gone(mark)


def test_another_process_that_got_the_same_number_is_another():
    assert is_gone({**own_mark(), "began": "1"})


def test_nothing_is_known_of_processes_elsewhere(monkeypatch):
    assert not is_gone({**own_mark(), "machine": "elsewhere", "began": "1"})
    assert not is_gone({})
    monkeypatch.setattr(machine, "_machine", lambda: None)
    assert not is_gone({**own_mark(), "began": "1"})


def test_a_mark_can_be_noted_as_text():
    assert json.loads(json.dumps(own_mark())) == own_mark()
