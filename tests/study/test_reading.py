"""What a study's storage says of it, at any time."""

import re

import pytest

from equimodal.report.cost import Cost
from equimodal.study import storage as storage_module
from equimodal.study.packing import pack, unpack
from equimodal.study.reading import read_study

from .small import ALONE, JOINT, MILES, begun, claim, done, record_of, series_of, small, trials_of

pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")

SWEEPS = {"tau": [0.5, 0.1], "mu": [], "training_scores": True, "example": {"lr": 0.001, "tau": 0.05, "mu": 0.5}}
ELSEWHERE = {"host": "far", "machine": "elsewhere", "process": 1, "began": "1"}


@pytest.fixture(scope="module")
def declaration():
    return small(methods=["mslr-k", "miles"], trials=1, ablations=SWEEPS)


@pytest.fixture(scope="module")
def record(declaration, tmp_path_factory):
    """A study of every kind of series, done."""
    return done(declaration, tmp_path_factory.mktemp("study"))


def test_every_trial_is_there_before_anything_has_begun(tmp_path, declaration):
    found = record_of(declaration, tmp_path)
    assert [series.name for series in found.series] == [series.name for series in record_of(declaration, tmp_path).series]
    assert {(trial.state, trial.attempts, trial.run) for trial in found.trials} == {("waiting", 0, None)}
    assert {series.blocked for series in found.series} == {None}
    assert {series.selected for series in found.series} == {None}
    assert [trial.params["method.tau"] for trial in trials_of(found, f"{MILES}/tau")] == [0.5, 0.1]
    assert [trial.params["seed"] for trial in trials_of(found, f"{MILES}/final")] == [0, 1]


def test_series_stand_row_by_row(record):
    assert [series.name for series in record.series] == [
        *(f"{name}{what}" for name in ALONE for what in ("", "/final")),
        *(f"{name}{what}" for name in (JOINT, "tiny/concat/mslr-k", MILES) for what in ("", "/final") if name != MILES),
        *(f"{MILES}{what}" for what in ("", "/final", "/tau", "/example")),
        *(f"tiny/concat/training-scores{what}" for what in ("", "/final")),
    ]
    assert {series.kind for series in record.series} == {"search", "final", "sweep", "example"}
    assert {trial.state for trial in record.trials} == {"complete"}


def test_a_trial_has_all_that_is_known_of_it(record):
    (trial,) = trials_of(record, MILES)
    assert set(trial.params) == {"optimizer.lr", "method.tau", "method.mu"}
    assert trial.run.config["method"]["tau"] == trial.params["method.tau"]
    assert trial.run.config["optimizer"]["lr"] == trial.params["optimizer.lr"]
    assert trial.run.config["threads"] == 1
    assert len(trial.run.epochs) == 1
    assert 0.0 <= trial.score() <= 1.0
    assert trial.loss > 0.0
    assert trial.cost.seconds > 0.0
    assert trial.cost.steps == 1
    assert trial.environment["torch"]
    assert trial.where
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", moment) for moment in (trial.started, trial.ended))


def test_the_score_of_one_modality_alone_is_its_own(record):
    for name in ALONE:
        modality = name.rpartition("/")[2]
        for trial in trials_of(record, f"{name}/final"):
            assert trial.score("test") == trial.run.result["scores"]["test"][modality]


def test_rows_are_charged_with_the_searches_that_their_method_needs(record):
    searches = [trial.cost for name in ALONE for trial in trials_of(record, name)]
    for series in record.series:
        if series.row == "mslr-k":
            assert series.before.steps == sum(cost.steps for cost in searches)
            assert series.before.seconds == pytest.approx(sum(cost.seconds for cost in searches))
        else:
            assert series.before == Cost(0.0, 0)


def test_a_pruned_search_is_charged_too(tmp_path):
    options = {"pruner": {"name": "ThresholdPruner", "lower": 2.0, "n_warmup_steps": 2}, "epochs": 3, "trials": 1}
    found = done(small(methods=["mslr-k"], **options), tmp_path, only=[*ALONE])
    assert {trial.state for name in ALONE for trial in trials_of(found, name)} == {"pruned"}
    row = found.one("search", "tiny", "concat", "mslr-k")
    assert row.before.steps == 2 * 2
    assert row.before.seconds > 0.0


def test_without_runs_there_are_states_and_costs_and_no_scores(tmp_path):
    declaration = small(trials=1)
    done(declaration, tmp_path, only=[JOINT])
    (trial,) = trials_of(read_study(begun(tmp_path, declaration), runs=False), JOINT)
    assert (trial.state, trial.run, trial.score()) == ("complete", None, None)
    assert trial.cost.steps == 1


def test_what_is_under_way_says_where(tmp_path, monkeypatch):
    declaration = small()
    storage = begun(tmp_path, declaration)
    with monkeypatch.context() as patch:
        patch.setattr(storage_module, "own_mark", lambda: ELSEWHERE)
        claim(storage, series_of(declaration)[JOINT])
    trial = trials_of(record_of(declaration, tmp_path), JOINT)[0]
    assert (trial.state, trial.where, trial.attempts) == ("running", "far", 1)
    assert trial.params == claim(storage, series_of(declaration)[JOINT], 0).params
    assert trial.started


def test_reading_changes_nothing(tmp_path):
    declaration = small(trials=1)
    storage = begun(tmp_path, declaration)
    claim(storage, series_of(declaration)[JOINT])
    before = (tmp_path / "study.db").read_bytes()
    record_of(declaration, tmp_path)
    assert (tmp_path / "study.db").read_bytes() == before


def test_what_is_packed_comes_out_again_in_a_text():
    content = {"epochs": [{"loss": 0.1, "score": None}] * 50, "config": {"name": "µ"}}
    text = pack(content)
    assert text.isascii()
    assert unpack(text) == content
    assert len(text) < 300
