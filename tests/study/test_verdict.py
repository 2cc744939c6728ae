"""The answer in plain words: what helps, what hurts, what agrees with the paper, and above all what cannot be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equimodal.study.verdict import make_verdict

from .examples import MUS, SEED, TRAINING_SCORES, changed, empty_study, example_study, half_study, series_named

FEW = ("vanilla", "joint", "gblend", "miles")


def study_with(seeds=4, **figures):
    return example_study(fusions=("concat",), methods=FEW, seeds=seeds, sweep_seeds=3, figures=figures)


def contribution(study, topic, measure, fusion="concat"):
    (found,) = (one for one in make_verdict(study).contributions if (one.topic, one.measure, one.fusion) == (topic, measure, fusion))
    return found


def claim(study, topic, fusion="concat"):
    (found,) = (one for one in make_verdict(study).claims if (one.topic, one.fusion) == (topic, fusion))
    return found


def with_test_scores(study, name, make):
    """The study with other test scores in a series' runs; ``make`` gives them from number and old scores."""
    trials = []
    for trial in series_named(study, name).trials:
        result = {**trial.run.result, "scores": {**trial.run.result["scores"], "test": make(trial.number, trial.run.final_scores())}}
        trials.append(replace(trial, run=replace(trial.run, result=result)))
    return changed(study, name, trials=tuple(trials))


# --- what brings what


def test_the_losses_of_single_modalities_and_the_scheduler_are_told_apart():
    study = study_with()
    losses, scheduler = contribution(study, "joint − vanilla", "weakest"), contribution(study, "miles − joint", "weakest")
    assert (losses.status, scheduler.status) == ("helps", "helps")
    assert losses.evidence["Joint − Vanilla"].mean == pytest.approx(0.26, abs=0.01)
    assert scheduler.evidence["MILES − Joint"].mean == pytest.approx(0.06, abs=0.01)
    assert "+26." in losses.statement or "+25." in losses.statement
    assert "4 seeds" in scheduler.statement


def test_a_smaller_gap_helps_and_its_sign_does_not_matter():
    study = study_with(miles=(0.965, 0.80, 0.84))
    found = contribution(study, "miles − joint", "difference")
    assert found.status == "helps"
    assert found.evidence["MILES − Joint"].mean == pytest.approx(0.04 - 0.14, abs=0.01)
    wider = study_with(miles=(0.965, 0.70, 0.94))
    assert contribution(wider, "miles − joint", "difference").status == "hurts"


def test_a_scheduler_that_hurts_is_said_to_hurt():
    found = contribution(study_with(miles=(0.90, 0.93, 0.70)), "miles − joint", "multimodal")
    assert found.status == "hurts"
    assert "lowers the multimodal score" in found.statement


def test_a_difference_within_the_interval_is_none_that_the_seeds_can_show():
    study = study_with(miles=(0.9551, 0.94, 0.80))
    found = contribution(study, "miles − joint", "multimodal")
    low, high = found.evidence["MILES − Joint"].interval
    assert low <= 0 <= high
    assert found.status == "none shown"
    assert "No difference that 4 seeds can show." in found.statement


@pytest.mark.parametrize("seeds", [0, 1])
def test_fewer_than_two_seeds_tell_nothing_however_large_the_difference(seeds):
    verdict = make_verdict(study_with(seeds=seeds, miles=(0.99, 0.98, 0.98)))
    assert {one.status for one in verdict.contributions} == {"cannot be told"}
    assert {one.status for one in verdict.claims if one.topic.startswith(("best", "smallest"))} == {"cannot be told"}


def test_equal_differences_have_no_interval_and_tell_nothing():
    study = study_with(seeds=2)
    for row, score in (("joint", 0.9), ("miles", 0.95)):
        study = with_test_scores(study, f"avdigits/concat/{row}/final", lambda _, old, score=score: {**old, "multimodal": score})
    found = contribution(study, "miles − joint", "multimodal")
    assert found.status == "cannot be told"
    assert "differ by the same" in found.statement


def test_the_selected_run_does_not_count_among_the_seeds():
    study = study_with()
    worse = with_test_scores(study, "avdigits/concat/miles/final", lambda number, old: dict.fromkeys(old, 0.1) if number == 0 else old)
    assert make_verdict(worse) == make_verdict(study)


def test_a_study_without_joint_cannot_tell_the_scheduler_from_the_losses():
    study = example_study(fusions=("concat",), methods=("vanilla", "miles"))
    found = contribution(study, "miles − joint", "multimodal")
    assert found.status == "cannot be told"
    assert "lacks the row joint" in found.statement


# --- the paper's claims


def test_miles_is_best_only_where_it_is_better_than_every_other_method():
    assert claim(study_with(), "best multimodal").status == "agree"
    assert claim(study_with(), "best weakest head").status == "agree"
    assert claim(study_with(), "smallest difference").status == "agree"
    tied = claim(study_with(gblend=(0.9651, 0.93, 0.83)), "best multimodal")
    assert tied.status == "cannot be told"
    assert "Not to be told apart from G-Blend" in tied.statement
    beaten = claim(study_with(gblend=(0.99, 0.93, 0.90)), "best multimodal")
    assert beaten.status == "disagree"
    assert "Worse than G-Blend" in beaten.statement


def test_a_method_that_is_not_finished_leaves_the_best_open():
    study = study_with()
    name = "avdigits/concat/gblend/final"
    found = claim(changed(study, name, trials=series_named(study, name).trials[:1]), "best multimodal")
    assert found.status == "cannot be told"
    assert "Without any common seed: G-Blend" in found.statement


def test_a_small_tau_balances_at_the_cost_of_the_dominant():
    study = study_with()
    found = claim(study, "small tau")
    assert found.status == "agree"
    assert "From τ = 0.5 to 0" in found.statement
    name = "avdigits/concat/miles/tau"
    upside_down = with_test_scores(study, name, lambda _, old: {**old, "image": old["audio"], "audio": old["image"]})
    assert claim(upside_down, "small tau").status == "disagree"


def test_one_run_per_value_of_a_sweep_tells_nothing_and_shows_its_numbers():
    study = example_study(fusions=("concat",), methods=FEW)
    for topic in ("small tau", "small mu", "mu near 1"):
        found = claim(study, topic)
        assert found.status == "cannot be told"
        assert "1 seed" in found.statement


def test_a_very_small_mu_hurts():
    found = claim(study_with(), "small mu")
    assert found.status == "agree"
    assert "From μ = 0.5 to 0.01" in found.statement


def test_mu_near_one_is_held_against_joint_unless_the_largest_tau_has_more_common_seeds():
    assert any("τ = 0.5" in name for name in claim(study_with(), "mu near 1").evidence)
    study = study_with()
    name = "avdigits/concat/miles/mu"
    fresh = [trial.run.seed for trial in series_named(study, "avdigits/concat/joint/final").trials[1:4]]
    trials = []
    for trial in series_named(study, name).trials:
        seed = fresh[trial.run.seed - SEED]
        trials.append(replace(trial, run=replace(trial.run, result={**trial.run.result, "seed": seed})))
    assert all("against Joint" in name for name in claim(changed(study, name, trials=tuple(trials)), "mu near 1").evidence)


def test_comparable_needs_an_interval_within_a_point_and_not_merely_one_that_holds_zero():
    assert claim(study_with(), "training scores").status == "agree"
    apart = {TRAINING_SCORES: (0.90, 0.93, 0.85)}
    assert claim(study_with(**apart), "training scores").status == "disagree"
    noisy = with_test_scores(
        study_with(),
        f"avdigits/concat/{TRAINING_SCORES}/final",
        lambda number, old: {**old, "multimodal": old["multimodal"] + (-1) ** number * 0.05},
    )
    found = claim(noisy, "training scores")
    low, high = found.evidence["training − validation"].interval
    assert low < 0 < high
    assert found.status == "cannot be told"


def test_a_later_best_epoch_is_counted_in_epochs():
    study = study_with()
    for row, epochs in ((TRAINING_SCORES, (4, 4, 3, 4)), ("miles", (1, 2, 1, 1))):
        name = f"avdigits/concat/{row}/final"
        first, *fresh = series_named(study, name).trials
        fresh = [
            replace(trial, run=replace(trial.run, result={**trial.run.result, "best_epoch": epoch}))
            for trial, epoch in zip(fresh, epochs, strict=True)
        ]
        study = changed(study, name, trials=(first, *fresh))
    found = claim(study, "training scores slower")
    assert found.status == "agree"
    assert "+2.5 ± " in found.statement
    assert "epochs (4 seeds)" in found.statement


def test_summation_is_held_against_concatenation_over_all_methods():
    study = example_study(methods=FEW, seeds=4)
    found = claim(study, "sum − concat", "")
    assert found.status == "agree"
    assert "mean over 4 methods" in found.statement
    assert found.evidence["sum − concat"].mean == pytest.approx(0.002, abs=0.002)
    for row in FEW:
        study = with_test_scores(study, f"avdigits/sum/{row}/final", lambda _, old: {**old, "multimodal": old["multimodal"] - 0.05})
    assert claim(study, "sum − concat", "").status == "disagree"


def test_claims_of_sweeps_that_do_not_reach_so_far_are_left_out():
    study = study_with()
    name = "avdigits/concat/miles/mu"
    middle = tuple(trial for trial in series_named(study, name).trials if 0.1 < trial.params["method.mu"] < 0.9)
    topics = {one.topic for one in make_verdict(changed(study, name, trials=middle)).claims}
    assert len(MUS) > 2
    assert not topics & {"mu near 1", "small mu"}


# --- the whole


def test_the_text_has_summary_statements_and_how_to_read_them():
    verdict = make_verdict(example_study(overridden=["miles: method.mu 0.2 to 1"]))
    text = str(verdict)
    assert text.startswith("What the losses of single modalities bring (joint − vanilla) helps in ")
    assert all(str(finding) in text for finding in verdict.findings)
    assert "one would be expected to exclude zero" in text
    assert "miles: method.mu 0.2 to 1" in text
    assert "\n\n\n" not in text
    assert "  " not in text


def test_an_unfinished_study_is_said_to_be_unfinished_and_an_empty_one_tells_nothing():
    assert any("not finished: 114 of 266" in note for note in make_verdict(half_study()).notes)
    empty = make_verdict(empty_study())
    assert {finding.status for finding in empty.findings} == {"cannot be told"}
    assert make_verdict(replace(empty_study(), series=())).summary == ("This study has no methods to compare.",)


def test_oracle_selection_is_the_first_thing_said_of_the_figures():
    assert make_verdict(example_study(rule="oracle")).notes[0].startswith("ORACLE SELECTION")


def test_three_modalities_name_the_weakest_of_them():
    verdict = make_verdict(example_study(("utd-mhad",), fusions=("concat",), methods=FEW))
    assert any("the weakest head (depth)" in finding.statement for finding in verdict.contributions)
