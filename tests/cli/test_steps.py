"""Progress of long steps, in a terminal and in a pipe."""

import io
import logging
import sys

import pytest

from equimodal.cli import steps as module
from equimodal.cli.steps import Listener, Steps


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def screen(text):
    """Return what a terminal shows in the end."""
    return [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]


def test_a_pipe_gets_a_line_for_every_tenth(capsys):
    with Steps() as steps:
        for done in range(251):
            steps.show("samples", done, 250)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"samples    {percent:>3} %  {percent * 250 // 100} of 250" for percent in range(10, 101, 10)]


def test_a_jump_over_several_tenths_is_one_line(capsys):
    with Steps() as steps:
        for done in (0, 640, 641, 7442):
            steps.show("samples", done, 7442)
    assert capsys.readouterr().out == "samples    100 %  7,442 of 7,442\n"


def test_a_terminal_has_one_line_that_is_rewritten(capsys, clock):
    with Steps(terminal=True) as steps:
        for done in range(0, 1001, 10):
            clock[0] += 0.2
            steps.show("samples", done, 1000)
        steps.show("checksums", 5, 5)
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert screen(out) == ["samples    100 %  1,000 of 1,000", "checksums  100 %  5 of 5", ""]
    assert max(map(len, out.replace("\r", "\n").splitlines())) < 80


def test_a_terminal_is_not_flooded(capsys, clock):
    with Steps(terminal=True) as steps:
        for done in range(10_000):
            steps.show("samples", done, 10_000)
    assert capsys.readouterr().out.count("\r") == 1


def test_the_rest_is_guessed_from_what_this_call_has_done(capsys, clock):
    with Steps(terminal=True) as steps:
        steps.show("samples", 500, 1000)  # the rest of an earlier, killed call
        clock[0] += 60
        steps.show("samples", 600, 1000)
    assert screen(capsys.readouterr().out)[0] == "samples     60 %  600 of 1,000, about 4 min left"


def test_a_message_and_an_error_begin_on_a_line_of_their_own(capsys, clock):
    def fail():
        with Steps(terminal=True) as steps:
            steps.show("samples", 1, 10)
            steps.say("something")
            clock[0] += 1
            steps.show("samples", 2, 10)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert screen(capsys.readouterr().out) == ["samples     10 %  1 of 10", "something", "samples     20 %  2 of 10", ""]


def test_bytes_are_megabytes_and_nothing_to_do_is_no_line(capsys):
    with Steps() as steps:
        steps.show("samples", 0, 0)
        steps.show("download", 2_100_000_000, 2_100_000_000, "bytes")
    assert capsys.readouterr().out == "download   100 %  2,100 of 2,100 MB\n"


def test_a_logger_is_shown_while_it_is_listened_to(capsys):
    logger = logging.getLogger("equimodal.data.of_this_test")
    before = logging.getLogger("equimodal.data").level
    with Steps() as steps, Listener("equimodal.data", steps):
        logger.info("downloading")
        logger.debug("unseen")
        for percent in range(1, 101):
            logger.debug("%d %%", percent, extra={"progress": (percent * 10**6, 10**8)})
    logger.info("unheard")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "downloading"
    assert lines[1] == "download    10 %  10 of 100 MB"
    assert len(lines) == 11
    assert logging.getLogger("equimodal.data").level == before


def test_a_narrow_encoding_is_no_reason_to_fail(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    with Steps(terminal=True) as steps:
        steps.show("samples", 1, 2)
        steps.say("Käse")
