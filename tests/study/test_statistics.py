"""The best of a smaller search and paired tests, against slow references and known values."""

from __future__ import annotations

import random
import statistics

import pytest

from equimodal.errors import InputError
from equimodal.study.statistics import BUDGETS, best_of, budgets, holm, is_near, paired, sign_flip
from oracles.study_statistics import best_of_by_drawing, best_of_by_listing, flips_by_listing, holm_by_steps, mean_of_successes, quantile

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def scores(count, failed=0, seed=0, digits=6):
    generator = random.Random(seed)
    return [None] * failed + [round(generator.random(), digits) for _ in range(count - failed)]


# --- the best of k


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
@pytest.mark.parametrize(("failed", "digits"), [(0, 6), (2, 6), (5, 6), (0, 1)], ids=["all", "two fail", "all but one fail", "ties"])
def test_the_best_of_a_budget_is_that_of_all_draws_listed(budget, failed, digits):
    given = scores(6, failed, digits=digits)
    found, listed = best_of(given, budget, LEVELS), best_of_by_listing(given, budget)
    assert found.mean == pytest.approx(mean_of_successes(listed))
    assert found.quantiles == {level: quantile(listed, level) for level in LEVELS}
    assert found.lost == pytest.approx((failed / 6) ** budget)


@pytest.mark.parametrize("budget", [8, 20])
def test_the_best_of_a_larger_budget_agrees_with_drawing(budget):
    given = scores(80, failed=10)
    found, drawn = best_of(given, budget), best_of_by_drawing(given, budget, 20_000)
    spread = statistics.stdev(drawn) / len(drawn) ** 0.5
    assert abs(found.mean - statistics.fmean(drawn)) < 5 * spread
    for level, value in found.quantiles.items():
        share = sum(one <= value for one in drawn) / len(drawn)
        assert share >= level - 0.02


def test_the_order_of_trials_does_not_matter_and_more_budget_is_never_worse():
    given = scores(30, failed=4)
    shuffled = random.Random(1).sample(given, len(given))
    assert best_of(given, 8) == best_of(shuffled, 8)
    # Without failures: with them the mean is over other draws.
    means = [best_of(scores(30), budget).mean for budget in BUDGETS]
    assert means == sorted(means)
    assert means[-1] <= max(scores(30))


def test_failed_trials_use_up_the_budget():
    with_failures, without = best_of([None, None, 0.5, 0.7], 2), best_of([0.5, 0.7], 2)
    assert with_failures.lost == 0.25
    assert with_failures.quantiles[0.05] is None
    assert with_failures.mean < without.mean


@pytest.mark.parametrize("given", [[], [None, None]], ids=["no trial", "all failed"])
def test_without_any_success_there_is_no_best(given):
    found = best_of(given, 3)
    assert found.mean is None
    assert set(found.quantiles.values()) == {None}
    assert found.lost == 1.0


def test_a_single_score_is_the_best_of_any_budget():
    found = best_of([0.5], 80)
    assert found.mean == 0.5
    assert set(found.quantiles.values()) == {0.5}


@pytest.mark.parametrize("budget", [0, -1, 1.5, True])
def test_a_budget_that_is_no_positive_whole_number_is_refused(budget):
    with pytest.raises(InputError, match=r"budget of .* trials: give a whole number"):
        best_of([0.5], budget)


def test_budgets_end_with_the_number_of_trials():
    assert budgets(1) == (1,)
    assert budgets(8) == (1, 2, 4, 8)
    assert budgets(50) == (1, 2, 4, 8, 20, 40, 50)
    assert budgets(100) == (1, 2, 4, 8, 20, 40, 80, 100)
    assert is_near(80, 80)
    assert is_near(41, 80)
    assert not is_near(40, 80)


# --- paired comparisons


def test_pairs_are_made_by_seed_and_undefined_scores_are_left_out():
    found = paired({1: 0.9, 2: None, 3: 0.7, 5: 0.8}, {3: 0.6, 2: 0.5, 1: 0.8, 4: 0.1, 5: None})
    assert found.count == 2
    assert found.differences == (pytest.approx(0.1), pytest.approx(0.1))


def test_interval_and_p_value_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(3)
    ours = {seed: generator.gauss(0.9, 0.02) for seed in range(7)}
    theirs = {seed: generator.gauss(0.88, 0.02) for seed in range(7)}
    found = paired(ours, theirs)
    reference = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    low, high = reference.confidence_interval(0.95)
    assert found.t_test() == pytest.approx(reference.pvalue, rel=1e-9)
    assert found.interval == (pytest.approx(low), pytest.approx(high))
    assert found.sign == (1 if low > 0 else -1 if high < 0 else 0)


def test_the_sign_is_zero_exactly_where_the_interval_holds_zero():
    assert paired({1: 0.5, 2: 0.6, 3: 0.7}, dict.fromkeys((1, 2, 3), 0.0)).sign == 1
    assert paired({1: -0.5, 2: -0.6, 3: -0.7}, dict.fromkeys((1, 2, 3), 0.0)).sign == -1
    assert paired({1: 0.5, 2: -0.6, 3: 0.7}, dict.fromkeys((1, 2, 3), 0.0)).sign == 0


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_decide_nothing(count):
    found = paired(dict.fromkeys(range(count), 0.9), dict.fromkeys(range(count), 0.1))
    assert (found.count, found.interval, found.sign, found.t_test()) == (count, None, 0, None)
    assert not found.can_tell


def test_equal_differences_have_no_interval_however_large_they_are():
    """0.3 - 0.2 and 0.2 - 0.1 differ in their last bit: no spread to test against, and no p-value of 1e-16."""
    found = paired({1: 0.3, 2: 0.2, 3: 0.9}, {1: 0.2, 2: 0.1, 3: 0.8})
    assert found.mean == pytest.approx(0.1)
    assert (found.interval, found.sign, found.t_test()) == (None, 0, None)
    assert not found.can_tell
    assert found.flip_test() == 0.25


def test_no_difference_at_all_is_no_difference():
    found = paired({1: 0.3, 2: 0.2}, {1: 0.3, 2: 0.2})
    assert (found.mean, found.sign, found.t_test(), found.flip_test()) == (0.0, 0, 1.0, 1.0)
    assert found.can_tell


@pytest.mark.parametrize("count", range(1, 11))
def test_the_sign_flip_test_is_that_of_all_patterns_listed(count):
    generator = random.Random(count)
    for _ in range(10):
        # Few digits make ties, which count as being as far from zero.
        differences = [round(generator.gauss(0.3, 1), 1) for _ in range(count)]
        assert sign_flip(differences) == pytest.approx(flips_by_listing(differences))


def test_the_sign_flip_test_has_a_least_p_value_and_a_largest_number_of_pairs():
    assert sign_flip([0.01] * 5) == 2 / 2**5
    assert sign_flip([0.01] * 32) == 2 / 2**32
    assert sign_flip([0.01] * 33) is None
    assert sign_flip([]) is None


def test_holm_is_that_of_its_definition():
    generator = random.Random(0)
    for count in range(1, 9):
        values = [round(generator.random() ** 3, 2) for _ in range(count)]
        assert holm(values) == pytest.approx(holm_by_steps(values))


def test_holm_leaves_tests_out_that_could_not_be_made():
    assert holm([None, 0.02, None, 0.01]) == [None, 0.02, None, 0.02]
    assert holm([]) == []
