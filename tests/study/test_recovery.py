"""A study that is broken off, forgiven or short of something goes on, and counts nothing twice."""

import errno
import threading
import time

import pytest

from equimodal import InputError
from equimodal.errors import Busy, CannotWrite
from equimodal.study import storage as storage_module
from equimodal.study import work
from equimodal.study.jobs import Outcome
from equimodal.study.machine import own_mark
from equimodal.study.protocol import open_storage, run_study
from equimodal.study.series import expand
from equimodal.study.work import Worker

from .small import ALONE, JOINT, begun, claim, done, numbers, record_of, series_of, small, states_of, stop_hearts, trials_of

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")

ELSEWHERE = {"host": "far", "machine": "elsewhere", "process": 1, "began": "1"}
DEAD = {**own_mark(), "began": "1"}
ONLY_JOINT = {"only": [JOINT]}


@pytest.fixture
def begun_by(monkeypatch):
    """Begin an attempt at a trial in the name of another process."""

    def begin(mark, storage, number=0, name=JOINT):
        with monkeypatch.context() as patch:
            patch.setattr(storage_module, "own_mark", lambda: mark)
            return claim(storage, series_of(storage.declaration)[name], number)

    return begin


def instantly(job, train):
    """A training that fails at once: enough where only who does what counts."""
    return Outcome(job, failure="not tried")


# --- attempts that were broken off


def test_a_broken_off_trial_is_done_again_and_counts_once(tmp_path, begun_by):
    declaration = small()
    begun_by(DEAD, begun(tmp_path, declaration))
    assert states_of(record_of(declaration, tmp_path), JOINT) == ["running", "waiting"]
    record = done(declaration, tmp_path, **ONLY_JOINT)
    assert [(trial.state, trial.attempts) for trial in trials_of(record, JOINT)] == [("complete", 2), ("complete", 1)]


def test_a_trial_of_another_machine_is_waited_for_and_taken_over_when_its_heartbeat_has_ended(tmp_path, begun_by, perform):
    declaration = small()
    storage = begun(tmp_path, declaration)
    trial = begun_by(ELSEWHERE, storage)
    seen, ended = [], threading.Event()
    perform(lambda job, train: (seen.append(job.name), instantly(job, train))[1])

    def beat():
        while not ended.wait(0.2):
            storage.beat(trial)

    heart = threading.Thread(target=beat)
    worker = threading.Thread(target=run_study, args=(declaration, tmp_path), kwargs=ONLY_JOINT)
    heart.start()
    worker.start()
    try:
        time.sleep(4.0)  # longer than three heartbeats
        assert seen == [f"{JOINT}, trial 1"]
    finally:
        ended.set()
        heart.join()
    stop_hearts(tmp_path)
    worker.join(30)
    assert not worker.is_alive()
    assert seen == [f"{JOINT}, trial 1", f"{JOINT}, trial 0"]


def test_a_trial_that_ends_its_process_again_and_again_is_recorded_as_failed_until_it_is_forgiven(tmp_path, begun_by, monkeypatch):
    monkeypatch.setattr(work, "MOST_ATTEMPTS", 3)
    declaration = small()
    storage = begun(tmp_path, declaration)
    for number in (0, 0, 0, 1, 1):
        begun_by(DEAD, storage, number)
    record = done(declaration, tmp_path, **ONLY_JOINT)
    assert [(trial.state, trial.reason, trial.attempts) for trial in trials_of(record, JOINT)] == [
        ("failed", "its process ended 3 times after epoch 0, perhaps for lack of memory", 4),
        ("complete", None, 3),
    ]
    storage.forgive(JOINT)
    assert states_of(done(declaration, tmp_path, **ONLY_JOINT), JOINT) == ["complete", "complete"]


def test_workers_side_by_side_share_the_trials_and_none_is_done_twice(tmp_path, perform, monkeypatch):
    declaration = small(trials=3)
    begun(tmp_path, declaration)
    marks, seen, failures = threading.local(), [], []
    monkeypatch.setattr(storage_module, "own_mark", lambda: getattr(marks, "mark", ELSEWHERE))

    def slowly(job, train):
        seen.append((marks.mark["process"], job.name))
        time.sleep(0.05)
        return instantly(job, train)

    def go(place):
        marks.mark = {**ELSEWHERE, "process": place}
        try:
            Worker(open_storage(declaration, tmp_path), expand(declaration), tmp_path).work()
        except BaseException as error:
            failures.append(error)
            raise

    perform(slowly)
    threads = [threading.Thread(target=go, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    names = [name for _, name in seen]
    assert sorted(names) == sorted({f"{name}, trial {number}" for name in (*ALONE, JOINT) for number in range(3)})
    assert len({place for place, _ in seen}) == 2


def test_a_run_folder_that_another_process_still_holds_is_waited_for(tmp_path, perform):
    left = [2]

    def busy(job, train):
        left[0] -= 1
        if left[0] >= 0:
            raise Busy("another process is at work there")
        return train()

    perform(busy)
    record = done(small(trials=1), tmp_path, **ONLY_JOINT)
    assert [(trial.state, trial.attempts) for trial in trials_of(record, JOINT)] == [("complete", 1)]


def test_ctrl_c_leaves_the_trial_open(tmp_path, perform, monkeypatch):
    def interrupt(job, train):
        raise KeyboardInterrupt

    perform(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_study(small(), tmp_path, **ONLY_JOINT)
    assert states_of(record_of(small(), tmp_path), JOINT) == ["waiting"] * 2
    monkeypatch.undo()
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    assert states_of(done(small(), tmp_path, **ONLY_JOINT), JOINT) == ["complete"] * 2


# --- what is short


@pytest.mark.parametrize("where", ["a checkpoint", "study.json"])
def test_a_full_disk_stops_the_work_and_fails_no_trial(tmp_path, perform, monkeypatch, where):
    if where == "a checkpoint":

        def full(job, train):
            raise CannotWrite("cannot write there: No space left on device")

        perform(full)
    else:
        monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        run_study(small(), tmp_path, **ONLY_JOINT)
    record = record_of(small(), tmp_path)
    assert [(trial.state, trial.reason) for trial in trials_of(record, JOINT)] == [("waiting", None)] * 2
    monkeypatch.undo()
    assert states_of(done(small(), tmp_path, **ONLY_JOINT), JOINT) == ["complete"] * 2


def refuse(_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_database_that_goes_away_again_and_again_loses_nothing(tmp_path, monkeypatch):
    """Before and after what was to be done, as nobody can tell which when a connection breaks."""
    quiet = numbers(done(small(), tmp_path / "quiet", **ONLY_JOINT))
    kind = optuna.storages.RDBStorage
    calls = [0]

    def shaky(real):
        def act(*arguments, **options):
            calls[0] += 1
            if calls[0] % 23 == 5:
                raise optuna.exceptions.StorageInternalError("gone")
            found = real(*arguments, **options)
            if calls[0] % 23 == 17:
                raise optuna.exceptions.StorageInternalError("gone")
            return found

        return act

    declaration, said = small(), []
    begun(tmp_path, declaration)
    for name in ("create_new_trial", "set_trial_user_attr", "set_trial_state_values", "set_trial_param", "get_trial", "record_heartbeat"):
        monkeypatch.setattr(kind, name, shaky(getattr(kind, name)))
    run_study(declaration, tmp_path, on_event=lambda event: said.append(event.text), **ONLY_JOINT)
    monkeypatch.undo()
    assert calls[0] > 20
    assert "the storage is back" in said
    record = record_of(declaration, tmp_path)
    assert numbers(record) == quiet
    settled = [attempt.key for attempt in open_storage(declaration, tmp_path).attempts(JOINT) if attempt.final]
    assert sorted(settled) == ["0", "1"]


def test_a_database_that_is_away_when_a_pruner_asks_fails_no_trial(tmp_path, monkeypatch):
    declaration, left = small(pruner="MedianPruner", trials=1, epochs=2), [2]
    begun(tmp_path, declaration)
    real = optuna.storages.RDBStorage.set_trial_intermediate_value

    def shaky(*arguments):
        left[0] -= 1
        if left[0] >= 0:
            raise optuna.exceptions.StorageInternalError("gone")
        return real(*arguments)

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_intermediate_value", shaky)
    record = done(declaration, tmp_path, **ONLY_JOINT)
    assert [(trial.state, trial.attempts) for trial in trials_of(record, JOINT)] == [("complete", 1)]


def test_a_spent_budget_stops_the_work_and_more_of_it_goes_on(tmp_path):
    least = small(budget=1e-9)
    assert run_study(least, tmp_path, **ONLY_JOINT) is False
    assert states_of(record_of(least, tmp_path), JOINT) == ["complete", "waiting"]
    assert run_study(least, tmp_path, **ONLY_JOINT) is False
    assert states_of(record_of(least, tmp_path), JOINT) == ["complete", "waiting"]
    assert run_study(small(budget=None), tmp_path, **ONLY_JOINT) is True
    assert states_of(record_of(small(), tmp_path), JOINT) == ["complete", "complete"]


# --- failures that are forgiven


def test_a_forgiven_failure_is_tried_again_and_its_reason_is_gone(tmp_path, perform, monkeypatch):
    declaration = small()
    perform(lambda job, train: instantly(job, train) if job.name.endswith("trial 1") else train())
    before = done(declaration, tmp_path, only=[f"{JOINT}/final"])
    assert states_of(before, JOINT) == ["complete", "failed"]
    monkeypatch.undo()
    assert numbers(done(declaration, tmp_path, only=[f"{JOINT}/final"])) == numbers(before)
    assert open_storage(declaration, tmp_path).forgive(JOINT) == 1
    after = done(declaration, tmp_path, only=[f"{JOINT}/final"])
    assert [(trial.state, trial.reason, trial.attempts) for trial in trials_of(after, JOINT)] == [
        ("complete", None, 1),
        ("complete", None, 2),
    ]
    assert trials_of(after, JOINT)[0] == trials_of(before, JOINT)[0]
