"""Tables I to VI of a study: its own figures, the paper's beside them, and what is said of gaps."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from equimodal.errors import InputError
from equimodal.study.records import StudyRecord
from equimodal.study.tables import make_table, table_names

from .examples import METHODS, TAUS, changed, empty_study, example_study, half_study, series_named


@pytest.fixture(scope="module")
def study():
    return example_study(("avdigits", "luma"), overridden=["miles: method.mu 0.2 to 1"], sweep_seeds=2)


def lines_of(grid, key=None):
    """The rows of a grid's CSV, by a column where one is named."""
    rows = list(csv.DictReader(io.StringIO(grid.csv())))
    return rows if key is None else {row[key]: row for row in rows}


def scores_of(study, name):
    """The test scores of a series' runs."""
    return [trial.run.final_scores("test") for trial in series_named(study, name).trials if trial.run is not None]


def everything(study):
    return [grid for name in table_names() for grid in make_table(study, name)]


# --- what is asked for


@pytest.mark.parametrize(
    ("asked", "title"), [(2, "Table II:"), ("2", "Table II:"), ("IV", "Table IV:"), ("table6", "Table VI:"), (" i ", "Table I:")]
)
def test_a_table_is_asked_for_by_name_or_number(study, asked, title):
    assert all(grid.title.startswith(title) for grid in make_table(study, asked))


@pytest.mark.parametrize(
    ("asked", "hint"), [("tabel2", "did you mean 'table2'"), ("budgets", "did you mean 'budget'"), (7, "did you mean"), ("", "known: ")]
)
def test_an_unknown_table_is_refused_with_the_nearest(study, asked, hint):
    with pytest.raises(InputError, match=hint):
        make_table(study, asked)


def test_an_unknown_data_set_is_refused_with_the_nearest(study):
    with pytest.raises(InputError, match="has no data set 'lumma': did you mean 'luma'"):
        make_table(study, "table2", "lumma")


def test_one_data_set_or_all(study):
    assert [grid.name for grid in make_table(study, "table2")] == ["table2-avdigits", "table2-luma"]
    assert [grid.name for grid in make_table(study, "table2", "luma")] == ["table2-luma"]
    assert len(make_table(study, "table1")) == 1
    assert [row["data"] for row in lines_of(make_table(study, "table1", "luma")[0])] == ["luma", "luma"]


def test_every_table_has_a_line_for_the_help_and_files_of_their_own(study):
    assert list(table_names())[:6] == [f"table{number}" for number in range(1, 7)]
    assert all(line and "\n" not in line for line in table_names().values())
    names = [grid.name for grid in everything(study)]
    assert len(set(names)) == len(names)


# --- Tables II and III


def test_table_ii_has_the_papers_reading_the_mean_over_fresh_seeds_and_the_papers_figures(study):
    (grid,) = make_table(study, "table2", "luma")
    row = lines_of(grid, "method")["miles"]
    selected, *fresh = scores_of(study, "luma/concat/miles/final")
    assert float(row["selected_multimodal"]) == selected["multimodal"]
    assert float(row["selected_difference"]) == selected["audio"] - selected["image"]
    assert float(row["mean_image"]) == pytest.approx(statistics.fmean(scores["image"] for scores in fresh))
    # The interval of Δ is that of the runs' own differences.
    differences = [scores["audio"] - scores["image"] for scores in fresh]
    assert float(row["mean_difference_half_interval"]) == pytest.approx(4.302653 * statistics.stdev(differences) / 3**0.5)
    assert row["seeds"] == "3"
    assert [float(row[f"paper_{key}"]) for key in ("multimodal", "audio", "image", "difference")] == [0.997, 0.951, 0.751, 0.204]
    assert lines_of(make_table(study, "table3", "luma")[0], "method")["miles"]["paper_image"] == "0.766"


def test_rows_stand_in_order_and_joint_is_without_a_figure_of_the_paper(study):
    rows = lines_of(make_table(study, "table2", "avdigits")[0], "method")
    assert tuple(rows) == METHODS
    assert {row for row, line in rows.items() if not line["paper_multimodal"]} == {"joint"}


def test_joint_stands_beside_vanilla_even_where_the_study_lacks_it():
    (grid,) = make_table(example_study(methods=("vanilla", "ogm", "miles"), fusions=("concat",)), 2)
    rows = lines_of(grid, "method")
    assert list(rows) == ["vanilla", "joint", "ogm", "miles"]
    assert rows["joint"]["selected_multimodal"] == ""
    assert "lacks the row joint" in str(grid)


def test_delta_is_signed():
    study = example_study(fusions=("concat",), methods=("vanilla", "joint", "miles"), figures={"miles": (0.96, 0.80, 0.85)})
    text = str(make_table(study, 2)[0])
    assert "−5." in text
    assert "+39." in text or "+38." in text


def test_another_data_set_is_shown_beside_the_papers_most_like_it_and_that_is_said(study):
    ours, same = make_table(study, "table2")
    for shape in (ours.text(), ours.markdown(), ours.latex(), ours.html()):
        assert "paper: S-MNIST" in shape
        assert "They are no target" in " ".join(shape.split())
    assert "the same data set" in same.text()
    row = lines_of(ours, "method")["vanilla"]
    assert (row["paper_image"], row["paper_audio"]) == ("0.985", "0.539")


def test_a_data_set_like_none_of_the_papers_has_no_columns_of_it():
    (grid,) = make_table(example_study(("utd-mhad",)), 2)
    assert "The paper has no data set like utd-mhad." in grid.notes
    assert not any(name.startswith("paper") for name in lines_of(grid)[0])


def test_three_modalities_have_a_column_each_and_delta_is_first_minus_last():
    study = example_study(("utd-mhad",), fusions=("concat",))
    (grid,) = make_table(study, 2)
    row = lines_of(grid, "method")["vanilla"]
    scores = scores_of(study, "utd-mhad/concat/vanilla/final")[0]
    assert float(row["selected_inertial"]) == scores["inertial"]
    assert float(row["selected_difference"]) == scores["skeleton"] - scores["depth"]
    assert "Δ: skeleton − depth." in str(grid)
    assert len(lines_of(make_table(study, 1)[0])) == 3
    assert all(max(map(len, str(one).splitlines())) <= 80 for one in everything(study))


def test_another_fusion_has_the_same_table_under_its_name():
    study = example_study(fusions=("late",))
    (grid,) = make_table(study, "late")
    assert grid.title.startswith("Methods: avdigits, fusion late")
    assert len(grid.rows) == len(METHODS)
    assert "The paper has no figures for this fusion." in grid.notes
    assert not any(name.startswith("paper") for name in lines_of(grid)[0])


def test_the_best_multimodal_scores_are_emphasised_by_column(study):
    (grid,) = make_table(study, "table2", "avdigits")
    strong = [(row[0].text, column.key) for row in grid.rows for cell, column in zip(row, grid.columns, strict=True) if cell.strong]
    assert strong == [("MILES", f"{of}_multimodal") for of in ("selected", "paper", "mean")]


# --- Tables I, IV, V, VI


def test_table_i_has_every_modality_of_every_data_set(study):
    rows = lines_of(make_table(study, 1)[0])
    assert [(row["data"], row["modality"]) for row in rows] == [
        ("avdigits", "image"),
        ("avdigits", "audio"),
        ("luma", "audio"),
        ("luma", "image"),
    ]
    assert [row["paper"] for row in rows] == ["0.99", "0.889", "0.972", "0.791"]
    assert [row["paper_of"] for row in rows][::2] == ["S-MNIST, accuracy", "LUMA, F1"]
    assert float(rows[1]["selected"]) == scores_of(study, "avdigits/alone/audio/final")[0]["audio"]


@pytest.mark.parametrize(("number", "option", "values"), [(4, "tau", TAUS), (5, "mu", (1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01))])
def test_tables_iv_and_v_have_every_value_with_every_fusion_beside_the_papers_luma(study, number, option, values):
    (grid,) = make_table(study, number, "avdigits")
    rows = lines_of(grid)
    assert [(row["fusion"], float(row[option])) for row in rows] == [(fusion, value) for fusion in ("concat", "sum") for value in values]
    runs = scores_of(study, f"avdigits/concat/miles/{option}")[:2]
    assert float(rows[0]["test_audio"]) == pytest.approx(statistics.fmean(run["audio"] for run in runs))
    assert rows[0]["runs"] == "2"
    assert rows[0]["test_audio_half_interval"]
    assert "paper: LUMA" in str(grid)
    assert all(row["paper_multimodal"] for row in rows)


def test_a_value_that_the_paper_lacks_has_dashes(study):
    name = "avdigits/concat/miles/tau"
    trials = tuple(replace(trial, params={**trial.params, "method.tau": 0.37}) for trial in series_named(study, name).trials[:1])
    (grid,) = make_table(changed(study, name, trials=trials), 4, "avdigits")
    row = lines_of(grid)[0]
    assert row["tau"] == "0.37"
    assert row["test_multimodal"]
    assert row["paper_multimodal"] == ""


def test_one_run_per_value_is_said_and_has_no_interval():
    (grid,) = make_table(example_study(), 4)
    assert "One run per value." in str(grid)
    assert "±" not in "".join(cell.text for row in grid.rows for cell in row)


def test_the_fixed_hyper_parameters_of_a_sweep_are_said(study):
    chosen = series_named(study, "avdigits/concat/miles")
    best = chosen.trials[series_named(study, "avdigits/concat/miles/final").selected]
    shown = " ".join(str(make_table(study, 4, "avdigits")[0]).split())
    assert f"mu {best.params['method.mu']:.5g}" in shown
    assert f"tau {best.params['method.tau']:.5g}" not in shown


def test_table_vi_has_scores_and_best_epochs_of_both_splits(study):
    (grid,) = make_table(study, 6, "avdigits")
    rows = lines_of(grid)
    assert [(row["fusion"], row["scores"]) for row in rows] == [(f, s) for f in ("concat", "sum") for s in ("training", "validation")]
    final = series_named(study, "avdigits/concat/training-scores/final")
    assert int(rows[0]["selected_epoch"]) == final.trials[0].run.best_epoch
    assert float(rows[0]["mean_epoch"]) == statistics.fmean(trial.run.best_epoch for trial in final.trials[1:])
    assert [row["paper_epoch"] for row in rows] == ["53.0", "47.0", "53.0", "45.0"]
    assert rows[1]["selected_multimodal"] == lines_of(make_table(study, 2, "avdigits")[0], "method")["miles"]["selected_multimodal"]


# --- what every table says of how it came about


def test_overridden_search_spaces_stand_below_every_table(study):
    for grid in everything(study):
        assert "miles: method.mu 0.2 to 1" in " ".join(str(grid).split()), grid.title


def test_oracle_selection_is_loud_in_every_shape_of_every_table():
    for grid in everything(example_study(rule="oracle")):
        for shape in (grid.text(), grid.markdown(), grid.latex(), grid.html()):
            assert "ORACLE SELECTION" in shape, grid.title
    (row, *_) = lines_of(make_table(example_study(rule="oracle"), 2)[0])
    assert row["selection_rule"] == "oracle"


def test_a_fair_study_never_speaks_of_an_oracle(study):
    assert not any("oracle" in str(grid).lower() for grid in everything(study))


def test_notes_say_trials_seeds_epochs_and_selection(study):
    text = " ".join(str(make_table(study, 2, "avdigits")[0]).split())
    assert "60 of 60 trials done, 6 per row" in text
    assert "3 fresh seeds (101 to 103)" in text
    assert "Epochs: 4." in text
    assert "best multimodal validation score" in text


def test_another_search_than_the_papers_is_said(study):
    declaration = {**study.declaration, "sampler": {"name": "tpe"}, "pruner": {"name": "hyperband"}}
    text = " ".join(str(make_table(replace(study, declaration=declaration), 2)[0]).split())
    assert "drew by tpe, not at random" in text
    assert "pruned by hyperband" in text
    plain = replace(study, declaration={**study.declaration, "sampler": {"name": "random"}, "pruner": None})
    assert "not at random" not in str(make_table(plain, 2)[0])


def test_a_study_in_its_middle_says_what_is_missing():
    study = half_study()
    concat, summed = (" ".join(str(make_table(study, number)[0]).split()) for number in (2, 3))
    assert "57 of 60 trials done, 6 per row (8 failed)" in concat
    assert "Not finished, 3 of 6 trials done: G-Blend." in concat
    assert "MSLR-K cannot begin: waits for avdigits/alone/audio." in summed
    rows = lines_of(make_table(study, 3)[0], "method")
    assert rows["joint"]["mean_multimodal"]
    assert rows["miles"]["mean_multimodal"] == ""


def test_a_selected_run_that_failed_is_a_dash_and_its_seeds_still_count():
    study = example_study(fusions=("concat",))
    name = "avdigits/concat/miles/final"
    first, *others = series_named(study, name).trials
    broken = changed(study, name, trials=(replace(first, state="failed", run=None, reason="out of memory"), *others))
    (grid,) = make_table(broken, 2)
    row = lines_of(grid, "method")["miles"]
    assert row["selected_multimodal"] == ""
    assert row["seeds"] == "3"
    assert "Failed: 1 of 4 final runs of MILES." in " ".join(str(grid).split())


def test_unequal_numbers_of_seeds_are_shown():
    study = example_study(fusions=("concat",))
    name = "avdigits/concat/ogm/final"
    (grid,) = make_table(changed(study, name, trials=series_named(study, name).trials[:3]), 2)
    assert " seeds\n" in grid.text()
    assert lines_of(grid, "method")["ogm"]["seeds"] == "2"


@pytest.mark.parametrize(
    "study",
    [
        empty_study(),
        half_study(),
        StudyRecord("nothing", {}, (), ()),
        replace(example_study(), series=()),
        example_study(seeds=0, trials=1),
        example_study(methods=("ogm",)),
    ],
    ids=["empty", "half", "no data", "no series", "one trial", "one method"],
)
def test_no_gap_breaks_any_table_in_any_shape(study):
    for grid in everything(study):
        assert max(map(len, grid.text().splitlines())) <= 80
        ElementTree.fromstring(grid.html())
        assert grid.markdown()
        assert grid.latex()
        assert len(list(csv.reader(io.StringIO(grid.csv())))) == len(grid.rows) + 1


def test_names_of_any_kind_stay_within_their_cells():
    study = example_study(fusions=("concat",), modalities=("a|b & <c>", "d_e$\n"))
    study = changed(study, "avdigits/concat/ogm", label="<OGM> & |x|")
    study = changed(study, "avdigits/concat/ogm/final", label="<OGM> & |x|")
    for grid in everything(study):
        ElementTree.fromstring(grid.html())
        assert len(grid.markdown().splitlines()) == len(grid.rows) + 4
