"""``equimodal watch``: following a run."""

import io
import json
import os
import shutil
import threading
import time

import pytest

from cli.screens import Terminal as Screen
from equimodal.cli import main
from equimodal.diagnose.beside import Beside
from train.examples import network, run


@pytest.fixture(autouse=True)
def at_full_priority(monkeypatch):
    # Other tests may take every core: what yields to them would wait for minutes.
    monkeypatch.setattr("equimodal.diagnose.beside.NICE", 0)


def test_once_shows_the_present_state(finished, run_command):
    shown = run_command("watch", finished[0], "--once", "--record-only")
    assert "miles on cli.tiny:Tiny, accuracy, seed 0" in shown
    assert "epoch 3 of 3" in shown
    assert "complete: best epoch" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "measured" not in shown


def test_once_measures_the_last_checkpoint(finished, run_command):
    shown = run_command("watch", finished[0], "--once", "--samples", 20)
    assert "epoch 3 of 3" in shown
    assert "measured at epoch 3" in shown
    assert "20 of 24 validation samples" in shown
    for quantity in ("lost without", "mean", "zero", "perm.", "Shapley", "probe", "rank", "norm", "verdict: ", "calibration error"):
        assert quantity in shown, quantity
    assert max(map(len, shown.splitlines())) <= 80


def test_once_ends_where_checkpoints_come_quicker_than_measurements(finished, run_command, monkeypatch, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "complete").unlink()
    asked, ask, ended = [], Beside._ask, threading.Event()

    def counted(beside):
        asked.append(beside._checkpoint())
        assert len(asked) == 1
        ask(beside)

    def train():
        while not ended.wait(0.005):
            os.utime(folder / "last.pt")

    monkeypatch.setattr(Beside, "_ask", counted)
    training = threading.Thread(target=train)
    training.start()
    try:
        shown = run_command("watch", folder, "--once", "--samples", 10)
    finally:
        ended.set()
        training.join()
    assert "measured at epoch 3" in shown
    assert len(asked) == 1


@pytest.mark.slow
def test_the_numbers_are_those_of_diagnose(finished, run_command):
    # Splits of fewer samples than are measured: the same numbers as those of the diagnosis with as many resamples.
    found = json.loads(run_command("diagnose", finished[0] / "last.pt", "--resamples", 200, "--json"))
    shown = run_command("watch", finished[0], "--once")
    loss = found["ablations"]["mean"]["audio"]["loss"]
    ends = [f"{100 * loss[end]:.1f}".replace("-", "−") for end in ("value", "low", "high")]
    assert f"audio  {ends[0]} [{ends[1]}, {ends[2]}]" in " ".join(shown.split()).replace("audio ", "audio  ")


def test_into_a_pipe_every_epoch_has_a_line(finished, run_command):
    lines = run_command("watch", finished[0]).splitlines()
    assert [line.split()[0] for line in lines if "/3 " in line] == ["1/3", "2/3", "3/3"]
    (measured,) = [line for line in lines if line.startswith("measured at epoch 3")]
    assert "lost without (mean): audio " in measured
    assert lines[-1].startswith("complete: best epoch")
    assert "\x1b" not in "".join(lines)


def test_a_run_is_waited_for_and_followed_until_it_is_complete(finished, run_command, tmp_path):
    folder, records = tmp_path / "run", (finished[0] / "metrics.jsonl").read_text().splitlines(keepends=True)

    def train():
        time.sleep(0.1)
        folder.mkdir()
        shutil.copy(finished[0] / "config.yaml", folder)
        for count in range(1, 4):
            time.sleep(0.05)
            whole = folder / "metrics.jsonl.tmp"
            whole.write_text("".join(records[:count]))
            whole.replace(folder / "metrics.jsonl")
        shutil.copy(finished[0] / "result.json", folder)
        (folder / "complete").touch()

    training = threading.Thread(target=train)
    training.start()
    shown = run_command("watch", folder, "--every", 0.02, "--wait", 30, "--record-only")
    training.join()
    assert [line.split()[0] for line in shown.splitlines() if "/3 " in line] == ["1/3", "2/3", "3/3"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_redrawn_in_place(finished, monkeypatch):
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", screen)
    from equimodal.diagnose import watch

    whole = watch.look(finished[0])
    seen = iter([part(whole, 1), part(whole, 2), whole])
    monkeypatch.setattr(watch, "look", lambda _: next(seen))
    assert main(["watch", str(finished[0]), "--every", "0.01", "--record-only"]) == 0
    drawn = screen.getvalue()
    assert drawn.count("\x1b[J") == 2
    first = drawn.split("\x1b[")[0].count("\n")
    assert f"\x1b[{first}F" in drawn  # up to the first line again


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(80, 20), (60, 12), (120, 70)])
def test_a_screen_never_overflows(finished, monkeypatch, columns, rows):
    drawn, screen = Screen(columns, rows), Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["watch", str(finished[0]), "--every", "0.05"]) == 0
    drawn.write(screen.getvalue().replace("\n", "\r\n"))
    assert drawn.lost == []
    shown = str(drawn)
    assert shown.startswith("miles on cli.tiny")
    assert "measuring the last checkpoint" not in shown  # drawn over
    assert ("measured at epoch 3" in shown) == (rows > 12)
    assert ("more lines: a taller" in shown) == (rows < 70)


def part(watched, epochs):
    import dataclasses

    run = dataclasses.replace(watched.run, epochs=watched.run.epochs[:epochs], result=None)
    return dataclasses.replace(watched, run=run, complete=False)


def test_ctrl_c_ends_it_without_a_word(finished, monkeypatch, capsys, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "metrics.jsonl"):
        shutil.copy(finished[0] / name, folder)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    assert main(["watch", str(folder)]) == 130
    assert capsys.readouterr().err == ""


def test_the_folder_is_only_read(finished, run_command, content):
    before = content(finished[0])
    run_command("watch", finished[0])
    assert content(finished[0]) == before


@pytest.mark.slow
def test_what_cannot_be_measured_leaves_a_line_and_the_record(run_command, tmp_path):
    run(network(), epochs=2, out=tmp_path / "run")
    shown = run_command("watch", tmp_path / "run", "--once")
    assert "epoch 2 of 2" in shown
    assert "not measured: the folder of a run of fit makes neither its model nor its data" in shown
    lines = run_command("watch", tmp_path / "run").splitlines()
    assert [line.split()[0] for line in lines if "/2 " in line] == ["1/2", "2/2"]
    assert sum(line.startswith("not measured: ") for line in lines) == 1
    assert lines[-1].startswith("complete")


def test_a_run_without_checkpoints_says_so(finished, run_command, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        (folder / name).unlink()
    assert "not measured: the run keeps no checkpoint" in run_command("watch", folder, "--once")


@pytest.mark.slow
def test_a_device_that_is_not_there_leaves_a_line(finished, run_command):
    shown = run_command("watch", finished[0], "--once", "--device", "gpu")
    assert "not measured: device 'gpu' cannot be used" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--once"], "no run in 'nowhere': there is no such folder"),
        (["nowhere", "--wait", "0.05", "--every", "0.01"], "no run in 'nowhere': there is no such folder"),
        ([], "RUN"),
        (["RUN", "--every", "0"], "'0' is no number of seconds above 0"),
        (["RUN", "--wait", "soon"], "'soon' is no finite number"),
        (["RUN", "--onse"], "did you mean '--once'?"),
        (["RUN", "--samples", "0"], "'0' is no whole number of at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(finished, refused, words, said):
    assert said in refused("watch", *(finished[0] if word == "RUN" else word for word in words))


def test_a_damaged_record_is_refused(finished, refused, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "config.yaml").write_text(json.dumps([]))
    assert "is no record" in refused("watch", folder, "--once")
