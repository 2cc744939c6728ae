"""What is not a trial's fault is not counted as its failure, and what is its fault takes no other with it."""

import json

import pytest

from equimodal import InputError
from equimodal.study import work
from equimodal.study.jobs import Outcome
from equimodal.study.protocol import run_study
from equimodal.study.series import Start
from equimodal.study.storage import Storage
from equimodal.study.work import Worker

from .small import JOINT, begun, done, numbers, record_of, series_of, small, states_of, trials_of

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")

ONLY_JOINT = {"only": [JOINT]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What joint training finds when nothing happens."""
    return numbers(done(small(), tmp_path_factory.mktemp("whole"), **ONLY_JOINT))


def folder_of(declaration, folder, number=0):
    series = series_of(declaration)[JOINT]
    return Worker(begun(folder, declaration), [series], folder).run_folder(series, series.draft(number, Start()))


def test_hyper_parameters_that_do_not_go_together_fail_their_trial_alone(tmp_path):
    ranges = {"modulation_starts": [0, 30], "modulation_ends": [10, 50]}
    declaration = small(methods=["ogm"], trials=8, search={"methods": {"ogm": ranges}})
    name = "tiny/concat/ogm"
    trials = trials_of(done(declaration, tmp_path, only=[name]), name)
    wrong = [trial.params["method.modulation_starts"] > trial.params["method.modulation_ends"] for trial in trials]
    assert [trial.state for trial in trials] == ["failed" if one else "complete" for one in wrong]
    assert set(wrong) == {True, False}
    assert all("modulation" in trial.reason for trial, one in zip(trials, wrong, strict=True) if one)


def test_a_folder_that_holds_another_run_is_put_aside_and_the_trial_done(tmp_path, whole):
    declaration = small()
    place = folder_of(declaration, tmp_path)
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(json.dumps({"format": 1, "identity": "another"}))
    (place / "metrics.jsonl").write_text("mine\n")
    assert numbers(done(declaration, tmp_path, **ONLY_JOINT)) == whole
    assert (place.with_name(f"{place.name}.unusable-1") / "metrics.jsonl").read_text() == "mine\n"


def test_a_damaged_checkpoint_lets_the_trial_begin_anew(tmp_path, whole, monkeypatch):
    declaration = small()
    place = folder_of(declaration, tmp_path)
    real = work.perform

    def broken_off(job, *more):
        raise OSError(5, "Input/output error", str(place))

    monkeypatch.setattr(work, "perform", broken_off)
    with pytest.raises(OSError, match="Input/output error"):
        run_study(declaration, tmp_path, **ONLY_JOINT)
    monkeypatch.setattr(work, "perform", real)
    assert states_of(record_of(declaration, tmp_path), JOINT) == ["waiting", "waiting"]
    done(declaration, tmp_path / "other", **ONLY_JOINT)
    other = folder_of(declaration, tmp_path / "other")
    place.parent.mkdir(parents=True)
    other.rename(place)
    (place / "complete").unlink()
    (place / "last.pt").write_bytes(b"half")
    record = done(declaration, tmp_path, **ONLY_JOINT)
    assert numbers(record) == whole
    assert [trial.attempts for trial in trials_of(record, JOINT)] == [2, 1]


def test_a_study_whose_budget_is_spent_when_all_is_done_is_done(tmp_path):
    declaration = small()
    assert run_study(declaration, tmp_path, **ONLY_JOINT)
    spent = small(budget=1e-9)
    assert run_study(spent, tmp_path, **ONLY_JOINT)
    assert not run_study(small(budget=1e-9, trials=3), tmp_path, **ONLY_JOINT)


def test_the_budget_counts_what_other_series_took(tmp_path):
    declaration = small()
    run_study(declaration, tmp_path, **ONLY_JOINT)
    storage = begun(tmp_path, declaration)
    alone = Worker(storage, [series_of(declaration)["tiny/alone/audio"]], tmp_path)
    assert alone._spent() == pytest.approx(sum(trial.cost.seconds for trial in trials_of(record_of(declaration, tmp_path), JOINT)))


def test_a_gpu_that_an_error_left_unusable_ends_the_process_and_only_the_trial_that_did_it_fails(tmp_path, monkeypatch):
    declaration = small()
    real = work.perform

    def fails_first(job, *more):
        return Outcome(job, failure="AcceleratorError: device-side assert") if job.name.endswith("trial 0") else real(job, *more)

    def lost(_):
        raise work.DeviceLost("the GPU cannot be used any more by this process")

    monkeypatch.setattr(work, "perform", fails_first)
    monkeypatch.setattr(work, "_check_device", lost)
    with pytest.raises(InputError, match="cannot be used any more"):
        run_study(declaration, tmp_path, **ONLY_JOINT)
    assert states_of(record_of(declaration, tmp_path), JOINT) == ["failed", "waiting"]
    assert states_of(done(declaration, tmp_path, **ONLY_JOINT), JOINT) == ["failed", "complete"]


def test_a_failed_trial_has_the_cost_of_its_epochs(tmp_path, monkeypatch):
    declaration = small()
    monkeypatch.setattr(work, "perform", lambda job, *more: Outcome(job, failure="RuntimeError: out of memory"))
    trials = trials_of(done(declaration, tmp_path, **ONLY_JOINT), JOINT)
    assert [(trial.state, trial.cost.seconds, trial.cost.steps) for trial in trials] == [("failed", 0.0, 0)] * 2


def test_runs_that_no_storage_knows_are_not_mixed_with(tmp_path):
    declaration = small()
    run_study(declaration, tmp_path, **ONLY_JOINT)
    (tmp_path / "study.db").unlink()
    with pytest.raises(InputError, match=r"holds runs that study.db knows nothing of") as error:
        run_study(declaration, tmp_path, **ONLY_JOINT)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "study.db").exists()


@pytest.mark.parametrize("url", ["postgresql://host:abc/db", "postgresql://me:secret@host:abc/db"])
def test_an_address_that_is_none_is_refused_without_its_password(url):
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match="is no address of a database") as error:
        Storage(url, small())
    assert "secret" not in str(error.value)


def test_a_database_that_cannot_be_written_is_not_waited_for(tmp_path, monkeypatch):
    declaration = small()
    storage = begun(tmp_path, declaration)

    def refused():
        raise storage._optuna.exceptions.StorageInternalError("commit") from OSError("attempt to write a readonly database")

    with pytest.raises(InputError, match="cannot be used: attempt to write a readonly database"):
        storage.patiently(refused)
