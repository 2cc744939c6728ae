"""Curves and generalisation gaps from a run's records."""

from __future__ import annotations

import pytest

from equimodal import fit
from equimodal.diagnose.curves import curves, generalisation
from equimodal.report import RunRecord, read_run
from equimodal.testing import tiny_problem


def record(epoch, train, val, **more):
    return {"epoch": epoch, "scores": {"train": train, "val": val}, **more}


def test_a_run_folder_gives_its_curves(tmp_path):
    problem = tiny_problem()
    fit(problem.model, problem.train, problem.val, method="miles", epochs=3, device="cpu", out=tmp_path / "run")
    run = read_run(tmp_path / "run")
    found = curves(run)
    assert [epoch.epoch for epoch in found] == [1, 2, 3]
    assert found[1].val == run.epochs[1]["scores"]["val"]
    assert found[1].train == run.epochs[1]["scores"]["train"]
    assert found[2].gap == run.epochs[2]["gap"]
    assert set(found[0].multipliers) == set(run.epochs[0]["multipliers"])
    assert set(generalisation(run)) == {"multimodal", "audio", "image"}


def test_the_gap_is_that_of_the_best_epoch():
    epochs = [
        record(1, {"multimodal": 0.6, "audio": 0.5}, {"multimodal": 0.55, "audio": 0.5}),
        record(2, {"multimodal": 0.9, "audio": 0.8}, {"multimodal": 0.7, "audio": None}),
        record(3, {"multimodal": 1.0, "audio": 1.0}, {"multimodal": 0.6, "audio": 0.4}),
    ]
    found = generalisation(RunRecord("run", "joint", {}, epochs))
    assert found["multimodal"] == pytest.approx(0.2)
    assert found["audio"] is None
    kept = generalisation(RunRecord("run", "joint", {}, epochs, {"best_epoch": 1, "scores": {}}))
    assert kept["multimodal"] == pytest.approx(0.05)


def test_a_run_without_epochs_gives_nothing():
    assert curves(RunRecord("run", "joint")) == ()
    assert generalisation(RunRecord("run", "joint")) == {}
