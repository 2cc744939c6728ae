"""Offline runs of Weights & Biases, read back from what they wrote; nothing leaves the machine."""

import json
import sys
import time

import pytest

from equimodal.adapters.wandb import WandbSink
from equimodal.errors import InputError, MissingDependency
from train.examples import run

QUIET = {"settings": {"silent": True}}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody answers there


class Recorded:
    """Stands in for a run of wandb."""

    def __init__(self):
        self.logged, self.finished, self.axes = [], 0, []

    def log(self, values, step):
        self.logged.append((step, values))

    def define_metric(self, name, step_metric):
        self.axes.append((name, step_metric))

    def finish(self):
        self.finished += 1


@pytest.fixture
def begun(monkeypatch):
    """Record how runs are begun and what they log."""
    import wandb

    runs, given = [], []

    def init(**options):
        given.append(options)
        runs.append(Recorded())
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    return runs, given


def test_every_epoch_is_logged_under_the_names_of_all_adapters(begun):
    with WandbSink("project", name="first", config={"tau": 0.2, "shift": float("nan")}) as sink:
        done = run(method="miles", epochs=3, on_epoch=sink)
    (recorded,), (given,) = begun
    assert (given["project"], given["name"], given["mode"], given["config"]) == ("project", "first", "offline", {"tau": 0.2, "shift": None})
    assert recorded.finished == 1
    assert recorded.axes == [("*", "epoch")]
    for (step, values), record in zip(recorded.logged, done.history, strict=True):
        assert step == values["epoch"] == record["epoch"]
        assert values["learning_rate/audio"] == record["learning_rates"]["audio"]
        assert values["multiplier/image"] == record["multipliers"]["image"]
        assert values["score/val/multimodal"] == record["scores"]["val"]["multimodal"]
        assert values["utilization_gap"] == record["gap"]


def test_the_mode_is_offline_unless_something_says_otherwise(begun, monkeypatch):
    assert WandbSink("project").mode == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert WandbSink("project").mode == "disabled"
    assert WandbSink("project", mode="online").mode == "online"


def test_a_run_with_an_identifier_may_go_on(begun):
    WandbSink("project", id="abc", mode="online")({"epoch": 3, "gap": 0.1})
    assert (begun[1][0]["id"], begun[1][0]["resume"]) == ("abc", "allow")


def test_nothing_begins_before_the_first_epoch_or_in_another_process(begun, monkeypatch):
    WandbSink("project").close()
    monkeypatch.setattr("equimodal.processes.rank", lambda: 1)
    WandbSink("project")({"epoch": 1, "gap": 0.1})
    assert begun[0] == []


def test_bad_input_is_refused_in_one_line(monkeypatch):
    with pytest.raises(InputError, match=r"^mode = 'ofline' of Weights & Biases: did you mean 'offline'\?$"):
        WandbSink("project", mode="ofline")
    with pytest.raises(InputError, match=r"^project = '': the name"):
        WandbSink("")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependency, match=r"pip install 'equimodal\[wandb\]'"):
        WandbSink("project")


@pytest.mark.slow
def test_an_offline_run_lies_in_files(tmp_path):
    with WandbSink("project", folder=tmp_path, config={"tau": 0.2}, **QUIET) as sink:
        run(epochs=2, on_epoch=sink)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    names = [name.encode() for name in ("learning_rate/audio", "score/val/multimodal", "utilization_gap", "tau")]
    patience = time.monotonic() + 30  # wandb's own process writes on for a moment after the run was finished
    while not all(name in file.read_bytes() for name in names) and time.monotonic() < patience:
        time.sleep(0.05)
    content = file.read_bytes()
    assert all(name in content for name in names)


@pytest.mark.slow
def test_the_command_line(tmp_path):
    from cli.conftest import TINY, answer

    words = ("train", *TINY, "--epochs", 1, "--out", tmp_path / "run")
    assert answer(*words, "--wandb", "project")[::2] == (0, "")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 1
    assert "nothing was trained" in answer(*words).out
