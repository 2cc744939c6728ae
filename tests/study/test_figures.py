"""The figures of a study: what is drawn, what is said where something is missing, and the files."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from equimodal.errors import InputError
from equimodal.report.budget_figure import BudgetCurve, budget_curves
from equimodal.report.cost_figure import CostPanel, CostPoint, cost_against_score, pareto_front
from equimodal.report.intervals import Estimate
from equimodal.report.placing import Box, place_labels
from equimodal.report.svg import figure_to_svg
from equimodal.report.trial_figures import TrialPoint, trial_scatter
from equimodal.study.figures import figure_names, make_figures, write_figures
from equimodal.study.statistics import best_of, paired

from .examples import changed, emptied, empty_study, example_study, half_study, series_named

pytest.importorskip("matplotlib", reason="figures need matplotlib")

FEW = {"methods": ("vanilla", "joint", "miles"), "fusions": ("concat",)}


@pytest.fixture(scope="module")
def study():
    return example_study(**FEW, sweep_seeds=2)


def drawing_of(record, stem):
    return next(one for one in make_figures(record) if one.stem == stem)


def drawn(record, stem):
    return drawing_of(record, stem).figure


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def markers(axes, marker):
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(x, y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_every_kind_has_a_figure_of_its_own_file(study):
    found = make_figures(study)
    assert [name for name, _ in itertools.groupby(one.name for one in found)] == list(figure_names())
    assert len({one.stem for one in found}) == len(found)
    for one in found:
        assert one.reason is None
        assert one.caption
        assert one.description


@pytest.mark.parametrize("record", [half_study(methods=("joint", "mses", "miles")), empty_study()], ids=["half", "empty"])
def test_a_study_that_is_not_finished_is_drawn_as_far_as_it_has_come(record):
    for one in make_figures(record):
        assert (one.draw is None) == (one.reason is not None)
        figure = one.figure
        if figure is not None:
            figure.draw_without_rendering()


def test_an_empty_study_has_a_reason_for_every_figure():
    reasons = {one.stem: one.reason for one in make_figures(empty_study(**FEW))}
    assert reasons["figure1-avdigits-concat"] == "Neither Vanilla nor Joint has a selected run yet."
    assert reasons["trials-avdigits-concat-miles"] == "No trial has ended yet (0 of 6)."
    assert None not in reasons.values()


def test_figure_1_has_the_selected_vanilla_run_beside_the_selected_models_of_one_modality(study):
    inside, alone = drawn(study, "figure1-avdigits-concat").axes
    run = series_named(study, "avdigits/concat/vanilla/final").trials[0].run
    audio = series_named(study, "avdigits/alone/audio/final").trials[0].run
    shown = [[round(value, 6) for value in line.get_ydata()] for line in (*inside.lines, *alone.lines)]
    assert [round(100 * value, 6) for value in run.series("scores", "val", "multimodal")] in shown
    assert [round(100 * value, 6) for value in audio.series("scores", "val", "audio")] in shown


def test_figure_1_says_where_joint_stands_in_for_vanilla(study):
    without = emptied(study, lambda one: one.row == "vanilla" or (one.is_unimodal and one.row == "audio"))
    one = drawing_of(without, "figure1-avdigits-concat")
    assert "learning curves of Joint" in one.title
    assert "There is no selected run of Vanilla: Joint stands in its place." in one.caption
    assert "nothing is selected yet: audio alone" in one.caption


def test_figure_1_shows_the_trial_of_the_search_until_it_was_trained_again(study):
    final = series_named(study, "avdigits/concat/vanilla/final")
    waiting = changed(study, final.name, trials=tuple(replace(trial, state="waiting", run=None) for trial in final.trials))
    search = series_named(study, "avdigits/concat/vanilla")
    scores = search.trials[final.selected].run.series("scores", "val", "multimodal")
    lines = drawn(waiting, "figure1-avdigits-concat").axes[0].lines
    assert any(list(line.get_ydata()) == pytest.approx([100 * score for score in scores]) for line in lines)


def test_figure_2_names_the_hyper_parameters_that_were_given(study):
    one = drawing_of(study, "figure2-avdigits-concat-example")
    assert "α\u00a0=\u00a00.00068983, τ\u00a0=\u00a00.05 and μ\u00a0=\u00a00.5" in one.caption
    assert [text.get_text() for text in one.figure.axes[1].texts] == ["τ = 0.05"]
    assert drawing_of(study, "figure2-avdigits-concat-selected").figure is not None


def test_the_budget_is_the_exact_bootstrap_of_the_validation_scores(study):
    panels = drawn(study, "budget-avdigits-concat").axes
    assert [axes.get_title(loc="left") for axes in panels] == ["Vanilla", "Joint", "MILES", "MILES (training scores)"]
    scores = [trial.score() for trial in series_named(study, "avdigits/concat/miles").trials]
    own = max(panels[2].lines, key=lambda line: line.get_linewidth())
    assert list(own.get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert list(own.get_ydata()) == pytest.approx([100 * best_of(scores, size).mean for size in range(1, 7)])
    assert panels[0].get_xscale() == "log"


def test_failed_trials_use_up_the_budget_and_are_named():
    one = drawing_of(example_study(**FEW, failed={"avdigits/concat/miles": 2}), "budget-avdigits-concat")
    assert len(max(one.figure.axes[2].lines, key=lambda line: line.get_linewidth()).get_xdata()) == 6
    lost = example_study(**FEW, failed={"avdigits/concat/miles": 6}, unfinished=["avdigits/concat/vanilla"])
    caption = drawing_of(lost, "budget-avdigits-concat").caption
    assert "no trial has succeeded yet: MILES." in caption
    assert "Not finished: Vanilla (3 of 6 trials)." in caption


def test_a_curve_whose_every_draw_may_fail_is_still_drawn():
    curve = BudgetCurve("MILES", [0.5, 0.6], [None, 0.5], [0.7, 0.7])
    figure = budget_curves([curve], "accuracy")
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylim()[0] > 40


def test_trials_stand_at_their_hyper_parameters_and_the_selected_one_has_a_ring():
    record = example_study(**FEW, failed={"avdigits/concat/miles": 1})
    figure = drawn(record, "trials-avdigits-concat-miles")
    rate, tau, mu = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["learning rate", "τ", "μ"]
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear", "linear"]
    search, final = (series_named(record, f"avdigits/concat/miles{end}") for end in ("", "/final"))
    chosen = search.trials[final.selected]
    assert [(tau_, 100 * chosen.score()) for tau_ in [chosen.params["method.tau"]]] == [
        (float(line.get_xdata()[0]), pytest.approx(line.get_ydata()[0])) for line in tau.lines if line.get_markersize() > 9
    ]
    assert len(markers(rate, "o")) == 5 + 1
    assert [x for x, _ in markers(mu, "x")] == [search.trials[5].params["method.mu"]]
    assert legend(figure) == ["trial", "selected", "without a score"]


def test_the_learning_rate_is_on_the_axis_that_it_was_drawn_on(study):
    linear = {
        "search": {"optimizer.lr": {"low": 0.0001, "high": 0.01}, "methods": {"miles": {"mu": {"low": 0.01, "high": 1, "log": True}}}}
    }
    figure = drawn(replace(study, declaration={**study.declaration, **linear}), "trials-avdigits-concat-miles")
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "linear", "log"]


def test_hyper_parameters_that_are_no_numbers_are_drawn_by_name():
    trials = [TrialPoint(number, {"kind": kind, "on": kind == "a"}, 0.5 + number / 10) for number, kind in enumerate("abab")]
    kind, on = trial_scatter(trials, {"kind": "kind", "on": "on"}, "accuracy", selected=3).axes
    assert [label.get_text() for label in kind.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in on.get_xticklabels()] == ["False", "True"]


def test_sensitivity_has_every_value_with_its_mean_and_marks_the_selected_one(study):
    figure = drawn(study, "sensitivity-avdigits")
    tau, mu = figure.axes
    sweep = series_named(study, "avdigits/concat/miles/tau")
    scores = [trial.score("test") for trial in sweep.trials if trial.params["method.tau"] == 0.2]
    heavy = max(tau.lines, key=lambda line: line.get_linewidth())
    assert dict(zip(heavy.get_xdata(), heavy.get_ydata(), strict=True))[0.2] == pytest.approx(100 * sum(scores) / 2)
    assert list(heavy.get_xdata()) == [0.0, 0.1, 0.2, 0.3, 0.5]
    assert mu.get_xscale() == "log"
    assert legend(figure) == ["multimodal", "image", "audio", "selected"]
    bars = [line for line in tau.lines if len(set(line.get_xdata())) == 1 and line.get_linewidth() == 1.2]
    assert len(bars) == 3 * 5
    single = drawn(example_study(**FEW), "sensitivity-avdigits").axes[0]
    assert not [line for line in single.lines if line.get_linewidth() == 1.2]


def test_differences_are_paired_by_seed(study):
    (axes,) = drawn(study, "differences-avdigits").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Vanilla", "MILES"]
    ours, theirs = (
        {trial.run.seed: trial.score("test") for trial in series_named(study, f"avdigits/concat/{row}/final").trials[1:]}
        for row in ("miles", "joint")
    )
    found = paired(ours, theirs)
    spans = [tuple(line.get_xdata()) for line in axes.lines if list(line.get_ydata()) == [1, 1]]
    assert spans == [pytest.approx(tuple(100 * end for end in found.interval))]


def test_costs_are_multiples_of_joint_training():
    record = example_study(methods=("joint", "mslr-k", "gblend"), fusions=("concat",))
    one = drawing_of(record, "costs-avdigits-concat")
    run, search = one.figure.axes
    assert {text.get_text() for text in run.texts} == {"Joint", "MSLR-K", "G-Blend"}
    places = {
        text.get_text(): [text.xy[0] for text in axes.texts if text.get_text() == "MSLR-K"] for axes in (run, search) for text in axes.texts
    }
    assert places["MSLR-K"][0] > 2
    assert [text.xy[0] for text in run.texts if text.get_text() == "Joint"] == [1.0]
    assert [text.xy[0] for text in run.texts if text.get_text() == "G-Blend"] == [pytest.approx(1.5)]
    assert "seconds of the selected run, × Joint" in run.get_xlabel()


def test_costs_without_seconds_are_in_steps_and_without_joint_are_none():
    record = example_study(**FEW)
    stepped = replace(
        record,
        series=tuple(
            replace(one, trials=tuple(replace(trial, cost=replace(trial.cost, seconds=None)) for trial in one.trials))
            for one in record.series
        ),
    )
    assert "optimizer steps" in drawn(stepped, "costs-avdigits-concat").axes[0].get_xlabel()
    alone = example_study(methods=("vanilla", "miles"), fusions=("concat",))
    assert "no row joint" in drawing_of(alone, "costs-avdigits-concat").reason


def test_the_front_holds_what_nothing_else_beats():
    assert pareto_front([(1.0, 0.5), (1.0, 0.6), (2.0, 0.6), (0.5, 0.1)]) == [3, 1]
    assert pareto_front([]) == []


@pytest.mark.parametrize("count", [1, 2, 11])
def test_names_of_points_in_one_place_hide_neither_each_other_nor_a_point(count):
    points = [(100.0, 100.0 + 7.0 * number) for number in range(count)]
    boxes = [placed.box for placed in place_labels(points, [(45.0, 11.0)] * count, Box(0.0, 0.0, 320.0, 260.0))]
    for one, other in itertools.combinations(boxes, 2):
        assert one.overlap(other) == 0
    for x, y in points:
        assert all(box.overlap(Box(x - 3, y - 3, x + 3, y + 3)) == 0 for box in boxes)
    assert all(box.outside(Box(0.0, 0.0, 320.0, 260.0)) == 0 for box in boxes)


def test_a_name_with_room_stands_beside_its_point():
    first, second = place_labels([(50.0, 50.0), (200.0, 50.0)], [(40.0, 11.0)] * 2, Box(0.0, 0.0, 300.0, 100.0))
    assert not first.is_far
    assert not second.is_far
    assert first.box.left > 50.0


def test_a_single_method_has_a_cost_figure():
    point = CostPoint("Joint", 1.0, Estimate(0.9, None, 1))
    figure = cost_against_score([CostPanel("One run", "seconds", [point])], "accuracy", columns=1)
    assert legend(figure) == ["cheapest for its score"]


def test_oracle_selection_is_said_in_every_caption_that_rests_on_it():
    for one in make_figures(example_study(**FEW, rule="oracle")):
        if not one.stem.endswith("-example"):
            assert "ORACLE SELECTION" in one.caption
    assert drawn(example_study(**FEW, rule="oracle"), "trials-avdigits-concat-joint").axes[0].get_ylabel() == "Test accuracy (%)"


def test_three_modalities_and_a_fusion_of_their_own():
    record = example_study(data=("utd-mhad",), methods=("joint", "miles"), fusions=("sum",))
    for one in make_figures(record):
        assert one.reason is None
    assert legend(drawn(record, "sensitivity-utd-mhad")) == ["multimodal", "skeleton", "inertial", "depth", "selected"]


def test_files_are_written_in_every_format_and_are_the_same_each_time(study, tmp_path):
    names = ["differences", "costs"]
    first = write_figures(study, tmp_path / "one", names)
    assert [path.name for path in first] == [
        "differences-avdigits.svg",
        "differences-avdigits.pdf",
        "costs-avdigits-concat.svg",
        "costs-avdigits-concat.pdf",
    ]
    second = write_figures(study, tmp_path / "two", names)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(path.name for path in first)


def test_what_cannot_be_drawn_makes_no_file(tmp_path):
    assert write_figures(empty_study(**FEW), tmp_path / "figures") == []


def test_a_figure_is_described_for_those_who_do_not_see_it(study):
    one = drawing_of(study, "differences-avdigits")
    svg = figure_to_svg(one.figure, one.title, one.description)
    assert re.search(r"<desc[^>]*>concat, difference in points: Vanilla −\d+\.\d ± \d+\.\d, MILES \+\d", svg)


def test_unknown_figures_and_formats_are_refused_with_the_nearest(study, tmp_path):
    with pytest.raises(InputError, match=r"^unknown figure 'figur1': did you mean 'figure1'\?$"):
        make_figures(study, ["figur1"])
    with pytest.raises(InputError, match=r"^unknown format 'docx' of figures: known: pdf, png, svg$"):
        write_figures(study, tmp_path, ["budget"], ["docx"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        write_figures(study, tmp_path / "file" / "folder")
