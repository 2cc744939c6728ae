"""What ``equimodal study`` answers where nothing was begun, where an archive cannot serve, and while it counts."""

import pytest

from cli.conftest import answer
from equimodal.cli.study import _Progress

for package in ("optuna", "ruamel.yaml"):
    pytest.importorskip(package)

FILE = """\
name: small
datasets: [{label: tiny, dataset: "cli.tiny:Tiny"}]
fusions: [concat]
methods: [joint]
trials: 2
seeds: 1
epochs: 1
train: {device: cpu}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(FILE)
    return path


def test_looking_at_a_storage_that_is_not_there_makes_none(file, tmp_path):
    storage = tmp_path / "elsewhere" / "study.db"
    given = answer("study", "status", file, "--storage", f"sqlite:///{storage}")
    assert given.code == 2
    assert "was not begun in sqlite:///" in given.err
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "words", [("study", "plan", "{archive}"), ("study", "run", "{archive}"), ("reproduce", "table1", "--dataset", "{archive}")]
)
def test_nothing_can_be_run_of_an_archive(tmp_path, words):
    archive = tmp_path / "small.zip"
    archive.write_bytes(b"")
    given = answer(*(word.format(archive=archive) for word in words))
    assert (given.code, given.err.count("\n")) == (2, 1)
    assert "is an archive, of which nothing can be run" in given.err


def test_a_trial_that_ends_while_they_are_counted_counts_once(monkeypatch):
    from equimodal.study.work import Event

    shown = []
    progress = _Progress(None, None, None, {"a"}, shown.append)
    monkeypatch.setattr(progress, "_count", lambda: {("a", 0)})
    progress._total = 2
    for number in range(2):
        progress(Event("ended", "a", number, "50.0 % on validation"))
    assert shown == ["1 of 2  a, trial 0: 50.0 % on validation", "2 of 2  a, trial 1: 50.0 % on validation"]
