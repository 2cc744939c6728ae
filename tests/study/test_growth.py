"""A study that grows keeps what it has, and does anew what no longer follows from it."""

import pytest

from equimodal.study.protocol import open_storage
from equimodal.study.series import Start

from .small import DATA, JOINT, MILES, done, numbers, record_of, series_of, small, states_of, trials_of

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")

SWEEPS = {"tau": [0.5, 0.1], "mu": [], "training_scores": False, "example": None}


def seed_where_the_third_trial_is_best(options):
    """A seed with which a choice of two learning rates draws the good one at the third trial alone."""
    for seed in range(1000):
        series = series_of(small(**options, seed=seed, trials=3))[JOINT]
        if [series.draft(number, Start()).params["optimizer.lr"] for number in range(3)] == [1e-9, 1e-9, 0.1]:
            return seed
    raise AssertionError("no such seed")


def test_more_trials_may_choose_another_one_and_then_its_final_runs_are_done_anew(tmp_path):
    options = {"search": {"optimizer.lr": [1e-9, 0.1]}, "epochs": 3}
    options["seed"] = seed_where_the_third_trial_is_best(options)
    final = f"{JOINT}/final"
    before = done(small(**options, trials=2), tmp_path, only=[final])
    assert before.one("final", "tiny", "concat", "joint").selected in (0, 1)
    unfinished = record_of(small(**options, trials=3), tmp_path)
    assert states_of(unfinished, JOINT) == ["complete", "complete", "waiting"]
    assert states_of(unfinished, final) == ["waiting"] * 2
    after = done(small(**options, trials=3), tmp_path, only=[final])
    assert after.one("final", "tiny", "concat", "joint").selected == 2
    assert [trial.run.config["optimizer"]["lr"] for trial in trials_of(after, final)] == [0.1, 0.1]
    assert trials_of(after, JOINT)[:2] == trials_of(before, JOINT)
    assert len(open_storage(small(**options, trials=3), tmp_path).attempts(final)) == 4
    fresh = done(small(**options, trials=3), tmp_path / "fresh", only=[final])
    assert numbers(after) == numbers(fresh)


def test_what_is_added_is_done_and_what_was_there_stays(tmp_path):
    before = done(small(methods=["miles"], trials=1, ablations=SWEEPS), tmp_path, only=[f"{MILES}/tau", f"{MILES}/final"])
    larger = small(
        datasets=[{**DATA, "label": "other"}, DATA],
        fusions=["sum", "concat"],
        methods=["joint", "miles"],
        trials=1,
        seeds=2,
        ablations={**SWEEPS, "tau": [0.3, 0.5, 0.1]},
    )
    after = done(larger, tmp_path, only=[f"{MILES}/tau", f"{MILES}/final", "tiny/sum/joint"])
    tau = {trial.params["method.tau"]: trial for trial in trials_of(after, f"{MILES}/tau")}
    assert [tau[value].ended for value in (0.5, 0.1)] == [trial.ended for trial in trials_of(before, f"{MILES}/tau")]
    assert list(tau) == [0.3, 0.5, 0.1]
    assert trials_of(after, f"{MILES}/final")[:2] == trials_of(before, f"{MILES}/final")
    assert states_of(after, f"{MILES}/final") == ["complete"] * 3
    assert states_of(after, "tiny/sum/joint") == ["complete"]
    assert states_of(after, "other/sum/joint") == ["waiting"]
