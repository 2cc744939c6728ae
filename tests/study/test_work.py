"""A study that is worked on: what goes wrong in a trial, in its process and around it, and what comes out all the same."""

import pytest

from equimodal.study.jobs import Outcome
from equimodal.study.protocol import run_study
from equimodal.study.series import Start

from .small import ALONE, BASE, JOINT, done, numbers, record_of, series_of, small, states_of, trials_of

pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")

NO_TEST = {"dataset": "study.dummies:NoTest", "label": "tiny"}
DIVERGING, BROKEN = (f"tiny/concat/study.dummies:{name}" for name in ("Diverging", "Broken"))
ONLY_JOINT = {"only": [JOINT]}


def events_of(declaration, folder, **options):
    told = []
    ended = run_study(declaration, folder, on_event=told.append, **options)
    return ended, told


# --- what a study does


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A study that was done without any trouble: its folder, and what it told."""
    folder = tmp_path_factory.mktemp("plain")
    ended, told = events_of(small(seeds=2), folder)
    assert ended
    return folder, told


def test_a_study_is_done_once_and_then_nothing_is_left(plain):
    folder, told = plain
    record = record_of(small(seeds=2), folder)
    assert {trial.state for trial in record.trials} == {"complete"}
    assert {trial.attempts for trial in record.trials} == {1}
    assert [event.kind for event in told] == ["begun", "ended"] * len(record.trials)
    assert len(record.trials) == 3 * (2 + 3)
    assert events_of(small(seeds=2), folder) == (True, [])
    assert numbers(record_of(small(seeds=2), folder)) == numbers(record)


def test_the_selected_run_repeats_the_search_s_and_fresh_seeds_differ(plain):
    record = record_of(small(seeds=2), plain[0])
    search, final = trials_of(record, JOINT), trials_of(record, f"{JOINT}/final")
    selected = next(series for series in record.series if series.name == f"{JOINT}/final").selected
    assert search[selected].score() == max(trial.score() for trial in search)
    assert final[0].score() == search[selected].score()
    assert final[0].loss == search[selected].loss
    assert len({trial.loss for trial in final}) == 3


def test_the_same_root_seed_gives_the_same_figures_and_another_one_others(plain, tmp_path):
    known = {key: found for key, found in numbers(record_of(small(seeds=2), plain[0])).items() if key[0] == JOINT}
    same, other = (numbers(done(small(seeds=2, seed=seed), tmp_path / str(seed), **ONLY_JOINT)) for seed in (0, 1))
    assert known == {key: same[key] for key in known}
    assert all(known[key] != other[key] for key in known)


def test_only_what_is_wanted_is_done_with_what_it_needs(tmp_path):
    record = done(small(methods=["mslr-k"], trials=1), tmp_path, only=["tiny/concat/mslr-k"])
    ended = {series.name for series in record.series if series.done}
    assert ended == {*ALONE, "tiny/concat/mslr-k"}


def test_mslr_is_searched_with_the_rates_that_the_unimodal_searches_chose(tmp_path):
    record = done(small(methods=["mslr-k"]), tmp_path, only=[f"{name}/final" for name in (*ALONE, "tiny/concat/mslr-k")])
    chosen = {name.rpartition("/")[2]: trials_of(record, f"{name}/final")[0].run.config["optimizer"]["lr"] for name in ALONE}
    for name in ("tiny/concat/mslr-k", "tiny/concat/mslr-k/final"):
        assert {str(trial.run.config["method"]["rates"]) for trial in trials_of(record, name)} == {str(chosen)}


def test_checkpoints_go_when_they_are_no_longer_needed(plain):
    left = {file.parent.parent.name: set() for file in (plain[0] / "runs" / JOINT).rglob("config.yaml")}
    for file in (plain[0] / "runs" / JOINT).rglob("*.pt"):
        left[file.parent.parent.name].add(file.name)
    assert left == {"joint": set(), "final": {"best.pt"}}


# --- the test split


def test_searches_never_look_at_the_test_split(plain, tmp_path):
    without = done(small(seeds=2, datasets=[NO_TEST]), tmp_path, only=[ALONE[0], JOINT])
    known = record_of(small(seeds=2), plain[0])
    for name in (ALONE[0], JOINT):
        assert states_of(without, name) == ["complete"] * 2
        assert [trial.loss for trial in trials_of(without, name)] == [trial.loss for trial in trials_of(known, name)]
        assert all("test" not in trial.run.result["scores"] for trial in trials_of(known, name))


def test_final_runs_read_the_test_split(plain):
    record = record_of(small(seeds=2), plain[0])
    assert all(trial.score("test") is not None for trial in trials_of(record, f"{JOINT}/final"))


def test_under_the_oracle_the_test_score_chooses(tmp_path):
    declaration = small(selection="oracle", trials=3)
    record = done(declaration, tmp_path, only=[f"{JOINT}/final"])
    assert record.rule == "oracle"
    best = max(trial.score("test") for trial in trials_of(record, JOINT))
    assert trials_of(record, f"{JOINT}/final")[0].score("test") == best
    with pytest.raises(AssertionError, match="someone looked at"):
        run_study(small(selection="oracle", datasets=[NO_TEST]), tmp_path / "without", only=[JOINT])


# --- trials that fail


def test_a_failing_trial_is_recorded_with_its_reason_and_the_study_goes_on(tmp_path):
    declaration = small(methods=["study.dummies:Diverging", "study.dummies:Broken", "joint"], epochs=2, seeds=1, trials=1)
    wanted = [f"{name}/final" for name in (DIVERGING, BROKEN, JOINT)]
    ended, told = events_of(declaration, tmp_path, only=wanted)
    assert ended
    record = record_of(declaration, tmp_path)
    for name, reason in ((DIVERGING, "loss became nan"), (BROKEN, "TypeError: not what was meant")):
        for trial in trials_of(record, name):
            assert (trial.state, trial.attempts) == ("failed", 1)
            assert reason in trial.reason.replace("NaN", "nan")
            assert "\n" not in trial.reason
        final = next(series for series in record.series if series.name == f"{name}/final")
        assert final.blocked == f"no trial of {name} has a result"
        assert [trial.state for trial in final.trials] == ["waiting", "waiting"]
    assert states_of(record, f"{JOINT}/final") == ["complete"] * 2
    diverged = trials_of(record, DIVERGING)[0]
    assert len(diverged.run.epochs) == 1
    assert diverged.cost.steps == 2
    assert sum(event.failed for event in told) == 2
    assert events_of(declaration, tmp_path, only=wanted) == (True, [])


def test_one_learning_rate_that_diverges_at_once_does_not_cost_the_row_its_result(tmp_path):
    search = {"optimizer.lr": [1e-2, 1e30]}
    declaration = small(search=search, train={**BASE["train"], "optimizer": {"name": "SGD"}}, trials=4, epochs=2)
    record = done(declaration, tmp_path, only=[f"{JOINT}/final"])
    outcome = {trial.params["optimizer.lr"]: trial.state for trial in trials_of(record, JOINT)}
    assert outcome == {1e-2: "complete", 1e30: "failed"}
    assert trials_of(record, f"{JOINT}/final")[0].run.config["optimizer"]["lr"] == 1e-2


def test_where_no_model_of_a_modality_works_mslr_never_begins_and_says_why(tmp_path, perform):
    perform(lambda job, train: Outcome(job, failure="no luck") if job.config["method"].get("modality") == "image" else train())
    record = done(small(methods=["mslr-k"], trials=1), tmp_path)
    assert {trial.reason for trial in trials_of(record, "tiny/alone/image")} == {"no luck"}
    for name in ("tiny/alone/image/final", "tiny/concat/mslr-k", "tiny/concat/mslr-k/final"):
        series = next(series for series in record.series if series.name == name)
        assert series.blocked == "no trial of tiny/alone/image has a result"
        assert series.done == 0
    assert states_of(record, "tiny/alone/audio/final") == states_of(record, f"{JOINT}/final") == ["complete"] * 2


# --- samplers and pruners


def test_another_sampler_searches_what_it_says_and_the_same_every_time(tmp_path):
    declaration = small(sampler={"name": "TPESampler", "n_startup_trials": 1}, trials=3)
    records = [done(declaration, tmp_path / place, **ONLY_JOINT) for place in ("a", "b")]
    assert numbers(records[0]) == numbers(records[1])
    rates = [trial.params["optimizer.lr"] for trial in trials_of(records[0], JOINT)]
    assert len(set(rates)) == 3
    assert rates == [trial.run.config["optimizer"]["lr"] for trial in trials_of(records[0], JOINT)]
    drawn = [series_of(small())[JOINT].draft(number, Start()).params["optimizer.lr"] for number in range(3)]
    assert rates != drawn


PRUNED = {
    "pruner": {"name": "ThresholdPruner", "lower": 0.4, "n_warmup_steps": 2},
    "search": {"optimizer.lr": [0.1, 1e-9]},
    "trials": 4,
    "epochs": 3,
}


def test_a_pruner_ends_trials_early_and_they_are_not_chosen(tmp_path):
    record = done(small(**PRUNED), tmp_path, only=[f"{JOINT}/final"])
    search = trials_of(record, JOINT)
    assert {(trial.params["optimizer.lr"], trial.state) for trial in search} == {(0.1, "complete"), (1e-9, "pruned")}
    assert {(trial.state, len(trial.run.epochs)) for trial in search} == {("complete", 3), ("pruned", 2)}
    # One step per epoch: 48 samples in batches of 64.
    assert all(trial.cost.steps == len(trial.run.epochs) and trial.cost.seconds > 0 for trial in search)
    assert list((tmp_path / "runs" / JOINT).glob("trial-*/*.pt")) == []
    final = trials_of(record, f"{JOINT}/final")
    assert [(trial.state, trial.run.config["optimizer"]["lr"]) for trial in final] == [("complete", 0.1)] * 2


def test_the_median_pruner_prunes_the_same_every_time(tmp_path):
    pruner = {"name": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 0}
    records = [done(small(**{**PRUNED, "pruner": pruner, "trials": 3}), tmp_path / place, **ONLY_JOINT) for place in ("a", "b")]
    assert numbers(records[0]) == numbers(records[1])
    assert set(states_of(records[0], JOINT)) == {"complete", "pruned"}
