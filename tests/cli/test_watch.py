"""``equimodal watch``: following a run."""

import io
import json
import shutil
import threading
import time

import pytest

from equimodal.cli import main


def test_once_shows_the_present_state(finished, run_command):
    shown = run_command("watch", finished[0], "--once")
    assert "miles on cli.tiny:Tiny, accuracy, seed 0" in shown
    assert "epoch 3 of 3" in shown
    assert "complete: best epoch" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_into_a_pipe_every_epoch_has_a_line(finished, run_command):
    lines = run_command("watch", finished[0]).splitlines()
    assert [line.split()[0] for line in lines if "/3 " in line] == ["1/3", "2/3", "3/3"]
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
    shown = run_command("watch", folder, "--every", 0.02, "--wait", 30)
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
    assert main(["watch", str(finished[0]), "--every", "0.01"]) == 0
    drawn = screen.getvalue()
    assert drawn.count("\x1b[J") == 2
    first = drawn.split("\x1b[")[0].count("\n")
    assert f"\x1b[{first}F" in drawn  # up to the first line again


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--once"], "no run in 'nowhere': there is no such folder"),
        (["nowhere", "--wait", "0.05", "--every", "0.01"], "no run in 'nowhere': there is no such folder"),
        ([], "RUN"),
        (["RUN", "--every", "0"], "'0' is no number of seconds above 0"),
        (["RUN", "--wait", "soon"], "'soon' is no finite number"),
        (["RUN", "--onse"], "did you mean '--once'?"),
    ],
)
def test_bad_input_is_refused_in_one_line(finished, refused, words, said):
    assert said in refused("watch", *(finished[0] if word == "RUN" else word for word in words))


def test_a_damaged_record_is_refused(finished, refused, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "config.yaml").write_text(json.dumps([]))
    assert "is no record" in refused("watch", folder, "--once")
