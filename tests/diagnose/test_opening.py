"""From a run's folder to a diagnosis, and checkpoints that cannot be opened."""

from __future__ import annotations

import shutil

import pytest
import torch

from equimodal import diagnose
from equimodal.diagnose.opening import open_run
from equimodal.errors import InputError, UnusableRun
from equimodal.train.config import train
from train.examples import network, run

CONFIG = {
    "dataset": "cli.tiny:Tiny",
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
    "method": "miles",
    "optimizer": {"name": "Adam", "lr": 0.01},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opening") / "run"
    return folder, train(CONFIG, out=folder)


def test_a_run_is_diagnosed_with_its_curves(trained):
    folder, done = trained
    opened = open_run(folder)
    found = diagnose(
        opened.model, opened.splits.val, train=opened.splits.train, task=opened.task, metric=opened.metric, run=folder, resamples=5
    )
    assert (opened.folder, opened.epoch, opened.same_data) == (folder, done.result["best_epoch"], True)
    assert opened.title == "miles on cli.tiny:Tiny"
    assert {head: score.value for head, score in found.heads.items()} == pytest.approx(
        {head: scores[opened.metric] for head, scores in done.result["metrics"]["val"].items()}
    )
    assert [epoch.epoch for epoch in found.curves] == [1, 2, 3]
    assert [epoch.val for epoch in found.curves] == [epoch["scores"]["val"] for epoch in done.history]


def test_generalisation_comes_from_the_run_where_no_train_split_is_given(trained):
    folder, done = trained
    opened = open_run(folder)
    found = diagnose(opened.model, opened.splits.val, run=folder, resamples=0)
    best = done.history[done.result["best_epoch"] - 1]["scores"]
    expected = {head: best["train"][head] - best["val"][head] for head in best["val"]}
    assert {head: gap.value for head, gap in found.generalisation.items()} == pytest.approx(expected)
    assert all(gap.low is None for gap in found.generalisation.values())


def test_a_checkpoint_is_its_folder_with_those_weights(trained):
    best, last = open_run(trained[0] / "best.pt"), open_run(trained[0] / "last.pt")
    stored = torch.load(trained[0] / "last.pt", weights_only=True)["model"]
    assert all(torch.equal(value, stored[name]) for name, value in last.model.state_dict().items())
    assert last.epoch is None
    assert best.epoch == trained[1].result["best_epoch"]


def test_a_checkpoint_without_its_configuration(trained, tmp_path):
    alone = shutil.copy(trained[0] / "best.pt", tmp_path / "best.pt")
    with pytest.raises(UnusableRun, match=r"best\.pt has no configuration \(config\.yaml\) beside it") as refusal:
        open_run(alone)
    assert "\n" not in str(refusal.value)


def test_another_file_of_a_run(trained):
    with pytest.raises(InputError, match=r"result\.json is no checkpoint of a run: give best\.pt, last\.pt or their folder"):
        open_run(trained[0] / "result.json")


def test_no_folder(tmp_path):
    with pytest.raises(UnusableRun, match="there is no such folder"):
        open_run(tmp_path / "nothing")


def test_a_run_of_fit_is_refused(tmp_path):
    run(network(), epochs=1, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"is a run of fit, .* call equimodal\.diagnose\(model, data\)") as refusal:
        open_run(tmp_path / "run")
    assert "\n" not in str(refusal.value)
