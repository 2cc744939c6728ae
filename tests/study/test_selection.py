"""Which trial is chosen, and what waits for it."""

import pytest

from equimodal.study.comparison import UNIMODAL_RATES
from equimodal.study.selection import Starts, select, settled
from equimodal.study.series import Start
from equimodal.study.storage import Attempt

from .small import series_of, small

AUDIO, IMAGE = "tiny/alone/audio", "tiny/alone/image"


def attempt(number, score=None, loss=None, *, state="COMPLETE", key=None, order=None, params=None, **facts):
    noted = {"score": score, "loss": loss, **facts}
    noted = {name: value for name, value in noted.items() if value is not None}
    return Attempt(
        number, key or str(number), number if order is None else order, state, params or {"optimizer.lr": 0.1 * (number + 1)}, noted
    )


def broken(number, order):
    return attempt(number, state="FAIL", order=order)


def failed(number, order=None):
    return attempt(number, state="FAIL", order=order, reason="its loss became NaN")


# --- the rule


@pytest.mark.parametrize(
    ("attempts", "chosen"),
    [
        ([attempt(0, 0.5, 1.0), attempt(1, 0.7, 2.0), attempt(2, 0.6, 0.1)], 1),
        ([attempt(0, 0.7, 2.0), attempt(1, 0.7, 1.0), attempt(2, 0.7, 3.0)], 1),
        ([attempt(2, 0.7, 1.0), attempt(1, 0.7, 1.0), attempt(3, 0.7, 1.0)], 1),
        ([attempt(0, 0.7, None), attempt(1, 0.7, 5.0)], 1),
        ([failed(0), attempt(1, 0.0, 9.0), attempt(2, state="PRUNED", score=0.9)], 1),
    ],
    ids=["best score", "equal scores: smaller loss", "equal losses: earlier", "no loss is worst", "only complete ones count"],
)
def test_the_best_complete_trial_is_chosen(attempts, chosen):
    assert select(attempts, "best-validation").number == chosen


def test_without_a_complete_trial_none_is_chosen():
    assert select([failed(0), attempt(1, state="RUNNING")], "best-validation") is None


def test_the_oracle_alone_looks_at_the_test_score():
    attempts = [attempt(0, 0.9, 1.0, test=0.1), attempt(1, 0.1, 1.0, test=0.9), attempt(2, 0.95, 1.0)]
    assert select(attempts, "oracle").number == 1
    assert select(attempts, "best-validation").number == 2


# --- which attempt settles a trial


def test_a_trial_counts_once_by_its_first_complete_attempt():
    attempts = [broken(0, 0), attempt(0, 0.4, order=3), attempt(0, 0.9, order=5), attempt(1, 0.8, order=1)]
    assert settled(attempts, "0").order == 3


def test_a_complete_attempt_stands_before_a_failed_one():
    assert settled([failed(0, 1), attempt(0, 0.4, order=2)], "0").order == 2
    assert settled([failed(0, 2), failed(0, 1)], "0").order == 1


def test_an_attempt_that_was_broken_off_or_goes_on_settles_nothing():
    assert settled([broken(0, 0), attempt(0, order=1, state="RUNNING"), attempt(1, 0.5, order=2)], "0") is None


# --- what waits, and for what


@pytest.fixture
def starts():
    """What each series starts from, given the attempts at some."""

    def make(known, **changes):
        series = series_of(small(methods=["mslr-k"], **changes))
        return series, Starts(list(series.values()), lambda name: known.get(name, ()), "best-validation", drawn=True)

    return make


ALL = {
    AUDIO: [attempt(0, 0.4, 1.0, params={"optimizer.lr": 0.01}), attempt(1, 0.5, 1.0, params={"optimizer.lr": 0.02})],
    IMAGE: [attempt(0, 0.6, 1.0, params={"optimizer.lr": 0.03}), failed(1)],
}


def test_a_search_without_needs_can_begin_at_once(starts):
    series, found = starts({})
    assert found.of(series[AUDIO]) == Start() == found.of(series["tiny/concat/joint"])


@pytest.mark.parametrize("known", [{}, {AUDIO: ALL[AUDIO]}, {AUDIO: ALL[AUDIO], IMAGE: ALL[IMAGE][:1]}], ids=["none", "one", "almost"])
def test_mslr_waits_until_the_unimodal_searches_have_ended(starts, known):
    series, found = starts(known)
    assert found.of(series["tiny/concat/mslr-k"]) is None


def test_mslr_starts_from_the_rates_that_were_chosen(starts):
    series, found = starts(ALL)
    assert found.of(series["tiny/concat/mslr-k"]) == Start({UNIMODAL_RATES: {"audio": 0.02, "image": 0.03}})


def test_what_needs_a_search_without_any_result_is_told_why_it_never_begins(starts):
    series, found = starts({**ALL, IMAGE: [failed(0), failed(1)]})
    for name in (f"{IMAGE}/final", "tiny/concat/mslr-k", "tiny/concat/mslr-k/final"):
        assert found.of(series[name]) == f"no trial of {IMAGE} has a result"
    assert found.of(series[f"{AUDIO}/final"]).selected.number == 1


def test_attempts_that_started_from_other_rates_do_not_count(starts):
    series, found = starts(ALL)
    search = series["tiny/concat/mslr-k"]
    start = found.of(search)
    old = [attempt(number, 0.9, 1.0, key=f"{number}@00000000") for number in (0, 1)]
    known = {**ALL, search.name: old}
    assert starts(known)[1].of(series[f"{search.name}/final"]) is None
    new = [attempt(number, 0.1 * number, 1.0, key=search.draft(number, start).key, order=5 + number) for number in (0, 1)]
    assert starts({**known, search.name: old + new})[1].of(series[f"{search.name}/final"]).selected.number == 1


def test_the_selection_waits_for_trials_that_are_added(starts):
    series, found = starts(ALL, trials=3)
    assert found.of(series[f"{AUDIO}/final"]) is None
    more = {**ALL, AUDIO: [*ALL[AUDIO], attempt(2, 0.9, 1.0)]}
    assert starts(more, trials=3)[1].of(series[f"{AUDIO}/final"]).selected.number == 2
