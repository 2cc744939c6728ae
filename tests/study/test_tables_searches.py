"""What a study has beyond the paper: smaller budgets, the spread over trials, paired tests, costs and failures."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import replace

import pytest

from equimodal.report.cost import Cost
from equimodal.study.records import TrialRecord
from equimodal.study.tables import make_table
from equimodal.study.tables.costs import row_cost

from .examples import METHODS, STEPS, changed, empty_study, example_study, half_study, series_named


@pytest.fixture(scope="module")
def study():
    return example_study(fusions=("concat",), seeds=5)


def grid_of(study, name, of="concat"):
    return next(grid for grid in make_table(study, name) if f"-{of}-" in grid.name)


def rows_of(grid, key="method"):
    return {row[key]: row for row in csv.DictReader(io.StringIO(grid.csv()))}


def val_scores(study, name):
    return [trial.score() for trial in series_named(study, name).trials]


# --- smaller budgets


def test_the_best_of_all_budgets_lies_between_the_mean_and_the_best_trial(study):
    row = rows_of(grid_of(study, "budget"))["miles"]
    scores = val_scores(study, "avdigits/concat/miles")
    assert float(row["best_of_1_mean"]) == pytest.approx(sum(scores) / 6)
    means = [float(row[f"best_of_{budget}_mean"]) for budget in (1, 2, 4, 6)]
    assert means == sorted(means)
    assert means[-1] <= max(scores)
    # The best of six draws out of six misses the best trial with the probability (5/6)^6.
    assert float(row["best_of_6_q50"]) == max(scores)
    assert row["best_of_6_lost"] == "0.0"


def test_all_rows_and_the_models_of_one_modality_have_budgets(study):
    assert list(rows_of(grid_of(study, "budget"))) == [*METHODS, "training-scores"]
    assert list(rows_of(grid_of(study, "budget", "alone"))) == ["image", "audio"]


def test_a_budget_near_the_number_of_trials_comes_with_a_caution(study):
    assert "CAUTION: budgets near the number of trials (4, 6 of 6)" in " ".join(str(grid_of(study, "budget")).split())


def test_failed_trials_count_as_lost_and_waiting_ones_do_not_count():
    study = half_study()
    rows = rows_of(grid_of(study, "budget"))
    assert rows["ogm"]["trials_done"] == "6"
    assert float(rows["ogm"]["best_of_2_lost"]) == pytest.approx((2 / 6) ** 2)
    assert rows["gblend"]["trials_done"] == "3"
    assert rows["gblend"]["best_of_2_mean"]
    # Three trials cannot speak of four.
    assert rows["gblend"]["best_of_4_mean"] == ""
    assert rows["mses"]["best_of_1_mean"] == ""
    assert "failed or pruned trial uses up its place" in " ".join(str(grid_of(study, "budget")).split())


def test_a_study_without_trials_has_no_budgets():
    grid = grid_of(empty_study(), "budget")
    assert "No trial has ended yet." in grid.notes
    assert all(row["trials_done"] == "0" for row in rows_of(grid).values())


# --- trials


def test_trials_have_their_spread_and_what_was_selected(study):
    grid = grid_of(study, "trials")
    row = rows_of(grid)["miles"]
    scores = val_scores(study, "avdigits/concat/miles")
    assert (float(row["min"]), float(row["max"])) == (min(scores), max(scores))
    assert float(row["50 %"]) == sorted(scores)[2]
    assert int(row["selected_trial"]) == scores.index(max(scores))
    params = series_named(study, "avdigits/concat/miles").trials[scores.index(max(scores))].params
    assert row["hyper-parameters"] == f"lr {params['optimizer.lr']:.5g}, tau {params['method.tau']:.5g}, mu {params['method.mu']:.5g}"


def test_trials_count_failed_and_pruned_ones_and_have_no_selection_before_the_end():
    study = half_study()
    name = "avdigits/concat/gblend"
    first, *others = series_named(study, name).trials
    row = rows_of(grid_of(changed(study, name, trials=(replace(first, state="pruned"), *others)), "trials"))
    assert (row["gblend"]["pruned"], row["gblend"]["trials_done"], row["gblend"]["planned"]) == ("1", "3", "6")
    assert row["gblend"]["selected_trial"] == ""
    assert row["ogm"]["failed"] == "2"
    assert row["mses"]["min"] == ""


# --- paired tests


def test_paired_tests_compare_over_common_fresh_seeds_alone(study):
    stats = pytest.importorskip("scipy.stats")
    grid = grid_of(study, "paired")
    row = next(row for row in csv.DictReader(io.StringIO(grid.csv())) if (row["method"], row["against"]) == ("miles", "joint"))
    ours, theirs = (
        [trial.run.final_scores()["multimodal"] for trial in series_named(study, f"avdigits/concat/{row}/final").trials[1:]]
        for row in ("miles", "joint")
    )
    assert row["seeds"] == "5"
    assert float(row["t_p"]) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-6)
    assert float(row["flip_p"]) == 2 / 2**5
    assert float(row["mean_difference"]) == pytest.approx(sum(ours) / 5 - sum(theirs) / 5)


def test_there_is_a_block_for_each_question_and_each_is_corrected_by_itself(study):
    grid = grid_of(study, "paired")
    rows = list(csv.DictReader(io.StringIO(grid.csv())))
    starts = [0, *sorted(grid.rules), len(rows)]
    blocks = [rows[start:end] for start, end in itertools.pairwise(starts)]
    assert [len(block) for block in blocks] == [9, 9, 9]
    assert {row["against"] for row in blocks[0]} == {"joint"}
    assert {row["against"] for row in blocks[1]} == {"vanilla"}
    assert {row["method"] for row in blocks[2]} == {"miles"}
    for block in blocks:
        smallest = min(block, key=lambda row: float(row["t_p"]))
        assert float(smallest["t_p_holm"]) == pytest.approx(9 * float(smallest["t_p"]))
        assert all(float(row["t_p_holm"]) >= float(row["t_p"]) for row in block)


def test_a_seed_that_failed_on_one_side_is_no_pair(study):
    name = "avdigits/concat/joint/final"
    trials = list(series_named(study, name).trials)
    trials[2] = TrialRecord(2, "failed", reason="out of memory")
    rows = list(csv.DictReader(io.StringIO(grid_of(changed(study, name, trials=tuple(trials)), "paired").csv())))
    assert {row["seeds"] for row in rows if "joint" in (row["method"], row["against"])} == {"4"}
    assert {row["seeds"] for row in rows if "joint" not in (row["method"], row["against"])} == {"5"}


@pytest.mark.parametrize(
    ("seeds", "said"), [(0, "nothing can be tested yet"), (1, "nothing can be tested yet"), (3, "cannot fall below p = 0.25")]
)
def test_what_so_few_seeds_can_show_is_said(seeds, said):
    grid = grid_of(example_study(fusions=("concat",), methods=("vanilla", "joint", "miles"), seeds=seeds), "paired")
    assert said in " ".join(str(grid).split())


def test_without_anything_to_compare_the_table_says_so():
    grid = grid_of(example_study(fusions=("concat",), methods=("ogm", "mses")), "paired")
    assert grid.rows == ()
    assert "nothing to compare" in " ".join(str(grid).split())


# --- costs


def test_costs_are_those_of_a_run_its_search_and_what_it_needs_before(study):
    rows = rows_of(grid_of(study, "costs"))
    run = 4 * STEPS
    assert (rows["miles"]["run_steps"], rows["miles"]["search_steps"], rows["miles"]["total_steps"]) == (
        f"{run}",
        f"{6 * run}",
        f"{6 * run}",
    )
    before = series_named(study, "avdigits/concat/mslr-k").before
    assert float(rows["mslr-k"]["total_steps"]) == 6 * run + before.steps
    assert float(rows["mslr-k"]["total_relative_steps"]) == (6 * run + before.steps) / (6 * run)
    assert rows["mslr-k"]["run_relative_steps"] == "1.0"
    # G-Blend trains branches beside each epoch.
    assert rows["gblend"]["run_relative_steps"] == "3.0"
    assert (rows["joint"]["run_relative_seconds"], rows["joint"]["total_relative_seconds"]) == ("1.0", "1.0")


def test_costs_say_that_time_depends_on_the_machines(study):
    assert "Time depends on the machines" in " ".join(str(grid_of(study, "costs")).split())


def test_failed_trials_are_charged_and_those_of_unknown_cost_are_counted():
    study = half_study()
    cost = row_cost(study, "avdigits", "concat", "mses")
    assert cost.search == Cost(6 * 12.5, 6 * 2 * STEPS)
    assert cost.run == Cost(None, None)
    name = "avdigits/concat/mses"
    first, *others = series_named(study, name).trials
    unknown = changed(study, name, trials=(replace(first, cost=Cost(None, None)), *others))
    assert row_cost(unknown, "avdigits", "concat", "mses").search == Cost(5 * 12.5, 5 * 2 * STEPS)
    assert "1 trial(s) did not record what they cost" in " ".join(str(grid_of(unknown, "costs")).split())


def test_without_joint_costs_are_no_multiples():
    grid = grid_of(example_study(fusions=("concat",), methods=("vanilla", "miles")), "costs")
    assert rows_of(grid)["miles"]["run_relative_steps"] == ""
    assert "lacks the row joint" in " ".join(str(grid).split())


# --- failures


def test_failures_name_series_trial_attempts_and_reason():
    (grid,) = make_table(half_study(), "failures")
    rows = list(csv.DictReader(io.StringIO(grid.csv())))
    assert [(row["series"], row["trial"]) for row in rows[:3]] == [
        ("avdigits/concat/ogm", "4"),
        ("avdigits/concat/ogm", "5"),
        ("avdigits/concat/mses", "0"),
    ]
    assert rows[0]["reason"] == "training diverged at epoch 2: the loss is nan"
    assert rows[0]["attempts"] == "1"
    assert ("avdigits/sum/mslr-k", "cannot begin: waits for avdigits/alone/audio") in [(row["series"], row["reason"]) for row in rows]
    assert grid.notes[0].startswith("8 of 152 trials")


def test_a_study_without_failures_says_so_and_counts_those_taken_over(study):
    name = "avdigits/concat/ogm"
    first, *others = series_named(study, name).trials
    (grid,) = make_table(changed(study, name, trials=(replace(first, attempts=3), *others)), "failures")
    assert grid.rows == ()
    assert grid.notes[0].startswith("0 of ")
    assert grid.notes[1].startswith("1 of all trials were begun more than once")
