"""The storage: attempts that are begun, broken off, taken over and ended."""

import threading

import pytest

from equimodal.study import storage as storage_module
from equimodal.study.machine import own_mark
from equimodal.study.protocol import open_storage
from equimodal.study.series import Start

from .small import JOINT, MILES, begun, claim, series_of, small, stop_hearts

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")
sqlalchemy = pytest.importorskip("sqlalchemy")

ELSEWHERE = {"host": "far", "machine": "elsewhere", "process": 1, "began": "1"}
DEAD = {**own_mark(), "began": "1"}
PARENT = {**own_mark(), "process": 1, "began": storage_module.is_gone.__globals__["_began"](1)}


def begun_by(monkeypatch, mark, storage, series, number=0):
    """Begin an attempt in the name of another process."""
    with monkeypatch.context() as patch:
        patch.setattr(storage_module, "own_mark", lambda: mark)
        return claim(storage, series, number)


def states(storage, series):
    return [(attempt.key, attempt.state) for attempt in storage.attempts(series.name)]


def bury(storage, series):
    with storage.locked():
        storage.bury(series.name)


# --- attempts


def test_an_attempt_has_the_values_that_were_drawn_for_its_trial(storage, joint):
    trial = claim(storage, joint, 1)
    (attempt,) = storage.attempts(JOINT)
    assert attempt.params == joint.draft(1, Start()).params == trial.params
    assert (attempt.number, attempt.key, attempt.state, attempt.final) == (1, "1", "RUNNING", False)
    assert storage.finish(trial, "COMPLETE", {"score": 0.5, "loss": 1.0}, 0.5)
    (attempt,) = storage.attempts(JOINT)
    assert (attempt.state, attempt.facts["score"], attempt.final) == ("COMPLETE", 0.5, True)


def test_what_is_set_in_a_trial_is_kept_as_it_is(tmp_path):
    declaration = small(methods=["miles"], search={"batch_size": [8, 16], "clip": [None, 1.5], "methods": {"miles": {"smoothing": 0.25}}})
    storage, series = begun(tmp_path, declaration), series_of(declaration)[MILES]
    for number in range(2):
        claim(storage, series, number)
        assert storage.attempts(MILES)[number].params == series.draft(number, Start()).params


def test_another_process_sees_the_same(tmp_path, storage, declaration, joint):
    storage.finish(claim(storage, joint), "COMPLETE", {"score": 0.5}, 0.5)
    claim(storage, joint, 1)
    assert states(open_storage(declaration, tmp_path), joint) == [("0", "COMPLETE"), ("1", "RUNNING")]


def test_a_series_without_attempts_has_none(storage):
    assert storage.attempts(MILES) == []
    bury(storage, series_of(storage.declaration)[MILES])


def test_a_reason_ends_a_trial_and_without_one_it_was_broken_off(storage, joint):
    storage.finish(claim(storage, joint), "FAIL", {})
    storage.finish(claim(storage, joint), "FAIL", {"reason": "x" * 10_000})
    broken, failed = storage.attempts(JOINT)
    assert (broken.final, failed.final) == (False, True)
    assert len(failed.facts["reason"]) == 2000


def test_what_was_ended_twice_counts_as_it_was_ended_first(storage, joint):
    trial = claim(storage, joint)
    assert storage.finish(trial, "COMPLETE", {"score": 0.5}, 0.5)
    assert storage.finish(trial, "COMPLETE", {"score": 0.5}, 0.5)
    assert not storage.finish(trial, "FAIL", {"reason": "late"})
    assert states(storage, joint) == [("0", "COMPLETE")]


# --- processes that are gone


def test_an_attempt_of_a_process_that_is_gone_is_given_up_at_once(monkeypatch, storage, joint):
    begun_by(monkeypatch, DEAD, storage, joint)
    bury(storage, joint)
    assert states(storage, joint) == [("0", "FAIL")]
    assert not storage.attempts(JOINT)[0].final


@pytest.mark.parametrize("mark", [ELSEWHERE, PARENT], ids=["another machine", "this machine"])
def test_an_attempt_of_another_living_process_is_left_alone(monkeypatch, storage, joint, mark):
    begun_by(monkeypatch, mark, storage, joint)
    bury(storage, joint)
    assert states(storage, joint) == [("0", "RUNNING")]


def test_an_attempt_on_another_machine_is_given_up_when_its_heartbeat_has_ended(tmp_path, monkeypatch, storage, joint):
    trial = begun_by(monkeypatch, ELSEWHERE, storage, joint)
    stop_hearts(tmp_path)
    assert storage.beat(trial)
    bury(storage, joint)
    assert states(storage, joint) == [("0", "RUNNING")]
    stop_hearts(tmp_path)
    bury(storage, joint)
    assert states(storage, joint) == [("0", "FAIL")]


def test_a_process_that_was_given_up_wrongly_learns_of_it_and_counts_no_more(tmp_path, monkeypatch, storage, joint):
    trial = begun_by(monkeypatch, ELSEWHERE, storage, joint)
    stop_hearts(tmp_path)
    bury(storage, joint)
    ours = claim(storage, joint)
    assert not storage.beat(trial)
    assert not storage.finish(trial, "COMPLETE", {"score": 0.9}, 0.9)
    assert storage.finish(ours, "COMPLETE", {"score": 0.5}, 0.5)
    assert [(attempt.state, attempt.facts.get("score")) for attempt in storage.attempts(JOINT)] == [("FAIL", None), ("COMPLETE", 0.5)]


def test_a_process_killed_while_it_began_an_attempt_leaves_nothing_in_the_way(monkeypatch, storage, joint):
    """Between putting a trial there and taking it; and between taking it and having it wholly."""
    study = storage._study(JOINT)
    study.enqueue_trial(dict(joint.draft(1, Start()).params), user_attrs={"key": "1", "number": 1, "mark": DEAD})
    trial = claim(storage, joint, 0)
    assert trial.user_attrs["key"] == "0"
    study.enqueue_trial(dict(joint.draft(1, Start()).params), user_attrs={"key": "1", "number": 1, "mark": ELSEWHERE})
    with pytest.warns(match="Heartbeat"):
        study.ask()
    trial = claim(storage, joint, 1)
    assert trial.params == joint.draft(1, Start()).params
    running = [attempt for attempt in storage.attempts(JOINT) if attempt.state == "RUNNING"]
    assert [attempt.facts["mark"] for attempt in running] == [own_mark()]


def test_many_that_ask_at_once_never_begin_the_same_trial(tmp_path, monkeypatch):
    declaration = small(trials=12)
    series = series_of(declaration)[JOINT]
    begun(tmp_path, declaration)
    marks = threading.local()
    monkeypatch.setattr(storage_module, "own_mark", lambda: getattr(marks, "mark", ELSEWHERE))
    taken, failures = [], []

    def work(place):
        try:
            marks.mark = {**ELSEWHERE, "process": place}
            storage = open_storage(declaration, tmp_path)
            while True:
                with storage.locked():
                    storage.bury(JOINT)
                    known = {attempt.key for attempt in storage.attempts(JOINT)}
                    free = [number for number in range(12) if str(number) not in known]
                    if not free:
                        return
                    storage.claim(series, series.draft(free[0], Start()), [])
                taken.append(free[0])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(taken) == list(range(12))


# --- failed trials are begun again where that is wanted


def test_forgiven_failures_are_open_again_and_others_are_not(storage, joint):
    storage.finish(claim(storage, joint, 0), "FAIL", {"reason": "no luck"})
    storage.finish(claim(storage, joint, 1), "COMPLETE", {"score": 0.5}, 0.5)
    assert storage.forgive(JOINT) == 1
    assert [attempt.final for attempt in storage.attempts(JOINT)] == [False, True]
    assert storage.forgive(JOINT) == 0
    storage.finish(claim(storage, joint, 0), "FAIL", {"reason": "again"})
    assert [attempt.final for attempt in storage.attempts(JOINT)] == [False, True, True]
    assert storage.forgive(JOINT) == 1
    assert storage.forgive(MILES) == 0


# --- samplers


def test_a_sampler_s_draw_is_kept_when_the_trial_is_taken_over(tmp_path, monkeypatch):
    declaration = small(sampler="TPESampler")
    storage, series = begun(tmp_path, declaration), series_of(declaration)[JOINT]
    first = begun_by(monkeypatch, DEAD, storage, series).params
    assert claim(storage, series).params == first
    assert claim(storage, series, 1).params != first


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler"])
def test_a_sampler_draws_the_same_in_every_storage(tmp_path, name):
    declaration = small(sampler=name, methods=["miles"])
    series = series_of(declaration)[MILES]
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        storage = begun(tmp_path / place, declaration)
        for number in range(3):
            trial = claim(storage, series, number)
            storage.finish(trial, "COMPLETE", {"score": trial.params["method.tau"]}, trial.params["method.tau"])
        found.append([attempt.params for attempt in storage.attempts(MILES)])
    assert found[0] == found[1]
    assert len({str(params) for params in found[0]}) == 3
    assert all(value in series.spaces[path] for params in found[0] for path, value in params.items())
